//! The content for the commands of docs/operations.md: the organisation, the project and the hooks of that page.

use serde_json::Value;

use super::Providers;
use super::board::Board;
use super::hooks::{endpoint, github_hook, taiga_hook};
use super::hub::Repo;
use crate::sender::{Delivery, Secrets, Source, github, taiga};
use crate::time::now_ms;

/// As docs/operations.md has it.
const PROJECT: &str = "PES11A";
const SLUG: &str = "mireia-marmota";
/// Its number at Taiga.
const BOARD: i64 = 31;
const MODIFIED: &str = "2026-11-23T17:30:00Z";

/// A repository and a Taiga project with some content, and a hook of each with a lost delivery.
pub fn furnish(providers: &Providers, ingress: &str) {
    let (secrets, missed) = (Secrets::default(), now_ms() - 600_000);
    let commits: Vec<Value> =
        (10..14).map(|n| github::commit(&github::sha(n), &format!("task #{n}: the login form"))).collect();
    let repo = Repo {
        branches: [("main".to_owned(), commits.clone())].into(),
        issues: [(1, github::issue(1, "opened", MODIFIED)), (2, github::issue(2, "closed", MODIFIED))].into(),
        pulls: [(3, github::pull_request(3, "closed", MODIFIED))].into(),
        ..Repo::default()
    };
    let story = taiga::userstory(110, "Count the hours of a week");
    let event = |kind: &str, data: Value| taiga::event(kind, "create", MODIFIED, data);
    let told = [
        event("userstory", story.clone()),
        event("task", taiga::task(111, "Add them up", story)),
        event("issue", taiga::issue(112, "Sunday is missing")),
    ];
    let mut board = Board::new(BOARD, "Marmota – Pràctica");
    for event in &told {
        board.tell(event);
    }
    let mut world = providers.world();
    world.knows_everything = true;
    world.repos.insert(github::REPO.to_owned(), repo);
    world.boards.insert(SLUG.to_owned(), board);
    let organisation = format!("orgs/{}", github::REPO.split('/').next().unwrap_or_default());
    for owner in [organisation, format!("repos/{}", github::REPO)] {
        let hook = world.hook(&owner, github_hook(&endpoint(ingress, Source::Github, PROJECT), &secrets.github));
        let push = Delivery::github("push", &github::push(1_795_455_000, commits.clone())).project(PROJECT);
        world.sent(hook, push, 503, missed, false);
    }
    let hook = taiga_hook(BOARD, &endpoint(ingress, Source::Taiga, PROJECT), &secrets.taiga);
    let hook = world.hook(&BOARD.to_string(), hook);
    let [story, ..] = &told;
    world.sent(hook, Delivery::taiga(story).project(PROJECT), 503, missed, false);
}

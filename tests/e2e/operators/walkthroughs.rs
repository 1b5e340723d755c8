//! The outages of docs/operations.md, fixed with the commands that it names.

use std::path::Path;
use std::process::Output;

use anyhow::ensure;
use harness::eval::Reply;
use harness::paths::{scratch, workspace};
use harness::providers::board::Board;
use harness::providers::hooks::{endpoint, github_hook, taiga_hook};
use harness::providers::hub::Repo;
use harness::providers::{Providers, practice};
use harness::sender::{Delivery, Source, github};
use harness::servers::ports::free_port;
use harness::stack::{Options, Stack};
use serde_json::json;
use shared::time::now_ms;

use crate::observe::{push, send, stored};
use crate::operators::commands::{command, dead_letter_everything, dead_letters, everything, history, settled};
use crate::operators::replaying::fill;
use crate::pipeline::enrich;
use crate::{LONG, SOON};

/// The `worker …` lines under a heading of docs/operations.md, in order, without their comments.
fn written(heading: &str) -> Vec<String> {
    let text = std::fs::read_to_string(workspace().join("docs/operations.md")).unwrap();
    let section = text.split("\n### ").find_map(|section| section.strip_prefix(heading));
    let section = section.unwrap_or_else(|| panic!("docs/operations.md has no {heading:?}"));
    let lines = section.lines().map(str::trim).filter(|line| line.starts_with("worker "));
    lines.map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned()).collect()
}

/// Runs a line as it is written. Only where ingress listens is not where it usually does.
async fn run(stack: &Stack, line: &str) -> Output {
    let ingress = stack.ingress.webhooks();
    let mut args: Vec<&str> = line.split_whitespace().skip(1).collect();
    if args == ["doctor"] {
        args.extend(["--ingress-url", &ingress]);
    }
    command(stack, &args).await
}

/// Runs a line, which ends with this exit code; its answer.
async fn ends(stack: &Stack, line: &str, code: i32) -> String {
    let output = run(stack, line).await;
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert_eq!(output.status.code(), Some(code), "{line}: {out}{err}");
    out
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Lets the first ten events of the history arrive; gives the others.
async fn beginning(stack: &Stack) -> Vec<Delivery> {
    let mut before = history();
    let after = before.split_off(10);
    for delivery in &before {
        send(stack, delivery).await;
    }
    settled(stack).await;
    after
}

#[tokio::test]
async fn ingress_was_down_for_an_hour() {
    let steps = written("Ingress was down for an hour");
    let expected = [
        "worker doctor",
        "worker redeliver github --org upc-pes --since 3d",
        "worker redeliver taiga --slug mireia-marmota",
    ];
    assert_eq!(steps, expected);
    let providers = Providers::start().unwrap();
    let course = json!({ "github_token": "t", "taiga_user": "teacher", "taiga_password": "hush-hush" });
    // On a port that it comes back on: hooks lead there.
    let options = Options::default().env("BIND_ADDR", &format!("127.0.0.1:{}", free_port().unwrap()));
    let stack = enrich::stack(&providers, "ingress-down", &[("Team", course)], options).await;
    let after = beginning(&stack).await;

    let ingress = stack.ingress.webhooks();
    stack.ingress.process.kill().unwrap();
    ends(&stack, &steps[0], 1).await;
    // The providers get no answer, and remember that.
    let missed = {
        let mut world = providers.world();
        world.tokens = vec!["t".into()];
        world.accounts.insert("teacher".into(), "hush-hush".into());
        world.repos.insert("upc-pes/marmota".to_owned(), Repo::default());
        world.boards.insert("mireia-marmota".to_owned(), Board::new(31, "Marmota"));
        let secrets = stack.sender.secrets();
        let hook = |source| endpoint(&ingress, source, "Team");
        let github = world.hook("repos/upc-pes/marmota", github_hook(&hook(Source::Github), &secrets.github));
        let taiga = world.hook("31", taiga_hook(31, &hook(Source::Taiga), &secrets.taiga));
        let mut missed = 0;
        for delivery in &after {
            let (hook, answered) = match delivery.source {
                Source::Github => (github, 502),
                Source::Taiga => (taiga, 0),
                Source::Excel => continue,
            };
            world.sent(hook, delivery.clone(), answered, now_ms() - 3_600_000, false);
            missed += 1;
        }
        missed
    };
    stack.ingress.start_again().await.unwrap();
    ends(&stack, &steps[0], 0).await;
    // Rows are sent again from the sheet.
    for row in after.iter().filter(|delivery| delivery.source == Source::Excel) {
        send(&stack, row).await;
    }
    let asked = |table: String| {
        let numbers = |line: &str| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u64>>();
        // Hook, sent, delivered, asked again, refused.
        table.lines().skip(1).map(|line| numbers(line)[2]).sum::<u64>()
    };
    let again = async || {
        let mut sum = 0;
        for step in &steps[1..] {
            sum += asked(ends(&stack, step, 0).await);
        }
        sum
    };
    assert_eq!(again().await, missed);
    settled(&stack).await;
    assert_eq!(again().await, 0, "all of it has arrived");

    let undisturbed = Stack::start().await.unwrap();
    for delivery in history() {
        send(&undisturbed, &delivery).await;
    }
    settled(&undisturbed).await;
    // `ld_…` remembers places in the stream, which are others.
    let documents = async |stack: &Stack| {
        let mut all = everything(stack).await;
        all.retain(|line| !line.starts_with("ld_"));
        all
    };
    assert_eq!(documents(&stack).await, documents(&undisturbed).await, "as if nothing had happened");
    ends(&stack, &steps[0], 0).await;
}

#[tokio::test]
async fn mongodb_was_lost_and_restored_from_yesterday() {
    let steps = written("MongoDB was lost and restored from yesterday");
    let expected = ["worker doctor", "worker replay --since 2d --dry-run", "worker replay --since 2d", "worker doctor"];
    assert_eq!(steps, expected);
    let stack = Stack::start_with(Options { own_mongo: true, ..Options::default() }).await.unwrap();
    let mongo = stack.mongo.as_ref().unwrap();
    let after = beginning(&stack).await;
    // Yesterday's backup: the files of a mongod that is stopped.
    let files = scratch(&stack.prefix).unwrap().join("mongo/data");
    let backup = scratch(&format!("{}-backup", stack.prefix)).unwrap();
    assert!(mongo.process.stop(LONG).await.unwrap().success());
    copy(&files, &backup);
    mongo.start_again().await.unwrap();
    for delivery in &after {
        send(&stack, delivery).await;
    }
    settled(&stack).await;
    let whole = everything(&stack).await;

    mongo.process.kill().unwrap();
    std::fs::remove_dir_all(&files).unwrap();
    ends(&stack, &steps[0], 1).await;
    // What comes while it is away is accepted and waits.
    send(&stack, &push("Live", 1)).await;
    copy(&backup, &files);
    mongo.start_again().await.unwrap();
    stored(&stack, "Live", 1, LONG).await;
    assert_ne!(everything(&stack).await, whole, "the backup is older");
    let would = ends(&stack, &steps[1], 0).await;
    assert_eq!(would.trim(), format!("{} events would be processed", history().len() + 1));
    ends(&stack, &steps[2], 0).await;
    settled(&stack).await;
    assert_eq!(everything(&stack).await, whole);
    ends(&stack, &steps[3], 0).await;
}

#[tokio::test]
async fn ld_eval_was_down_for_a_weekend() {
    let steps = written("LD Eval was down for a weekend");
    let expected = [
        "worker doctor",
        "worker dead-letters list --reason eval_refused",
        "worker dead-letters redrive --reason eval_refused",
        "worker replay --since 3d",
    ];
    assert_eq!(steps, expected);
    let stack = Stack::start().await.unwrap();
    stack.eval.down();
    for n in 1..=3 {
        send(&stack, &push(&format!("Team{n}"), n)).await;
        stored(&stack, &format!("Team{n}"), 1, SOON).await;
    }
    ends(&stack, &steps[0], 1).await;
    stack.eval.up().unwrap();
    for n in 1..=3 {
        let notified = async || stack.eval.has_accepted(&format!("Team{n}"), ("push", github::LOGIN, None));
        stack.eventually("LD Eval is notified by itself", LONG, notified).await.unwrap();
    }

    stack.eval.reply(Reply::Status(400));
    send(&stack, &push("Team4", 4)).await;
    let refused = async || {
        ensure!(dead_letters(&stack).await.len() == 1, "it was not refused yet");
        Ok(())
    };
    stack.eventually("it is refused", SOON, refused).await.unwrap();
    stack.eval.reply(Reply::Accepted);
    let listed = ends(&stack, &steps[1], 0).await;
    assert_eq!(listed.lines().count(), 2, "{listed}");
    ends(&stack, &steps[2], 0).await;
    let notified = async || stack.eval.has_accepted("Team4", ("push", github::LOGIN, None));
    stack.eventually("LD Eval is notified after all", SOON, notified).await.unwrap();
    assert!(dead_letters(&stack).await.is_empty());

    settled(&stack).await;
    let before: Vec<_> = (1..=4).map(|n| stack.eval.accepted(&format!("Team{n}")).len()).collect();
    ends(&stack, &steps[3], 0).await;
    settled(&stack).await;
    for (n, before) in (1..=4).zip(before) {
        assert!(stack.eval.accepted(&format!("Team{n}")).len() > before, "Team{n} was not notified again");
        stored(&stack, &format!("Team{n}"), 1, SOON).await;
    }
}

#[tokio::test]
async fn a_bad_release_dead_lettered_500_events() {
    let steps = written("A bad release dead-lettered 500 events");
    let expected = [
        "worker dead-letters list --output json",
        "worker dead-letters show 1",
        "worker dead-letters redrive --id 1",
        "worker dead-letters redrive --reason unstorable --rate 200",
        "worker dead-letters list",
        "worker doctor",
    ];
    assert_eq!(steps, expected);
    let mut stack = Stack::start_with(Options { no_worker: true, ..Options::default() }).await.unwrap();
    fill(&stack, 0..500).await;
    dead_letter_everything(&stack).await;
    stack.add_worker().await.unwrap();
    send(&stack, &push("Live", 1)).await;
    stored(&stack, "Live", 1, LONG).await;

    let listed = ends(&stack, &steps[0], 0).await;
    assert_eq!(listed.lines().filter(|line| line.contains("\"reason\":\"unstorable\"")).count(), 500);
    let shown = ends(&stack, &steps[1], 0).await;
    assert!(shown.contains("LD-Dead-Reason: unstorable"), "{shown}");
    ends(&stack, &steps[2], 0).await;
    stored(&stack, "Team", 1, SOON).await;
    ends(&stack, &steps[3], 0).await;
    stored(&stack, "Team", 500, LONG).await;
    settled(&stack).await;
    let left = ends(&stack, &steps[4], 0).await;
    assert_eq!(left.lines().count(), 1, "only the heading: {left}");
    ends(&stack, &steps[5], 0).await;
}

#[tokio::test]
async fn what_asks_the_providers_is_run_as_it_is_written() {
    let providers = Providers::start().unwrap();
    let options = Options::default()
        .env("GITHUB_API_URL", &providers.github_url())
        .env("TAIGA_API_URL", &providers.taiga_url())
        .env("GITHUB_TOKEN", "a-token")
        .env("TAIGA_USERNAME", "teacher")
        .env("TAIGA_PASSWORD", "a-password");
    let mut stack = Stack::start_with(options).await.unwrap();
    practice::furnish(&providers, &stack.ingress.webhooks());
    let all = async |stack: &Stack, heading: &str| {
        let mut said = Vec::new();
        for line in written(heading) {
            said.push(ends(stack, &line, 0).await);
        }
        said.join("")
    };
    let redelivered = all(&stack, "Webhooks never reached us").await;
    assert!(redelivered.contains("orgs/upc-pes#") && redelivered.contains("mireia-marmota#"), "{redelivered}");
    let backfilled = all(&stack, "They are gone at the providers too, or a team comes late").await;
    assert!(backfilled.contains("pull_requests") && backfilled.contains("userstories"), "{backfilled}");
    // What `export` above them says.
    stack.env.insert("PUBLIC_URL".into(), "https://ld.example.edu".into());
    let hooks = all(&stack, "Hooks").await;
    assert_eq!(hooks.matches("created").count(), 2, "{hooks}");
    assert_eq!(hooks.matches("removed").count(), 2, "{hooks}");
}

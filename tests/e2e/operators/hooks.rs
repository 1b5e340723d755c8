//! `worker hooks`: our hooks are listed, created, fixed and removed; no other is changed.

use harness::providers::Providers;
use harness::providers::board::Board;
use harness::providers::hooks::{endpoint, github_hook, taiga_hook};
use harness::providers::hub::Repo;
use harness::sender::{Delivery, Source, github, taiga};
use harness::stack::{Options, Stack};
use serde_json::{Value, json};

use crate::SOON;
use crate::operators::commands::{command, done};
use crate::pipeline::enrich;

const OTHER: &str = "https://ci.example/webhook/github?prj=Team";

async fn start(providers: &Providers, name: &str) -> Stack {
    let course =
        |n: u32| json!({ "github_token": format!("t{n}"), "taiga_user": format!("teacher{n}"), "taiga_password": "p" });
    {
        let mut world = providers.world();
        world.tokens = vec!["t1".into(), "t2".into()];
        for n in 1..=2 {
            world.accounts.insert(format!("teacher{n}"), "p".into());
        }
        for name in ["upc-pes/marmota", "upc-pes/eina", "upc-amep/castor"] {
            world.repos.insert(name.to_owned(), Repo::default());
        }
        world.boards.insert("marmota".to_owned(), Board::new(31, "Marmota"));
        world.boards.insert("castor".to_owned(), Board::new(32, "Castor"));
    }
    enrich::stack(providers, name, &[("Team", course(1)), ("Other", course(2))], Options::default()).await
}

fn lines(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whose hooks there are, and where they lead.
fn hooks(providers: &Providers) -> Vec<(String, String)> {
    providers.world().hooks.iter().map(|hook| (hook.owner.clone(), hook.url().to_owned())).collect()
}

#[tokio::test]
async fn a_hook_of_github_is_created_once_and_fixed_and_works() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "hooks-github").await;
    let base = stack.ingress.webhooks();
    let url = endpoint(&base, Source::Github, "Team");
    let marmota = "repos/upc-pes/marmota";
    providers.world().hook(marmota, github_hook(OTHER, "x"));
    let common = ["--public-url", &base, "--output", "json"];
    let create = |more: &[&'static str]| {
        [&["hooks", "create", "github", "--org", "upc-pes", "--repo", "marmota", "--prj", "Team"], more].concat()
    };
    let state = async |more: &[&'static str]| {
        let said = done(&stack, &[&create(more)[..], &common[..]].concat()).await;
        lines(&said)[0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(&["--dry-run"]).await, "would be created");
    let planned = done(&stack, &[&create(&["--dry-run"])[..], &common[..2]].concat()).await;
    assert!(planned.contains(&format!("{marmota}  {url}  would be created")), "it has no number yet: {planned}");
    assert_eq!(hooks(&providers).len(), 1);
    assert_eq!(state(&[]).await, "created");
    assert_eq!(state(&[]).await, "right");
    assert_eq!(hooks(&providers), [(marmota.to_owned(), OTHER.to_owned()), (marmota.to_owned(), url.clone())]);

    // What GitHub sends through it is accepted: it has ingress's secret.
    let hook = providers.world().hooks.last().unwrap().id;
    let issue = Delivery::github("issues", &github::issue(1, "opened", "2026-11-23T17:00:00Z"));
    providers.world().sent(hook, issue, 0, shared::time::now_ms(), false);
    done(&stack, &["redeliver", "github", "--org", "upc-pes", "--prj", "Team"]).await;
    stack.eventually("it is stored", SOON, async || stack.document("github_Team.issues").await).await.unwrap();

    // A person's hand: the form content type, all events, no project, off.
    {
        let mut world = providers.world();
        let shown = &mut world.hooks.last_mut().unwrap().shown;
        shown["events"] = json!(["*"]);
        shown["active"] = json!(false);
        shown["config"] =
            json!({ "url": format!("{base}/webhook/github"), "content_type": "form", "insecure_ssl": "1" });
    }
    let listed = done(&stack, &[&["hooks", "list", "github"], &common[..]].concat()).await;
    let wrong = &lines(&listed)[0]["wrong"];
    assert_eq!(wrong, &json!(["url", "content type", "events", "inactive", "insecure", "no secret"]), "{listed}");
    assert_eq!(state(&["--dry-run"]).await, "would be fixed");
    assert_eq!(state(&[]).await, "fixed");
    assert_eq!(state(&["--quality-model", "AMEP"]).await, "fixed", "another quality model is another address");
    assert_eq!(state(&["--set-secret"]).await, "fixed");
    assert_eq!(state(&[]).await, "right", "it keeps its quality model");
    let table = done(&stack, &["hooks", "list", "github", "--org", "upc-pes", "--public-url", &base]).await;
    assert!(table.contains("quality_model=AMEP  right") && table.lines().count() == 2, "{table}");
    assert_eq!(hooks(&providers).len(), 2, "it is still one");
    assert_eq!(state(&["--no-quality-model"]).await, "fixed");
    assert_eq!(hooks(&providers)[1].1, url);

    let org = ["hooks", "create", "github", "--org", "upc-amep", "--prj", "Other"];
    done(&stack, &[&org[..], &common[..]].concat()).await;
    assert!(hooks(&providers).contains(&("orgs/upc-amep".to_owned(), endpoint(&base, Source::Github, "Other"))));
    providers.world().unseen_hooks.push("orgs/upc-pes".to_owned());
    let output =
        command(&stack, &["hooks", "create", "github", "--org", "upc-pes", "--prj", "Team", "--public-url", &base])
            .await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("admin:org_hook"), "{text}");
}

#[tokio::test]
async fn at_the_end_of_a_term_all_our_hooks_are_removed_and_no_others() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "hooks-delete").await;
    let base = stack.ingress.webhooks();
    {
        let mut world = providers.world();
        for (owner, project) in
            [("repos/upc-pes/marmota", "Team"), ("orgs/upc-pes", "Team"), ("repos/upc-amep/castor", "Other")]
        {
            world.hook(owner, github_hook(&endpoint(&base, Source::Github, project), "s"));
            world.hook(owner, github_hook(OTHER, "x"));
            // Another service on the same host.
            world.hook(owner, github_hook(&format!("{base}/ci/github"), "x"));
        }
        for (project, name) in [(31, "Team"), (32, "Other")] {
            world.hook(&project.to_string(), taiga_hook(project, &endpoint(&base, Source::Taiga, name), "s"));
            world.hook(&project.to_string(), taiga_hook(project, "https://chat.example/hook", "x"));
        }
    }
    let ours = || hooks(&providers).into_iter().filter(|(_, url)| url.starts_with(&format!("{base}/webhook"))).count();
    let delete = async |args: &[&str]| {
        done(&stack, &[&["hooks", "delete"], args, &["--public-url", &base, "--output", "json"]].concat()).await
    };
    assert_eq!(lines(&delete(&["github", "--all"]).await).len(), 3);
    assert_eq!(ours(), 5, "without --yes nothing is removed");
    assert_eq!(lines(&delete(&["github", "--prj", "Other", "--yes"]).await).len(), 1);
    assert_eq!(ours(), 4);
    let removed = lines(&delete(&["github", "--all", "--yes"]).await);
    assert!(removed.len() == 2 && removed.iter().all(|line| line["state"] == "removed"), "{removed:?}");
    assert_eq!(lines(&delete(&["taiga", "--all", "--yes"]).await).len(), 2);
    assert_eq!((ours(), hooks(&providers).len()), (0, 8), "{:?}", hooks(&providers));
    assert!(delete(&["github", "--all", "--yes"]).await.is_empty(), "a second time there is nothing to do");

    for (args, code, said) in [
        (&["hooks", "delete", "github", "--yes"][..], 2, "--prj"),
        (&["hooks", "delete", "github", "--all"][..], 2, "--public-url https://ld.example.edu"),
        (&["hooks", "list", "github", "--public-url", "ld.example.edu"][..], 2, "https://ld.example.edu"),
        (&["hooks", "list", "github", "--repo", "marmota"][..], 2, "--org"),
        (&["hooks", "list", "taiga", "--slug", "nothing", "--public-url", "https://x.example"][..], 1, "--slug"),
    ] {
        let output = command(&stack, args).await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: {text}");
    }
}

#[tokio::test]
async fn a_webhook_of_taiga_is_created_once_and_fixed_and_works() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "hooks-taiga").await;
    let base = stack.ingress.webhooks();
    let state = async || {
        let args = [
            "hooks",
            "create",
            "taiga",
            "--slug",
            "marmota",
            "--prj",
            "Team",
            "--public-url",
            &base,
            "--output",
            "json",
        ];
        lines(&done(&stack, &args).await)[0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!((state().await, state().await), ("created".to_owned(), "right".to_owned()));
    providers.world().hooks[0].shown["key"] = json!("what it was");
    assert_eq!((state().await, state().await), ("fixed".to_owned(), "right".to_owned()));
    let story = taiga::event("userstory", "create", "2026-11-23T17:00:00Z", taiga::userstory(1, "x"));
    let hook = providers.world().hooks[0].id;
    providers.world().sent(hook, Delivery::taiga(&story), 0, shared::time::now_ms(), false);
    done(&stack, &["redeliver", "taiga", "--slug", "marmota", "--prj", "Team"]).await;
    stack.eventually("it is stored", SOON, async || stack.document("taiga_Team.userstories").await).await.unwrap();
    let listed = async |more: &[&str]| {
        let list = ["hooks", "list", "taiga", "--public-url", &base, "--output", "json"];
        lines(&done(&stack, &[&list[..], more].concat()).await)[0]["state"].clone()
    };
    assert_eq!(listed(&[]).await, "right");
    assert_eq!(listed(&["--taiga-secret", "another"]).await, "wrong: secret", "Taiga shows the key");
    let key = stack.sender.secrets().taiga.clone();
    let changed = ["--taiga-secret", "another", "--taiga-secret-previous", &key];
    assert_eq!(listed(&changed).await, "wrong: old secret");
}

#[tokio::test]
async fn a_dry_run_says_beforehand_what_would_be_refused() {
    let providers = Providers::start().unwrap();
    let stack = start(&providers, "hooks-refused").await;
    let base = stack.ingress.webhooks();
    {
        let mut world = providers.world();
        world.scopes.extend(["t1", "t2"].map(|token| (token.to_owned(), "read:org, read:repo_hook")));
        world.hook("repos/upc-pes/eina", github_hook(&endpoint(&base, Source::Github, "Team"), "s"));
        world.boards.get_mut("marmota").unwrap().is_administered = false;
    }
    let github = ["hooks", "create", "github", "--org", "upc-pes", "--repo", "marmota", "--prj", "Team"];
    let fix = ["hooks", "create", "github", "--org", "upc-pes", "--repo", "eina", "--prj", "Team", "--set-secret"];
    let delete = ["hooks", "delete", "github", "--org", "upc-pes", "--prj", "Team"];
    let taiga = ["hooks", "create", "taiga", "--slug", "marmota", "--prj", "Team"];
    // Hooks are deleted one by one: 3 says that it was done in part.
    for (args, really, exit, said) in [
        (&github[..], None, 1, "admin:repo_hook"),
        (&fix, None, 1, "admin:repo_hook"),
        (&delete, Some("--yes"), 3, "admin:repo_hook"),
        (&taiga, None, 1, "does not administer the project"),
    ] {
        let run = async |last: &[&str]| {
            let output = command(&stack, &[args, last, &["--public-url", &base]].concat()).await;
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let before = providers.calls().len();
        let (code, text) = run(&["--dry-run"]).await;
        assert!(code == Some(exit) && text.contains(said), "{args:?}: {code:?} {text}");
        let asked = providers.calls().split_off(before);
        assert!(asked.iter().all(|call| call.method == "GET" || call.path == "/auth"), "a dry run changes nothing");
        let (code, text) = run(really.as_slice()).await;
        assert!(code == Some(exit) && text.contains("403"), "{args:?}: {code:?} {text}");
    }
    assert_eq!(hooks(&providers).len(), 1);
}

#[tokio::test]
async fn organisations_that_github_does_not_list_are_found_by_their_repositories_and_the_credentials_file() {
    let providers = Providers::start().unwrap();
    {
        let mut world = providers.world();
        world.tokens = vec!["classic".into(), "github_pat_fine".into()];
        world.scopes.insert("classic".to_owned(), "repo, admin:org_hook");
        world.repos.insert("upc-pes/marmota".to_owned(), Repo::default());
    }
    let courses = [
        ("Team", json!({ "github_token": "classic" })),
        ("Other", json!({ "github_token": "github_pat_fine", "github": { "Other": "upc-empty" } })),
    ];
    let stack = enrich::stack(&providers, "hooks-orgs", &courses, Options::default()).await;
    let base = stack.ingress.webhooks();
    for (org, project) in [("orgs/upc-pes", "Team"), ("orgs/upc-empty", "Other")] {
        providers.world().hook(org, github_hook(&endpoint(&base, Source::Github, project), "s"));
    }
    let output = command(&stack, &["hooks", "list", "github", "--public-url", &base, "--output", "json"]).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    let found: Vec<_> =
        lines(std::str::from_utf8(&output.stdout).unwrap()).iter().map(|line| line["owner"].clone()).collect();
    assert!(found.contains(&json!("orgs/upc-pes")) && found.contains(&json!("orgs/upc-empty")), "{found:?}");
    for course in ["course-of-Team", "course-of-Other"] {
        assert!(text.contains(&format!("organisations of the token of {course}")), "{text}");
    }
}

#[tokio::test]
async fn a_new_hook_has_the_quality_model_of_its_course() {
    let providers = Providers::start().unwrap();
    {
        let mut world = providers.world();
        world.tokens = vec!["t".into()];
        world.repos.insert("upc-pes/marmota".to_owned(), Repo::default());
    }
    let course = json!({ "github_token": "t", "quality_model": "AMEP" });
    let stack = enrich::stack(&providers, "hooks-model", &[("Team", course)], Options::default()).await;
    let base = stack.ingress.webhooks();
    done(&stack, &["hooks", "create", "github", "--org", "upc-pes", "--prj", "Team", "--public-url", &base]).await;
    let url = format!("{}&quality_model=AMEP", endpoint(&base, Source::Github, "Team"));
    assert_eq!(hooks(&providers), [("orgs/upc-pes".to_owned(), url)]);
}

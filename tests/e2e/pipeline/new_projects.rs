//! How many projects that nobody has listed may appear.

use anyhow::ensure;
use harness::paths;
use harness::stack::{Options, Stack};

use crate::LONG;
use crate::observe::{push, send, stored};

async fn dead(stack: &Stack, letters: usize) {
    let all = async || {
        let found = stack.dead_letters().await?;
        ensure!(found.len() == letters, "{} dead letters, not {letters}", found.len());
        let reason = |letter: &async_nats::jetstream::message::StreamMessage| {
            letter.headers.get("LD-Dead-Reason").map(|reason| reason.as_str().to_owned())
        };
        ensure!(found.iter().all(|letter| reason(letter).as_deref() == Some("too_many_projects")), "another reason");
        Ok(())
    };
    stack.eventually("the rest are dead letters", LONG, all).await.unwrap();
}

#[tokio::test]
async fn new_projects_beyond_the_bound_are_dead_letters_and_come_in_once_they_are_listed() {
    let file = paths::scratch("new-projects").unwrap().join("credentials.json");
    std::fs::write(&file, r#"{ "listed": { "teams": ["Listed"] } }"#).unwrap();
    let options = Options::default().env("NEW_PROJECTS_PER_HOUR", "3").env("CREDENTIALS_FILE", file.to_str().unwrap());
    let mut stack = Stack::start_with(options).await.unwrap();
    // Two workers share one bound.
    stack.add_worker().await.unwrap();
    for n in 0..5 {
        send(&stack, &push(&format!("New{n}"), n)).await;
    }
    dead(&stack, 2).await;
    send(&stack, &push("Listed", 10)).await;
    stored(&stack, "Listed", 1, LONG).await;
    // Those that are in stay in.
    let mut inside = Vec::new();
    for n in 0..5 {
        let name = format!("New{n}");
        if !stack.documents(&format!("github_{name}.commits")).await.unwrap().is_empty() {
            inside.push(name);
        }
    }
    assert_eq!(inside.len(), 3, "{inside:?}");
    send(&stack, &push(&inside[0], 20)).await;
    stored(&stack, &inside[0], 2, LONG).await;
    let teams: Vec<_> = (0..5).map(|n| format!("New{n}")).collect();
    std::fs::write(&file, serde_json::json!({ "listed": { "teams": teams } }).to_string()).unwrap();
    for name in teams.iter().filter(|name| !inside.contains(name)) {
        stored(&stack, name, 1, LONG).await;
    }
    dead(&stack, 0).await;
}

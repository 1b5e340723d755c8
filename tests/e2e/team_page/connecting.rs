//! A team connects its three sources, and sees each of them turn to yes.

use harness::sender::{Delivery, github, sheets, taiga};
use harness::stack::Stack;
use serde_json::{Value, json};

use super::{becomes, links, page, serving, source, two_teams};
use crate::observe::{push, send};

/// Correct but for its signature.
async fn forged(stack: &Stack, delivery: &Delivery) {
    let request = delivery.request(stack.sender.secrets()).with("x-hub-signature", &format!("sha1={}", "0".repeat(40)));
    assert_eq!(stack.sender.request(&request).await.unwrap().status, 403);
}

fn connected(team: &Value) -> Vec<&str> {
    let sources = team["sources"].as_array().unwrap();
    sources
        .iter()
        .filter(|source| source["connected"] == true)
        .map(|source| source["source"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn each_source_turns_to_yes_when_its_first_webhook_arrives() {
    let stack = serving("page-connecting", &two_teams(), &[]).await;
    let link = &links(&stack, &["--prj", "Ours"]).await["Ours"];
    let before = becomes(&stack, link, "nothing has come", |team| team["is_known"] == true).await;
    assert_eq!(connected(&before), [""; 0]);
    let url = "https://ld.example.edu/webhook/github?prj=Ours&quality_model=AMEP";
    assert_eq!(source(&before, "github")["payload_url"], url);
    let shown = page(&stack, link).await;
    assert!(shown.contains("Nothing is connected yet.") && shown.contains("Add webhook"), "{shown}");

    send(&stack, &Delivery::github("ping", &github::ping()).project("Ours")).await;
    becomes(&stack, link, "GitHub is connected", |team| connected(team) == ["github"]).await;
    let shown = page(&stack, link).await;
    assert!(shown.contains("GitHub: connected. Taiga, Google Sheets: not yet."), "{shown}");
    assert!(shown.contains("So address and secret are right.") && shown.contains("Now push a commit."), "{shown}");

    send(&stack, &Delivery::taiga(&taiga::test()).project("Ours")).await;
    becomes(&stack, link, "Taiga is connected", |team| connected(team) == ["github", "taiga"]).await;
    send(&stack, &Delivery::sheets(&sheets::row(1)).project("Ours")).await;
    send(&stack, &push("Ours", 1)).await;
    let all = becomes(&stack, link, "everything is stored", |team| {
        let stored = |name| !source(team, name)["last_stored"].is_null();
        connected(team).len() == 3 && stored("github") && stored("excel")
    })
    .await;
    assert_eq!(source(&all, "github")["last_stored"]["documents"][0]["kind"], "commits");
    let shown = page(&stack, link).await;
    assert!(shown.contains("All three are connected."), "{shown}");
}

#[tokio::test]
async fn a_refused_webhook_is_shown_with_what_to_do_and_a_forged_one_disconnects_nobody() {
    let stack = serving("page-refused", &two_teams(), &[]).await;
    let link = &links(&stack, &["--prj", "Ours"]).await["Ours"];
    for n in 0..2 {
        forged(&stack, &push("Ours", n)).await;
    }
    let refused =
        becomes(&stack, link, "the refusals are shown", |team| source(team, "github")["refused"][0]["times"] == 2)
            .await;
    let github = source(&refused, "github");
    assert_eq!((&github["connected"], github["refused"].as_array().unwrap().len()), (&json!(false), 1));
    assert_eq!(github["refused"][0]["reason"], "signature");
    assert_eq!(
        (&github["refused"][0]["is_verified"], &github["refused"][0]["delivery"]),
        (&json!(false), &Value::Null)
    );
    let shown = page(&stack, link).await;
    assert!(
        shown.contains("Refused 2 times") && shown.contains("Copy the secret again into the field “Secret”"),
        "{shown}"
    );

    send(&stack, &push("Ours", 1)).await;
    let fixed = becomes(&stack, link, "it is connected", |team| connected(team) == ["github"]).await;
    assert_eq!(source(&fixed, "github")["refused"][0]["is_open"], false);

    // Signed, and not what GitHub sends: the sender is known, and so is its delivery.
    let odd = push("Ours", 2).bytes("[]");
    assert_eq!(stack.sender.send(&odd).await.unwrap().status, 400);
    forged(&stack, &push("Ours", 3)).await;
    let both = becomes(&stack, link, "both refusals are shown", |team| {
        source(team, "github")["refused"].as_array().unwrap().iter().filter(|one| one["is_open"] == true).count() == 2
    })
    .await;
    let github = source(&both, "github");
    assert_eq!(github["connected"], true);
    let json = github["refused"].as_array().unwrap().iter().find(|one| one["reason"] == "json").unwrap();
    assert_eq!((&json["is_verified"], &json["delivery"]), (&json!(true), &json!(odd.id)));
}

#[tokio::test]
async fn a_page_says_nothing_of_another_team() {
    let stack = serving("page-others", &two_teams(), &[]).await;
    let both = links(&stack, &[]).await;
    send(&stack, &push("Ours", 1)).await;
    let theirs = push("Zebra", 2);
    send(&stack, &theirs).await;
    forged(&stack, &push("Zebra", 3)).await;
    let is_there = |team: &Value| {
        let github = source(team, "github");
        github["connected"] == true && github["refused"][0]["reason"] == "signature"
    };
    becomes(&stack, &both["Zebra"], "the other team's page shows its webhooks", is_there).await;
    let ours = becomes(&stack, &both["Ours"], "ours is stored", |team| !team["deliveries"][0].is_null()).await;
    assert_eq!((ours["deliveries"].as_array().unwrap().len(), &source(&ours, "github")["refused"]), (1, &json!([])));
    for text in [ours.to_string(), page(&stack, &both["Ours"]).await] {
        assert!(!text.contains("Zebra") && !text.contains(&theirs.id), "{text}");
    }
}

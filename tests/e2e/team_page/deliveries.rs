//! What became of each delivery.

use harness::eval::Reply;
use harness::sender::{Delivery, github};
use serde_json::{Value, json};

use super::{becomes, links, page, serving, two_teams};
use crate::observe::{push, send};

/// What became of the newest delivery.
fn newest(team: &Value) -> &Value {
    &team["deliveries"][0]["became"]
}

#[tokio::test]
async fn a_delivery_is_stored_then_notified_and_what_cannot_be_stored_says_why() {
    let stack = serving("page-became", &two_teams(), &[]).await;
    let link = &links(&stack, &["--prj", "Ours"]).await["Ours"];
    stack.eval.reply(Reply::Status(503));
    send(&stack, &push("Ours", 1)).await;
    becomes(&stack, link, "it is stored, and LD Eval does not answer", |team| {
        newest(team) == &json!({ "stored": "waiting" })
    })
    .await;
    stack.eval.reply(Reply::Accepted);
    let told = becomes(&stack, link, "LD Eval is notified", |team| newest(team) == &json!({ "stored": "yes" })).await;
    let documents = &told["deliveries"][0]["documents"];
    assert_eq!((&documents[0]["kind"], &documents[0]["count"]), (&json!("commits"), &json!(1)));

    send(&stack, &Delivery::github("push", &github::push(1_795_455_723, [])).project("Ours")).await;
    becomes(&stack, link, "a push without commits says nothing", |team| newest(team) == "nothing").await;

    let bad = json!({ "repository": { "full_name": "o/r" }, "commits": [{ "message": "no id" }] });
    send(&stack, &Delivery::github("push", &bad).project("Ours")).await;
    becomes(&stack, link, "it is a dead letter", |team| newest(team) == &json!({ "dead": "no_identity" })).await;
    let shown = page(&stack, link).await;
    for text in ["Not stored: it lacks an id.", "Nothing in it to store.", "Stored, and the dashboard knows."] {
        assert!(shown.contains(text), "{text} is not in {shown}");
    }
}

#[tokio::test]
async fn of_many_deliveries_the_last_twenty_are_shown_and_no_source_is_forgotten() {
    let stack = serving("page-many", &two_teams(), &[]).await;
    let link = &links(&stack, &["--prj", "Ours"]).await["Ours"];
    let row = Delivery::sheets(&harness::sender::sheets::row(1)).project("Ours");
    send(&stack, &row).await;
    let mut ids = Vec::new();
    for n in 0..25 {
        let push = push("Ours", n);
        send(&stack, &push).await;
        ids.push(push.id);
    }
    let shown = |team: &Value| {
        let deliveries = team["deliveries"].as_array().unwrap().iter();
        deliveries.map(|delivery| delivery["delivery"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let last: Vec<_> = ids.iter().rev().take(20).cloned().collect();
    let team = becomes(&stack, link, "the last twenty are shown", |team| shown(team) == last).await;
    assert_eq!(super::source(&team, "excel")["connected"], true);
}

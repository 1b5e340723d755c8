//! What became of each delivery.

use bson::doc;
use harness::eval::Reply;
use harness::sender::{Delivery, github, sheets};
use serde_json::{Value, json};
use shared::envelope::{self, Envelope};
use shared::ids::Project;
use shared::publish::{Outgoing, Publisher};
use shared::source::Source;

use super::{becomes, links, page, serving, source, two_teams};
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
async fn behind_a_blocked_collection_other_deliveries_are_shown_as_stored() {
    let stack = serving("page-blocked", &two_teams(), &[]).await;
    let link = &links(&stack, &["--prj", "Ours"]).await["Ours"];
    let view = doc! { "create": "github_Ours.issues", "viewOn": "elsewhere", "pipeline": [] };
    stack.db().await.unwrap().run_command(view).await.unwrap();
    let issue = Delivery::github("issues", &github::issue(1, "opened", "2026-11-23T17:42:03Z")).project("Ours");
    send(&stack, &issue).await;
    send(&stack, &push("Ours", 1)).await;
    let became = |team: &Value| [newest(team).clone(), team["deliveries"][1]["became"].clone()];
    let expected = [json!({ "stored": "yes" }), json!("processing")];
    becomes(&stack, link, "the push is stored and the issue is not", |team| became(team) == expected).await;
}

#[tokio::test]
async fn of_many_deliveries_the_last_twenty_are_shown_and_no_source_is_forgotten() {
    let stack = serving("page-many", &two_teams(), &[]).await;
    let link = &links(&stack, &["--prj", "Ours"]).await["Ours"];
    send(&stack, &Delivery::sheets(&sheets::row(1)).project("Ours")).await;
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
    assert_eq!(source(&team, "excel")["connected"], true);
}

#[tokio::test]
async fn the_newest_deliveries_are_found_behind_thousands_of_others() {
    let stack = serving("page-thousands", &two_teams(), &[]).await;
    let link = &links(&stack, &["--prj", "Ours"]).await["Ours"];
    send(&stack, &Delivery::sheets(&sheets::row(1)).project("Ours")).await;
    let project = Project::new("Ours").unwrap();
    let subject = format!("{}.ld.events.github.Ours.push", stack.prefix);
    // More than are read to begin with. As ingress publishes them.
    let push = |n: u64| {
        let envelope = Envelope {
            source: Source::Github,
            project: project.clone(),
            event: "push".into(),
            delivery: format!("n{n}"),
            quality_model: None,
            received_at: shared::time::now_ms(),
            traceparent: None,
            origin_sequence: None,
            read_at: None,
            payload: github::push(1, []).to_string().into(),
        };
        let (headers, payload) = envelope::encode(&envelope);
        Outgoing { subject: subject.clone(), headers, payload }
    };
    let publisher = Publisher::new(stack.jetstream().await.unwrap().client());
    publisher.publish_all((0..3_500).map(push).collect()).await.unwrap();
    let is_newest =
        |team: &Value| team["deliveries"][0]["delivery"] == "n3499" && team["deliveries"][0]["became"] == "nothing";
    let team = becomes(&stack, link, "the newest delivery is shown", is_newest).await;
    assert_eq!(
        (team["deliveries"].as_array().unwrap().len(), &team["deliveries"][19]["delivery"]),
        (20, &json!("n3480"))
    );
    assert_eq!(source(&team, "excel")["connected"], true, "it came before all of them");
}

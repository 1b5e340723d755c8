//! The pages of deliveries and dead letters: three clicks from an id to its story, and sending one again.

use anyhow::ensure;
use harness::process::log::field;
use harness::sender::delivery::Request;
use harness::sender::{Delivery, github};
use harness::stack::{Options, Stack};
use serde_json::json;

use crate::observe::send;
use crate::operators::commands::{dead_letters, settled};
use crate::{LONG, SOON};

const TOKEN: &str = "an-admin-token-of-32-characters-!";

/// A page in English; status and text.
async fn page(stack: &Stack, path: &str) -> (u16, String) {
    let separator = if path.contains('?') { '&' } else { '?' };
    stack.sender.get(&format!("{}{path}{separator}lang=en", stack.worker().admin())).await.unwrap()
}

/// A form as a browser posts it, followed to the page that it leads to.
async fn post(stack: &Stack, path: &str, token: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let request = Request {
        method: "POST".into(),
        path: format!("{path}?lang=en"),
        headers: form.iter().chain(headers).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: format!("token={token}").into(),
    };
    let answer = stack.sender.to(&stack.worker().admin()).request(&request).await.unwrap();
    (answer.status, answer.body.as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn from_an_id_to_its_story_it_is_one_form_and_no_personal_data_is_shown() {
    let stack = Stack::start().await.unwrap();
    let mut body = github::issue(7, "opened", "2026-11-23T17:00:00Z");
    body["issue"]["title"] = json!("A person wrote <this>");
    let delivery = Delivery::github("issues", &body);
    send(&stack, &delivery).await;
    settled(&stack).await;

    let (status, start) = stack.sender.get(&format!("{}/", stack.worker().admin())).await.unwrap();
    assert!(status == 200 && start.contains("action=\"/events\"") && start.contains("name=\"id\""), "{start}");
    // The form leads to the story, because only one delivery has this id.
    let (status, story) = page(&stack, &format!("/events?id={}", delivery.id)).await;
    assert_eq!(status, 200, "{story}");
    for part in [
        &delivery.id[..],
        "github_Team.issues",
        "issue_id 7",
        "shows this delivery",
        "LD-Received-At",
        "/events?prj=Team",
    ] {
        assert!(story.contains(part), "{part}: {story}");
    }
    assert!(!story.contains("A person wrote") && !story.contains(github::LOGIN), "{story}");
    assert!(!story.contains("ADMIN_TOKEN"), "without ADMIN_TOKEN nothing can be sent from here");

    let (_, team) = page(&stack, "/events?prj=Team").await;
    assert!(team.contains(&delivery.id) && team.contains("LD Eval notified"), "{team}");
    let (status, none) = page(&stack, "/events?id=no-such-<id>").await;
    assert!(status == 200 && none.contains("No delivery no-such-&lt;id&gt; is known"), "{none}");
    assert_eq!(page(&stack, "/events/1").await.0, 404);
    assert_eq!(page(&stack, "/dead-letters/1").await.0, 404);
    assert_eq!(post(&stack, "/events/1/resend", "", &[]).await.0, 404, "it is off");
}

#[tokio::test]
async fn sending_again_takes_the_token_and_our_own_page_and_is_logged() {
    let stack = Stack::start_with(Options::default().env("ADMIN_TOKEN", TOKEN)).await.unwrap();
    let delivery = Delivery::github("issues", &github::issue(7, "opened", "2026-11-23T17:00:00Z"));
    send(&stack, &delivery).await;
    let poison =
        Delivery::github("push", &json!({ "repository": { "full_name": "o/r" }, "commits": [{ "message": "x" }] }));
    send(&stack, &poison).await;
    settled(&stack).await;
    let told = |times: usize| {
        let stack = &stack;
        async move || {
            let accepted =
                stack.eval.accepted("Team").into_iter().filter(|told| told.text("event_type") == "issues").count();
            ensure!(accepted == times, "{accepted} of {times}");
            Ok(())
        }
    };
    stack.eventually("LD Eval is told", SOON, told(1)).await.unwrap();

    let (_, story) = page(&stack, &format!("/events?id={}", delivery.id)).await;
    let resend = story.split("action=\"").find(|part| part.contains("/resend")).unwrap();
    let resend = resend.split('?').next().unwrap().to_owned();
    let own = [("sec-fetch-site", "same-origin")];
    for (token, headers) in [
        ("", &own[..]),
        ("an-admin-token-of-32-characters-?", &own),
        (TOKEN, &[("sec-fetch-site", "cross-site")]),
        (TOKEN, &[("origin", "http://evil.example")]),
        (TOKEN, &[("origin", "null")]),
    ] {
        let (status, said) = post(&stack, &resend, token, headers).await;
        assert!(status == 403 && said.contains("Nothing was done"), "{token} {headers:?}: {status} {said}");
    }
    let (status, said) = post(&stack, &resend, TOKEN, &own).await;
    assert!(status == 200 && said.contains("It was sent again"), "{status} {said}");
    stack.eventually("LD Eval is told again", SOON, told(2)).await.unwrap();

    let letter = dead_letters(&stack).await.remove(0);
    let path = format!("/dead-letters/{}", letter["id"]);
    let (status, shown) = page(&stack, &path).await;
    assert!(status == 200 && shown.contains("no_identity") && shown.contains(&poison.id), "{shown}");
    let (status, _) = post(&stack, &format!("{path}/redrive"), TOKEN, &own).await;
    assert_eq!(status, 200);
    let again = async || {
        let now = dead_letters(&stack).await;
        ensure!(now.len() == 1 && now[0]["id"] == letter["id"] && now[0]["attempts"] == 2, "{now:#?}");
        Ok(())
    };
    stack.eventually("it failed again, as the same dead letter", LONG, again).await.unwrap();

    let events = stack.worker().process.log().events();
    let uses = |message: &str| {
        events.iter().filter(|event| field(event, "message").is_some_and(|said| said.contains(message))).count()
    };
    assert_eq!((uses("sent something again"), uses("refused to send")), (2, 5));
}

#[tokio::test]
async fn at_debug_each_station_of_a_delivery_is_one_line_with_its_id() {
    let stack = Stack::start_with(Options::default().env("LOG_LEVEL", "DEBUG")).await.unwrap();
    let delivery = Delivery::github("issues", &github::issue(7, "opened", "2026-11-23T17:00:00Z"));
    send(&stack, &delivery).await;
    let logged = async || {
        for (service, lines) in [
            (&stack.ingress, &["stored a webhook"][..]),
            (stack.worker(), &["wrote its documents", "settled an event", "notified LD Eval"]),
        ] {
            let events = service.process.log().events();
            for line in lines {
                let of_it = events.iter().filter(|event| field(event, "delivery.id") == Some(&delivery.id));
                let count =
                    of_it.filter(|event| field(event, "message").is_some_and(|said| said.starts_with(line))).count();
                ensure!(count == 1, "{count} lines of {line:?}: {}", service.process.log().tail());
            }
        }
        Ok(())
    };
    stack.eventually("its story is in the logs", SOON, logged).await.unwrap();
}

//! Look-ups at Taiga: a milestone's figures on its stories and tasks.

use anyhow::ensure;
use bson::{Bson, Document, doc};
use harness::providers::Providers;
use harness::providers::world::stats;
use harness::sender::{Delivery, taiga};
use harness::stack::Options;
use serde_json::{Value, json};

use crate::SOON;
use crate::pipeline::enrich::{notified, send, stack};

#[tokio::test]
async fn fifty_tasks_cost_one_login_and_one_look_up_and_a_401_a_login_more() {
    let providers = Providers::start().unwrap();
    let account = json!({ "taiga_user": "teacher", "taiga_password": "hush-hush" });
    let stack = stack(&providers, "taiga", &[("A", account)], Options::default()).await;
    {
        let mut world = providers.world();
        world.accounts.insert("teacher".into(), "hush-hush".into());
        world.milestones.insert(5, stats(&[3.0, 2.5], &[3.0], (4, 1), (9, 5)));
        world.milestones.insert(6, stats(&[1.0], &[], (2, 0), (3, 0)));
    }
    let date = |n: u64| format!("2026-11-23T17:{:02}:{:02}Z", n / 60, n % 60);
    let story = |n: u64, milestone: Option<i64>| {
        let mut story = taiga::userstory(1, "x");
        story["milestone"] = milestone.map_or(Value::Null, |id| taiga::milestone(id, "Sprint"));
        Delivery::taiga(&taiga::event("userstory", "change", &date(n), story))
    };
    let five = doc! {
        "milestone_total_points": 5.5, "milestone_closed_points": 3.0, "milestone_total_userstories": 4,
        "milestone_completed_userstories": 1, "milestone_total_tasks": 9, "milestone_completed_tasks": 5,
    };
    let shows = |document: &Document, figures: &Document| {
        figures.iter().try_for_each(|(name, value)| {
            ensure!(document.get(name) == Some(value), "{name} is {:?}, not {value}", document.get(name));
            Ok(())
        })
    };
    send(&stack, "A", story(0, Some(5))).await;
    for n in 1..=50 {
        let mut of = taiga::userstory(1, "x");
        of["milestone"] = taiga::milestone(5, "Sprint");
        let mut task = taiga::task(i64::try_from(n).unwrap(), "x", of);
        task["milestone"] = taiga::milestone(5, "Sprint");
        send(&stack, "A", Delivery::taiga(&taiga::event("task", "create", &date(n), task))).await;
    }
    let all_show = async || {
        let tasks = stack.documents("taiga_A.tasks").await?;
        ensure!(tasks.len() == 50, "{} tasks", tasks.len());
        tasks
            .iter()
            .chain([&stack.document("taiga_A.userstories").await?])
            .try_for_each(|document| shows(document, &five))
    };
    stack.eventually("all show the milestone's figures", SOON, all_show).await.unwrap();
    for event_type in ["userstory", "task"] {
        let again = async || notified(&stack, "A", event_type, 2);
        stack.eventually("LD Eval is notified again", SOON, again).await.unwrap();
    }
    let asked = || {
        let calls = providers.calls();
        let count = |path: &str| calls.iter().filter(|call| call.path == path).count();
        (count("/auth"), count("/milestones/5/stats"), count("/milestones/6/stats"))
    };
    assert_eq!(asked(), (1, 1, 0), "{:?}", providers.calls());

    providers.world().revoke("teacher");
    send(&stack, "A", story(60, Some(6))).await;
    let moved = async || {
        let six = doc! { "milestone_id": 6, "milestone_total_points": 1.0, "milestone_closed_points": 0, "milestone_total_tasks": 3 };
        shows(&stack.document("taiga_A.userstories").await?, &six)
    };
    stack.eventually("the story shows its new milestone's figures", SOON, moved).await.unwrap();
    assert_eq!(asked(), (2, 1, 2), "one was refused with 401: {:?}", providers.calls());

    send(&stack, "A", story(61, None)).await;
    let none = async || {
        let story = stack.document("taiga_A.userstories").await?;
        ensure!(story.get("milestone_id") == Some(&Bson::Null), "it is still in one");
        ensure!(!story.keys().any(|name| name.starts_with("milestone_total_")), "{story}");
        Ok(())
    };
    stack.eventually("a story in no milestone shows no figures", SOON, none).await.unwrap();
    let logs = format!("{:?}", stack.worker().process.log().events());
    assert!(!logs.contains("hush-hush") && !logs.contains("session-"), "a secret is in the log");
}

#[tokio::test]
async fn the_figures_of_a_milestone_that_a_story_left_are_looked_up_again() {
    let providers = Providers::start().unwrap();
    let account = json!({ "taiga_user": "teacher", "taiga_password": "hush-hush" });
    let stack = stack(&providers, "taiga-left", &[("A", account)], Options::default()).await;
    {
        let mut world = providers.world();
        world.accounts.insert("teacher".into(), "hush-hush".into());
        world.milestones.insert(5, stats(&[3.0], &[], (2, 0), (0, 0)));
        world.milestones.insert(6, stats(&[], &[], (0, 0), (0, 0)));
    }
    let story = |id: i64, action: &str, milestone: i64, date: &str| {
        let mut story = taiga::userstory(id, "x");
        story["milestone"] = taiga::milestone(milestone, "Sprint");
        Delivery::taiga(&taiga::event("userstory", action, date, story))
    };
    let stories_of_the_one_that_stays = async |count: i32| {
        let stories = stack.documents("taiga_A.userstories").await?;
        let stays = stories.iter().find(|story| story.get_i32("userstory_id").is_ok_and(|id| id == 2));
        let shown = stays.and_then(|story| story.get("milestone_total_userstories"));
        ensure!(shown == Some(&Bson::Int32(count)), "it shows {shown:?}");
        Ok(())
    };
    for id in [1, 2, 3] {
        send(&stack, "A", story(id, "create", 5, "2026-11-23T17:00:00Z")).await;
    }
    stack.eventually("figures are shown", SOON, async || stories_of_the_one_that_stays(2).await).await.unwrap();
    // Answers are kept a minute, by a worker that lives.
    stack.worker().restart(SOON).await.unwrap();
    providers.world().milestones.insert(5, stats(&[2.0], &[], (1, 0), (0, 0)));
    send(&stack, "A", story(1, "change", 6, "2026-11-23T17:01:00Z")).await;
    stack.eventually("one has moved away", SOON, async || stories_of_the_one_that_stays(1).await).await.unwrap();
    stack.worker().restart(SOON).await.unwrap();
    providers.world().milestones.insert(5, stats(&[1.0], &[], (0, 0), (0, 0)));
    send(&stack, "A", story(3, "delete", 5, "2026-11-23T17:02:00Z")).await;
    stack.eventually("one is deleted", SOON, async || stories_of_the_one_that_stays(0).await).await.unwrap();
}

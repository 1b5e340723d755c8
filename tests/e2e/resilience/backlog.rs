//! A large batch is written with other statements than a single event.

use bson::{Document, doc};
use harness::sender::{Delivery, taiga};
use harness::stack::Stack;

use crate::observe::send;
use crate::{LONG, only_ingress};

/// Tasks that exist, and as many of which the first event is a change.
const TASKS: i64 = 120;

/// The milestone that a third of the tasks leave.
const MILESTONE: i64 = 5;

#[tokio::test]
async fn a_backlog_ends_in_the_documents_that_single_events_end_in() {
    let mut stack = only_ingress().await;
    let db = stack.db().await.unwrap();
    for prj in ["Single", "Backlog"] {
        for id in 1..=TASKS {
            send_task(&stack, prj, "create", "2026-11-23T09:00:00Z", id, Some(MILESTONE)).await;
        }
    }
    work(&mut stack, "8000").await;
    for prj in ["Single", "Backlog"] {
        let tasks = db.collection::<Document>(&format!("taiga_{prj}.tasks"));
        let figures = doc! { "$set": { "milestone_total_points": 5.5, "_ld.figures": MILESTONE } };
        assert_eq!(tasks.update_many(doc! {}, figures).await.unwrap().modified_count, TASKS.unsigned_abs());
        // A state that is newer than what comes.
        let newer = doc! { "$set": { "subject": "newer", "_ld.order.t": 4_000_000_000_000_i64 } };
        assert_eq!(tasks.update_one(doc! { "task_id": 7 }, newer).await.unwrap().modified_count, 1);
    }
    for (prj, batch) in [("Single", "1"), ("Backlog", "8000")] {
        for id in 1..=2 * TASKS {
            let milestone = (id % 3 > 0).then_some(MILESTONE);
            send_task(&stack, prj, "change", "2026-11-23T10:00:00Z", id, milestone).await;
        }
        work(&mut stack, batch).await;
    }
    let single = shown(&stack, "Single").await;
    assert_eq!(shown(&stack, "Backlog").await, single);
    assert_eq!(single.len() as i64, 2 * TASKS);
    let with_figures = single.iter().filter(|task| task.contains_key("milestone_total_points")).count();
    assert_eq!(with_figures as i64, TASKS * 2 / 3, "of those that existed and stayed in the milestone");
    let newer = single.iter().filter(|task| task.get_str("subject").is_ok_and(|subject| subject == "newer")).count();
    assert_eq!(newer, 1, "the newer state was replaced");
}

/// An event of a task, which contains its story.
async fn send_task(stack: &Stack, prj: &str, action: &str, date: &str, id: i64, milestone: Option<i64>) {
    let milestone = milestone.map(|id| taiga::milestone(id, "Sprint"));
    let mut story = taiga::userstory(1_000 + id % 3, "story");
    story["milestone"] = milestone.clone().into();
    let mut task = taiga::task(id, action, story);
    task["milestone"] = milestone.into();
    send(stack, &Delivery::taiga(&taiga::event("task", action, date, task)).project(prj)).await;
}

/// A worker processes everything, in batches of this size, and stops.
async fn work(stack: &mut Stack, batch: &str) {
    stack.env.insert("WORKER_BATCH".to_owned(), batch.to_owned());
    stack.add_worker().await.unwrap();
    stack.eventually("nothing is left to do", LONG, async || stack.nothing_pending().await).await.unwrap();
    assert!(stack.workers.pop().unwrap().process.stop(LONG).await.unwrap().success());
}

/// A project's tasks, as LD Eval reads them.
async fn shown(stack: &Stack, prj: &str) -> Vec<Document> {
    let mut tasks = stack.documents(&format!("taiga_{prj}.tasks")).await.unwrap();
    for task in &mut tasks {
        task.remove("_ld");
        task.remove("prj");
    }
    tasks.sort_by_key(|task| task.get_i32("task_id").unwrap());
    tasks
}

//! Some two hundred connections, byte by byte, of which most are wrong.
//!
//! Each gets the documented answer or a clean refusal, a 4xx or the end of its connection; none
//! gets a 500, none brings ingress down, and nothing of a refused request is in the stream afterwards. Each
//! case has a project of its own, so that a message in the stream names its case.

mod bodies;
mod case;
mod framing;
mod projects;
mod signatures;
mod timing;

use std::collections::BTreeMap;
use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _};
use harness::eventually::Alive as _;
use harness::paths::scratch;
use harness::sender::{Delivery, github};
use harness::stack::{Options, Stack};

use self::case::{Cases, MARK, OTHER_COURSE, OTHER_SECRET, PREVIOUS, SHEETS};
use crate::SOON;

/// How many connections at once; the slow ones would otherwise wait for each other.
const AT_ONCE: usize = 24;

/// How many messages each project has in the stream.
async fn published(stack: &Stack) -> BTreeMap<String, u64> {
    let stream = stack.stream("LD_EVENTS").await.unwrap();
    let subjects: Vec<(String, usize)> = stream.info_with_subjects(">").await.unwrap().try_collect().await.unwrap();
    let mut projects = BTreeMap::new();
    for (subject, messages) in subjects {
        let project = subject.rsplit('.').nth(1).unwrap().to_owned();
        *projects.entry(project).or_default() += messages as u64;
    }
    projects
}

#[tokio::test]
async fn no_wrong_request_gets_a_500_or_a_crash_or_is_published() {
    let file = scratch("raw_socket").unwrap().join("credentials.json");
    let courses = serde_json::json!({ "other": { "teams": [OTHER_COURSE], "github_secret": OTHER_SECRET } });
    std::fs::write(&file, courses.to_string()).unwrap();
    let options = Options { no_worker: true, ..Options::default() }
        .env("EXCEL_SECRET", SHEETS)
        .env("GITHUB_SECRET_PREVIOUS", PREVIOUS)
        .env("CREDENTIALS_FILE", file.to_str().unwrap());
    let stack = Stack::start_with(options).await.unwrap();
    let mut cases = Cases::default();
    signatures::add(&mut cases);
    bodies::add(&mut cases);
    projects::add(&mut cases);
    framing::add(&mut cases);
    timing::add(&mut cases);
    let cases = cases.all;
    assert!(cases.len() >= 200, "{} cases", cases.len());

    let address = stack.ingress.webhooks_addr();
    let run = futures::stream::iter(&cases).map(|case| async move { case.run(address).await.err() });
    let mut failed: Vec<_> = run.buffer_unordered(AT_ONCE).filter_map(|failure| async { failure }).collect().await;
    stack.check().unwrap();

    let begin = Instant::now();
    let good = Delivery::github("push", &github::push(1_795_455_723, [github::commit(&github::sha(1), "after")]));
    let answer = stack.sender.send(&good.project("Afterwards")).await.unwrap();
    assert_eq!(answer.status, 200, "a good delivery afterwards: {}", answer.body);
    assert!(begin.elapsed() < SOON / 4, "a good delivery afterwards took {:?}", begin.elapsed());

    let mut expected: BTreeMap<String, u64> = [("Afterwards".to_owned(), 1)].into();
    for case in &cases {
        for project in &case.published {
            *expected.entry(project.clone()).or_default() += 1;
        }
    }
    let found = published(&stack).await;
    for (project, messages) in &found {
        if expected.get(project) != Some(messages) {
            let name = cases.iter().find(|case| case.project == *project).map_or("?", |case| &case.name);
            failed.push(format!("{name}: {messages} messages of {project} were published"));
        }
    }
    for (project, _) in expected.iter().filter(|(project, _)| !found.contains_key(*project)) {
        let name = cases.iter().find(|case| case.project == *project).map_or("?", |case| &case.name);
        failed.push(format!("{name}: nothing of {project} was published"));
    }
    let log = stack.ingress.process.log().lines().join("\n");
    for word in ["panicked", "\"ERROR\"", "because of a bug", MARK] {
        if log.contains(word) {
            failed.push(format!("the log says {word:?}"));
        }
    }
    failed.sort();
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

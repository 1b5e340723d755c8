//! What is sent: a fixed number of requests a second, of every kind.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use harness::sender::{Delivery, Request, Secrets, Sender, github, sheets, taiga};
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

/// How many entities of each kind there are: later requests update them.
const ENTITIES: u64 = 2_000;

/// Over how many projects.
const PROJECTS: u64 = 20;

/// Every so many requests is a push of a commit that is new, to be looked up: fewer than GitHub's 5,000 an hour.
const NEW_COMMIT: u64 = 800;

/// How many deliveries are remembered to be sent again.
const MEMORY: usize = 500;

/// How many requests there were, by status; 0 without an answer.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(crate) struct Answers(BTreeMap<u16, u64>);

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.0.iter().map(|(status, count)| format!("{status}: {count}"));
        f.write_str(&each.collect::<Vec<_>>().join(", "))
    }
}

/// A load that runs until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<Answers>>,
}

impl Load {
    /// Sends `rate` requests a second, whatever becomes of them.
    pub(crate) fn start(to: &str, rate: u64) -> anyhow::Result<Self> {
        let sender = Sender::new(to, Secrets::default())?;
        let stop = Arc::<AtomicBool>::default();
        let task = tokio::spawn(run(sender, rate, Arc::clone(&stop)));
        Ok(Self { stop, task })
    }

    /// Waits for what is under way.
    pub(crate) async fn stop(self) -> anyhow::Result<Answers> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

async fn run(sender: Sender, rate: u64, stop: Arc<AtomicBool>) -> anyhow::Result<Answers> {
    let answers = Arc::<Mutex<Answers>>::default();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(rate)?);
    let mut earlier: VecDeque<Request> = VecDeque::new();
    let mut under_way = JoinSet::new();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        while under_way.try_join_next().is_some() {}
        n += 1;
        let request = request(n, sender.secrets(), &mut earlier);
        let (sender, answers) = (sender.clone(), Arc::clone(&answers));
        under_way.spawn(async move {
            let status = sender.request(&request).await.map_or(0, |answer| answer.status);
            *answers.lock().unwrap_or_else(PoisonError::into_inner).0.entry(status).or_default() += 1;
        });
    }
    while under_way.join_next().await.is_some() {}
    let answers = answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(answers)
}

/// The request of this number: of twenty, two are sent again and three are refused or ignored.
fn request(n: u64, secrets: &Secrets, earlier: &mut VecDeque<Request>) -> Request {
    let again = || earlier.get(n as usize % earlier.len().max(1)).cloned();
    match n % 20 {
        17 | 18 if !earlier.is_empty() => again().unwrap_or_else(|| delivery(n).request(secrets)),
        19 => delivery(n).request(secrets).with("x-hub-signature-256", "sha256=0").with("x-sheets-signature", "x"),
        3 => Delivery::github("star", &json!({ "action": "created" })).request(secrets),
        7 => Delivery::taiga(&json!([])).request(secrets),
        _ => {
            let request = delivery(n).request(secrets);
            earlier.push_back(request.clone());
            if earlier.len() > MEMORY {
                earlier.pop_front();
            }
            request
        }
    }
}

fn delivery(n: u64) -> Delivery {
    // Odd, so that each kind comes to each entity.
    let entity = n.wrapping_mul(7_919) % ENTITIES;
    let (id, at) = (entity as i64, shared::time::rfc3339(shared::time::now_ms()));
    let action = if n < ENTITIES { "create" } else { "change" };
    let in_milestone = |mut item: serde_json::Value| {
        item["milestone"] = taiga::milestone(id % 5, "Sprint");
        item
    };
    let delivery = match n % 8 {
        0 => {
            let commit = if n.is_multiple_of(NEW_COMMIT) { n } else { entity };
            Delivery::github("push", &github::push(1_795_455_723, [github::commit(&github::sha(commit), "Task #1")]))
        }
        1 => Delivery::github("issues", &github::issue(entity, "edited", &at)),
        2 => Delivery::github("pull_request", &github::pull_request(entity, "closed", &at)).form(),
        3 => Delivery::taiga(&taiga::event("userstory", action, &at, in_milestone(taiga::userstory(id, "A story")))),
        4 => {
            let task = taiga::task(id, "A task", taiga::userstory(id % 300, "Its story"));
            Delivery::taiga(&taiga::event("task", action, &at, in_milestone(task)))
        }
        5 => Delivery::taiga(&taiga::event("issue", action, &at, taiga::issue(id, "An issue"))),
        6 => Delivery::taiga(&taiga::event("epic", action, &at, taiga::epic(id, "An epic"))),
        _ => Delivery::sheets(&sheets::row(entity)),
    };
    delivery.project(&format!("Soak{:02}", entity % PROJECTS))
}

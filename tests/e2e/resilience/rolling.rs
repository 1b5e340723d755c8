//! Processes are stopped and started while work comes in, and no sender gets an error.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use async_nats::jetstream::AckKind;
use futures::StreamExt as _;
use harness::eventually::{Alive as _, eventually};
use harness::paths::scratch;
use harness::process::Signal;
use harness::sender::github;
use harness::stack::{Binary, Options, Service, Stack};
use shared::envelope::{self, Envelope};
use shared::ids::Project;
use shared::publish::{Outgoing, Publisher};
use shared::source::Source;

use crate::observe::{becomes_ready, push, send, stored};
use crate::{LONG, SOON};

/// The grace time of the processes here.
const GRACE: Duration = Duration::from_secs(10);

/// What a process may take beyond its grace time to be gone: the machine may be busy.
const LEAVE: Duration = Duration::from_secs(2);

/// Much less than the ack wait: what arrives within it was negative-acknowledged, not left in flight.
const AT_ONCE: Duration = Duration::from_secs(5);

fn options() -> Options {
    Options::default().env("SHUTDOWN_GRACE", &format!("{}s", GRACE.as_secs()))
}

/// `SIGTERM`; it ends with 0 in time.
async fn stops_in_time(service: &Service) {
    let begin = Instant::now();
    let status = service.process.stop(GRACE + LEAVE).await.unwrap();
    assert!(status.success(), "{} ended with {status}:\n{}", service.process.name(), service.process.log().tail());
    assert!(begin.elapsed() < GRACE + LEAVE);
}

/// One of two ingresses, as a load balancer sees it.
struct Target<'a> {
    service: &'a Service,
    /// It was not asked to stop.
    live: AtomicBool,
    /// How often it was asked to stop, to tell a request that a stop overlapped.
    stops: AtomicU64,
}

/// Senders that always find a live ingress, and what became of their deliveries.
struct Load<'a> {
    stack: &'a Stack,
    targets: [Target<'a>; 2],
    next: AtomicU64,
    accepted: Mutex<BTreeSet<String>>,
    over: AtomicBool,
}

impl<'a> Load<'a> {
    fn new(stack: &'a Stack, services: [&'a Service; 2]) -> Self {
        let targets = services.map(|service| Target { service, live: true.into(), stops: 0.into() });
        Self { stack, targets, next: 0.into(), accepted: Mutex::default(), over: false.into() }
    }

    /// One sender, until the load is over. An error is a broken promise.
    async fn send(&self) -> anyhow::Result<()> {
        let mut pace = tokio::time::interval(Duration::from_millis(40));
        while !self.over.load(Ordering::SeqCst) {
            pace.tick().await;
            let n = self.next.fetch_add(1, Ordering::SeqCst);
            let delivery = push("Team", n);
            // Its sender tries the other ingress where a stopping one hung up.
            while !self.attempt(n, &delivery).await? {}
            self.accepted.lock().unwrap().insert(github::sha(n));
        }
        Ok(())
    }

    /// Whether it was accepted; `false` when the ingress hung up that had been asked to stop.
    async fn attempt(&self, n: u64, delivery: &harness::sender::Delivery) -> anyhow::Result<bool> {
        let preferred = usize::try_from(n % 2)?;
        let live = |index: &usize| self.targets[*index].live.load(Ordering::SeqCst);
        let index = [preferred, 1 - preferred].into_iter().find(live).context("no ingress is live")?;
        let target = &self.targets[index];
        let stops = target.stops.load(Ordering::SeqCst);
        let answer = self.stack.sender.to(&target.service.webhooks()).send(delivery).await;
        let undisturbed = target.live.load(Ordering::SeqCst) && target.stops.load(Ordering::SeqCst) == stops;
        match answer {
            Ok(answer) => {
                ensure!(
                    answer.status == 200,
                    "{} answered {} {}",
                    target.service.process.name(),
                    answer.status,
                    answer.body
                );
                Ok(true)
            }
            Err(error) if undisturbed => Err(error.context(format!("{} was live", target.service.process.name()))),
            Err(_) => Ok(false),
        }
    }

    /// Waits until that many more deliveries were accepted.
    async fn goes_on(&self, more: usize) {
        let wanted = self.accepted.lock().unwrap().len() + more;
        let accepted = async || {
            let accepted = self.accepted.lock().unwrap().len();
            ensure!(accepted >= wanted, "{accepted} of {wanted} were accepted");
            Ok(())
        };
        self.stack.eventually("the load goes on", SOON, accepted).await.unwrap();
    }

    /// Restarts every ingress and every worker, one after the other.
    async fn roll(&self) {
        self.goes_on(50).await;
        for target in &self.targets {
            target.stops.fetch_add(1, Ordering::SeqCst);
            target.live.store(false, Ordering::SeqCst);
            stops_in_time(target.service).await;
            self.goes_on(20).await;
            target.service.start_again().await.unwrap();
            becomes_ready(self.stack, target.service).await;
            target.live.store(true, Ordering::SeqCst);
            self.goes_on(20).await;
        }
        for worker in &self.stack.workers {
            stops_in_time(worker).await;
            self.goes_on(20).await;
            worker.start_again().await.unwrap();
            becomes_ready(self.stack, worker).await;
        }
        self.goes_on(20).await;
        self.over.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn rolling_restarts_under_load_lose_nothing_and_answer_no_request_with_an_error() {
    let mut stack = Stack::start_with(options()).await.unwrap();
    stack.add_worker().await.unwrap();
    let dir = scratch("second-ingress").unwrap();
    let second = Service::start(Binary::Ingress, "second-ingress", &dir, stack.env.clone()).await.unwrap();
    becomes_ready(&stack, &second).await;
    let load = Load::new(&stack, [&stack.ingress, &second]);
    let senders = futures::future::try_join_all((0..4).map(|_| load.send()));
    let ((), sent) = tokio::join!(load.roll(), senders);
    sent.unwrap();
    second.check().unwrap();
    let accepted = load.accepted.lock().unwrap().clone();
    let all_there = async || {
        let commits = stack.documents("github_Team.commits").await?;
        ensure!(commits.len() == accepted.len(), "{} of {} are stored", commits.len(), accepted.len());
        let found: BTreeSet<_> =
            commits.iter().map(|commit| commit.get_str("sha").unwrap_or_default().to_owned()).collect();
        ensure!(found == accepted, "other commits are stored than were accepted");
        stack.nothing_pending().await
    };
    // Nothing was left lying until the ack wait was over, either.
    stack.eventually("everything is stored once", AT_ONCE, all_there).await.unwrap();
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}

/// Puts many pushes into the stream at once, as a backlog.
async fn backlog(stack: &Stack, events: u64) {
    let publisher = Publisher::new(async_nats::connect(&stack.nats_url).await.unwrap());
    let subject = format!("{}.ld.events.github.Team.push", stack.prefix);
    let outgoing = (0..events).map(|n| {
        let delivery = push("Team", n);
        let envelope = Envelope {
            source: Source::Github,
            project: Project::new("Team").unwrap(),
            event: "push".to_owned(),
            delivery: delivery.id,
            quality_model: None,
            received_at: 0,
            traceparent: None,
            origin_sequence: None,
            read_at: None,
            payload: delivery.json,
        };
        let (headers, payload) = envelope::encode(&envelope);
        Outgoing { subject: subject.clone(), headers, payload }
    });
    publisher.publish_all(outgoing.collect()).await.unwrap();
}

/// A pull gets everything that is not in flight; then it negative-acknowledges it.
async fn all_was_released(stack: &Stack) {
    let handed_back = async || {
        let consumer = stack.consumer().await?;
        let in_flight = consumer.cached_info().num_ack_pending;
        if in_flight == 0 {
            return Ok(());
        }
        let mut taken = consumer.fetch().max_messages(in_flight).messages().await?;
        let mut again = 0;
        while let Some(message) = taken.next().await {
            let message = message.map_err(anyhow::Error::from_boxed)?;
            again += usize::from(message.info().map_err(anyhow::Error::from_boxed)?.delivered > 1);
            message.double_ack_with(AckKind::Nak(None)).await.map_err(anyhow::Error::from_boxed)?;
        }
        ensure!(again == in_flight, "of {in_flight} events in flight {again} were handed back");
        Ok(())
    };
    // Not the worker but the server's bookkeeping may need a moment.
    eventually("everything in flight was handed back", AT_ONCE, &(), handed_back).await.unwrap();
}

#[tokio::test]
async fn a_stopping_worker_leaves_nothing_lying_in_the_middle_of_a_backlog() {
    const EVENTS: u64 = 1_500;
    // Small batches: a stop meets many pulls and many writes.
    let stack = Stack::start_with(options().env("WORKER_BATCH", "40")).await.unwrap();
    let worker = stack.worker();
    worker.process.kill().unwrap();
    backlog(&stack, EVENTS).await;
    let settled = async || anyhow::Ok(stack.consumer().await?.cached_info().ack_floor.consumer_sequence);
    for _ in 0..3 {
        let before = settled().await.unwrap_or(0);
        worker.start_again().await.unwrap();
        let working = async || {
            let now = settled().await?;
            ensure!(now > before, "it has settled nothing since {before}");
            Ok(())
        };
        stack.eventually("the worker is in the middle of it", SOON, working).await.unwrap();
        stops_in_time(worker).await;
        all_was_released(&stack).await;
    }
    worker.start_again().await.unwrap();
    stored(&stack, "Team", EVENTS as usize, LONG).await;
    stack.eventually("nothing is left to do", SOON, async || stack.nothing_pending().await).await.unwrap();
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}

#[tokio::test]
async fn a_worker_stopped_while_mongodb_is_frozen_releases_its_events_within_the_grace_time() {
    let stack = Stack::start_with(Options { own_mongo: true, ..options() }).await.unwrap();
    let mongo = stack.mongo.as_ref().unwrap();
    mongo.process.freeze().unwrap();
    for n in 0..20 {
        send(&stack, &push("Team", n)).await;
    }
    let taken = async || {
        let taken = stack.consumer().await?.cached_info().num_ack_pending;
        ensure!(taken > 0, "no event was taken");
        Ok(())
    };
    stack.eventually("the worker has taken events", SOON, taken).await.unwrap();
    stops_in_time(stack.worker()).await;
    all_was_released(&stack).await;
    mongo.process.thaw().unwrap();
    stack.worker().start_again().await.unwrap();
    stored(&stack, "Team", 20, AT_ONCE).await;
    assert_eq!(stack.messages("LD_DEAD").await.unwrap(), 0);
}

#[tokio::test]
async fn both_processes_stop_within_the_grace_time_while_nats_is_away() {
    let stack = Stack::start_with(Options { own_nats: true, ..options() }).await.unwrap();
    let nats = stack.nats.as_ref().unwrap();
    let services = [&stack.ingress, stack.worker()];
    for frozen in [false, true] {
        for service in services {
            becomes_ready(&stack, service).await;
        }
        if frozen {
            nats.process.freeze().unwrap()
        } else {
            nats.process.kill().unwrap()
        }
        // A second stop would be the hard one; both get one, and stop side by side.
        tokio::join!(stops_in_time(services[0]), stops_in_time(services[1]));
        if frozen {
            nats.process.thaw().unwrap()
        } else {
            nats.start_again().await.unwrap()
        }
        for service in services {
            service.start_again().await.unwrap();
        }
    }
    // And a stop that is asked for twice is the hard one, with the same end.
    stack.worker().process.signal(Signal::Stop).unwrap();
    stops_in_time(stack.worker()).await;
}

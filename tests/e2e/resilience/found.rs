//! Existing streams and consumers with foreign settings: repaired, or not ready with what to do.

use std::time::Duration;

use anyhow::ensure;
use async_nats::datetime;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use harness::paths;
use harness::sender::{Delivery, taiga};
use harness::servers::nats::{self, NatsServer};
use harness::servers::ports;
use harness::stack::{Options, Stack};
use shared::config::StreamArgs;
use shared::topology::{StreamName, Topology};

use crate::observe::{becomes_ready, becomes_unready, flows, push, send, stays_calm, stored};
use crate::operators::commands::command;
use crate::{LONG, SOON};

/// Longer than a request to JetStream waits for its answer.
const SLOW: Duration = Duration::from_secs(8);

fn events() -> stream::Config {
    stream::Config {
        name: "LD_EVENTS".into(),
        subjects: vec!["ld.events.>".into()],
        duplicate_window: Duration::from_secs(120),
        ..stream::Config::default()
    }
}

async fn with(stream: stream::Config, no_worker: bool) -> Stack {
    Stack::start_with(Options { streams: vec![stream], no_worker, ..Options::default() }).await.unwrap()
}

#[tokio::test]
async fn a_stream_that_would_drop_events_is_repaired_before_the_first_is_accepted() {
    let found = stream::Config { discard: DiscardPolicy::Old, max_messages: 5, max_message_size: 4096, ..events() };
    let stack = with(found, true).await;
    for n in 0..38 {
        send(&stack, &push("Team", n)).await;
    }
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 38);
    let config = stack.stream("LD_EVENTS").await.unwrap().cached_info().config.clone();
    assert_eq!(config.duplicate_window, shared::topology::DUPLICATE_WINDOW);
    assert_eq!((config.discard, config.max_messages, config.max_message_size), (DiscardPolicy::New, -1, -1));
}

#[tokio::test]
async fn settings_that_are_changed_under_running_processes_are_repaired() {
    let stack = Stack::start().await.unwrap();
    flows(&stack, 1).await;
    let jetstream = stack.jetstream().await.unwrap();
    for name in ["LD_EVENTS", "LD_NOTIFY"] {
        let mut config = stack.stream(name).await.unwrap().cached_info().config.clone();
        config.max_messages = 5;
        config.discard = DiscardPolicy::Old;
        jetstream.update_stream(config).await.unwrap();
    }
    let is_repaired = async || {
        for name in ["LD_EVENTS", "LD_NOTIFY"] {
            ensure!(stack.stream(name).await?.cached_info().config.max_messages == -1, "{name} is limited");
        }
        Ok(())
    };
    stack.eventually("the limit is gone", LONG, is_repaired).await.unwrap();
    flows(&stack, 2).await;
}

#[tokio::test]
async fn what_an_operator_narrows_on_a_full_disk_stays_and_settled_events_make_room() {
    let stack = Stack::start().await.unwrap();
    for n in 0..60 {
        send(&stack, &push("Team", n)).await;
    }
    stored(&stack, "Team", 60, LONG).await;
    let mut config = stack.stream("LD_EVENTS").await.unwrap().cached_info().config.clone();
    let bytes = stack.stream("LD_EVENTS").await.unwrap().cached_info().state.bytes;
    config.max_bytes = i64::try_from(bytes / 2).unwrap();
    stack.jetstream().await.unwrap().update_stream(&config).await.unwrap();
    let has_room = async || {
        let info = stack.stream("LD_EVENTS").await?.cached_info().clone();
        ensure!(info.config.max_bytes == config.max_bytes, "it was widened to {}", info.config.max_bytes);
        ensure!(info.state.bytes < bytes / 2, "{} of {bytes} bytes are left", info.state.bytes);
        Ok(())
    };
    stack.eventually("settled events went", LONG, has_room).await.unwrap();
    flows(&stack, 1).await;
    has_room().await.unwrap();
}

/// Not ready with what to do, nothing accepted, and well again once the stream is deleted.
async fn is_unfit_until_deleted(found: stream::Config, what: &str) {
    let mut stack = with(found, true).await;
    stack.add_worker().await.unwrap();
    for service in [&stack.ingress, stack.worker()] {
        let said = becomes_unready(&stack, service, what).await;
        assert!(said["problems"].to_string().contains("nats stream rm"), "{said}");
        assert!(service.process.log().lines().iter().any(|line| line.contains(what)), "{}", service.process.name());
    }
    let answer = stack.sender.send(&push("Team", 1)).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    let doctor = command(&stack, &["doctor"]).await;
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!doctor.status.success() && said.contains(what) && said.contains("nats stream rm"), "{said}");
    stays_calm(&stack, Duration::ZERO).await;
    stack.jetstream().await.unwrap().delete_stream(format!("{}_LD_EVENTS", stack.prefix)).await.unwrap();
    flows(&stack, 1).await;
}

#[tokio::test]
async fn a_stream_in_memory_is_refused_with_what_to_do() {
    is_unfit_until_deleted(stream::Config { storage: StorageType::Memory, ..events() }, "stored in memory").await;
}

#[tokio::test]
async fn a_work_queue_of_events_is_refused_with_what_to_do() {
    is_unfit_until_deleted(stream::Config { retention: RetentionPolicy::WorkQueue, ..events() }, "work queue").await;
}

#[tokio::test]
async fn a_mirror_is_refused_with_what_to_do() {
    let mirror = stream::Source { name: "elsewhere".into(), ..stream::Source::default() };
    let found = stream::Config { mirror: Some(mirror), subjects: Vec::new(), ..events() };
    is_unfit_until_deleted(stream::Config { duplicate_window: Duration::ZERO, ..found }, "mirror").await;
}

#[tokio::test]
async fn a_consumer_that_passes_over_events_is_created_again_from_the_beginning() {
    type Change = fn(&mut pull::Config);
    let cases: [(&str, Change); 3] = [
        ("a filter", |config| config.filter_subject = "*.ld.events.taiga.>".into()),
        ("max_deliver", |config| config.max_deliver = 1),
        ("a deliver policy", |config| config.deliver_policy = async_nats::jetstream::consumer::DeliverPolicy::New),
    ];
    for (name, set) in cases {
        let mut stack = Stack::start_with(Options { no_worker: true, ..Options::default() }).await.unwrap();
        send(&stack, &push("Team", 1)).await;
        let mut config = worker_config();
        set(&mut config);
        // The filter's first word is the stack's prefix.
        config.filter_subject = config.filter_subject.replace('*', &stack.prefix);
        let consumer = stack.stream("LD_EVENTS").await.unwrap().create_consumer(config).await.unwrap();
        pass_over(&consumer).await;
        stack.add_worker().await.unwrap();
        stored(&stack, "Team", 1, LONG).await;
        let config = stack.consumer().await.unwrap().cached_info().config.clone();
        assert!(config.filter_subject.is_empty() && config.max_deliver == -1, "{name}: {config:?}");
        becomes_ready(&stack, stack.worker()).await;
    }
}

fn worker_config() -> pull::Config {
    pull::Config { durable_name: Some("ld-worker".into()), ack_policy: AckPolicy::Explicit, ..pull::Config::default() }
}

/// Pulls its messages and negative-acknowledges them, which uses up `max_deliver`.
async fn pass_over(consumer: &PullConsumer) {
    use futures::StreamExt as _;
    let mut batch = consumer.fetch().max_messages(10).messages().await.unwrap();
    while let Some(Ok(message)) = batch.next().await {
        message.ack_with(async_nats::jetstream::AckKind::Nak(None)).await.unwrap();
    }
}

#[tokio::test]
async fn a_pause_and_narrow_ack_settings_are_repaired_and_wider_ones_stay() {
    let stack = Stack::start().await.unwrap();
    flows(&stack, 1).await;
    let events = stack.stream("LD_EVENTS").await.unwrap();
    let year = datetime::add_std_duration(datetime::now(), Duration::from_secs(365 * 86_400)).unwrap();
    events.pause_consumer("ld-worker", year).await.unwrap();
    flows(&stack, 2).await;
    let wider = pull::Config { max_ack_pending: 100_000, ack_wait: Duration::from_secs(60), ..worker_config() };
    events.update_consumer(wider).await.unwrap();
    flows(&stack, 3).await;
    let config = stack.consumer().await.unwrap().cached_info().config.clone();
    assert_eq!((config.max_ack_pending, config.ack_wait), (100_000, Duration::from_secs(60)));
    let narrow = pull::Config { max_ack_pending: 1, ack_wait: Duration::from_secs(1), ..worker_config() };
    events.update_consumer(narrow).await.unwrap();
    let is_repaired = async || {
        let config = stack.consumer().await?.cached_info().config.clone();
        ensure!(config.ack_wait == shared::topology::ACK_WAIT && config.max_ack_pending > 1, "{config:?}");
        Ok(())
    };
    stack.eventually("the ack settings are repaired", SOON, is_repaired).await.unwrap();
}

#[tokio::test]
async fn a_slow_answer_overwrites_no_settings() {
    let stack = Stack::start_with(Options { own_nats: true, ..Options::default() }).await.unwrap();
    flows(&stack, 1).await;
    let wider = pull::Config { max_ack_pending: 100_000, ack_wait: Duration::from_secs(60), ..worker_config() };
    stack.stream("LD_EVENTS").await.unwrap().update_consumer(wider).await.unwrap();
    let nats = stack.nats.as_ref().unwrap();
    nats.process.freeze().unwrap();
    stays_calm(&stack, SLOW).await;
    nats.process.thaw().unwrap();
    flows(&stack, 2).await;
    let config = stack.consumer().await.unwrap().cached_info().config.clone();
    assert_eq!((config.max_ack_pending, config.ack_wait), (100_000, Duration::from_secs(60)));
}

#[tokio::test]
async fn an_event_in_a_stream_created_again_is_newer_than_one_of_the_same_instant_before() {
    let stack = Stack::start().await.unwrap();
    let story = |id, subject| {
        Delivery::taiga(&taiga::event("userstory", "change", "2026-11-23T17:42:04Z", taiga::userstory(id, subject)))
    };
    for id in 1..10 {
        send(&stack, &story(id, "before")).await;
    }
    let all = async || {
        let found = stack.documents("taiga_Team.userstories").await?.len();
        ensure!(found == 9, "{found} of 9 stories are stored");
        stack.nothing_pending().await
    };
    stack.eventually("the stories are stored", LONG, all).await.unwrap();
    stack.jetstream().await.unwrap().delete_stream(format!("{}_LD_EVENTS", stack.prefix)).await.unwrap();
    send(&stack, &story(9, "after")).await;
    let is_newer = async || {
        let stories = stack.documents("taiga_Team.userstories").await?;
        let after = stories.iter().any(|story| story.get_str("subject").is_ok_and(|subject| subject == "after"));
        ensure!(after, "the story still has its older subject");
        Ok(())
    };
    stack.eventually("the newer event wins", LONG, is_newer).await.unwrap();
}

#[tokio::test]
async fn where_nats_has_no_room_the_streams_are_created_with_what_fits() {
    let dir = paths::scratch("small-disk").unwrap();
    let conf = dir.join("nats-server.conf");
    let shipped = nats::open_configuration().unwrap();
    let small = shipped.replace("max_file_store: 256GB", "max_file_store: 316MB");
    assert_ne!(small, shipped);
    std::fs::write(&conf, small).unwrap();
    let server = NatsServer::start_with(&dir, ports::free_port().unwrap(), &conf).await.unwrap();
    let jetstream = async_nats::jetstream::new(nats::connect(&server.url()).await.unwrap());
    let limits = StreamArgs {
        ld_events_max_bytes: "10GiB".parse().unwrap(),
        ld_dead_max_bytes: "1GiB".parse().unwrap(),
        ..StreamArgs::default()
    };
    let topology = Topology::new(None, limits);
    let ceiling =
        async |name| jetstream.get_stream(topology.stream(name)).await.unwrap().cached_info().config.max_bytes;
    for _ in ["new", "found again, and still too small a disk to widen"] {
        topology.ensure(&jetstream).await.unwrap();
        assert_eq!(ceiling(StreamName::Events).await, 160 * 1024 * 1024);
        assert_eq!(ceiling(StreamName::Dead).await, 32 * 1024 * 1024);
    }
}

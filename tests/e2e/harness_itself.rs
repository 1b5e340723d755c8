//! The harness keeps its own promises; a test that cannot fail proves nothing.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream;
use bson::doc;
use harness::eval::{Eval, Reply};
use harness::eventually::{Alive as _, eventually};
use harness::paths::scratch;
use harness::process::usage;
use harness::sender::{Delivery, Sender};
use harness::servers::{MongoServer, NatsCluster, NatsServer, ReplicaSet, mongo, nats, ports};
use harness::stack::{Options, Stack};

use crate::SOON;

#[tokio::test]
async fn a_dead_process_fails_a_wait_at_once_and_shows_its_log() {
    let nats = NatsServer::start(&scratch("dead").unwrap()).await.unwrap();
    let pid = nats.process.pid().unwrap();
    std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    let begin = Instant::now();
    let wait = eventually("pigs fly", Duration::from_secs(60), &nats, async || -> anyhow::Result<()> {
        anyhow::bail!("they do not")
    });
    let error = format!("{:#}", wait.await.unwrap_err());
    assert!(begin.elapsed() < Duration::from_secs(20), "it waited on");
    assert!(error.contains("nats-server died") && error.contains("Server is ready"), "{error}");
}

#[test]
fn a_port_is_not_given_twice_though_nothing_listens_on_it_yet() {
    const PORTS: usize = 1_000;
    let given: HashSet<u16> = (0..PORTS).map(|_| ports::free_port().unwrap()).collect();
    assert_eq!(given.len(), PORTS);
}

#[tokio::test]
async fn a_server_comes_back_on_its_port_with_its_data() {
    let dir = scratch("back").unwrap();
    let nats = NatsServer::start(&dir.join("nats")).await.unwrap();
    let jetstream = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let subjects = async_nats::jetstream::stream::Config { name: "S".into(), ..Default::default() };
    jetstream.create_stream(subjects).await.unwrap();
    jetstream.publish("S", "kept".into()).await.unwrap().await.unwrap();
    nats.process.kill().unwrap();
    nats.start_again().await.unwrap();
    let jetstream = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    assert_eq!(jetstream.get_stream("S").await.unwrap().cached_info().state.messages, 1);

    let mongod = MongoServer::start(&dir.join("mongo")).await.unwrap();
    let things = mongo::connect(&mongod.uri()).await.unwrap().database("d").collection("things");
    things.insert_one(doc! { "kept": true }).await.unwrap();
    assert!(mongod.process.stop(Duration::from_secs(20)).await.unwrap().success());
    mongod.start_again().await.unwrap();
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 1);
}

#[tokio::test]
async fn a_replica_set_elects_another_primary_when_one_is_killed() {
    let set = ReplicaSet::start(&scratch("set").unwrap(), 3).await.unwrap();
    let first = set.primary().await.unwrap();
    first.process.kill().unwrap();
    let second = set.primary().await.unwrap();
    assert_ne!(first.port, second.port);
    set.check().unwrap();
}

#[tokio::test]
async fn mongod_takes_more_arguments() {
    let mongod = MongoServer::start_with(&scratch("no-journal").unwrap(), &["--nojournal"]).await.unwrap();
    let database = mongo::connect(&mongod.uri()).await.unwrap().database("d");
    let insert = doc! { "insert": "things", "documents": [{}], "writeConcern": { "j": true } };
    let refused = database.run_command(insert).await.unwrap_err().to_string();
    assert!(refused.contains("does not have journaling enabled"), "{refused}");
}

#[tokio::test]
async fn a_cluster_of_three_keeps_a_stream_when_one_server_is_killed() {
    let cluster = NatsCluster::start(&scratch("cluster").unwrap(), 3).await.unwrap();
    let jetstream = async_nats::jetstream::new(nats::connect(&cluster.url()).await.unwrap());
    let config = stream::Config { name: "S".into(), num_replicas: 3, ..Default::default() };
    let made = async || Ok(jetstream.create_stream(config.clone()).await?);
    eventually("a stream with three copies is made", SOON, &cluster, made).await.unwrap();
    jetstream.publish("S", "kept".into()).await.unwrap().await.unwrap();
    cluster.nodes[0].process.kill().unwrap();
    let kept = async || {
        let stream = jetstream.get_stream("S").await?;
        anyhow::ensure!(stream.cached_info().state.messages == 1, "the stream is empty");
        Ok(())
    };
    eventually("two of three serve the stream", SOON, &cluster, kept).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_there_before_the_processes_keeps_its_own_settings() {
    let config = stream::Config {
        name: "LD_EVENTS".into(),
        subjects: vec!["ld.events.>".into()],
        description: Some("made before".into()),
        ..Default::default()
    };
    let options = Options { streams: vec![config], no_worker: true, ..Options::default() };
    let stack = Stack::start_with(options).await.unwrap();
    let events = stack.stream("LD_EVENTS").await.unwrap();
    assert_eq!(events.cached_info().config.description.as_deref(), Some("made before"));
}

#[tokio::test]
async fn a_worker_is_stopped_and_started_while_mongodb_is_frozen() {
    let stack = Stack::start_with(Options { own_mongo: true, ..Options::default() }).await.unwrap();
    let (mongod, worker) = (&stack.mongo.as_ref().unwrap().process, stack.worker());
    mongod.freeze().unwrap();
    let before = worker.process.pid();
    worker.restart(Duration::from_secs(60)).await.unwrap();
    assert_ne!(worker.process.pid(), before);
    mongod.thaw().unwrap();
    crate::observe::flows(&stack, 1).await;
}

#[tokio::test]
async fn the_memory_and_processor_time_of_a_process_are_measured() {
    let nats = NatsServer::start(&scratch("usage").unwrap()).await.unwrap();
    let (resident, peak) = (usage::memory_mb(&nats.process).unwrap(), usage::peak_mb(&nats.process).unwrap());
    assert!(1.0 < resident && resident <= peak && peak < 1_000.0, "{resident} MB of {peak} MB");
    assert!(usage::cpu_seconds(&nats.process).unwrap() < 60.0);
    usage::reset_peak(&nats.process).unwrap();
    assert!(usage::peak_mb(&nats.process).unwrap() <= peak);
    nats.process.kill().unwrap();
    usage::memory_mb(&nats.process).unwrap_err();
}

#[tokio::test]
async fn the_stand_in_for_ld_eval_answers_each_project_as_it_was_set_to() {
    let eval = Eval::start().unwrap();
    let client = Sender::new(&format!("http://127.0.0.1:{}", eval.port()), Default::default()).unwrap();
    let notify = async |project: &str| {
        let body = serde_json::json!({ "event_type": "task", "prj": project });
        client.request(&Delivery::taiga(&body).request(client.secrets()).path("/api/event")).await
    };
    eval.reply_to("Hangs", Reply::Never);
    eval.reply_to("Fails", Reply::Status(503));
    let hangs = tokio::time::timeout(Duration::from_millis(200), notify("Hangs"));
    let (hangs, fails, works) = tokio::join!(hangs, notify("Fails"), notify("Works"));
    assert!(hangs.is_err(), "it was answered");
    assert_eq!((fails.unwrap().status, works.unwrap().status), (503, 200));
    assert_eq!((eval.accepted("Hangs").len(), eval.accepted("Fails").len(), eval.accepted("Works").len()), (0, 0, 1));
    assert_eq!(eval.received().len(), 3);
}

#[tokio::test]
async fn the_stand_in_for_ld_eval_refuses_and_returns_on_demand() {
    let eval = Eval::start().unwrap();
    let client = Sender::new(&format!("http://127.0.0.1:{}", eval.port()), Default::default()).unwrap();
    let request = Delivery::taiga(&serde_json::json!({ "event_type": "task", "prj": "P" }))
        .request(client.secrets())
        .path("/api/event");
    assert_eq!(client.request(&request).await.unwrap().status, 200);
    eval.reply(Reply::Status(429));
    assert_eq!(client.request(&request).await.unwrap().status, 429);
    eval.down();
    client.request(&request).await.unwrap_err();
    eval.reply(Reply::Accepted);
    eval.up().unwrap();
    assert_eq!(client.request(&request).await.unwrap().status, 200);
    let answers: Vec<_> = eval.received().iter().map(|notified| notified.answer).collect();
    assert_eq!(answers, [200, 429, 200]);
    assert_eq!(eval.accepted("P").len(), 2);
}

//! The harness keeps its own promises; a test that cannot fail proves nothing.

use std::time::{Duration, Instant};

use bson::doc;
use harness::eval::{Eval, Mood};
use harness::eventually::{Alive as _, eventually};
use harness::paths::scratch;
use harness::servers::{MongoServer, NatsServer, ReplicaSet, mongo};

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
async fn the_stand_in_for_ld_eval_refuses_and_returns_on_demand() {
    let eval = Eval::start().unwrap();
    let client =
        harness::sender::Sender::new(&format!("http://127.0.0.1:{}", eval.port()), Default::default()).unwrap();
    let request = harness::sender::Delivery::taiga(&serde_json::json!({ "event_type": "task", "prj": "P" }))
        .request(client.secrets())
        .path("/api/event");
    assert_eq!(client.request(&request).await.unwrap().status, 200);
    eval.mood(Mood::Answers(429));
    assert_eq!(client.request(&request).await.unwrap().status, 429);
    eval.down();
    client.request(&request).await.unwrap_err();
    eval.mood(Mood::Accepts);
    eval.up().unwrap();
    assert_eq!(client.request(&request).await.unwrap().status, 200);
    let answers: Vec<_> = eval.told().iter().map(|told| told.answer).collect();
    assert_eq!(answers, [200, 429, 200]);
    assert_eq!(eval.accepted("P").len(), 2);
}

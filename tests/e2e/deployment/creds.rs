//! `NATS_CREDS`: users of an account server (JWT and nkey), with the rights that the shipped configuration gives.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use harness::eval::Eval;
use harness::eventually::eventually;
use harness::paths::scratch;
use harness::process::{Process, Recipe};
use harness::sender::{Delivery, Secrets, Sender, github};
use harness::servers::{MongoServer, install, mongo, ports};
use harness::stack::build::{Voice, build};
use harness::stack::{Binary, Service};
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::{LONG, SOON};

/// Base 64 for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digits = (0..=group.len()).map(|n| DIGITS[(bits >> (18 - 6 * n)) as usize & 63]);
        text.extend(digits.map(char::from));
    }
    text
}

/// A JWT of `issuer` about `subject`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let claims = json!({
        "jti": subject.public_key(), "iat": 1_795_455_723, "iss": issuer.public_key(), "sub": subject.public_key(),
        "name": nats["type"], "nats": nats,
    });
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let text = format!("{}.{}", base64(head.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
    let signature = issuer.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", base64(&signature))
}

/// With this much room for streams in bytes; -1 is without limit.
fn account(operator: &KeyPair, account: &KeyPair, streams: i64) -> String {
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": streams, "disk_storage": streams, "streams": streams, "consumer": streams,
    });
    jwt(operator, account, json!({ "type": "account", "version": 2, "limits": limits }))
}

/// A user's credentials file.
fn credentials(dir: &Path, name: &str, account: &KeyPair, publish: &[&str]) -> PathBuf {
    let user = KeyPair::new_user();
    let inbox = format!("_INBOX.{name}.>");
    let says = json!({
        "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
        "pub": { "allow": publish }, "sub": { "allow": [inbox] },
    });
    let (jwt, seed) = (jwt(account, &user, says), user.seed().unwrap());
    let path = dir.join(format!("{name}.creds"));
    let mark = |what: &str| (format!("-----BEGIN {what}-----"), format!("------END {what}------"));
    let ((from, to), (begin, end)) = (mark("NATS USER JWT"), mark("USER NKEY SEED"));
    std::fs::write(&path, format!("{from}\n{jwt}\n{to}\n\n{begin}\n{seed}\n{end}\n")).unwrap();
    path
}

#[tokio::test]
async fn the_pipeline_works_with_credentials_files() {
    build(Voice::Quiet).unwrap();
    let dir = scratch("creds").unwrap();
    let (operator, system, ours, others) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_account());
    let preload = [(&system, 0), (&ours, -1)]
        .map(|(key, streams)| format!("{}: \"{}\"", key.public_key(), account(&operator, key, streams)));
    let port = ports::free_port().unwrap();
    let conf = dir.join("nats-server.conf");
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\noperator: \"{}\"\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}\n}}\n\
         jetstream: {{ store_dir: \"{}\" }}\nmax_payload: 32MB\nmax_pending: 128MB\n",
        jwt(&operator, &operator, json!({ "type": "operator", "version": 2 })),
        system.public_key(),
        preload.join("\n"),
        dir.join("data").display(),
    );
    std::fs::write(&conf, text).unwrap();
    let nats = Process::start(Recipe {
        name: "nats-server".to_owned(),
        program: install::program(&install::NATS).unwrap(),
        args: vec!["-c".into(), conf.into()],
        env: Vec::new(),
        dir: dir.clone(),
    })
    .unwrap();
    let mongod = MongoServer::start(&dir.join("mongo")).await.unwrap();
    let eval = Eval::start().unwrap();
    let secrets = Secrets::default();
    let start = async |binary: Binary, name: &str, credentials: PathBuf| {
        let settings = [
            ("NATS_URL", format!("nats://127.0.0.1:{port}")),
            ("NATS_CREDS", credentials.display().to_string()),
            ("MONGO_URI", mongod.uri()),
            ("EVAL_HOST", "127.0.0.1".to_owned()),
            ("EVAL_PORT", eval.port().to_string()),
            ("GITHUB_SECRET", secrets.github.clone()),
            ("LD_EVENTS_MAX_BYTES", "64MiB".to_owned()),
        ];
        Service::start(binary, name, &dir, settings.map(|(name, value)| (name.to_owned(), value))).await.unwrap()
    };
    let rights = ["ld.events.>", "ld.probe.ingress", "$JS.API.STREAM.*.*"];
    let ingress = start(Binary::Ingress, "ingress", credentials(&dir, "ingress", &ours, &rights)).await;
    let worker = start(Binary::Worker, "worker", credentials(&dir, "worker", &ours, &["ld.>", "$JS.>"])).await;
    // Signed by an account that the server does not know.
    std::fs::create_dir_all(dir.join("other")).unwrap();
    let unauthenticated = credentials(&dir.join("other"), "ingress", &others, &rights);
    let unauthenticated = start(Binary::Ingress, "stranger", unauthenticated).await;

    let sender = Sender::new(&ingress.webhooks(), secrets).unwrap();
    let push = Delivery::github("push", &github::push(1_795_455_723, [github::commit(&github::sha(1), "x")]));
    let alive = [&ingress, &worker, &unauthenticated];
    let taken = async || {
        nats_lives(&nats)?;
        let answer = sender.send(&push).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    };
    eventually("a delivery is taken", LONG, &alive[..], taken).await.unwrap();
    let database = mongo::connect(&mongod.uri()).await.unwrap().database("event_dashboard");
    let stored = async || {
        let commits = database.collection::<bson::Document>("github_Team.commits");
        ensure!(commits.count_documents(bson::doc! {}).await? == 1, "it is not stored");
        eval.has_accepted("Team", ("push", github::LOGIN, None))
    };
    eventually("it is stored and notified", SOON, &alive[..], stored).await.unwrap();
    let refused = sender.to(&unauthenticated.webhooks()).send(&push).await.unwrap();
    assert_eq!(refused.status, 503, "{}", refused.body);
}

fn nats_lives(nats: &Process) -> anyhow::Result<()> {
    use harness::eventually::Alive as _;
    nats.check()
}

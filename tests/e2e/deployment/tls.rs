//! TLS everywhere: towards senders, to a NATS cluster of three with the configuration that we ship, to MongoDB.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::deployment::certificates::{Authority, Certificate};
use anyhow::{Context as _, ensure};
use bson::doc;
use harness::eval::Eval;
use harness::eventually::{Alive as _, eventually};
use harness::paths::{scratch, workspace};
use harness::process::{Process, Recipe};
use harness::sender::{Delivery, Secrets, Sender, github};
use harness::servers::mongo::{self, DATABASE, WORKER};
use harness::servers::{MongoServer, install, nats, ports};
use harness::stack::build::{Voice, build};
use harness::stack::{Binary, Options, Service, Stack};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{LONG, SOON};

/// Sends to `https://127.0.0.1`, trusting this authority alone; gives the status.
async fn post(port: u16, authority: &Authority, delivery: &Delivery) -> anyhow::Result<u16> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = reqwest::Certificate::from_pem(authority.pem.as_bytes())?;
    let http = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().timeout(SOON).build()?;
    let request = delivery.request(&Secrets::default());
    let url = format!("https://127.0.0.1:{port}{}", request.path);
    let builder = request.headers.iter().fold(http.post(url), |builder, (name, value)| builder.header(name, value));
    Ok(builder.body(request.body.clone()).send().await?.status().as_u16())
}

fn push(n: u64) -> Delivery {
    Delivery::github("push", &github::push(1_795_455_723, [github::commit(&github::sha(n), "x")]))
}

fn copy(from: &Certificate, to: &Certificate) {
    std::fs::copy(&from.cert, &to.cert).unwrap();
    std::fs::copy(&from.key, &to.key).unwrap();
}

#[tokio::test]
async fn webhooks_come_over_tls_and_a_renewed_certificate_is_taken_up() {
    let dir = scratch("tls").unwrap();
    let (first, second) = (Authority::new(&dir.join("1")).unwrap(), Authority::new(&dir.join("2")).unwrap());
    let used = first.certificate("ingress").unwrap();
    let options = Options { no_worker: true, ..Options::default() }
        .env("TLS_CERT", used.cert.to_str().unwrap())
        .env("TLS_KEY", used.key.to_str().unwrap());
    let stack = Stack::start_with(options).await.unwrap();
    let address = stack.ingress.webhooks_addr();
    assert_eq!(post(address.port(), &first, &push(1)).await.unwrap(), 200);
    post(address.port(), &second, &push(2)).await.unwrap_err();

    // Who speaks plain HTTP, rubbish, or nothing, gets no answer that means anything, and costs a connection.
    let plain = b"POST /webhook/github?ping=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    for bytes in [&plain[..], &[0x16, 3, 1, 255, 255], b""] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
        drop(read.expect("the handshake's time is limited"));
        assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    }

    // A key that does not belong to the certificate changes nothing.
    let renewed = second.certificate("renewed").unwrap();
    std::fs::copy(&renewed.key, &used.key).unwrap();
    let logged = async || {
        let log = stack.ingress.process.log().lines();
        ensure!(log.iter().any(|line| line.contains("a renewed certificate cannot be used")), "not logged");
        Ok(())
    };
    stack.eventually("the wrong key is logged", SOON, logged).await.unwrap();
    assert_eq!(post(address.port(), &first, &push(3)).await.unwrap(), 200);
    copy(&renewed, &used);
    let taken_up = async || post(address.port(), &second, &push(4)).await.map(|status| assert_eq!(status, 200));
    stack.eventually("the renewed certificate is taken up", SOON, taken_up).await.unwrap();
    assert_eq!(stack.messages("LD_EVENTS").await.unwrap(), 3);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_keeps_ingress_from_starting_and_says_why() {
    build(Voice::Quiet).unwrap();
    let dir = scratch("tls-wrong").unwrap();
    let authority = Authority::new(&dir).unwrap();
    let (one, two) = (authority.certificate("one").unwrap(), authority.certificate("two").unwrap());
    let empty = dir.join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let cases: [(Option<&Path>, Option<&Path>, &str); 6] = [
        (Some(&one.cert), None, "TLS_CERT and TLS_KEY belong together"),
        (None, Some(&one.key), "TLS_CERT and TLS_KEY belong together"),
        (Some(&one.cert), Some(&two.key), "TLS_KEY is not the key"),
        (Some(&empty), Some(&one.key), "it holds no certificate"),
        (Some(&one.cert), Some(&empty), "it holds no private key"),
        (Some(Path::new("/nowhere/x.pem")), Some(&one.key), "/nowhere/x.pem cannot be used"),
    ];
    for (cert, key, expected) in cases {
        for args in [&["config", "check"][..], &["run"]] {
            let mut command = tokio::process::Command::new(harness::stack::build::path("ingress").unwrap());
            command.args(args).env_clear().env("BIND_ADDR", "127.0.0.1:0").env("ADMIN_ADDR", "127.0.0.1:0");
            command.envs(cert.map(|cert| ("TLS_CERT", cert))).envs(key.map(|key| ("TLS_KEY", key))).kill_on_drop(true);
            let output = tokio::time::timeout(SOON, command.output()).await.expect("it ends").unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(!output.status.success() && said.contains(expected), "{args:?} {cert:?} {key:?}: {said}");
            assert!(!said.contains("PRIVATE KEY"), "{said}");
        }
    }
}

/// Three servers with `nats/cluster/node.conf`.
struct Cluster {
    nodes: Vec<Process>,
    ports: Vec<u16>,
}

impl Cluster {
    fn start(dir: &Path, authority: &Authority) -> anyhow::Result<Self> {
        let free = || (0..3).map(|_| ports::free_port()).collect::<anyhow::Result<Vec<_>>>();
        let (clients, routes) = (free()?, free()?);
        let secret = "route-nats-password";
        let mut nodes = Vec::new();
        for n in 0..3 {
            let name = format!("nats-{}", n + 1);
            let certificate = authority.certificate(&name)?;
            let path = |path: &PathBuf| path.display().to_string();
            let mut env = nats::passwords();
            let mut set = |name: &str, value: String| env.push((name.to_owned(), value));
            set("NATS_SERVER_NAME", name.clone());
            set("NATS_CLIENT_LISTEN", format!("127.0.0.1:{}", clients[n]));
            set("NATS_CLUSTER_LISTEN", format!("127.0.0.1:{}", routes[n]));
            set("NATS_ROUTE_PASSWORD", secret.to_owned());
            set("NATS_TLS_CERT", path(&certificate.cert));
            set("NATS_TLS_KEY", path(&certificate.key));
            set("NATS_TLS_CA", path(&authority.ca));
            for (m, port) in routes.iter().enumerate() {
                set(&format!("NATS_ROUTE_{}", m + 1), format!("nats-route://route:{secret}@127.0.0.1:{port}"));
            }
            let conf = workspace().join("nats/cluster/node.conf");
            let program = install::program(&install::NATS)?;
            // As its own comment says to check it.
            let checked =
                std::process::Command::new(&program).arg("-t").arg("-c").arg(&conf).envs(env.clone()).output()?;
            ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
            let dir = dir.join(&name);
            let args = vec!["-c".into(), conf.into(), "-sd".into(), dir.join("data").into()];
            nodes.push(Process::start(Recipe { name, program, args, env, dir })?);
        }
        Ok(Self { nodes, ports: clients })
    }

    fn url(&self, user: &str) -> String {
        let (name, password, _) = nats::USERS.iter().find(|(name, ..)| *name == user).unwrap();
        let urls: Vec<_> = self.ports.iter().map(|port| format!("tls://{name}:{password}@127.0.0.1:{port}")).collect();
        urls.join(",")
    }

    /// JetStream as the operator, with a certificate.
    async fn jetstream(
        &self,
        authority: &Authority,
        own: &Certificate,
    ) -> anyhow::Result<async_nats::jetstream::Context> {
        let (name, password, _) = nats::USERS[2];
        let options = async_nats::ConnectOptions::with_user_and_password(name.to_owned(), password.to_owned());
        let options = options.require_tls(true).add_root_certificates(authority.ca.clone());
        let options = options.add_client_certificate(own.cert.clone(), own.key.clone());
        let client = options.connect(format!("tls://127.0.0.1:{}", self.ports[0])).await?;
        Ok(async_nats::jetstream::new(client))
    }
}

#[tokio::test]
async fn the_pipeline_works_over_tls_with_client_certificates_and_three_copies() {
    build(Voice::Quiet).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = scratch("tls-cluster").unwrap();
    let authority = Authority::new(&dir.join("certificates")).unwrap();
    let own = authority.certificate("ld-connect").unwrap();
    let server = authority.certificate("mongod").unwrap();
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let cluster = Cluster::start(&dir, &authority).unwrap();
    let (key_file, ca) = (text(&server.both), text(&authority.ca));
    let args = ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", &key_file, "--tlsCAFile", &ca];
    let query = format!("tls=true&tlsCAFile={ca}&tlsCertificateKeyFile={}", text(&own.both));
    let mongod = MongoServer::start_secured(&dir.join("mongo"), &args, &query).await.unwrap();
    let unauthenticated =
        mongo::connect(&format!("mongodb://127.0.0.1:{}/?tls=true&tlsCAFile={ca}", mongod.port)).await.unwrap();
    unauthenticated.database("admin").run_command(doc! { "ping": 1 }).await.expect_err("without a client certificate");

    let ready = async || {
        cluster.nodes.iter().try_for_each(|node| node.check())?;
        let account = cluster.jetstream(&authority, &own).await?.query_account().await;
        account.map(drop).context("the cluster has no leader yet")
    };
    eventually("the cluster answers", LONG, &(), ready).await.unwrap();

    let eval = Eval::start().unwrap();
    let secrets = Secrets::default();
    let common = BTreeMap::from([
        ("NATS_CA", ca),
        ("NATS_CERT", text(&own.cert)),
        ("NATS_KEY", text(&own.key)),
        ("LD_REPLICAS", "3".to_owned()),
        ("LD_EVENTS_MAX_BYTES", "64MiB".to_owned()),
        ("GITHUB_SECRET", secrets.github.clone()),
        ("MONGO_URI", mongod.uri_of(Some(WORKER))),
        ("MONGO_DB", DATABASE.to_owned()),
        ("EVAL_HOST", "127.0.0.1".to_owned()),
        ("EVAL_PORT", eval.port().to_string()),
    ]);
    let env = |user: &str, without: &str| {
        let url = ("NATS_URL".to_owned(), cluster.url(user));
        let rest = common.clone().into_iter().filter(|(name, _)| !without.contains(name));
        rest.map(|(name, value)| (name.to_owned(), value)).chain([url]).collect::<Vec<_>>()
    };
    let ingress = Service::start(Binary::Ingress, "ingress", &dir, env("ingress", "")).await.unwrap();
    let worker = Service::start(Binary::Worker, "worker", &dir, env("worker", "")).await.unwrap();
    let uncertified =
        Service::start(Binary::Ingress, "uncertified", &dir, env("ingress", "NATS_CERT NATS_KEY")).await.unwrap();
    let sender = Sender::new(&ingress.webhooks(), secrets).unwrap();
    let delivered = async || {
        let answer = sender.send(&push(1)).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    };
    let alive = [&ingress, &worker];
    eventually("a delivery is taken", LONG, &alive[..], delivered).await.unwrap();
    let client = mongo::connect(&mongod.uri()).await.unwrap();
    let stored = async || {
        let commits = client.database(DATABASE).collection::<bson::Document>("github_Team.commits");
        ensure!(commits.count_documents(doc! {}).await? == 1, "it is not stored");
        eval.has_accepted("Team", ("push", github::LOGIN, None))
    };
    eventually("it is stored and notified", LONG, &alive[..], stored).await.unwrap();
    let jetstream = cluster.jetstream(&authority, &own).await.unwrap();
    let events = jetstream.get_stream("LD_EVENTS").await.unwrap();
    assert_eq!(events.cached_info().config.num_replicas, 3);

    // One of three may go, whichever it is.
    cluster.nodes[2].kill().unwrap();
    let again = async || {
        let answer = sender.send(&push(2)).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    };
    eventually("two of three are enough", LONG, &alive[..], again).await.unwrap();

    let refused = sender.to(&uncertified.webhooks()).send(&push(3)).await.unwrap();
    assert_eq!(refused.status, 503, "without a client certificate NATS takes nothing");
    assert!(worker.process.stop(Duration::from_secs(30)).await.unwrap().success());
}

//! Secrets stay secret: through deliveries, forgeries, outages and wrong settings, in logs at TRACE, in metrics, in
//! answers, in what the commands print. Every other stack's logs are searched too, when it is dropped.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::Duration;

use anyhow::ensure;
use harness::eval::Reply;
use harness::paths::scratch;
use harness::providers::{Behaviour, Providers};
use harness::sender::{Delivery, Secrets, taiga};
use harness::stack::build::{Voice, build, path};
use harness::stack::secrets::found;
use harness::stack::{Binary, Options, Service, Stack};
use serde_json::{Value, json};

use crate::observe::{becomes_ready, flows, push, send};
use crate::{LONG, SOON};

/// In every secret of these tests.
const HUSH: &str = "hush-hush-hush";

fn hush(n: u32) -> String {
    format!("{HUSH}-{n}")
}

async fn run(binary: &str, args: &[&str], env: &BTreeMap<String, String>, dir: &std::path::Path) -> Output {
    let mut command = tokio::process::Command::new(path(binary).unwrap());
    command.args(args).env_clear().envs(env).current_dir(dir).kill_on_drop(true);
    tokio::time::timeout(LONG, command.output()).await.expect("it ends").unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn no_log_metric_answer_or_command_shows_a_secret() {
    let providers = Providers::start().unwrap();
    let dir = scratch("secrets").unwrap();
    let file = dir.join("credentials.json");
    let course = json!({
        "teams": ["Own", "Refused"], "github_secret": hush(1), "github_secret_previous": hush(2), "taiga_secret": hush(3),
        "excel_secret": hush(4), "github_token": hush(5), "taiga_user": "teacher", "taiga_password": hush(6)
    });
    std::fs::write(&file, json!({ "c": course }).to_string()).unwrap();
    let excel = hush(7);
    let options = Options { least_privilege: true, ..Options::default() }
        .env("LOG_LEVEL", "TRACE")
        .env("CREDENTIALS_FILE", file.to_str().unwrap())
        .env("GITHUB_API_URL", &providers.github_url())
        .env("TAIGA_API_URL", &providers.taiga_url())
        .env("EXCEL_SECRET", &excel)
        .env("GITHUB_SECRET_PREVIOUS", &hush(8))
        .env("GITHUB_TOKEN", &hush(9))
        .env("TAIGA_USERNAME", "everybody")
        .env("TAIGA_PASSWORD", &hush(10));
    let stack = Stack::start_with(options).await.unwrap();
    let mut secrets = stack.secrets();
    // The harness's ordinary ones are also the names of their flags, which the help shows.
    secrets.retain(|secret| !["github-secret", "taiga-secret", "excel-secret"].contains(&secret.as_str()));
    assert!(secrets.len() >= 12, "{secrets:?}");
    let mut said = Vec::new();

    // Look-ups that are refused, logins that fail, answers of all kinds.
    providers.world().behaves(&hush(5), Behaviour::Status(401));
    providers.world().behaves(&hush(9), Behaviour::Status(500));
    let own = Secrets { github: hush(1), taiga: hush(3), excel: Some(hush(4)) };
    let mut milestone = taiga::userstory(1, "x");
    milestone["milestone"] = taiga::milestone(5, "Sprint");
    let story = Delivery::taiga(&taiga::event("userstory", "create", "2026-11-23T17:00:00Z", milestone));
    for (delivery, secrets) in [
        (push("Own", 1), &own),
        (push("Own", 2), &Secrets { github: hush(2), ..own.clone() }),
        (story.clone().project("Own"), &own),
        (push("Free", 3), &Secrets { github: hush(8), ..Secrets::default() }),
        (story.project("Free"), &Secrets::default()),
        (push("Own", 4), &Secrets::default()),
        (push("Free", 5), &own),
        (push("a.b", 6), &Secrets::default()),
        (Delivery::taiga(&Value::Null).bytes("{").project("Free"), &Secrets::default()),
        (Delivery::taiga(&Value::Null).bytes(r#"{"type":"epic","data":{}}"#).project("Free"), &Secrets::default()),
        (Delivery::sheets(&Value::Null).bytes("[]").project("Own"), &own),
    ] {
        let answer = stack.sender.request(&delivery.request(secrets)).await.unwrap();
        assert!([200, 400, 403].contains(&answer.status), "{answer:?}");
        said.push(answer.body.to_string());
    }
    let asked = async || {
        ensure!(!providers.calls_of(&hush(5)).is_empty(), "GitHub was not asked");
        Ok(())
    };
    stack.eventually("look-ups are refused", LONG, asked).await.unwrap();

    // Everything away once, with the admin port looked at meanwhile.
    let (nats, mongo) = (stack.nats.as_ref().unwrap(), stack.mongo.as_ref().unwrap());
    let look = async |said: &mut Vec<String>| {
        for service in [&stack.ingress, stack.worker()] {
            for page in ["readyz", "healthz", "metrics"] {
                said.push(stack.sender.get(&format!("{}/{page}", service.admin())).await.unwrap().1);
            }
        }
    };
    let unready = async |service: &Service| {
        let (status, body) = crate::observe::readyz(&stack, service).await?;
        ensure!(status == 503, "{status} {body}");
        Ok(())
    };
    stack.eval.reply(Reply::Status(500));
    mongo.process.kill().unwrap();
    send(&stack, &push("Free", 7)).await;
    stack.eventually("the worker misses MongoDB", LONG, async || unready(stack.worker()).await).await.unwrap();
    look(&mut said).await;
    mongo.start_again().await.unwrap();
    nats.process.kill().unwrap();
    stack.eventually("ingress misses NATS", LONG, async || unready(&stack.ingress).await).await.unwrap();
    said.push(stack.sender.send(&push("Free", 8)).await.unwrap().body.to_string());
    look(&mut said).await;
    nats.start_again().await.unwrap();
    stack.eval.reply(Reply::Accepted);
    becomes_ready(&stack, &stack.ingress).await;
    becomes_ready(&stack, stack.worker()).await;
    look(&mut said).await;

    for (binary, args) in [
        ("ingress", &["config", "check"][..]),
        ("worker", &["config", "check"]),
        ("ingress", &["--help"]),
        ("worker", &["run", "--help"]),
        ("worker", &["dead-letters", "list"]),
        ("worker", &["replay", "--dry-run"]),
    ] {
        let output = run(binary, args, &stack.env, &dir).await;
        assert!(output.status.success(), "{binary} {args:?}: {}", text(&output));
        said.push(text(&output));
    }
    for text in &said {
        assert_eq!(found(&secrets, text), Vec::<&str>::new(), "{text}");
    }
    // The logs are searched when the stack is dropped.
}

#[tokio::test]
async fn a_wrong_password_is_reported_and_not_shown() {
    let stack = Stack::start_with(Options { least_privilege: true, ..Options::default() }).await.unwrap();
    flows(&stack, 1).await;
    let dir = scratch("wrong-passwords").unwrap();
    let port = |url: &str| url.rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
    let (nats, mongo) = (port(&stack.nats_url), stack.mongo.as_ref().unwrap().port);
    for (name, setting, url) in [
        ("nats", "NATS_URL", format!("nats://worker:{HUSH}@127.0.0.1:{nats}")),
        ("mongo", "MONGO_URI", format!("mongodb://ld-connect:{HUSH}@127.0.0.1:{mongo}/?authSource=admin")),
    ] {
        let mut env = stack.env.clone();
        env.insert(setting.to_owned(), url);
        env.insert("LOG_LEVEL".to_owned(), "TRACE".to_owned());
        let worker = Service::start(Binary::Worker, name, &dir, env).await.unwrap();
        let logged = async || {
            let (status, body) = crate::observe::readyz(&stack, &worker).await?;
            let body = body.to_string();
            ensure!(!body.contains(HUSH), "{body}");
            ensure!(status == 503 && body.contains(setting), "{status} {body}");
            Ok(())
        };
        stack.eventually("the worker says which setting to look at", SOON, logged).await.unwrap();
        drop(worker.process.stop(Duration::from_secs(30)).await);
        let log = std::fs::read_to_string(worker.process.log().path()).unwrap();
        assert!(!log.contains(HUSH), "{log}");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_read_are_reported_without_their_secrets() {
    build(Voice::Quiet).unwrap();
    let dir = scratch("unreadable").unwrap();
    let file = dir.join("courses.json");
    for (binary, name, value) in [
        ("worker", "NATS_URL", format!("nats://worker:{HUSH}@127.0.0.1:port")),
        ("worker", "NATS_URL", format!("http://worker:{HUSH}@127.0.0.1")),
        ("ingress", "NATS_URL", format!("nats://a:{HUSH}@x,nats://a:{HUSH}2@y")),
        ("worker", "MONGO_URI", format!("mongodb://u:{HUSH}")),
        ("worker", "MONGO_URI", format!("mongodb://u:{HUSH}/x@127.0.0.1")),
        ("worker", "MONGO_URI", format!("mongodb://u:{HUSH}:x@127.0.0.1:port")),
        ("worker", "MONGO_URI", format!("mongodb://u:%zz{HUSH}@127.0.0.1")),
        ("worker", "MONGO_URI", format!("mongodb://u:{HUSH}@127.0.0.1/?authMechanism=none")),
        ("worker", "MONGO_URI", format!("u:{HUSH}@127.0.0.1")),
        ("worker", "GITHUB_API_URL", format!("https://u:{HUSH}@127.0.0.1")),
        ("worker", "CREDENTIALS_FILE", format!(r#"{{"c":{{"teams":[],"github_token":{{"{HUSH}":1}}}}}}"#)),
        ("ingress", "CREDENTIALS_FILE", format!(r#"{{"c":{{"teams":[],"github_secret":"{HUSH}"}}"#)),
        ("ingress", "CREDENTIALS_FILE", format!(r#"{{"c":{{"teams":"{HUSH}"}}}}"#)),
        ("ingress", ".env", format!("GITHUB_SECRET={HUSH} and more")),
        ("worker", ".env", format!("GITHUB_TOKEN='{HUSH}")),
    ] {
        for args in [&["config", "check"][..], &["run"]] {
            let mut env: BTreeMap<String, String> =
                [("BIND_ADDR", "127.0.0.1:0"), ("ADMIN_ADDR", "127.0.0.1:0"), ("LOG_LEVEL", "TRACE")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into();
            let own = dir.join(".env");
            let _ = std::fs::remove_file(&own);
            match name {
                ".env" => std::fs::write(&own, &value).unwrap(),
                "CREDENTIALS_FILE" => {
                    std::fs::write(&file, &value).unwrap();
                    env.insert(name.to_owned(), file.display().to_string());
                }
                _ => drop(env.insert(name.to_owned(), value.clone())),
            }
            let output = run(binary, args, &env, &dir).await;
            let said = text(&output);
            assert!(!output.status.success(), "{binary} {args:?} took {name}={value}: {said}");
            assert!(!said.contains(HUSH), "{binary} {args:?}, {name}={value}: {said}");
            assert!(said.contains(name) || name == "CREDENTIALS_FILE", "{name}={value}: {said}");
            assert!(!said.contains('\x1b'), "no terminal is there to show colours: {said:?}");
        }
    }
}

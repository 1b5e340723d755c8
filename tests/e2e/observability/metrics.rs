//! What `/metrics` shows of a system in which everything has happened is what the documents, the alert rules and
//! the dashboard say it is.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use harness::paths::workspace;
use harness::providers::{Commit, Providers};
use harness::sender::{Delivery, Secrets, github};
use harness::stack::{Options, Service, Stack};
use serde_json::{Value, json};

use crate::LONG;
use crate::observe::{becomes_ready, push, send};
use crate::pipeline::enrich;

/// One metric as a process shows it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
    samples: Vec<String>,
}

type Families = BTreeMap<String, Family>;

async fn shown(stack: &Stack, service: &Service) -> anyhow::Result<Families> {
    let (code, text) = stack.sender.get(&format!("{}/metrics", service.admin())).await?;
    ensure!(code == 200, "/metrics answered {code}");
    let mut families = Families::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let mut words = line.splitn(4, ' ');
        if let ("#", Some(what), Some(name), Some(rest)) =
            (words.next().unwrap_or_default(), words.next(), words.next(), words.next())
        {
            let family = families.entry(name.to_owned()).or_default();
            if what == "HELP" { &mut family.help } else { &mut family.kind }.push_str(rest);
            continue;
        }
        let name: String = line.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let mut parts = ["", "_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
        let Some(base) = parts.rfind(|base| families.contains_key(*base)).map(str::to_owned) else {
            panic!("a sample of no metric: {line}")
        };
        let family = families.get_mut(&base).unwrap();
        let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
        let names = labels.split("\",").filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.to_owned());
        family.labels.extend(names.filter(|name| name != "le"));
        family.samples.push(line.to_owned());
    }
    Ok(families)
}

fn documented() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(workspace().join("docs/metrics.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        (cells[0].trim_matches('`').to_owned(), cells[1..].to_vec())
    })
    .collect()
}

/// A row of the table in `docs/metrics.md`.
fn row(from: &str, family: &Family) -> Vec<String> {
    let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
    vec![from.to_owned(), family.kind.clone(), labels.join(" "), family.help.clone()]
}

/// Names in a file that alerts on metrics or draws them.
fn used(file: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(workspace().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    words.filter(|word| word.starts_with("ldconnect_")).map(str::to_owned).collect()
}

/// Everything that is counted happens once: accepted, refused, signed with an old secret, looked up, notified, dead.
async fn everything_happens(providers: &Providers) -> Stack {
    let courses = [("A", json!({ "github_token": "token-a", "github": { "A": github::REPO } }))];
    let options = Options::default().env("GITHUB_SECRET_PREVIOUS", "an-older-one").env("RECONCILE", "5s");
    let stack = enrich::stack(providers, "metrics", &courses, options).await;
    {
        let mut world = providers.world();
        world.tokens = vec!["token-a".into()];
        world.knows(github::REPO, &github::sha(1), Commit::plain(10, 5));
    }
    send(&stack, &push("A", 1)).await;
    let old = Secrets { github: "an-older-one".into(), ..Secrets::default() };
    assert_eq!(stack.sender.request(&push("A", 2).request(&old)).await.unwrap().status, 200);
    let wrong = Secrets { github: "nobody's".into(), ..Secrets::default() };
    assert_eq!(stack.sender.request(&push("A", 3).request(&wrong)).await.unwrap().status, 403);
    let mut nameless = github::issue(1, "opened", "2026-11-23T17:42:03Z");
    nameless["issue"]["number"] = Value::Null;
    send(&stack, &Delivery::github("issues", &nameless).project("A")).await;
    stack
}

#[tokio::test]
async fn the_documents_the_rules_and_the_dashboard_name_what_is_really_exported() {
    let providers = Providers::start().unwrap();
    let stack = everything_happens(&providers).await;
    let documented = documented();
    let all = async || {
        let (ingress, worker) = (shown(&stack, &stack.ingress).await?, shown(&stack, stack.worker()).await?);
        let mut rows = BTreeMap::new();
        for (name, family) in &ingress {
            rows.insert(name.clone(), row(if worker.contains_key(name) { "both" } else { "ingress" }, family));
        }
        for (name, family) in worker.iter().filter(|(name, _)| !ingress.contains_key(*name)) {
            rows.insert(name.clone(), row("worker", family));
        }
        let table: Vec<_> = rows.iter().map(|(name, row)| format!("| `{name}` | {} |", row.join(" | "))).collect();
        ensure!(rows == documented, "docs/metrics.md should say\n{}", table.join("\n"));
        for (name, family) in ingress.iter().chain(&worker) {
            ensure!(!family.help.is_empty() && !family.samples.is_empty(), "{name}: {family:?}");
        }
        Ok(rows)
    };
    let rows = stack.eventually("everything documented is shown, and nothing else", LONG, all).await.unwrap();
    for file in ["deploy/monitoring/prometheus/rules.yml", "deploy/monitoring/grafana/ld-connect.json"] {
        let used = used(file);
        assert!(used.len() > 5, "{file} uses {used:?}");
        for name in used {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(&name);
            assert!(rows.contains_key(&name) || rows.contains_key(base), "{file} uses {name}, which is not exported");
        }
    }
}

#[tokio::test]
async fn what_happened_is_counted_by_source_event_outcome_and_reason() {
    let providers = Providers::start().unwrap();
    let stack = everything_happens(&providers).await;
    becomes_ready(&stack, stack.worker()).await;
    let counted = async |service: &Service, wanted: &[(&str, f64)]| {
        let families = shown(&stack, service).await?;
        let samples: Vec<_> = families.values().flat_map(|family| &family.samples).collect();
        for (sample, least) in wanted {
            let found = samples.iter().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == *sample));
            let value: f64 =
                found.and_then(|line| line.rsplit_once(' ')).map_or(0.0, |(_, value)| value.parse().unwrap());
            ensure!(value >= *least, "{sample} is {value}, not {least}: {samples:#?}");
        }
        Ok(())
    };
    let now = shared::time::now_ms() as f64 / 1000.0 - 300.0;
    let ingress = [
        (r#"ldconnect_ingest_requests_total{source="github",outcome="accepted",reason=""}"#, 3.0),
        (r#"ldconnect_ingest_requests_total{source="github",outcome="rejected",reason="signature"}"#, 1.0),
        (r#"ldconnect_ingest_signed_total{source="github",key="previous"}"#, 1.0),
        (r#"ldconnect_ingest_last_accepted_timestamp_seconds{source="github",prj="A"}"#, now),
        (r#"ldconnect_ingest_last_rejected_timestamp_seconds{source="github",prj="A",verified="false"}"#, now),
        ("ldconnect_ingest_publish_seconds_count", 3.0),
        ("ldconnect_ready", 1.0),
    ];
    let worker = [
        (r#"ldconnect_events_total{source="github",event="push",outcome="stored"}"#, 2.0),
        (r#"ldconnect_events_total{source="github",event="issues",outcome="dead"}"#, 1.0),
        (r#"ldconnect_dead_letters_total{reason="no_identity"}"#, 1.0),
        (r#"ldconnect_dead_letters_kept{verified="true"}"#, 1.0),
        (r#"ldconnect_notify_total{outcome="accepted"}"#, 1.0),
        ("ldconnect_notify_last_accepted_timestamp_seconds", now),
        (r#"ldconnect_enrich_token_remaining{provider="github",token="course-of-A"}"#, 1.0),
        (r#"ldconnect_stream_bytes{stream="LD_EVENTS"}"#, 1.0),
        ("ldconnect_end_to_end_seconds_count", 2.0),
        ("ldconnect_ready", 1.0),
    ];
    let both = async || {
        counted(&stack.ingress, &ingress).await?;
        counted(stack.worker(), &worker).await
    };
    stack.eventually("everything is counted", LONG, both).await.unwrap();
}

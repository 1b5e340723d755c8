//! The check page of a team: who may open it, what it says, and that it says nothing of anybody else.

mod connecting;
mod deliveries;
mod links;
mod slow_clients;

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use harness::paths::{scratch, workspace};
use harness::stack::{Options, Stack};
use serde_json::{Value, json};

use crate::LONG;
use crate::http::openapi;
use crate::operators::commands::done;

/// Where senders find ingress, as the pages say it.
const PUBLIC_URL: &str = "https://ld.example.edu";

/// A stack whose worker serves check pages, with this credentials file.
async fn serving(name: &str, courses: &Value, more: &[(&str, &str)]) -> Stack {
    let file = scratch(name).unwrap().join("credentials.json");
    std::fs::write(&file, courses.to_string()).unwrap();
    let settings = [
        ("CREDENTIALS_FILE", file.to_str().unwrap()),
        ("TEAM_PAGES_ADDR", "127.0.0.1:0"),
        ("TEAM_PAGES_SECRET", "the-secret-of-links"),
        ("PUBLIC_URL", PUBLIC_URL),
    ];
    let all = settings.into_iter().chain(more.iter().copied());
    Stack::start_with(all.fold(Options::default(), |options, (name, value)| options.env(name, value))).await.unwrap()
}

/// Two teams of one course.
fn two_teams() -> Value {
    json!({ "amep": { "teams": ["Ours", "Zebra"], "quality_model": "AMEP" } })
}

/// The paths of the links that `worker team-links` prints, by team.
async fn links(stack: &Stack, more: &[&str]) -> BTreeMap<String, String> {
    let args: Vec<_> = ["team-links", "--output", "json"].into_iter().chain(more.iter().copied()).collect();
    let printed = done(stack, &args).await;
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
    let path = |line: &Value| text(line, "link").strip_prefix(PUBLIC_URL).unwrap().to_owned();
    lines.map(|line| (text(&line, "prj"), path(&line))).collect()
}

/// An answer of the pages' address: status, headers without the date, body.
async fn fetch(stack: &Stack, method: &str, path: &str) -> anyhow::Result<(u16, BTreeMap<String, String>, String)> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{}{path}", stack.worker().team_pages());
    let answer = client.request(method.parse()?, url).header("accept-language", "en").send().await?;
    let headers = answer.headers().iter().filter(|(name, _)| *name != "date");
    let headers = headers.map(|(name, value)| Ok((name.to_string(), value.to_str()?.to_owned())));
    let headers = headers.collect::<anyhow::Result<_>>()?;
    Ok((answer.status().as_u16(), headers, answer.text().await?))
}

/// The page in English.
async fn page(stack: &Stack, link: &str) -> String {
    let (status, _, body) = fetch(stack, "GET", link).await.unwrap();
    assert_eq!(status, 200, "{body}");
    body
}

/// The page as JSON, once it is so; always as its description says.
async fn becomes(stack: &Stack, link: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let description = std::fs::read_to_string(workspace().join("docs/openapi-team-page.json")).unwrap();
    let description: Value = serde_json::from_str(&description).unwrap();
    let fact = async || {
        let (status, _, body) = fetch(stack, "GET", &format!("{link}.json")).await?;
        let team: Value = serde_json::from_str(&body).with_context(|| body.clone())?;
        let schema = json!({ "$ref": "#/components/schemas/Team" });
        assert!(openapi::fits(&description, &schema, &team), "not as docs/openapi-team-page.json says: {team:#}");
        ensure!(status == 200 && is_so(&team), "{status} {team:#}");
        Ok(team)
    };
    stack.eventually(what, LONG, fact).await.unwrap()
}

/// What it says of a source.
fn source<'t>(team: &'t Value, name: &str) -> &'t Value {
    team["sources"].as_array().unwrap().iter().find(|source| source["source"] == name).unwrap()
}

//! The Google Sheets add-on, with stand-ins for Google's services, against a real ingress and through to the documents.

use anyhow::ensure;
use harness::paths::workspace;
use harness::stack::{Options, Stack};

use crate::{LONG, SOON};

#[tokio::test]
async fn a_row_of_the_add_on_arrives_once_whatever_fails() {
    let Ok(node) = std::process::Command::new("node").arg("--version").output() else {
        eprintln!("LEFT OUT: node is not installed, so the Google Sheets add-on was not tested");
        return;
    };
    assert!(node.status.success(), "node --version: {node:?}");
    let stack = Stack::start_with(Options::default().env("EXCEL_SECRET", "sheets & fulls")).await.unwrap();
    let mut command = tokio::process::Command::new("node");
    command
        .arg(workspace().join("tests/e2e/pipeline/sheets_add_on/scenario.js"))
        .env("CODE", workspace().join("config_files/google_sheets/Code.gs"))
        .env("INGRESS_URL", stack.ingress.webhooks())
        .env("EXCEL_SECRET", "sheets & fulls")
        .env("PRJ", "Team")
        .kill_on_drop(true);
    let output = tokio::time::timeout(LONG, command.output()).await.expect("the scenario ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let stored = async || {
        let rows = stack.documents("excel_Team.sheets").await?;
        ensure!(rows.len() == 4, "{} rows", rows.len());
        stack.nothing_pending().await.map(|()| rows)
    };
    let rows = stack.eventually("every row is stored once", SOON, stored).await.unwrap();
    let first = rows.iter().find(|row| row.get_str("comment").is_ok_and(|text| text == "Validació «ç» 😀")).unwrap();
    let number = |name: &str| match first.get(name).unwrap() {
        bson::Bson::Int32(n) => f64::from(*n),
        other => other.as_f64().unwrap(),
    };
    assert_eq!(first.get_str("quality_model").unwrap(), "AMEP");
    assert_eq!(first.get_str("activity_date").unwrap(), "2026-11-22T23:00:00.000Z");
    assert_eq!(first.get_array("members").unwrap().len(), 3);
    for (name, hours) in [
        ("duration_h", 3.5),
        ("hours_Joan M. Puig", 1.5),
        ("hours_Núria $olé", 2.0),
        ("hours_王小明", 0.0),
        ("hours_Reunió_focal", 0.0),
        ("hours_Desenvolupament", 3.5),
        ("total_hours", 7.25),
    ] {
        assert!((number(name) - hours).abs() < 1e-9, "{name}: {first}");
    }
    assert!(
        rows.iter().all(|row| !row.get_str("comment").is_ok_and(|text| text == "edited meanwhile")),
        "what was tried is what arrives"
    );
}

//! Sends the samples, waits for their documents and notifications, and shows both; then shows how to send more.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bson::{Bson, Document, doc};
use harness::eventually::eventually;
use harness::sender::{Secrets, Sender};
use harness::servers::mongo;
use rand::Rng as _;

use crate::samples::{MODEL, Sample, samples};
use crate::screen::Screen;
use crate::stack::{DATABASE, DevStack};

/// How long a delivery may take until its document and notification are there.
const ARRIVAL: Duration = Duration::from_secs(20);

/// Sends one of each and shows its document and notification.
pub(crate) async fn run(screen: &Screen, stack: &DevStack) -> anyhow::Result<()> {
    let project = format!("Demo_{:04x}", rand::rng().random::<u16>());
    screen.heading(&format!("One signed delivery of each source, for the project {project}"));
    let sender = Sender::new(&stack.ingress.webhooks(), Secrets::default())?;
    let db = mongo::connect(&stack.mongo.uri()).await?.database(DATABASE);
    for sample in samples(&project, 1) {
        let answer = sender.send(&sample.delivery).await?;
        screen.answer(sample.title, answer.status, &answer.body);
        ensure!(answer.status == 200, "ingress refused the sample “{}”", sample.title);
        let document = eventually(&format!("{} holds a document", sample.collection), ARRIVAL, stack, async || {
            let found = db.collection::<Document>(&sample.collection).find_one(doc! {}).await?;
            let found = found.context("there is none; the worker's log says what happened to the delivery")?;
            ensure!(!waits_for_a_look_up(&found), "the stand-ins' answers are not stored yet");
            Ok(found)
        })
        .await?;
        screen.document(&sample.collection, &document);
        if let Some(eval) = &stack.eval {
            let wanted = (sample.notified.0, sample.notified.1, Some(MODEL));
            let notified =
                eventually("LD Eval is notified", ARRIVAL, stack, async || eval.has_accepted(&project, wanted));
            screen.notified(&notified.await?);
        }
    }
    Ok(())
}

/// Whether the look-up of a commit or of a story's milestone is still to come.
fn waits_for_a_look_up(document: &Document) -> bool {
    let commit = document.contains_key("sha") && document.get("is_merge") == Some(&Bson::Null);
    let story = document.contains_key("userstory_id") && !document.contains_key("milestone_total_points");
    commit || story
}

/// Shows how to send by hand.
pub(crate) fn invite(screen: &Screen, stack: &DevStack) {
    let base = stack.ingress.webhooks();
    screen.heading("Send more: these lines are signed and ready to paste");
    screen.note("(the same line twice is a redelivery: answered 200, stored once)");
    for Sample { title, delivery, .. } in samples("Demo", 2) {
        screen.line("");
        screen.line(format_args!("# {title}"));
        screen.line(delivery.request(&Secrets::default()).curl(&base));
    }
    screen.line("");
    screen.line("# Check that ingress answers: 403 Invalid Signature");
    screen.line(format_args!("curl -i -X POST '{base}/webhook/github?ping=1'"));
    screen.heading("Where to look");
    screen.line(format_args!("  documents  {}/{DATABASE}", stack.mongo.uri()));
    screen.line(format_args!("  stream     {}  LD_EVENTS", stack.nats.url_of("operator")));
    screen.line(format_args!("  ingress    {}/metrics  /readyz", stack.ingress.admin()));
    for worker in &stack.workers {
        screen.line(format_args!("  worker     {}/status  /metrics  /readyz", worker.admin()));
    }
    if let Some(link) = stack.team_page("Demo") {
        screen.line(format_args!("  team page  {link}  of the project Demo; `worker team-links` prints others"));
    }
    screen.line(format_args!("  logs       {}", stack.dir().display()));
    screen.heading("Try the commands of docs/operations.md, in another terminal, in this folder");
    screen.line(format_args!("  . {}", stack.settings().display()));
    screen.line(format_args!("  worker doctor --ingress-url {}", stack.ingress.webhooks()));
    screen.line("");
}

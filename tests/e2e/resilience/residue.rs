//! After a kill, nats-server may redeliver settled messages of a work queue. They are removed, and not processed again.

use anyhow::ensure;
use harness::paths::scratch;
use harness::sender::github;
use harness::stack::{Options, Stack};

use crate::observe::{push, send, stored};
use crate::operators::walkthroughs::copy;
use crate::{LONG, SOON};

#[tokio::test]
async fn settled_work_that_nats_brings_back_is_removed() {
    let stack = Stack::start_with(Options { own_nats: true, ..Options::default() }).await.unwrap();
    let nats = stack.nats.as_ref().unwrap();
    let queue = scratch(&stack.prefix)
        .unwrap()
        .join("nats/data/jetstream/$G/streams")
        .join(format!("{}_LD_NOTIFY", stack.prefix));
    let messages = queue.join("msgs");
    let waiting = async |wanted: u64| {
        let found = stack.messages("LD_NOTIFY").await?;
        ensure!(found == wanted, "{found} notifications wait, not {wanted}");
        Ok(())
    };
    stack.eval.down();
    send(&stack, &push("Team", 1)).await;
    stored(&stack, "Team", 1, SOON).await;
    stack.eventually("a notification waits", SOON, async || waiting(1).await).await.unwrap();

    // The queue's file as it is now, brought back after the notification was settled: what a kill does
    // when the server had not yet written that it is gone.
    nats.process.stop(LONG).await.unwrap();
    let kept = scratch(&format!("{}-kept", stack.prefix)).unwrap();
    copy(&messages, &kept);
    nats.start_again().await.unwrap();
    stack.eval.up().unwrap();
    let notified = async || stack.eval.has_accepted("Team", ("push", github::LOGIN, None));
    stack.eventually("LD Eval is notified", LONG, notified).await.unwrap();
    stack.eventually("none waits", LONG, async || waiting(0).await).await.unwrap();
    let before = stack.eval.accepted("Team").len();
    // Whether the server still has it is asked before a worker can.
    stack.worker().process.freeze().unwrap();
    nats.process.stop(LONG).await.unwrap();
    std::fs::remove_dir_all(&messages).unwrap();
    copy(&kept, &messages);
    nats.start_again().await.unwrap();
    let brought_back = stack.messages("LD_NOTIFY").await.unwrap();
    assert_eq!(brought_back, 1, "the server should have brought it back, or this test tests nothing");
    stack.worker().process.thaw().unwrap();

    stack.eventually("it is removed", LONG, async || waiting(0).await).await.unwrap();
    assert_eq!(stack.eval.accepted("Team").len(), before, "it was settled, so it is not sent again");
    // And the queue works on.
    send(&stack, &push("After", 2)).await;
    let notified = async || stack.eval.has_accepted("After", ("push", github::LOGIN, None));
    stack.eventually("LD Eval is notified of what comes next", LONG, notified).await.unwrap();
}

//! The loop that consumes a stream: bind, pull, handle, keep alive, rebind after a failure, stop in two stages.
//!
//! It pulls only while it has a free slot, so that what is pulled is worked on at once. While a dependency is away every
//! slot is busy with what it has, and nothing more is pulled.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use shared::retry::Policy;
use shared::topology::{EnsureError, StreamName};
use tokio::task::JoinSet;

use super::context::Pipeline;
use super::queue::{POLL, PullError, Puller};
use super::settle::{InFlight, Stop};

/// Delay before the topology is checked and the consumer bound again.
const REBIND: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(5));

/// Decides what becomes of messages.
pub trait Handler: Send + Sync + 'static {
    /// How many messages to pull while `free` slots are free. May wait. `None` ends the loop.
    fn demand(&self, free: usize) -> impl Future<Output = Option<usize>> + Send {
        std::future::ready(Some(free))
    }

    /// Works on messages of one slot and settles them. What it leaves open is handed back.
    fn handle(&self, messages: Arc<InFlight>) -> impl Future<Output = ()> + Send;
}

/// How much is worked on at a time.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    pub count: usize,
    /// Messages per slot. With one, a pull fills several slots; with more, it fills one.
    pub batch: usize,
}

/// Consumes a stream with the durable consumer that all workers share.
#[derive(Debug)]
pub struct Consumer {
    pub pipeline: Arc<Pipeline>,
    pub stream: StreamName,
    pub slots: Slots,
    pub stop: Stop,
}

impl Consumer {
    /// Runs until the soft stop.
    ///
    /// # Errors
    /// Never.
    pub async fn run(self, handler: Arc<impl Handler>) -> Result<(), Infallible> {
        let mut delays = REBIND.delays();
        let soft = &self.stop.soft;
        while !soft.is_cancelled() {
            let Some(bound) = soft.run_until_cancelled(self.bind()).await else { break };
            let result = match bound {
                Ok(mut puller) => {
                    let pulled = || {
                        delays.reset();
                        if self.pipeline.pulls.reset() {
                            tracing::info!("pulling again");
                        }
                    };
                    let result = pump(&self.pipeline, &handler, &mut puller, self.slots, &self.stop, pulled).await;
                    // Messages that the server sent meanwhile go to another worker at once, not after the ack wait.
                    puller.close().await;
                    result.map_err(ConsumeError::from)
                }
                Err(error) => Err(error),
            };
            let Err(error) = result else { continue };
            // The connection itself says why it is not there.
            if shared::nats::trouble().is_none()
                && let Some(held_back) = self.pipeline.pulls.open()
            {
                let stream = self.stream.plain();
                tracing::warn!(stream, %error, held_back, "cannot pull; checking streams and consumers and trying again");
            }
            soft.run_until_cancelled(tokio::time::sleep(delays.next_delay())).await;
        }
        Ok(())
    }

    async fn bind(&self) -> Result<Puller, ConsumeError> {
        let Pipeline { topology, jetstream, .. } = &*self.pipeline;
        self.pipeline.ensure_topology().await?;
        let consumer = topology.consumer(jetstream, self.stream).await?;
        Ok(Puller::new(jetstream, topology, &consumer).await?)
    }
}

/// Why nothing is consumed.
#[derive(Debug, thiserror::Error)]
enum ConsumeError {
    #[error(transparent)]
    Ensure(#[from] EnsureError),
    #[error(transparent)]
    Pull(#[from] PullError),
}

/// Pulls and handles until the soft stop, until the handler has no more demand, or until a pull fails. In each case it
/// waits for what is in flight. `pulled` is called after each pull.
///
/// # Errors
/// Why a pull failed.
pub async fn pump<H: Handler>(
    pipeline: &Arc<Pipeline>,
    handler: &Arc<H>,
    puller: &mut Puller,
    slots: Slots,
    stop: &Stop,
    mut pulled: impl FnMut(),
) -> Result<(), PullError> {
    let mut in_flight = JoinSet::new();
    let result = loop {
        while in_flight.try_join_next().is_some() {}
        let free = slots.count.saturating_sub(in_flight.len());
        if free == 0 {
            tokio::select! {
                biased;
                () = stop.soft.cancelled() => break Ok(()),
                _ = in_flight.join_next() => continue,
            }
        }
        let next = async {
            let most = handler.demand(free).await?;
            let most = if slots.batch > 1 { slots.batch } else { most.clamp(1, free) };
            Some(puller.pull(most, POLL).await)
        };
        match stop.soft.run_until_cancelled(next).await {
            None | Some(None) => break Ok(()),
            Some(Some(Err(error))) => break Err(error),
            Some(Some(Ok(messages))) => {
                pulled();
                let mut messages = messages.into_iter().peekable();
                while messages.peek().is_some() {
                    let batch: Vec<Message> = messages.by_ref().take(slots.batch).collect();
                    let batch = Arc::new(InFlight::new(Arc::clone(pipeline), batch, stop.clone()));
                    in_flight.spawn(run_slot(Arc::clone(handler), batch));
                }
            }
        }
    };
    while in_flight.join_next().await.is_some() {}
    result
}

async fn run_slot(handler: Arc<impl Handler>, messages: Arc<InFlight>) {
    tokio::select! {
        () = handler.handle(Arc::clone(&messages)) => {}
        () = messages.keep_alive() => {}
    }
    messages.hand_back().await;
}

//! JetStream's acknowledgements: one subscription for all messages of a publisher.
//!
//! A request of the client costs a random inbox, two names in its tables and a timer. Of a message here there is a number in
//! its reply subject, and what waits for that number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, Message, StatusCode, Subscriber};
use futures::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::outcome::{ACK_TIMEOUT, PublishError, Published};

/// How often messages are looked for that waited too long, or whose owner gave up.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A place among those in flight.
pub(super) trait Place: Send + 'static {
    /// The message was acknowledged, or not: the place is free.
    fn finish(self, acknowledged: bool);
}

/// The open subscription; it ends with the publisher.
#[derive(Debug)]
pub(super) struct Replies<P> {
    waiting: Arc<Waiting<P>>,
    reader: JoinHandle<()>,
}

/// The messages that were sent and are not acknowledged.
#[derive(Debug)]
pub(super) struct Waiting<P> {
    /// The reply subject without its last token, which is the number.
    inbox: String,
    state: Mutex<State<P>>,
}

#[derive(Debug)]
struct State<P> {
    last: u64,
    by_number: HashMap<u64, Waiter<P>>,
    is_closed: bool,
}

/// What waits for an acknowledgement.
#[derive(Debug)]
pub(super) struct Waiter<P> {
    owner: oneshot::Sender<Result<Published, PublishError>>,
    place: Option<P>,
    since: Instant,
}

impl<P: Place> Replies<P> {
    pub(super) async fn open(client: &Client) -> Result<Self, PublishError> {
        let inbox = client.new_inbox();
        let replies = client.subscribe(format!("{inbox}.*")).await;
        let replies = replies.map_err(|error| PublishError::Connection(error.to_string()))?;
        let waiting = Arc::new(Waiting::new(inbox));
        Ok(Self { reader: tokio::spawn(read(replies, waiting.clone())), waiting })
    }

    pub(super) const fn waiting(&self) -> &Arc<Waiting<P>> {
        &self.waiting
    }
}

impl<P> Drop for Replies<P> {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read<P: Place>(mut replies: Subscriber, waiting: Arc<Waiting<P>>) {
    let mut sweeps = interval(SWEEP_INTERVAL);
    loop {
        let reply = tokio::select! {
            biased;
            _ = sweeps.tick() => {
                waiting.sweep(Instant::now());
                continue;
            }
            reply = replies.next() => reply,
        };
        let Some(reply) = reply else { break };
        waiting.reply(&reply);
        // What came with it.
        while let Some(Some(reply)) = replies.next().now_or_never() {
            waiting.reply(&reply);
        }
    }
    waiting.close();
}

impl<P: Place> Waiting<P> {
    fn new(inbox: String) -> Self {
        Self { inbox, state: Mutex::new(State { last: 0, by_number: HashMap::new(), is_closed: false }) }
    }

    /// Expects an acknowledgement; its number. `None` when none comes any more.
    pub(super) fn expect(&self, waiter: Waiter<P>) -> Option<u64> {
        let mut state = self.state();
        if state.is_closed {
            return None;
        }
        state.last += 1;
        let number = state.last;
        state.by_number.insert(number, waiter);
        Some(number)
    }

    /// The reply subject of a message.
    pub(super) fn subject(&self, number: u64) -> String {
        format!("{}.{number}", self.inbox)
    }

    /// The message was not sent.
    pub(super) fn failed(&self, number: u64, error: PublishError) {
        if let Some(waiter) = self.take(number) {
            waiter.finish(Err(error));
        }
    }

    fn reply(&self, reply: &Message) {
        let number = reply.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        if let Some(waiter) = number.and_then(|number| self.take(number)) {
            waiter.finish(outcome(reply));
        }
    }

    /// Ends what waited too long, and forgets what nobody waits for.
    fn sweep(&self, now: Instant) {
        let is_over =
            |waiter: &Waiter<P>| waiter.owner.is_closed() || now.saturating_duration_since(waiter.since) >= ACK_TIMEOUT;
        let over: Vec<_> = self.state().by_number.extract_if(|_, waiter| is_over(waiter)).collect();
        // Without the lock: a place that is free again sends the next message.
        for (_, waiter) in over {
            waiter.finish(Err(PublishError::Timeout));
        }
    }

    fn close(&self) {
        let left = {
            let mut state = self.state();
            state.is_closed = true;
            std::mem::take(&mut state.by_number)
        };
        for waiter in left.into_values() {
            waiter.finish(Err(PublishError::Connection("the client was closed".into())));
        }
    }

    fn take(&self, number: u64) -> Option<Waiter<P>> {
        self.state().by_number.remove(&number)
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Place> Waiter<P> {
    pub(super) fn new(owner: oneshot::Sender<Result<Published, PublishError>>, place: Option<P>) -> Self {
        Self { owner, place, since: Instant::now() }
    }

    pub(super) fn finish(self, result: Result<Published, PublishError>) {
        if let Some(place) = self.place {
            place.finish(result.is_ok());
        }
        // An owner that has given up does not wait for it.
        drop(self.owner.send(result));
    }
}

/// JetStream's answer to a publish.
#[derive(Debug, Deserialize)]
struct Ack {
    #[serde(default)]
    duplicate: bool,
    error: Option<AckError>,
}

#[derive(Debug, Deserialize)]
struct AckError {
    #[serde(default)]
    err_code: u64,
    description: Option<String>,
}

fn outcome(reply: &Message) -> Result<Published, PublishError> {
    if reply.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(PublishError::NoStream);
    }
    let ack: Ack = serde_json::from_slice(&reply.payload)
        .map_err(|error| PublishError::Connection(format!("the acknowledgement cannot be read: {error}")))?;
    match ack.error {
        None if ack.duplicate => Ok(Published::Duplicate),
        None => Ok(Published::Stored),
        Some(error) => {
            Err(PublishError::Refused { code: error.err_code, description: error.description.unwrap_or_default() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Received = oneshot::Receiver<Result<Published, PublishError>>;

    impl Place for () {
        fn finish(self, _: bool) {}
    }

    fn waiting() -> Waiting<()> {
        Waiting::new("_INBOX.x".into())
    }

    fn expect(waiting: &Waiting<()>) -> (u64, Received) {
        let (owner, result) = oneshot::channel();
        (waiting.expect(Waiter::new(owner, None)).unwrap(), result)
    }

    fn reply(waiting: &Waiting<()>, number: u64, payload: &'static str, status: Option<StatusCode>) {
        let payload = bytes::Bytes::from(payload);
        let length = payload.len();
        let subject = waiting.subject(number).into();
        waiting.reply(&Message { subject, reply: None, payload, headers: None, status, description: None, length });
    }

    #[test]
    fn each_message_gets_the_result_of_its_own_number() {
        let waiting = waiting();
        let (first, mut to_first) = expect(&waiting);
        let (second, mut to_second) = expect(&waiting);
        reply(&waiting, second, r#"{"stream":"S","seq":7,"duplicate":true}"#, None);
        assert_eq!(to_second.try_recv(), Ok(Ok(Published::Duplicate)));
        assert!(to_first.try_recv().is_err(), "it is not acknowledged yet");
        reply(&waiting, second, r#"{"stream":"S","seq":7}"#, None);
        reply(&waiting, first, r#"{"stream":"S","seq":8}"#, None);
        assert_eq!(to_first.try_recv(), Ok(Ok(Published::Stored)));
        assert!(waiting.state().by_number.is_empty());
    }

    #[test]
    fn what_is_no_acknowledgement_is_an_error() {
        let waiting = waiting();
        let full = r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}"#;
        let refused = PublishError::Refused { code: 10077, description: "maximum bytes exceeded".into() };
        for (payload, status, error) in
            [("", Some(StatusCode::NO_RESPONDERS), PublishError::NoStream), (full, None, refused)]
        {
            let (number, mut result) = expect(&waiting);
            reply(&waiting, number, payload, status);
            assert_eq!(result.try_recv(), Ok(Err(error)));
        }
        let (number, mut result) = expect(&waiting);
        reply(&waiting, number, "", None);
        assert!(matches!(result.try_recv(), Ok(Err(PublishError::Connection(_)))));
    }

    #[test]
    fn what_is_not_acknowledged_in_time_is_an_error_and_what_nobody_waits_for_is_forgotten() {
        let waiting = waiting();
        let ((_, mut late), (_, given_up)) = (expect(&waiting), expect(&waiting));
        drop(given_up);
        waiting.sweep(Instant::now());
        assert_eq!(waiting.state().by_number.len(), 1);
        assert!(late.try_recv().is_err());
        waiting.sweep(Instant::now() + ACK_TIMEOUT);
        assert_eq!(late.try_recv(), Ok(Err(PublishError::Timeout)));
    }

    #[test]
    fn nothing_waits_for_a_closed_client() {
        let waiting = waiting();
        let (_, mut result) = expect(&waiting);
        waiting.close();
        assert!(matches!(result.try_recv(), Ok(Err(PublishError::Connection(_)))));
        let (owner, _result) = oneshot::channel();
        assert_eq!(waiting.expect(Waiter::new(owner, None)), None);
    }
}

//! Shares an amount between clients.
//!
//! A client may take more only while it holds less than is free. So a single client gets half, a second one half of the
//! rest, and so on. There is always something left for another client, and no limit has to be set by hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::client::Client;

/// An amount that clients share.
#[derive(Debug)]
pub struct Fair {
    total: usize,
    state: Mutex<State>,
    given_back: Notify,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    by_client: HashMap<Client, usize>,
}

/// What a client has taken; given back when dropped.
#[derive(Debug)]
pub struct Taken {
    from: Arc<Fair>,
    client: Client,
    amount: usize,
}

impl Fair {
    /// This much to share.
    #[must_use]
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, state: Mutex::default(), given_back: Notify::new() })
    }

    /// Takes an amount, unless the client has its share. Whether that much is free is the caller's limit.
    #[must_use]
    pub fn take(self: &Arc<Self>, client: Client, amount: usize) -> Option<Taken> {
        let mut state = self.lock();
        let free = self.total.saturating_sub(state.used);
        let held = state.by_client.get(&client).copied().unwrap_or(0);
        if held > 0 && held >= free {
            return None;
        }
        state.used += amount;
        *state.by_client.entry(client).or_default() += amount;
        Some(Taken { from: self.clone(), client, amount })
    }

    /// The same, and waits up to `wait` for it.
    pub async fn take_within(self: &Arc<Self>, client: Client, amount: usize, wait: Duration) -> Option<Taken> {
        let taken = async {
            loop {
                let given_back = self.given_back.notified();
                if let Some(taken) = self.take(client, amount) {
                    return taken;
                }
                given_back.await;
            }
        };
        timeout(wait, taken).await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Adds what the same client has taken of the same amount.
    pub fn merge(&mut self, mut other: Self) {
        self.amount += std::mem::take(&mut other.amount);
    }

    /// Gives back all but this amount.
    pub fn shrink(&mut self, amount: usize) {
        let back = self.amount.saturating_sub(amount);
        self.amount -= back;
        self.give_back(back);
    }

    fn give_back(&self, amount: usize) {
        if amount == 0 {
            return;
        }
        let mut state = self.from.lock();
        state.used -= amount;
        if let Some(held) = state.by_client.get_mut(&self.client) {
            *held -= amount;
            if *held == 0 {
                state.by_client.remove(&self.client);
            }
        }
        drop(state);
        self.from.given_back.notify_waiters();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give_back(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(n: u8) -> Client {
        Client::of([192, 0, 2, n].into())
    }

    fn as_many_as_it_gets(fair: &Arc<Fair>, n: u8) -> Vec<Taken> {
        std::iter::from_fn(|| fair.take(client(n), 1)).collect()
    }

    #[test]
    fn one_client_gets_half_and_the_next_half_of_the_rest() {
        let fair = Fair::new(100);
        let mut all: Vec<_> = (1..=4).map(|n| as_many_as_it_gets(&fair, n)).collect();
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [50, 25, 13, 6]);
        drop(all.remove(0));
        assert_eq!(as_many_as_it_gets(&fair, 2).len(), 16, "until it holds the half of what the others left");
        drop(all);
        let state = fair.lock();
        assert!(state.used == 0 && state.by_client.is_empty());
    }

    #[test]
    fn what_is_shrunk_is_free_again() {
        let fair = Fair::new(100);
        let mut taken = fair.take(client(1), 60).unwrap();
        assert!(fair.take(client(1), 1).is_none());
        taken.shrink(10);
        taken.merge(fair.take(client(1), 20).unwrap());
        assert_eq!(fair.lock().used, 30);
        drop(taken);
        assert_eq!(fair.lock().used, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_waits_for_what_it_gives_back_itself() {
        let fair = Fair::new(2);
        let wait = Duration::from_secs(1);
        let first = fair.take(client(1), 1).unwrap();
        assert!(fair.take_within(client(1), 1, wait).await.is_none());
        let (second, ()) = futures::future::join(fair.take_within(client(1), 1, wait), async { drop(first) }).await;
        assert!(second.is_some());
    }
}

//! All deliveries of a run, made from a seed: what is said, by whom, when, and what must come of it.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::claims::Claims;
use super::histories::Author;
use super::saying::Saying;
use super::settings::Settings;
use harness::sender::{Delivery, Request, Secrets, Source};

/// How many deliveries of a hundred are forged.
const FORGED: f64 = 0.03;

/// How many are sent twice at the same time, as by an impatient operator.
const TWICE: f64 = 0.03;

/// How many are sent again later, though they were acknowledged.
const AGAIN: f64 = 0.03;

/// How a delivery is forged. All are to be answered 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// Signed with another secret.
    WrongSecret,
    /// Signed rightly, then changed by one byte.
    Altered,
    /// Without its signature.
    Unsigned,
}

/// One delivery.
#[derive(Debug, Clone)]
pub struct Entry {
    pub saying: Saying,
    /// `prj`.
    pub project: String,
    /// Who did it.
    pub author: String,
    /// `quality_model`.
    pub model: Option<String>,
    /// When it happened, by its provider's clock.
    pub second: u32,
    /// It is to be refused.
    pub forged: Option<Forgery>,
    /// It is sent twice at once.
    pub twice: bool,
    /// It is sent once more, so long after it was acknowledged.
    pub again: Option<Duration>,
    /// When it is sent.
    pub at: Duration,
    /// The event types of its notifications.
    pub notified_as: &'static [&'static str],
    /// The documents that it makes claims on.
    pub subjects: Vec<usize>,
    /// No other delivery leads to the same notification.
    pub alone: bool,
}

/// All deliveries of a run.
#[derive(Debug)]
pub struct Plan {
    /// Every delivery by its number.
    pub entries: Vec<Entry>,
    /// What is claimed of documents.
    pub claims: Claims,
    /// The deliveries of each sender, in the order in which they are sent.
    pub senders: Vec<Vec<usize>>,
}

impl Plan {
    /// Makes the plan of a run; the same settings make the same plan.
    #[must_use]
    pub fn make(settings: &Settings) -> Self {
        let mut author = Author::new(StdRng::seed_from_u64(settings.seed));
        while author.entries.len() < settings.events {
            let begin = author.rng.random_range(0.0..0.97);
            let forged = author.rng.random_bool(FORGED);
            author.history(begin, forged);
        }
        let Author { mut rng, mut entries, claims, senders_of, .. } = author;
        let mut senders = vec![Vec::new(); settings.senders];
        for (number, entry) in entries.iter_mut().enumerate() {
            entry.at = settings.sending.mul_f64(entry.at.as_secs_f64());
            if entry.forged.is_none() {
                entry.twice = rng.random_bool(TWICE);
                let later = settings.sending.mul_f64(rng.random_range(0.05..0.4));
                entry.again = rng.random_bool(AGAIN).then_some(later);
            }
            senders[senders_of[number] % settings.senders].push(number);
        }
        for sender in &mut senders {
            sender.sort_by_key(|&number| entries[number].at);
        }
        Self { entries, claims, senders }
    }
}

impl Entry {
    /// What notifications of it are recognised by.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        let model = self.model.as_deref();
        self.notified_as.iter().map(move |kind| notification_key(&self.project, kind, &self.author, model))
    }

    /// The request of this delivery, number `number`, as it is sent each time.
    #[must_use]
    pub fn request(&self, number: usize, secrets: &Secrets) -> Request {
        let delivery = self.delivery(number);
        let request = match self.forged {
            Some(Forgery::WrongSecret) => delivery.request(&wrong(secrets)),
            _ => delivery.request(secrets),
        };
        match self.forged {
            Some(Forgery::Altered) => {
                // Still the same JSON: if only its meaning were signed, this would pass.
                let mut altered = request.body.to_vec();
                altered.push(b' ');
                Request { body: altered.into(), ..request }
            }
            Some(Forgery::Unsigned) => request.without(match delivery.source {
                Source::Github => "x-hub-signature-256",
                Source::Taiga => "x-taiga-webhook-signature",
                Source::Excel => "x-sheets-signature",
            }),
            _ => request,
        }
    }

    /// The delivery before it is signed.
    #[must_use]
    pub fn delivery(&self, number: usize) -> Delivery {
        let text = text_of(number);
        let body = self.saying.body(number, &text, &self.author, self.second);
        let mut delivery = match &self.saying {
            Saying::Row => Delivery::sheets(&body),
            Saying::Taiga(..) => Delivery::taiga(&body),
            github => Delivery::github(github.github_event(), &body),
        };
        delivery.id = format!("00000000-0000-4000-8000-{number:012x}");
        delivery = delivery.project(&self.project);
        if let Some(model) = &self.model {
            delivery = delivery.quality_model(model);
        }
        // GitHub and Apps Script have two content types; Taiga has one.
        let form = number.is_multiple_of(5) && delivery.source != Source::Taiga;
        if form { delivery.form() } else { delivery }
    }
}

/// The title, subject or comment of a delivery: no other has the same.
#[must_use]
pub fn text_of(number: usize) -> String {
    format!("as of delivery {number}")
}

/// What makes two notifications the same.
#[must_use]
pub fn notification_key(project: &str, kind: &str, author: &str, model: Option<&str>) -> String {
    format!("{project}/{kind}/{author}/{}", model.unwrap_or_default())
}

fn wrong(secrets: &Secrets) -> Secrets {
    let other = |secret: &String| format!("{secret}-of-somebody-else");
    Secrets { github: other(&secrets.github), taiga: other(&secrets.taiga), excel: secrets.excel.as_ref().map(other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(seed: u64) -> Settings {
        let second = Duration::from_secs(1);
        let (sending, limit, pauses) = (second * 60, second * 120, (second, second * 2));
        Settings { events: 2_000, seed, sending, limit, senders: 4, workers: 1, ingresses: 1, cluster: false, pauses }
    }

    #[test]
    fn a_seed_makes_the_same_plan_again_and_another_seed_another() {
        let all = |seed| {
            let (plan, secrets) = (Plan::make(&settings(seed)), Secrets::default());
            let requests = plan.entries.iter().enumerate().map(|(n, e)| e.request(n, &secrets).body);
            (plan.senders.clone(), requests.collect::<Vec<_>>())
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7).1, all(8).1);
    }

    #[test]
    fn every_delivery_is_sent_by_one_sender_and_a_part_of_a_document_is_claimed_once_a_rank() {
        let plan = Plan::make(&settings(1));
        let mut sent: Vec<_> = plan.senders.concat();
        sent.sort_unstable();
        assert_eq!(sent, (0..plan.entries.len()).collect::<Vec<_>>());
        for subject in &plan.claims.subjects {
            for register in &subject.registers {
                let mut ranks: Vec<_> = register.claims.iter().map(|c| c.rank).collect();
                ranks.sort_unstable();
                ranks.dedup();
                let commit = subject.name.contains(".commits/");
                assert!(commit || ranks.len() == register.claims.len(), "{subject:?}");
            }
        }
        let forged = plan.entries.iter().filter(|entry| entry.forged.is_some()).count();
        assert!((20..150).contains(&forged), "{forged} of 2,000 are forged");
    }
}

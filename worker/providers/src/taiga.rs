//! Taiga: a sprint's figures (CONTRACT §4).
//!
//! One login serves an account for 23 hours or until a 401, and one answer serves a milestone for a minute,
//! however many tasks want them. An answer that may be older than what the asker has seen is given all the
//! same, with the advice to ask again when its minute is over: so figures come at once and end up right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bson::{Bson, Document};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::{Number, json};
use shared::secret::Secret;
use shared::time::now_ms;
use tokio::time::Instant;

use crate::NotYet;
use crate::budget::Seat;
use crate::client::{Api, Reply};
use crate::report::Teller;
use crate::tokens::{Account, Login};

/// For how long a token is used (CONTRACT §4); Taiga's are good for a day.
const SESSION: Duration = Duration::from_secs(23 * 3600);

/// For how long an answer is used (CONTRACT §4).
const FRESH: Duration = Duration::from_secs(60);

/// How much later than our question's beginning the queue's clock may place an asker that it answers: clocks
/// differ, and in doubt it is asked again.
const SKEW_MS: i64 = 2_000;

/// From how many kept answers on old ones are thrown away.
const KEPT: usize = 1_000;

/// The token of a request; `None` of an account that needs none.
type Authorisation = Option<Secret>;

type Slot<T> = Arc<tokio::sync::Mutex<Option<T>>>;

/// Taiga's API.
#[derive(Debug)]
pub struct Taiga {
    api: Api,
    base: String,
    auth: String,
    /// By account. A slot's lock is held while its value is fetched: others wait for it instead of fetching too.
    sessions: Mutex<HashMap<String, Slot<Session>>>,
    /// By account and milestone.
    answers: Mutex<HashMap<(String, i64), Slot<Answer>>>,
}

#[derive(Debug, Clone)]
struct Session {
    token: Secret,
    since: Instant,
}

#[derive(Debug, Clone)]
struct Answer {
    /// None when Taiga does not show this milestone.
    figures: Option<Document>,
    since: Instant,
    asked_ms: i64,
}

/// A milestone's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The six fields of CONTRACT §4; none when Taiga does not show this milestone.
    pub fields: Option<Document>,
    /// The answer may be older than the asker's event: ask again after this time.
    pub again: Option<Duration>,
}

/// `POST /auth`
#[derive(Deserialize)]
struct LoginReply {
    auth_token: String,
}

/// `GET /milestones/{id}/stats`
#[derive(Debug, Default, Deserialize)]
struct Stats {
    /// By role.
    total_points: Option<HashMap<String, Option<Number>>>,
    /// One of each role.
    completed_points: Option<Vec<Option<Number>>>,
    total_userstories: Option<Number>,
    completed_userstories: Option<Number>,
    total_tasks: Option<Number>,
    completed_tasks: Option<Number>,
}

impl Stats {
    fn fields(self) -> Document {
        let points =
            |points: Option<Vec<Option<Number>>>| points.map_or(Bson::Null, |all| sum(all.into_iter().flatten()));
        let count = |number: Option<Number>| number.map_or(Bson::Null, |number| sum(std::iter::once(number)));
        bson::doc! {
            "milestone_total_points": points(self.total_points.map(|roles| roles.into_values().collect())),
            "milestone_closed_points": points(self.completed_points),
            "milestone_total_userstories": count(self.total_userstories),
            "milestone_completed_userstories": count(self.completed_userstories),
            "milestone_total_tasks": count(self.total_tasks),
            "milestone_completed_tasks": count(self.completed_tasks),
        }
    }
}

/// The sum: an integer when all are, else a double.
fn sum(numbers: impl Iterator<Item = Number>) -> Bson {
    let (mut whole, mut all) = (Some(0_i64), 0.0);
    for number in numbers {
        whole = whole.zip(number.as_i64()).and_then(|(sum, next)| sum.checked_add(next));
        all += number.as_f64().unwrap_or(0.0);
    }
    match whole {
        Some(sum) => i32::try_from(sum).map_or(Bson::Int64(sum), Bson::Int32),
        None => Bson::Double(all),
    }
}

impl Taiga {
    /// At this base URL and, for logging in, at `auth`. Both end in `/api/v1`.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(base: &str, auth: &str, teller: Teller) -> Result<Self, reqwest::Error> {
        let [base, auth] = [base, auth].map(|url| url.trim_end_matches('/').to_owned());
        Ok(Self { api: Api::new("taiga", teller)?, base, auth, sessions: Mutex::default(), answers: Mutex::default() })
    }

    /// A place for a look-up.
    ///
    /// # Errors
    /// [`NotYet::Wait`].
    pub fn seat(&self, account: &Account) -> Result<Seat, NotYet> {
        self.api.seat(&account.payer)
    }

    /// A milestone's figures, for an event that was queued at `queued_ms`.
    ///
    /// # Errors
    /// Why it cannot be told now.
    pub async fn milestone(&self, account: &Account, milestone: i64, queued_ms: i64) -> Result<Figures, NotYet> {
        let slot = self.answer_slot((account.payer.id.clone(), milestone));
        let mut kept = slot.lock().await;
        if let Some(answer) = kept.as_ref()
            && let Some(left) = FRESH.checked_sub(answer.since.elapsed())
        {
            let covered = queued_ms + SKEW_MS < answer.asked_ms;
            return Ok(Figures { fields: answer.figures.clone(), again: (!covered).then_some(left) });
        }
        let (since, asked_ms) = (Instant::now(), now_ms());
        let figures = self.ask(account, milestone).await?;
        *kept = Some(Answer { figures: figures.clone(), since, asked_ms });
        Ok(Figures { fields: figures, again: None })
    }

    fn answer_slot(&self, key: (String, i64)) -> Slot<Answer> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= KEPT {
            let fresh = |slot: &Slot<Answer>| {
                slot.try_lock().map_or(true, |kept| kept.as_ref().is_some_and(|answer| answer.since.elapsed() < FRESH))
            };
            answers.retain(|_, slot| Arc::strong_count(slot) > 1 || fresh(slot));
        }
        Arc::clone(answers.entry(key).or_default())
    }

    async fn ask(&self, account: &Account, milestone: i64) -> Result<Option<Document>, NotYet> {
        let mut reply = self.stats(account, milestone).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            // The token has expired or was revoked, and by now it is forgotten: once more with a new one.
            reply = self.stats(account, milestone).await?;
        }
        match reply.status {
            status if status.is_success() => match serde_json::from_slice::<Stats>(&reply.body) {
                // Without the points it is something else: it must not null what is known.
                Ok(stats) if stats.total_points.is_some() => Ok(Some(stats.fields())),
                Ok(_) => Err(NotYet::Unreadable("Taiga's figures have no total_points".to_owned())),
                Err(error) => Err(NotYet::Unreadable(format!("Taiga's figures cannot be read: {error}"))),
            },
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNPROCESSABLE_ENTITY => Ok(None),
            StatusCode::UNAUTHORIZED => Err(self.refused(account).await),
            status => Err(NotYet::Refused(format!("Taiga answered {status}"))),
        }
    }

    async fn stats(&self, account: &Account, milestone: i64) -> Result<Reply, NotYet> {
        let Some(token) = self.session(account).await? else { return Err(self.refused(account).await) };
        let url = format!("{}/milestones/{milestone}/stats", self.base);
        let request = authorised(self.api.http.get(url), &token);
        let reply = self.api.call(&account.payer, "milestone", request).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            self.forget(account, &token).await;
        }
        Ok(reply)
    }

    /// Any other request, for a person who waits: `path` begins with a slash, `change` adds what is sent with it.
    ///
    /// # Errors
    /// Why it cannot be answered now; [`NotYet::Refused`] when Taiga does not take the account.
    pub async fn request(
        &self,
        account: &Account,
        endpoint: &'static str,
        (method, path): (Method, &str),
        change: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Reply, NotYet> {
        for _ in 0..2 {
            let Some(token) = self.session(account).await? else { break };
            let request = self.api.http.request(method.clone(), format!("{}{path}", self.base));
            let request = change(authorised(request, &token));
            let reply = self.api.call(&account.payer, endpoint, request).await?;
            if reply.status != StatusCode::UNAUTHORIZED {
                return Ok(reply);
            }
            // It has expired or was revoked: once more with a new one.
            self.forget(account, &token).await;
        }
        let label = &account.payer.label;
        Err(NotYet::Refused(format!("Taiga refuses the account of {label}: mend its name and password")))
    }

    fn session_slot(&self, account: &Account) -> Slot<Session> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sessions.entry(account.payer.id.clone()).or_default())
    }

    /// The account's token, from a login if need be; none when the login is refused.
    async fn session(&self, account: &Account) -> Result<Option<Authorisation>, NotYet> {
        let (username, password) = match &account.login {
            Login::Password { username, password } => (username, password),
            Login::Token(token) => return Ok(Some(Some(token.clone()))),
            Login::Anonymous => return Ok(Some(None)),
        };
        let slot = self.session_slot(account);
        let mut kept = slot.lock().await;
        if let Some(session) = kept.as_ref().filter(|session| session.since.elapsed() < SESSION) {
            return Ok(Some(Some(session.token.clone())));
        }
        let since = Instant::now();
        let request = self.api.http.post(format!("{}/auth", self.auth)).json(&json!({
            "type": "normal",
            "username": username,
            "password": password.expose(),
        }));
        let reply = self.api.call(&account.payer, "auth", request).await?;
        match reply.status {
            status if status.is_success() => {
                let unreadable = || NotYet::Unreadable("Taiga's answer to a login has no auth_token".to_owned());
                let login = serde_json::from_slice::<LoginReply>(&reply.body).map_err(|_| unreadable())?;
                let token: Secret = login.auth_token.parse().map_err(|_| unreadable())?;
                *kept = Some(Session { token: token.clone(), since });
                Ok(Some(Some(token)))
            }
            // Taiga has said 400 and 401 to a wrong password.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
            status => Err(NotYet::Refused(format!("Taiga answered {status} to a login"))),
        }
    }

    /// Forgets a token that was refused, unless somebody has a newer one by now.
    async fn forget(&self, account: &Account, token: &Authorisation) {
        let slot = self.session_slot(account);
        let mut kept = slot.lock().await;
        if kept
            .as_ref()
            .is_some_and(|session| token.as_ref().is_some_and(|token| session.token.expose() == token.expose()))
        {
            *kept = None;
        }
    }

    async fn refused(&self, account: &Account) -> NotYet {
        tracing::warn!(token = %account.payer.label, "{}", match account.login {
            Login::Password { .. } => "Taiga refuses an account; its look-ups wait until it is corrected in the credentials file or in TAIGA_USERNAME and TAIGA_PASSWORD",
            Login::Token(_) => "Taiga refuses TAIGA_TOKEN; look-ups wait until it is replaced, or TAIGA_USERNAME and TAIGA_PASSWORD are set",
            Login::Anonymous => "Taiga wants an account; look-ups wait until TAIGA_USERNAME and TAIGA_PASSWORD, or TAIGA_TOKEN, are set",
        });
        self.api.stop(&account.payer, None).await
    }
}

fn authorised(request: RequestBuilder, token: &Authorisation) -> RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token.expose()),
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_summed_over_roles_and_keep_their_type() {
        let stats = r#"{"name":"Sprint 1","total_points":{"11":3.0,"12":null,"13":2.5},"completed_points":[1,2],
            "total_userstories":4,"completed_userstories":1,"total_tasks":9,"completed_tasks":null,"days":[]}"#;
        let expected = bson::doc! {
            "milestone_total_points": 5.5,
            "milestone_closed_points": 3,
            "milestone_total_userstories": 4,
            "milestone_completed_userstories": 1,
            "milestone_total_tasks": 9,
            "milestone_completed_tasks": Bson::Null,
        };
        assert_eq!(serde_json::from_str::<Stats>(stats).unwrap().fields(), expected);
        let empty = serde_json::from_str::<Stats>(r#"{"total_points":{},"completed_points":[]}"#).unwrap().fields();
        assert_eq!(empty.get("milestone_total_points"), Some(&Bson::Int32(0)));
        assert!(serde_json::from_str::<Stats>("[]").is_err());
    }
}

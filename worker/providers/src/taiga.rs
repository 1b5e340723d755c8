//! Taiga: a milestone's figures.
//!
//! A login is used for 23 hours or until a 401. Figures are cached for a minute: 50 changed tasks of one milestone cost
//! one request. Figures from the cache that may be older than the event are used at once, and the look-up is repeated
//! when the cache entry has expired.

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

use crate::ProviderError;
use crate::client::{ProviderClient, ProviderReply};
use crate::limiter::QueueSlot;
use crate::report::Reporter;
use crate::tokens::{Account, Login};

/// Taiga's tokens expire after a day.
const SESSION_TTL: Duration = Duration::from_secs(23 * 3600);

const CACHE_TTL: Duration = Duration::from_secs(60);

/// Clock skew allowed between NATS and this process. Cached figures cover a look-up only if they were requested at
/// least this long after it was queued.
const CLOCK_SKEW_MS: i64 = 2_000;

/// With more entries, expired ones are removed.
const CACHE_MAX: usize = 1_000;

/// The token of a request; `None` of an account that needs none.
type Authorisation = Option<Secret>;

type CacheEntry<T> = Arc<tokio::sync::Mutex<Option<T>>>;

#[derive(Debug)]
pub struct TaigaClient {
    api: ProviderClient,
    base: String,
    auth: String,
    /// By account. The lock of an entry is held while its value is fetched, so that it is fetched once.
    sessions: Mutex<HashMap<String, CacheEntry<Session>>>,
    /// By account and milestone.
    figures: Mutex<HashMap<(String, i64), CacheEntry<CachedFigures>>>,
}

#[derive(Debug, Clone)]
struct Session {
    token: Secret,
    since: Instant,
}

#[derive(Debug, Clone)]
struct CachedFigures {
    /// `None` when Taiga has no such milestone.
    figures: Option<Document>,
    since: Instant,
    requested_ms: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The six fields of a document; `None` when Taiga has no such milestone.
    pub fields: Option<Document>,
    /// The figures may be older than the event: repeat the look-up after this time.
    pub repeat_after: Option<Duration>,
}

/// `POST /auth`
#[derive(Deserialize)]
struct LoginReply {
    auth_token: String,
}

/// `GET /milestones/{id}/stats`
#[derive(Debug, Default, Deserialize)]
struct MilestoneStats {
    /// By role.
    total_points: Option<HashMap<String, Option<Number>>>,
    /// One of each role.
    completed_points: Option<Vec<Option<Number>>>,
    total_userstories: Option<Number>,
    completed_userstories: Option<Number>,
    total_tasks: Option<Number>,
    completed_tasks: Option<Number>,
}

impl MilestoneStats {
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

impl TaigaClient {
    /// `base` and `auth`, where it logs in, end in `/api/v1`.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(base: &str, auth: &str, reporter: Reporter) -> Result<Self, reqwest::Error> {
        let [base, auth] = [base, auth].map(|url| url.trim_end_matches('/').to_owned());
        Ok(Self {
            api: ProviderClient::new("taiga", reporter)?,
            base,
            auth,
            sessions: Mutex::default(),
            figures: Mutex::default(),
        })
    }

    /// A slot for a look-up.
    ///
    /// # Errors
    /// [`ProviderError::Limited`].
    pub fn queue_slot(&self, account: &Account) -> Result<QueueSlot, ProviderError> {
        self.api.queue_slot(&account.credential)
    }

    /// For a look-up that was queued at `queued_ms`.
    ///
    /// # Errors
    /// See [`ProviderError`].
    pub async fn milestone(&self, account: &Account, milestone: i64, queued_ms: i64) -> Result<Figures, ProviderError> {
        let entry = self.figures_entry((account.credential.id.clone(), milestone));
        let mut cached = entry.lock().await;
        if let Some(answer) = cached.as_ref()
            && let Some(left) = CACHE_TTL.checked_sub(answer.since.elapsed())
        {
            let covered = queued_ms + CLOCK_SKEW_MS < answer.requested_ms;
            return Ok(Figures { fields: answer.figures.clone(), repeat_after: (!covered).then_some(left) });
        }
        let (since, requested_ms) = (Instant::now(), now_ms());
        let figures = self.request_figures(account, milestone).await?;
        *cached = Some(CachedFigures { figures: figures.clone(), since, requested_ms });
        Ok(Figures { fields: figures, repeat_after: None })
    }

    fn figures_entry(&self, key: (String, i64)) -> CacheEntry<CachedFigures> {
        let mut all = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= CACHE_MAX {
            let fresh = |entry: &CacheEntry<CachedFigures>| {
                entry
                    .try_lock()
                    .map_or(true, |cached| cached.as_ref().is_some_and(|answer| answer.since.elapsed() < CACHE_TTL))
            };
            all.retain(|_, entry| Arc::strong_count(entry) > 1 || fresh(entry));
        }
        Arc::clone(all.entry(key).or_default())
    }

    async fn request_figures(&self, account: &Account, milestone: i64) -> Result<Option<Document>, ProviderError> {
        let mut reply = self.stats(account, milestone).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            // The token expired or was revoked and is no longer cached: repeat with a new one.
            reply = self.stats(account, milestone).await?;
        }
        match reply.status {
            status if status.is_success() => match serde_json::from_slice::<MilestoneStats>(&reply.body) {
                // Without points it is no reply about figures, and must not set known figures to null.
                Ok(stats) if stats.total_points.is_some() => Ok(Some(stats.fields())),
                Ok(_) => Err(ProviderError::Unreadable("Taiga's figures have no total_points".to_owned())),
                Err(error) => Err(ProviderError::Unreadable(format!("Taiga's figures cannot be read: {error}"))),
            },
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNPROCESSABLE_ENTITY => Ok(None),
            StatusCode::UNAUTHORIZED => Err(self.refused(account).await),
            status => Err(ProviderError::Refused(format!("Taiga answered {status}"))),
        }
    }

    async fn stats(&self, account: &Account, milestone: i64) -> Result<ProviderReply, ProviderError> {
        let Some(token) = self.session(account).await? else { return Err(self.refused(account).await) };
        let url = format!("{}/milestones/{milestone}/stats", self.base);
        let reply = self.api.call(&account.credential, "milestone", authorised(self.api.http.get(url), &token)).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            self.forget(account, &token).await;
        }
        Ok(reply)
    }

    /// Any other request, for a command. `path` begins with a slash; `change` adds query and body.
    ///
    /// # Errors
    /// [`ProviderError::Refused`] when Taiga does not accept the account.
    pub async fn request(
        &self,
        account: &Account,
        endpoint: &'static str,
        (method, path): (Method, &str),
        change: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<ProviderReply, ProviderError> {
        for _ in 0..2 {
            let Some(token) = self.session(account).await? else { break };
            let request = self.api.http.request(method.clone(), format!("{}{path}", self.base));
            let request = change(authorised(request, &token));
            let reply = self.api.call(&account.credential, endpoint, request).await?;
            if reply.status != StatusCode::UNAUTHORIZED {
                return Ok(reply);
            }
            // The token expired or was revoked: repeat with a new one.
            self.forget(account, &token).await;
        }
        let label = &account.credential.label;
        Err(ProviderError::Refused(format!("Taiga refuses the account of {label}: correct its name and password")))
    }

    fn session_entry(&self, account: &Account) -> CacheEntry<Session> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sessions.entry(account.credential.id.clone()).or_default())
    }

    /// The account's token, cached or from a login; `None` when the login is refused.
    async fn session(&self, account: &Account) -> Result<Option<Authorisation>, ProviderError> {
        let (username, password) = match &account.login {
            Login::Password { username, password } => (username, password),
            Login::Token(token) => return Ok(Some(Some(token.clone()))),
            Login::Anonymous => return Ok(Some(None)),
        };
        let entry = self.session_entry(account);
        let mut cached = entry.lock().await;
        if let Some(session) = cached.as_ref().filter(|session| session.since.elapsed() < SESSION_TTL) {
            return Ok(Some(Some(session.token.clone())));
        }
        let since = Instant::now();
        let request = self.api.http.post(format!("{}/auth", self.auth)).json(&json!({
            "type": "normal",
            "username": username,
            "password": password.expose(),
        }));
        let reply = self.api.call(&account.credential, "auth", request).await?;
        match reply.status {
            status if status.is_success() => {
                let unreadable = || ProviderError::Unreadable("Taiga's answer to a login has no auth_token".to_owned());
                let login = serde_json::from_slice::<LoginReply>(&reply.body).map_err(|_| unreadable())?;
                let token: Secret = login.auth_token.parse().map_err(|_| unreadable())?;
                *cached = Some(Session { token: token.clone(), since });
                Ok(Some(Some(token)))
            }
            // Taiga answers 400 or 401 to a wrong password, by version.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
            status => Err(ProviderError::Refused(format!("Taiga answered {status} to a login"))),
        }
    }

    /// Unless the cache holds a newer token by now.
    async fn forget(&self, account: &Account, token: &Authorisation) {
        let entry = self.session_entry(account);
        let mut cached = entry.lock().await;
        if cached
            .as_ref()
            .is_some_and(|session| token.as_ref().is_some_and(|token| session.token.expose() == token.expose()))
        {
            *cached = None;
        }
    }

    async fn refused(&self, account: &Account) -> ProviderError {
        tracing::warn!(token = %account.credential.label, "{}", match account.login {
            Login::Password { .. } => "Taiga refuses an account; its look-ups wait until it is corrected in the credentials file or in TAIGA_USERNAME and TAIGA_PASSWORD",
            Login::Token(_) => "Taiga refuses TAIGA_TOKEN; look-ups wait until it is replaced, or TAIGA_USERNAME and TAIGA_PASSWORD are set",
            Login::Anonymous => "Taiga wants an account; look-ups wait until TAIGA_USERNAME and TAIGA_PASSWORD, or TAIGA_TOKEN, are set",
        });
        self.api.stop(&account.credential, None).await
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
        assert_eq!(serde_json::from_str::<MilestoneStats>(stats).unwrap().fields(), expected);
        let empty =
            serde_json::from_str::<MilestoneStats>(r#"{"total_points":{},"completed_points":[]}"#).unwrap().fields();
        assert_eq!(empty.get("milestone_total_points"), Some(&Bson::Int32(0)));
        assert!(serde_json::from_str::<MilestoneStats>("[]").is_err());
    }
}

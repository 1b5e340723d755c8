//! Creates missing streams, repairs and widens those that are there.

use std::time::SystemTime;

use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, Info};
use async_nats::jetstream::{Context, ErrorCode};

use super::compare::{self, StreamDifference};
use super::error::NATS;
use super::{EnsureError, StreamName, Topology, Unfit};

/// A stream for which NATS has no room is created smaller, down to this.
const MIN_BYTES: i64 = 1024 * 1024;

impl Topology {
    /// Creates the streams that are missing, repairs what breaks a promise, and widens what is narrower than its setting:
    /// for the start of a process.
    ///
    /// Idempotent, and safe to run from several processes at once.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses, or a stream has a setting that NATS cannot change; what is wrong
    /// with the first such stream. Where the server answers, all others are as they must be even then.
    pub async fn ensure(&self, jetstream: &Context) -> Result<(), EnsureError> {
        self.apply(jetstream, true).await
    }

    /// As [`ensure`](Self::ensure), but widens nothing: what an operator narrows under a running process, to make room
    /// on a full disk, stays so until the next start.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure).
    pub async fn repair(&self, jetstream: &Context) -> Result<(), EnsureError> {
        self.apply(jetstream, false).await
    }

    /// As [`ensure`](Self::ensure), of one stream: what is wrong with another must not keep this one from being used.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure).
    pub async fn ensure_only(&self, jetstream: &Context, stream: StreamName) -> Result<(), EnsureError> {
        if let Err(error) = jetstream.client().flush().await {
            return Err(EnsureError::new("reach", NATS, error));
        }
        let atomic = jetstream.client().is_server_compatible(2, 12, 0);
        match self.ensure_stream(jetstream, stream, self.config(stream, atomic), true).await {
            Ok(unfit) if unfit.is_empty() => Ok(()),
            Ok(unfit) => Err(EnsureError::Unfit(unfit)),
            Err(Failure::NoAnswer(error) | Failure::Refused(error)) => Err(error),
        }
    }

    async fn apply(&self, jetstream: &Context, widens: bool) -> Result<(), EnsureError> {
        // Before the first round trip the client does not know the server's version.
        if let Err(error) = jetstream.client().flush().await {
            return Err(EnsureError::new("reach", NATS, error));
        }
        // Atomic batches need server 2.12; an older one would silently drop the setting.
        let atomic = jetstream.client().is_server_compatible(2, 12, 0);
        let (mut unfit, mut first) = (Vec::new(), None);
        // NATS reserves a stream's limit. The two large streams come last and get what is left of a small disk.
        let is_large = |stream: &StreamName| matches!(stream, StreamName::Events | StreamName::Dead);
        let small = StreamName::ALL.into_iter().filter(|stream| !is_large(stream));
        for stream in small.chain([StreamName::Events, StreamName::Dead]) {
            match self.ensure_stream(jetstream, stream, self.config(stream, atomic), widens).await {
                Ok(more) if more.is_empty() => {}
                Ok(more) => {
                    unfit.extend(more);
                    first.get_or_insert(None);
                }
                // Without an answer, each other stream would only wait for the same timeout.
                Err(Failure::NoAnswer(error)) => return Err(error),
                Err(Failure::Refused(error)) => drop(first.get_or_insert(Some(error))),
            }
        }
        match first {
            None => Ok(()),
            Some(None) => Err(EnsureError::Unfit(unfit)),
            Some(Some(error)) => Err(error),
        }
    }

    /// Whether a stream that was just read can stay as it is.
    ///
    /// # Errors
    /// What NATS cannot change; empty when [`repair`](Self::repair) changes what is wrong.
    pub fn check(&self, stream: StreamName, found: &Info) -> Result<(), Vec<Unfit>> {
        let wanted = self.config(stream, found.config.allow_atomic_publish);
        let StreamDifference { repairs, unfit, .. } = compare::stream(&found.config, &wanted, found.state.bytes);
        match repairs.is_empty() && unfit.is_empty() {
            true => Ok(()),
            false => Err(of(&found.config, unfit)),
        }
    }

    /// What is still wrong with the stream after the repair.
    async fn ensure_stream(
        &self,
        jetstream: &Context,
        stream: StreamName,
        wanted: Config,
        widens: bool,
    ) -> Result<Vec<Unfit>, Failure> {
        let name = wanted.name.as_str();
        let found = match jetstream.get_stream(name).await {
            Ok(found) => found.cached_info().clone(),
            Err(error) if is_missing(&error.kind()) => match create(jetstream, stream, wanted.clone()).await? {
                Created::ByUs => return Ok(Vec::new()),
                Created::ByAnother => {
                    let found = jetstream.get_stream(name).await;
                    found.map_err(|error| Failure::get(name, error))?.cached_info().clone()
                }
            },
            Err(error) => return Err(Failure::get(name, error)),
        };
        let difference = compare::stream(&found.config, &wanted, found.state.bytes);
        if !difference.unfit.is_empty() {
            return Ok(of(&found.config, difference.unfit));
        }
        let StreamDifference { repaired, widened, repairs, .. } = difference;
        if !repairs.is_empty() {
            let updated = jetstream.update_stream(&repaired).await;
            updated.map_err(|error| Failure::new("repair stream", name, error))?;
            let repairs = repairs.join(", ");
            tracing::warn!(stream.name = %name, repairs, "repaired settings of a stream: messages would have been lost or refused");
        }
        if widens && widened != repaired {
            match jetstream.update_stream(&widened).await {
                Ok(_) => tracing::info!(stream.name = %name, "widened a stream"),
                // Wider is better, but no promise needs it.
                Err(error) if answer(&error.kind()).is_some() => tracing::warn!(
                    stream.name = %name, %error, max_bytes = repaired.max_bytes, wanted_max_bytes = wanted.max_bytes,
                    "cannot widen a stream to its setting, using it as it is; see docs/operations.md about disks"
                ),
                Err(error) => return Err(Failure::new("widen stream", name, error)),
            }
        }
        Ok(Vec::new())
    }
}

enum Created {
    ByUs,
    /// Another process created it first, perhaps with other limits.
    ByAnother,
}

/// Creates a stream; if NATS has no room for its limit, with half of it, a quarter, and so on.
async fn create(jetstream: &Context, stream: StreamName, mut config: Config) -> Result<Created, Failure> {
    let name = config.name.clone();
    let wanted = config.max_bytes;
    if stream == StreamName::Events {
        config.first_sequence = Some(first_sequence(SystemTime::now()));
    }
    loop {
        match jetstream.create_stream(config.clone()).await {
            Ok(_) if config.max_bytes == wanted => {
                tracing::info!(stream.name = %name, "created a stream");
                return Ok(Created::ByUs);
            }
            Ok(_) => {
                tracing::warn!(
                    stream.name = %name, max_bytes = config.max_bytes, wanted_max_bytes = wanted,
                    "created a stream smaller than its setting: NATS has no more room; see docs/operations.md about disks"
                );
                return Ok(Created::ByUs);
            }
            Err(error) if answer(&error.kind()) == Some(ErrorCode::STREAM_NAME_EXIST) => return Ok(Created::ByAnother),
            Err(error) if is_no_room(&error) && config.max_bytes / 2 >= MIN_BYTES => config.max_bytes /= 2,
            Err(error) => return Err(Failure::new("create stream", &name, error)),
        }
    }
}

/// The first sequence of an events stream that is created now: microseconds since 1970.
///
/// The sequence decides which of two events of one instant is newer, and documents store it. A stream that is created
/// again must therefore begin above every sequence of the stream before it, also when the disk was lost. It does as
/// long as that stream took fewer than a million events a second.
fn first_sequence(now: SystemTime) -> u64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(1).max(1)
}

fn of(config: &Config, unfit: Vec<&'static str>) -> Vec<Unfit> {
    unfit.into_iter().map(|what| Unfit { stream: config.name.clone(), what: what.to_owned() }).collect()
}

/// Whether the server answered: if not, it is not asked about the next stream.
enum Failure {
    NoAnswer(EnsureError),
    Refused(EnsureError),
}

impl Failure {
    fn new(what: &'static str, name: &str, error: CreateStreamError) -> Self {
        let code = answer(&error.kind());
        let failed = EnsureError::new(what, name, format!("{error}{}", advice(code)));
        if code.is_some() { Self::Refused(failed) } else { Self::NoAnswer(failed) }
    }

    fn get(name: &str, error: async_nats::jetstream::context::GetStreamError) -> Self {
        let failed = EnsureError::new("read stream", name, &error);
        if matches!(error.kind(), GetStreamErrorKind::JetStream(_)) {
            Self::Refused(failed)
        } else {
            Self::NoAnswer(failed)
        }
    }
}

const fn advice(code: Option<ErrorCode>) -> &'static str {
    match code {
        Some(ErrorCode::STREAM_SUBJECT_OVERLAP) => {
            "; another stream takes our subjects: find it with `nats stream ls` and give it other subjects"
        }
        Some(ErrorCode::STORAGE_RESOURCES_EXCEEDED | ErrorCode::INSUFFICIENT_RESOURCES) => {
            "; give NATS more disk, or raise max_file_store in nats-server.conf"
        }
        Some(ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED) => "; LD_REPLICAS above 1 needs a NATS cluster",
        _ => "",
    }
}

fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// The server's answer, if it was one.
fn answer(kind: &CreateStreamErrorKind) -> Option<ErrorCode> {
    match kind {
        CreateStreamErrorKind::JetStream(error) => Some(error.error_code()),
        _ => None,
    }
}

fn is_no_room(error: &CreateStreamError) -> bool {
    matches!(
        answer(&error.kind()),
        Some(
            ErrorCode::STORAGE_RESOURCES_EXCEEDED
                | ErrorCode::INSUFFICIENT_RESOURCES
                | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_stream_created_again_begins_above_all_that_an_older_one_can_have_had() {
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let an_hour_at_50_000_a_second = 3600 * 50_000;
        let again = first_sequence(made + Duration::from_secs(3600));
        assert!(again > first_sequence(made) + an_hour_at_50_000_a_second);
        assert!(again < 1 << 53, "a double must hold it: it is shown as JSON");
        assert_eq!(first_sequence(SystemTime::UNIX_EPOCH), 1);
    }
}

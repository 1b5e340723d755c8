//! NATS and its streams, MongoDB and its indexes, LD Eval; the backlogs, and dead letters.

use std::time::Duration;

use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::stream::Stream;
use bson::{Document, doc};
use futures::TryStreamExt as _;
use mongodb::Database;
use shared::ids::Project;
use shared::topology::{StreamName, Topology};

use super::checks::{Checks, REQUEST_TIMEOUT, ago};
use crate::streams::{Connection, count};
use crate::terminal::CommandError;
use worker_core::config::Config;
use worker_core::store::sentence;
use worker_event::effect::Kind;

/// From which share of its limit on the event stream counts as nearly full: the worker makes room from there.
const NEARLY_FULL: f64 = 0.95;

/// From which share of its limit on the stream of dead letters counts as nearly full.
const DEAD_NEARLY_FULL: f64 = 0.8;

/// Maximum age of waiting work.
const OLDEST_WAITING: Duration = Duration::from_secs(120);

/// The first MongoDB that is supported.
const MONGODB: i32 = 6;

/// Whether NATS answers and the streams are there; `None` when nothing else of NATS can be checked.
pub async fn nats(checks: &mut Checks, settings: &Config) -> Option<Connection> {
    let address = shared::redact::without_passwords(&settings.nats.nats_url);
    let connection = match Connection::open(&settings.nats, &settings.streams, "worker-doctor").await {
        Ok(connection) => connection,
        Err(error) => {
            let to_do = "start nats-server, or fix NATS_URL and the login (NATS_CREDS, NATS_CA)";
            checks.bad("NATS", format_args!("{address}: {error}"), to_do);
            return None;
        }
    };
    checks.ok("NATS", format_args!("{address} answers, version {}", connection.client.server_info().version));
    for name in StreamName::ALL {
        match connection.stream(name).await {
            Ok(stream) => stream_is_well(checks, &connection.topology, name, &stream),
            Err(error) => checks.bad(
                "streams",
                error,
                "start ingress or worker, which make it; is JetStream on, and NATS_PREFIX theirs?",
            ),
        }
    }
    Some(connection)
}

fn stream_is_well(checks: &mut Checks, topology: &Topology, name: StreamName, stream: &Stream) {
    let info = stream.cached_info();
    let full_name = topology.stream(name);
    match topology.check(name, info) {
        Ok(()) => {}
        Err(unfit) if unfit.is_empty() => checks.bad(
            "streams",
            format_args!("{full_name} has settings with which messages are lost or refused"),
            "start ingress or worker, which repair them",
        ),
        Err(unfit) => unfit.iter().for_each(|one| {
            checks.bad("streams", format_args!("{} {}", one.stream, one.what), one.advice());
        }),
    }
    let (state, limit) = (&info.state, info.config.max_bytes);
    let found = format!("{full_name}: {} messages, {} bytes", state.messages, state.bytes);
    if name == StreamName::Events && limit > 0 && state.bytes as f64 > limit as f64 * NEARLY_FULL {
        let to_do =
            "start a worker, or raise LD_EVENTS_MAX_BYTES and restart an ingress; at the limit webhooks are refused";
        checks.bad("streams", format_args!("{found} of {limit}"), to_do);
    } else if name == StreamName::Dead && limit > 0 && state.bytes as f64 > limit as f64 * DEAD_NEARLY_FULL {
        let to_do = "redrive or purge dead letters, or raise LD_DEAD_MAX_BYTES; at the limit the oldest go";
        checks.bad("streams", format_args!("{found} of {limit}"), to_do);
    } else {
        checks.ok("streams", found);
    }
}

/// Whether MongoDB takes writes, is recent enough, and has the unique indexes.
pub async fn mongodb(checks: &mut Checks, settings: &Config, prj: Option<&Project>) {
    const NAME: &str = "MongoDB";
    let to_do = "start mongod, or fix MONGO_URI (or MONGO_HOST and its like) and the rights of its user";
    let (address, store) = match (settings.mongo.uri(), settings.mongo.open().await) {
        (Ok(uri), Ok(store)) => (shared::redact::without_login(uri.expose()), store),
        (Err(error), _) | (_, Err(error)) => return checks.bad(NAME, error, "see `worker config check`"),
    };
    match tokio::time::timeout(REQUEST_TIMEOUT * 2, store.probe("doctor")).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return checks.bad(NAME, format_args!("{address}: {error}"), to_do),
        Err(_) => return checks.bad(NAME, format_args!("{address} does not answer"), to_do),
    }
    let db = store.database();
    let version = db.run_command(doc! { "buildInfo": 1 }).await.ok();
    let version = version.and_then(|info| info.get_str("version").ok().map(str::to_owned)).unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse().ok());
    if major.is_some_and(|major: i32| major < MONGODB) {
        checks.bad(
            NAME,
            format_args!("{address} is version {version}"),
            format_args!("update it to {MONGODB}.0 or later"),
        );
    } else {
        checks.ok(NAME, format_args!("{address} takes writes into {}, version {version}", db.name()));
    }
    match missing_indexes(db, prj).await {
        Err(error) => checks.bad("indexes", error, to_do),
        Ok((collections, missing)) if missing.is_empty() => {
            checks.ok("indexes", format_args!("{collections} collections have their unique index"));
        }
        Ok((_, missing)) => missing.iter().for_each(|collection| {
            checks.bad(
                "indexes",
                format_args!("{collection} has no unique index on its natural key"),
                "remove the older of its duplicates; the worker makes the index with the next event",
            );
        }),
    }
}

/// How many collections we have, and which lack their unique index.
async fn missing_indexes(db: &Database, prj: Option<&Project>) -> Result<(usize, Vec<String>), CommandError> {
    let unread = |error: mongodb::error::Error| CommandError::mongo("The collections cannot be read", sentence(&error));
    let names = db.list_collection_names().await.map_err(unread)?;
    let (mut ours, mut missing) = (0, Vec::new());
    for name in names {
        let Some(kind) = Kind::ALL.into_iter().find(|kind| is_of(*kind, &name, prj)) else { continue };
        ours += 1;
        let indexes = db.collection::<Document>(&name).list_indexes().await.map_err(unread)?;
        let indexes: Vec<_> = indexes.try_collect().await.map_err(unread)?;
        let key: Document = kind.key_fields().iter().map(|field| ((*field).to_owned(), 1.into())).collect();
        let unique =
            |index: &mongodb::IndexModel| index.options.as_ref().and_then(|options| options.unique) == Some(true);
        let same = |index: &mongodb::IndexModel| index.keys.keys().eq(key.keys());
        if !indexes.iter().any(|index| unique(index) && same(index)) {
            missing.push(name);
        }
    }
    Ok((ours, missing))
}

fn is_of(kind: Kind, collection: &str, prj: Option<&Project>) -> bool {
    let (source, suffix, _) = kind.parts();
    match prj {
        Some(prj) => collection == kind.collection(prj.as_str()),
        None => {
            let project = collection.strip_prefix(source).and_then(|rest| rest.strip_prefix('_'));
            let project = project.and_then(|rest| rest.strip_suffix(suffix)).and_then(|rest| rest.strip_suffix('.'));
            project.is_some_and(|project| Project::new(project).is_ok())
        }
    }
}

/// Whether LD Eval answers. Any status will do: a real request would make it compute.
pub async fn ld_eval(checks: &mut Checks, settings: &Config, http: &reqwest::Client) {
    let url = format!("http://{}:{}/", settings.eval.eval_host, settings.eval.eval_port);
    match http.get(&url).send().await {
        Ok(answer) if !answer.status().is_server_error() => {
            checks.ok("LD Eval", format_args!("{url} answers ({})", answer.status()));
        }
        Ok(answer) => checks.bad("LD Eval", format_args!("{url} answers {}", answer.status()), "look at LD Eval's log"),
        Err(_) => checks.bad(
            "LD Eval",
            format_args!("{url} does not answer"),
            "start it, or fix EVAL_HOST and EVAL_PORT; nothing is lost meanwhile, notifications wait",
        ),
    }
}

/// Whether workers run and keep up, with events, notifications and look-ups.
pub async fn backlog(checks: &mut Checks, streams: &Connection) {
    for (name, of, to_do) in [
        (StreamName::Events, "events", "is `worker run` up, and MongoDB? Look at the worker's /readyz and log"),
        (StreamName::Notify, "notifications", "is LD Eval up? They go out by themselves once it accepts them"),
    ] {
        let Ok(stream) = streams.stream(name).await else { continue };
        let waiting = match consumer(streams, &stream, name).await {
            Some(info) => info.num_pending + info.num_ack_pending as u64,
            None => {
                checks.bad("backlog", format_args!("no worker has ever taken {of}"), "start `worker run`");
                continue;
            }
        };
        let floor = consumer(streams, &stream, name).await.map_or(0, |info| info.ack_floor.stream_sequence);
        let all = streams.topology.all_of(name);
        let oldest = stream.get_first_raw_message_by_subject(all, floor + 1).await.ok().filter(|_| waiting > 0);
        let age = oldest.map(|message| ago(message.time.unix_timestamp_nanos()));
        match age {
            Some(age) if age > OLDEST_WAITING => {
                let oldest = humantime::format_duration(age);
                checks.bad("backlog", format_args!("{waiting} {of} wait, the oldest for {oldest}"), to_do);
            }
            _ => checks.ok("backlog", format_args!("{waiting} {of} wait")),
        }
    }
    if let Ok(stream) = streams.stream(StreamName::Enrich).await {
        let waiting = stream.cached_info().state.messages;
        checks.ok("backlog", format_args!("{waiting} look-ups wait (at a provider's limit that may take an hour)"));
    }
    let Ok(events) = streams.stream(StreamName::Events).await else { return };
    for _ in 0..20 {
        match consumer(streams, &events, StreamName::Events).await {
            // An idle worker waits in a pull; a busy one has messages in flight.
            Some(info) if info.num_waiting > 0 || info.num_ack_pending > 0 => {
                return checks.ok("workers", "at least one takes events");
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    checks.bad("workers", "no worker takes events", "start `worker run`");
}

/// The workers' consumer, without making one.
async fn consumer(streams: &Connection, stream: &Stream, name: StreamName) -> Option<Info> {
    stream.consumer_info(streams.topology.durable(name)).await.ok()
}

/// Whether there are dead letters.
pub async fn dead_letters(checks: &mut Checks, streams: &Connection, prj: Option<&Project>) {
    let filter = streams.topology.dead_filter(None, prj);
    let Ok(stream) = streams.stream(StreamName::Dead).await else { return };
    let of = prj.map(|prj| format!(" of {prj}")).unwrap_or_default();
    let from = async_nats::jetstream::consumer::DeliverPolicy::All;
    match count(&stream, &filter, from).await {
        Ok(0) => checks.ok("dead letters", format_args!("none{of}")),
        Ok(dead) => checks.bad(
            "dead letters",
            format_args!("{dead}{of}"),
            "see `worker dead-letters list`, fix the cause, then `worker dead-letters redrive`",
        ),
        Err(error) => checks.bad("dead letters", error, "look at NATS"),
    }
}

//! The durable consumers that workers share: created when not found, repaired, or created again.

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{self, FromConsumer as _, PullConsumer, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::{ConsumerCreateStrictErrorKind, Stream};

use super::compare::{self, ConsumerDifference};
use super::{EnsureError, StreamName, Topology};

/// Several workers may create, repair or delete the same consumer at once; each then reads it again.
const ATTEMPTS: usize = 5;

impl Topology {
    /// The durable consumer that workers share, as it must be.
    ///
    /// # Errors
    /// When the stream is missing, or the server does not answer or refuses. A consumer that could not be read is not
    /// changed: only one that is not found is created.
    pub async fn consumer(&self, jetstream: &Context, stream: StreamName) -> Result<PullConsumer, EnsureError> {
        let name = self.stream(stream);
        let durable = self.durable(stream);
        let full_name = format!("{durable} on {name}");
        let failed = |what, error: &dyn std::fmt::Display| EnsureError::new(what, &full_name, error);
        let stream_: Stream<()> =
            jetstream.get_stream_no_info(&name).await.map_err(|error| EnsureError::new("read stream", &name, error))?;
        for _ in 0..ATTEMPTS {
            let info = match stream_.consumer_info(durable).await {
                Ok(info) => info,
                Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {
                    match stream_.create_consumer_strict(self.consumer_config(stream)).await {
                        Ok(created) => return Ok(created),
                        Err(error) if error.kind() == ConsumerCreateStrictErrorKind::AlreadyExists => continue,
                        Err(error) => return Err(failed("create consumer", &error)),
                    }
                }
                Err(error) => return Err(failed("read consumer", &error)),
            };
            match compare::consumer(&info) {
                ConsumerDifference::None => {
                    return bound(jetstream, info).map_err(|error| failed("use consumer", &error));
                }
                ConsumerDifference::Repair { config, names, is_paused } => {
                    if is_paused {
                        stream_.resume_consumer(durable).await.map_err(|error| failed("resume consumer", &error))?;
                    }
                    stream_.update_consumer(*config).await.map_err(|error| failed("repair consumer", &error))?;
                    let repairs = names.join(", ");
                    tracing::warn!(consumer.name = %full_name, repairs, "repaired settings of a consumer: messages would have waited");
                }
                ConsumerDifference::CreateAgain(names) => {
                    stream_.delete_consumer(durable).await.map_err(|error| failed("delete consumer", &error))?;
                    let settings = names.join(", ");
                    tracing::warn!(
                        consumer.name = %full_name, settings,
                        "deleted a consumer that passes over messages; it begins again at the stream's first message, and repetition is harmless"
                    );
                }
            }
        }
        Err(failed("settle on", &"somebody changes it all the time; find out who with `nats consumer info`"))
    }
}

fn bound(jetstream: &Context, info: consumer::Info) -> Result<PullConsumer, async_nats::Error> {
    let config = pull::Config::try_from_consumer_config(info.config.clone())?;
    Ok(PullConsumer::new(config, info, jetstream.clone()))
}

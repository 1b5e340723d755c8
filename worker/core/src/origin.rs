//! The delivery that a message comes from. It travels in headers, for logs and traces.

use async_nats::HeaderMap;
use shared::envelope::{header, header_safe};

#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The delivery's identity.
    pub delivery: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl Origin {
    #[must_use]
    pub fn of(headers: Option<&HeaderMap>) -> Self {
        let text = |name| headers.and_then(|headers| headers.get(name)).map(|value| value.as_str().to_owned());
        Self { delivery: text(header::DELIVERY), traceparent: text(header::TRACEPARENT) }
    }

    /// Writes it into the headers of a message.
    pub fn mark(&self, headers: &mut HeaderMap) {
        for (name, value) in [(header::DELIVERY, &self.delivery), (header::TRACEPARENT, &self.traceparent)] {
            if let Some(value) = value {
                headers.insert(name, header_safe(value).as_ref());
            }
        }
    }

    /// The delivery's identity, for a log line.
    #[must_use]
    pub fn id(&self) -> &str {
        self.delivery.as_deref().unwrap_or("unknown")
    }
}

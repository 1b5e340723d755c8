//! The delivery that a message comes from. It travels in headers, for logs and traces.

use async_nats::HeaderMap;
use shared::envelope::{header, header_safe};

#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The delivery's identity.
    pub delivery: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The delivery was not signed: anyone can have sent it.
    pub unsigned: bool,
}

impl Origin {
    #[must_use]
    pub fn of(headers: Option<&HeaderMap>) -> Self {
        let text = |name| headers.and_then(|headers| headers.get(name)).map(|value| value.as_str().to_owned());
        let unsigned = text(header::UNSIGNED).is_some();
        Self { delivery: text(header::DELIVERY), traceparent: text(header::TRACEPARENT), unsigned }
    }

    /// Writes it into the headers of a message.
    pub fn mark(&self, headers: &mut HeaderMap) {
        for (name, value) in [(header::DELIVERY, &self.delivery), (header::TRACEPARENT, &self.traceparent)] {
            if let Some(value) = value {
                headers.insert(name, header_safe(value).as_ref());
            }
        }
        if self.unsigned {
            headers.insert(header::UNSIGNED, "1");
        }
    }

    /// The delivery's identity, for a log line.
    #[must_use]
    pub fn id(&self) -> &str {
        self.delivery.as_deref().unwrap_or("unknown")
    }
}

//! Every way in which a request is refused (4xx) or fails (5xx), with the exact answer.
//!
//! An answer never repeats the body, a secret or the expected signature. An ignored event is a success, and not here.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use shared::ids::InvalidName;

use crate::limits::RETRY_AFTER;
use crate::publish::NotStored;

/// Why a request got no 200.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 404: there is no such path.
    #[error("Not found")]
    NotFound,
    /// 405: webhooks are posted.
    #[error("Method not allowed")]
    Method,
    /// 400: a proxy in front of us could parse this request differently.
    #[error("{0}")]
    Framing(&'static str),
    /// 413: more than the source may send.
    #[error("Payload too large")]
    TooLarge,
    /// 408: the body paused or took too long.
    #[error("The body did not arrive in time")]
    Slow,
    /// 400: the body ended early or its framing is broken.
    #[error("The body could not be read")]
    Broken,
    /// 403: the signature is absent, malformed or wrong.
    #[error("Invalid Signature")]
    Signature,
    /// 403: no secret is set to check the signature with; the answer is that of a wrong signature.
    #[error("Invalid Signature")]
    NoSecret,
    /// 403: no secret is set for the sheet's project, and `EXCEL_UNSIGNED` does not let it in.
    #[error("Unsigned sheets are not accepted for this project")]
    Unsigned,
    /// 400: `prj` is absent or empty.
    #[error("prj is required as query parameter")]
    NoProject,
    /// 400: `prj` or `quality_model` is outside its alphabet.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// 400: a parameter has two values, and which one counts would depend on the reader.
    #[error("{0} is in the query more than once, with different values")]
    Twice(&'static str),
    /// 400: signatures are over the bytes as they are; a compressed body could also be a bomb.
    #[error("Content-Encoding must be identity")]
    Encoding,
    /// 400: there is nothing where the JSON should be.
    #[error("No JSON received")]
    NoJson,
    /// 400: what is there is not one JSON object in UTF-8.
    #[error("{0}")]
    Json(&'static str),
    /// 400: GitHub always names the event.
    #[error("X-GitHub-Event is required as header")]
    NoEvent,
    /// 503: no memory, slot or connection was free in time.
    #[error("Too many requests at once, try again later")]
    Overloaded,
    /// 503: JetStream is down, full or slow; nothing is known to be stored.
    #[error("The event could not be stored, try again later")]
    Unavailable,
    /// 503: a bug of this program; the log has it.
    #[error("The event could not be processed, try again later")]
    Panic,
}

impl Refusal {
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Signature | Self::NoSecret | Self::Unsigned => StatusCode::FORBIDDEN,
            Self::Framing(_)
            | Self::Broken
            | Self::NoProject
            | Self::Name(_)
            | Self::Twice(_)
            | Self::Encoding
            | Self::NoJson
            | Self::Json(_)
            | Self::NoEvent => StatusCode::BAD_REQUEST,
            Self::Overloaded | Self::Unavailable | Self::Panic => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The label in metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::Framing(_) => "framing",
            Self::TooLarge => "too_large",
            Self::Slow => "slow",
            Self::Broken => "broken",
            Self::Signature => "signature",
            Self::NoSecret => "no_secret",
            Self::Unsigned => "unsigned",
            Self::NoProject | Self::Name(_) | Self::Twice(_) => "query",
            Self::Encoding => "encoding",
            Self::NoJson | Self::Json(_) => "json",
            Self::NoEvent => "event",
            Self::Overloaded => "crowded",
            Self::Unavailable => "unavailable",
            Self::Panic => "panic",
        }
    }

    /// Whether it comes after the signature was found right, where there is a secret: then its sender is known.
    #[must_use]
    pub const fn follows_signature(&self) -> bool {
        match self {
            Self::NoProject | Self::Name(_) | Self::Twice(_) => true,
            Self::Encoding | Self::NoJson | Self::Json(_) | Self::NoEvent | Self::Unavailable => true,
            Self::NotFound | Self::Method | Self::Framing(_) | Self::TooLarge | Self::Slow | Self::Broken => false,
            Self::Signature | Self::NoSecret | Self::Unsigned | Self::Overloaded | Self::Panic => false,
        }
    }
}

impl From<NotStored> for Refusal {
    fn from(error: NotStored) -> Self {
        match error {
            NotStored::Overloaded => Self::Overloaded,
            NotStored::Unavailable => Self::Unavailable,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = json(status, format!(r#"{{"error":{}}}"#, quoted(&self.to_string())));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

/// A response whose body is JSON.
pub(crate) fn json(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

//! What an unauthenticated client may cost, beside what every listener of ours allows (`shared::server::limits`).

use std::time::Duration;

/// The time for a TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The time between two pieces of a body.
pub const BODY_PAUSE: Duration = Duration::from_secs(10);

/// The time for a body as a whole.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How slow a body may be on average, in bytes a second, after [`BODY_GRACE`].
pub const MIN_BODY_RATE: usize = 16 * 1024;

/// How long a body may be slower than [`MIN_BODY_RATE`].
pub const BODY_GRACE: Duration = Duration::from_secs(10);

/// When memory is short, the slowest bodies are refused: of those that are slower than this, in bytes a second. A body
/// of 25 MiB at a lower rate does not arrive within [`BODY_TIMEOUT`].
pub const SLOW_RATE: usize = 256 * 1024;

/// How long a body has before it counts as slow.
pub const SLOW_AFTER: Duration = Duration::from_secs(2);

/// How much of a refused body is read and dropped, so that its sender gets to read the answer.
pub const DRAIN_BYTES: usize = 64 * 1024 * 1024;

/// How long a refused body is read.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request waits for memory, a slot or a connection before it is answered 503.
pub const BACKPRESSURE_TIMEOUT: Duration = Duration::from_secs(1);

/// The deadline of permit, send and acknowledgement, from the moment the body is complete. The sender is promised
/// 8 s; half a second is left for the network.
pub const PUBLISH_DEADLINE: Duration = Duration::from_millis(7_500);

/// `Retry-After` of a 503, in seconds.
pub const RETRY_AFTER: &str = "5";

/// The largest small body. Nearly all bodies are small, and they have memory of their own, so that a few huge or slow
/// ones do not use it up.
pub const SMALL_BODY: usize = 256 * 1024;

/// A larger body leaves the event loop while it is hashed, checked and compressed. A smaller one takes less than a few
/// milliseconds.
pub const HEAVY_BODY: usize = 1024 * 1024;

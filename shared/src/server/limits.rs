//! What a client may cost any listener of ours.

use std::time::Duration;

/// The headers of a request. GitHub sends 12, each proxy adds a few.
pub const MAX_HEADERS: usize = 100;

/// The bytes of request line and headers together.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;

/// The bytes that are read ahead from one connection. A head must fit.
pub const READ_BUFFER: usize = 2 * MAX_HEAD_BYTES;

/// The time for request line and headers, from the first byte or from connecting.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The time between two requests of a connection.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The age of a connection. An older one is closed after its current request.
pub const MAX_AGE: Duration = Duration::from_secs(600);

/// The time for the body of a request to one of the small listeners.
pub(super) const SMALL_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The bytes of such a body. The largest are the administration tool's requests, of less than 2 KB.
pub(super) const SMALL_BODY_BYTES: usize = 64 * 1024;

/// The connections of such a listener. One client gets half of them, so that its own proxy, or a monitoring system, is not
/// shut out by another.
pub(super) const SMALL_CONNECTIONS: usize = 256;

/// Pause after a failed accept, usually for want of file descriptors.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// How often a failing accept, and a client that holds its share, are logged.
pub const LOG_INTERVAL: Duration = Duration::from_secs(30);

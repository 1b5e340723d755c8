//! Writes log lines to standard error on a thread of its own, so that logging can neither block nor end the process.
//!
//! A full pipe blocks a write; a full disk and a closed pipe fail it. Lines wait in a bounded queue. What does not fit
//! or cannot be written is dropped, and counted in a line once writing works again.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// How many bytes of lines wait at most.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// How many bytes are written at a time, so that a slow reader does not make room in one piece.
const MAX_WRITE: usize = 64 * 1024;

/// The lines that wait.
#[derive(Debug)]
pub(super) struct LogWriter {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    waiting: Vec<u8>,
    dropped: u64,
    is_writing: bool,
}

impl LogWriter {
    pub(super) const fn new() -> Self {
        let state = State { waiting: Vec::new(), dropped: 0, is_writing: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > MAX_WAITING {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.changed.notify_all();
    }

    /// Writes what comes to `out`, for ever. `told` is called with the number of lines that were dropped before the
    /// last write that worked.
    pub(super) fn write_to(&self, mut out: impl Write, told: impl Fn(u64)) {
        loop {
            let mut state = self.lock();
            state.is_writing = false;
            self.changed.notify_all();
            while state.waiting.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let lines = take_lines(&mut state.waiting);
            state.is_writing = true;
            drop(state);
            let written = out.write_all(&lines).and_then(|()| out.flush());
            let mut state = self.lock();
            match written {
                Err(_) => state.dropped += lines.iter().filter(|byte| **byte == b'\n').count() as u64,
                Ok(()) => {
                    let dropped = std::mem::take(&mut state.dropped);
                    drop(state);
                    if dropped > 0 {
                        told(dropped);
                    }
                }
            }
        }
    }

    /// Waits until everything is written, but no longer than that.
    pub(super) fn flush_within(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut state = self.lock();
        while state.is_writing || !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The first lines, some [`MAX_WRITE`] bytes of them; the rest stays.
fn take_lines(waiting: &mut Vec<u8>) -> Vec<u8> {
    let end = match waiting.iter().skip(MAX_WRITE).position(|byte| *byte == b'\n') {
        Some(more) => MAX_WRITE + more + 1,
        None => waiting.len(),
    };
    let rest = waiting.split_off(end);
    std::mem::replace(waiting, rest)
}

/// The subscriber writes each line in one piece.
impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for &'static LogWriter {
    type Writer = &'w LogWriter;

    fn make_writer(&'w self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// Blocks each write until it is let through with a result.
    struct Gated(mpsc::Receiver<io::Result<()>>, Arc<Mutex<Vec<u8>>>);

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // After the test the thread stays blocked, as at a full pipe.
            match self.0.recv() {
                Ok(result) => result?,
                Err(_) => loop {
                    std::thread::park();
                },
            }
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Started = (&'static LogWriter, mpsc::Sender<io::Result<()>>, Arc<Mutex<Vec<u8>>>, Arc<AtomicU64>);

    fn start() -> Started {
        let writer: &'static LogWriter = Box::leak(Box::new(LogWriter::new()));
        let (let_through, gate) = mpsc::channel();
        let (out, told) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicU64>::default());
        let (gated, counter) = (Gated(gate, out.clone()), told.clone());
        std::thread::spawn(move || {
            writer.write_to(gated, |dropped| {
                counter.fetch_add(dropped, Ordering::SeqCst);
            })
        });
        (writer, let_through, out, told)
    }

    #[test]
    fn a_reader_that_stands_still_blocks_no_thread_and_what_was_dropped_is_counted() {
        let (writer, let_through, out, told) = start();
        let line = format!("{}\n", "x".repeat(1023));
        for _ in 0..10_000 {
            writer.push(line.as_bytes());
        }
        for _ in 0..10_000 {
            let _ = let_through.send(Ok(()));
        }
        writer.flush_within(Duration::from_secs(60));
        let written = out.lock().unwrap().iter().filter(|byte| **byte == b'\n').count() as u64;
        let dropped = told.load(Ordering::SeqCst);
        assert!(dropped > 0 && written + dropped == 10_000, "{written} written, {dropped} dropped");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_once_writing_works_again() {
        let (writer, let_through, out, told) = start();
        let _ = let_through.send(Err(io::Error::from(io::ErrorKind::StorageFull)));
        writer.push(b"lost\n");
        writer.flush_within(Duration::from_secs(60));
        let _ = let_through.send(Ok(()));
        writer.push(b"kept\n");
        writer.flush_within(Duration::from_secs(60));
        assert_eq!((out.lock().unwrap().as_slice(), told.load(Ordering::SeqCst)), (b"kept\n".as_slice(), 1));
    }
}

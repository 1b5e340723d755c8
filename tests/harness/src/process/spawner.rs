//! One thread spawns every child, because a child dies with the thread that spawned it, and a test's
//! thread ends before the test binary does.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use super::sys;

/// A command, and where its child is wanted.
type Order = (Command, Sender<io::Result<Child>>);

/// Spawns a child that cannot outlive this process, not even if this process is killed.
///
/// # Errors
/// As [`Command::spawn`].
pub fn spawn(mut command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(start);
    sys::die_with_parent(&mut command);
    let (answer, child) = channel();
    let gone = |_| io::Error::other("the thread that spawns children has ended");
    spawner.send((command, answer)).map_err(|_| gone(()))?;
    child.recv().map_err(|_| gone(()))?
}

/// The thread never ends: its queue's sender is a static.
fn start() -> Sender<Order> {
    let (orders, queue) = channel::<Order>();
    std::thread::spawn(move || {
        for (mut command, answer) in queue {
            // Nobody waiting any more means that the process is about to end.
            let _ = answer.send(command.spawn());
        }
    });
    orders
}

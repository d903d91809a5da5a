//! `wasmill dev`: build, run, look, change, again.
//!
//! The host is one of our own, in this process, with a store in `.wasmill-dev`. What is built is loaded into it while it
//! runs; what does not build or does not fit leaves the old version where it is.

mod build;
mod folder;
mod job;
mod keys;
mod tail;
mod tree;

use std::{
    collections::BTreeSet,
    future::Future,
    net::SocketAddr,
    ops::ControlFlow,
    path::{Path, PathBuf},
    pin::Pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpListener;
use wasmill_delivery::name::HandlerName;
use wasmill_runtime::Host;

pub(super) use self::tail::grouped;
use self::{
    folder::DevFolder,
    job::{Placed, Placing},
    keys::Keys,
    tail::Tail,
    tree::Watched,
};
use super::output::{complain, cut, say};
use crate::{
    config::{Config, parse_duration_ms},
    project::{PROJECT_FILE, Project},
    samples::{self, Sample},
    serve::{CONFIG_FILE, Cause, Running, Signals, bind, logging, open_files, stop},
    telemetry::Metrics,
};

/// How long what is under way has when this ends; the next start begins anew anyway.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How often it is asked whether everything is settled.
const SETTLED_LOOK: Duration = Duration::from_millis(50);
/// What a list shows of a sample, in characters.
const SAMPLE_CHARS_SHOWN: usize = 100;

/// Build a handler's project, run it on a host of its own, show what happens, and do so again when a file changes
///
/// While it runs, a number and Enter publishes that sample, `a` all of them, `b` builds again, `q` quits.
#[derive(Debug, clap::Args)]
pub(super) struct DevArguments {
    /// The project's folder; without it, the current one
    folder: Option<PathBuf>,
    /// Where to listen; without it, any free port of 127.0.0.1
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Keep messages and state of the last time; without it each start begins with an empty store
    #[arg(long)]
    keep: bool,
    /// Publish all samples as soon as the handler runs
    #[arg(long)]
    publish_samples: bool,
    /// End when everything is settled: 0 when the handler was built and loaded. Neither keys nor files are looked at
    #[arg(long)]
    once: bool,
    /// With --once, how long that may take from when the handler runs
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    patience: Duration,
}

fn duration(text: &str) -> Result<Duration> {
    parse_duration_ms(text).map(Duration::from_millis).map_err(anyhow::Error::msg)
}

pub(super) async fn run(arguments: DevArguments) -> Result<ExitCode> {
    if let Some(folder) = &arguments.folder {
        std::env::set_current_dir(folder).with_context(|| format!("cannot go to {}", folder.display()))?;
    }
    let project = Project::read(Path::new(""))?;
    let config = config(&project, arguments.listen)?;
    logging::begin(&config.log)?;
    open_files::raise_limit();
    let folder = DevFolder::open(arguments.keep)?;
    let listener = bind(config.server.listen).await?;
    let once = arguments.once;
    let watched = (!once).then(|| Watched::new(&project)).transpose()?;
    watched.iter().for_each(complain_of_missing);
    let keys = (!once).then(Keys::listen).transpose()?;
    let signals = Signals::listen()?;
    let metrics = Arc::new(Metrics::default());
    let address = listener.local_addr()?;
    let dev = Dev {
        tail: Tail::start(Arc::clone(&metrics), address),
        keys,
        arguments,
        project,
        config,
        metrics,
        address,
        listener: Some(listener),
        running: None,
        is_of_old_config: false,
        watched,
        published: false,
        _folder: folder,
    };
    Box::pin(dev.work(signals)).await
}

/// The configuration of the project, with what is other here: a port that is free unless one is named, and a store beside
/// the project.
fn config(project: &Project, listen: Option<SocketAddr>) -> Result<Config> {
    if !Path::new(CONFIG_FILE).exists() {
        bail!("there is no {CONFIG_FILE} here; it declares the handler and its queues, see README.md of the template");
    }
    let mut config = Config::read(Path::new(CONFIG_FILE))?;
    config.server.listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    config.check_listen()?;
    config.server.drain = config.server.drain.min(DRAIN_MAX);
    config.store.folder = DevFolder::store();
    // What handlers print and how loading ends is shown by us.
    "warn,wasmill_server::watch=off".clone_into(&mut config.log.level);
    handlers_of(&config, project)?;
    Ok(config)
}

/// The handlers that run the project's component.
fn handlers_of(config: &Config, project: &Project) -> Result<Vec<HandlerName>> {
    let same = |file: &Path| file.components().eq(project.component.components());
    let declared = config.handlers.iter().filter(|(_, handler)| handler.file.as_deref().is_some_and(same));
    let names: Vec<HandlerName> = declared.map(|(name, _)| name.clone()).collect();
    if names.is_empty() {
        let component = project.component.display();
        bail!("{CONFIG_FILE} declares no handler with file = \"{component}\", which is what {PROJECT_FILE} builds");
    }
    Ok(names)
}

/// What is under way.
struct Dev {
    arguments: DevArguments,
    project: Project,
    config: Config,
    metrics: Arc<Metrics>,
    tail: Tail,
    /// None with `--once`, as are files.
    keys: Option<Keys>,
    address: SocketAddr,
    /// Until a host has it.
    listener: Option<TcpListener>,
    running: Option<Running>,
    /// Whether the host that runs was started with another configuration.
    is_of_old_config: bool,
    watched: Option<Watched>,
    /// Whether `--publish-samples` was done.
    published: bool,
    _folder: DevFolder,
}

enum Event {
    Stop(&'static str),
    Failed(String),
    Worked(Worked),
    Key(String),
    Changed(Result<BTreeSet<PathBuf>>),
    Settled(Result<bool>),
}

/// A step that was carried out, and how.
enum Worked {
    /// Whether it was built.
    Built(bool),
    Placed(Box<Placed>),
}

type Work = Pin<Box<dyn Future<Output = Worked>>>;

impl Dev {
    async fn work(mut self, mut signals: Signals) -> Result<ExitCode> {
        let mut work: Option<Work> = Some(self.build());
        let once = self.arguments.once;
        let mut settling: Option<Pin<Box<dyn Future<Output = Result<bool>>>>> = None;
        let code = loop {
            let event = tokio::select! {
                signal = signals.next() => Event::Stop(signal),
                reason = failure(self.running.as_ref()) => Event::Failed(reason),
                worked = until_done(&mut work) => Event::Worked(worked),
                key = typed(&mut self.keys) => Event::Key(key),
                changed = changed(&mut self.watched), if work.is_none() => Event::Changed(changed),
                settled = until_done(&mut settling) => Event::Settled(settled),
            };
            match event {
                Event::Stop(signal) => {
                    say(format!("{signal}: ending"))?;
                    break if once { ExitCode::FAILURE } else { ExitCode::SUCCESS };
                }
                Event::Failed(reason) => {
                    complain(&format!("the host failed: {reason}"));
                    break ExitCode::FAILURE;
                }
                Event::Worked(worked) => match self.worked(worked).await? {
                    ControlFlow::Continue(next) => work = Some(next),
                    ControlFlow::Break(runs) => {
                        work = None;
                        match &self.running {
                            Some(running) if once && runs => {
                                settling = Some(Box::pin(settled(running.host.clone(), self.arguments.patience)));
                            }
                            Some(_) | None if once => break ExitCode::FAILURE,
                            Some(_) | None => {}
                        }
                    }
                },
                Event::Key(key) if key == "q" => break ExitCode::SUCCESS,
                Event::Key(key) if key == "b" && work.is_none() => work = Some(self.build()),
                Event::Key(key) => self.key(&key).await?,
                Event::Changed(changed) => work = self.changed(&changed?)?,
                Event::Settled(settled) => break if settled? { ExitCode::SUCCESS } else { ExitCode::FAILURE },
            }
        };
        // A build that is under way ends here.
        drop(work);
        if let Some(running) = self.running.take() {
            running.stop(&Cause::Asked("ended")).await;
        }
        self.tail.end().await;
        Ok(code)
    }

    fn build(&self) -> Work {
        let Project { build, component, .. } = self.project.clone();
        let building = job::build(build, component, self.running.is_some());
        Box::pin(async { Worked::Built(building.await) })
    }

    /// Load what was built, or start a host with it: the first one, or one with another configuration.
    async fn place(&mut self) -> Result<Work> {
        if self.is_of_old_config
            && let Some(running) = self.running.take()
        {
            say("starting the host anew, with what it has")?;
            running.stop(&Cause::Asked("new configuration")).await;
        }
        self.is_of_old_config = false;
        let placing = job::place(Placing {
            component: self.project.component.clone(),
            handlers: handlers_of(&self.config, &self.project).unwrap_or_default(),
            config: self.config.clone(),
            host: self.running.as_ref().map(|running| running.host.clone()),
            listener: self.listener.take(),
            address: self.address,
            metrics: Arc::clone(&self.metrics),
            observer: self.tail.observer(),
        });
        Ok(Box::pin(async { Worked::Placed(Box::new(placing.await)) }))
    }

    /// A build has ended, well or not: what it changes each time is no reason for another.
    fn take_own_changes(&mut self) -> Result<()> {
        let Some(watched) = &mut self.watched else { return Ok(()) };
        let own = watched.built()?;
        if !own.is_empty() {
            let files: Vec<String> = own.iter().map(|path| path.display().to_string()).collect();
            let files = files.join(", ");
            complain(&format!(
                "{files}: changed during each of the last builds, so what becomes of it during a build asks for no other; \
                 if builds make it, name others under watch in {PROJECT_FILE}"
            ));
        }
        Ok(())
    }

    /// What comes next, or at the end, whether what was built runs.
    async fn worked(&mut self, worked: Worked) -> Result<ControlFlow<bool, Work>> {
        let runs = match worked {
            Worked::Built(built) => {
                self.take_own_changes()?;
                if built {
                    return Ok(ControlFlow::Continue(self.place().await?));
                }
                false
            }
            Worked::Placed(placed) => {
                if let Some(running) = placed.started {
                    self.tail.watch_pauses(&running.host);
                    self.running = Some(running);
                    say(format!("listening on http://{}, {}", self.address, self.offers()))?;
                    self.list()?;
                }
                placed.runs
            }
        };
        if runs && self.arguments.publish_samples && !self.published {
            self.published = true;
            self.publish(None).await?;
        }
        if !runs && !self.arguments.once {
            say("waiting for a change")?;
        }
        Ok(ControlFlow::Break(runs))
    }

    /// What a change asks for: a build, unless the project or its configuration is wrong now.
    fn changed(&mut self, changed: &BTreeSet<PathBuf>) -> Result<Option<Work>> {
        let shown: Vec<String> = changed.iter().map(|path| path.display().to_string()).collect();
        say(format!("\nchanged: {}", cut(&shown.join(", "), SAMPLE_CHARS_SHOWN)))?;
        let is_of_config = |name: &str| changed.contains(Path::new(name));
        if !is_of_config(CONFIG_FILE) && !is_of_config(PROJECT_FILE) {
            return Ok(Some(self.build()));
        }
        let read =
            Project::read(Path::new("")).and_then(|project| Ok((config(&project, self.arguments.listen)?, project)));
        match read {
            Err(error) => {
                complain(&format!("{error:#}; nothing is changed"));
                Ok(None)
            }
            Ok((config, project)) => {
                if let Some(watched) = &mut self.watched {
                    watched.watch_instead(&project);
                    complain_of_missing(watched);
                }
                (self.config, self.project) = (config, project);
                self.is_of_old_config = true;
                Ok(Some(self.build()))
            }
        }
    }

    async fn key(&self, key: &str) -> Result<()> {
        match (key, key.parse::<usize>()) {
            ("a", _) => self.publish(None).await,
            (_, Ok(number)) => self.publish(Some(number)).await,
            (_, Err(_)) => {
                say(self.offers())?;
                self.list()
            }
        }
    }

    fn offers(&self) -> String {
        match &self.project.samples {
            Some(_) => "a number and Enter publishes that sample, a all, b builds again, q quits".to_owned(),
            None => format!("b and Enter builds again, q quits; name a file of samples in {PROJECT_FILE}"),
        }
    }

    /// Read each time, so that what was edited counts.
    fn samples(&self) -> Result<Vec<Sample>> {
        self.project.samples.as_deref().map_or_else(|| Ok(Vec::new()), samples::read)
    }

    fn list(&self) -> Result<()> {
        match self.samples() {
            Err(error) => complain(&format!("no samples: {error:#}")),
            Ok(samples) => {
                for (index, sample) in samples.iter().enumerate() {
                    say(format!("  {}  {}  {}", index + 1, sample.topic(), cut(sample.data(), SAMPLE_CHARS_SHOWN)))?;
                }
            }
        }
        Ok(())
    }

    /// One sample, from 1, or all. What goes wrong is said and no reason to end.
    async fn publish(&self, number: Option<usize>) -> Result<()> {
        let samples = match self.samples() {
            Ok(samples) => samples,
            Err(error) => {
                complain(&format!("no samples: {error:#}"));
                return Ok(());
            }
        };
        let Some(running) = &self.running else {
            complain("there is no host yet, because the handler was not built");
            return Ok(());
        };
        let last = samples.len();
        let chosen: Vec<&Sample> = match number {
            None => samples.iter().collect(),
            Some(number) => samples.iter().skip(number.wrapping_sub(1)).take(1).collect(),
        };
        if chosen.is_empty() {
            complain(&format!("there is no such sample; there are {last}"));
        }
        for sample in chosen {
            // Before, because its delivery may be told of before this is answered.
            say(format!("{}  publishing to {}", tail::clock(), sample.topic()))?;
            if let Err(error) = running.host.publish(sample.draft()).await {
                complain(&format!("not published: {error}"));
            }
        }
        Ok(())
    }
}

/// A name that is misspelt would otherwise only be noticed by nothing happening.
fn complain_of_missing(watched: &Watched) {
    for path in watched.missing() {
        complain(&format!("there is no {}, which {PROJECT_FILE} names under watch", path.display()));
    }
}

async fn typed(keys: &mut Option<Keys>) -> String {
    match keys {
        Some(keys) => keys.next().await,
        None => std::future::pending().await,
    }
}

async fn changed(watched: &mut Option<Watched>) -> Result<BTreeSet<PathBuf>> {
    match watched {
        Some(watched) => watched.changed().await,
        None => std::future::pending().await,
    }
}

async fn until_done<T>(work: &mut Option<Pin<Box<dyn Future<Output = T>>>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

async fn failure(running: Option<&Running>) -> String {
    match running {
        Some(running) => stop::failure(&running.host).await,
        None => std::future::pending().await,
    }
}

/// Wait until consumers with a handler have nothing to do. Answers whether that was within `patience`.
async fn settled(host: Host, patience: Duration) -> Result<bool> {
    let settling = async {
        while unsettled(&host).await? > 0 {
            tokio::time::sleep(SETTLED_LOOK).await;
        }
        Ok(true)
    };
    match tokio::time::timeout(patience, settling).await {
        Ok(settled) => settled,
        Err(_) => {
            let left = unsettled(&host).await?;
            complain(&format!("{left} deliveries are not settled after {patience:?}; --patience gives them more"));
            Ok(false)
        }
    }
}

async fn unsettled(host: &Host) -> Result<u64> {
    let consumers = host.consumers().await?;
    let with_handler = consumers.iter().filter(|consumer| consumer.record.config.handler.is_some());
    Ok(with_handler.map(|consumer| consumer.lag + consumer.pending).sum())
}

//! `wasmill serve`: open the store, declare what the configuration says, answer requests, and stop well.

mod declare;
pub(crate) mod logging;
pub(crate) mod open_files;
mod ready;
pub(crate) mod stop;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use axum::serve::ListenerExt as _;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use wasmill_runtime::{Host, HostError, HostOptions, Observer};

pub(crate) use self::stop::{Cause, Signals};
use crate::{
    callbacks,
    cli::compile_worker,
    config::{Config, LogFormat},
    http::{self, App, Draining, HttpLimits},
    telemetry::Metrics,
    watch::{self, Loader, Sources},
};

/// The configuration that is read when none is named.
pub(crate) const CONFIG_FILE: &str = "wasmill.toml";
/// How long requests that are under way may take once the host stops; deliveries have what is left.
const REQUESTS_PATIENCE: Duration = Duration::from_secs(5);
/// How long a store may still be held by a host of this process that was closed, and how often it is looked.
const STORE_PATIENCE: Duration = Duration::from_secs(10);
const STORE_LOOK: Duration = Duration::from_millis(20);

/// Run a host in the foreground until it is told to stop
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArguments {
    /// The configuration; without it, wasmill.toml of the current folder if there is one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen, for example 127.0.0.1:7500; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The folder of the store
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Write the address to this file once the host is ready
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
}

impl ServeArguments {
    fn config(&self) -> Result<Config> {
        let mut config = match &self.config {
            Some(file) => Config::read(file)?,
            None if Path::new(CONFIG_FILE).exists() => Config::read(Path::new(CONFIG_FILE))?,
            None => Config::without_file(),
        };
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.log.format = self.log_format.unwrap_or(config.log.format);
        if let Some(store) = &self.store {
            config.store.folder.clone_from(store);
        }
        config.check_listen()?;
        Ok(config)
    }
}

/// Run a host until it is told to stop, or fails.
pub(crate) async fn serve(arguments: ServeArguments) -> Result<ExitCode> {
    let config = arguments.config()?;
    logging::begin(&config.log)?;
    open_files::raise_limit();
    let listener = bind(config.server.listen).await?;
    let address = listener.local_addr()?;
    let metrics = Arc::new(Metrics::default());
    let (running, loader) = Running::start(&config, listener, Arc::clone(&metrics), metrics).await?;
    let mut signals = Signals::listen()?;
    let watching = tokio::spawn(watch::watch(loader));
    ready::say(&running.host, address, &config.store.folder, config.log.format).await?;
    if let Some(file) = &arguments.address_file {
        ready::write_address(file, address)?;
    }
    let cause = signals.cause(&running.host).await;
    signals.exit_on_the_next();
    watching.abort();
    running.stop(&cause).await;
    Ok(cause.exit_code())
}

/// A host with its HTTP server, as the configuration says.
pub(crate) struct Running {
    pub(crate) host: Host,
    server: Server,
    calling: Option<JoinHandle<()>>,
    drain: Duration,
}

impl Running {
    /// Open the store, declare what the configuration says, load components from their files, and answer requests.
    ///
    /// # Errors
    /// When the store cannot be opened, or a handler that has no version yet is refused.
    pub(crate) async fn start(
        config: &Config,
        listener: TcpListener,
        metrics: Arc<Metrics>,
        observer: Arc<dyn Observer>,
    ) -> Result<(Self, Loader)> {
        let host = open(config, &observer).await.context("cannot open the host")?;
        let mut loader = Loader::new(host.clone(), Sources::of(config));
        if let Err(error) = declare::declare(config, &host, &mut loader).await {
            host.close(Duration::ZERO).await;
            return Err(error);
        }
        let calling = match config.callbacks.is_empty() {
            true => None,
            false => {
                callbacks::declare(&host).await?;
                let rules = Arc::new(config.callbacks.clone());
                Some(tokio::spawn(callbacks::deliver(host.clone(), rules, Arc::clone(&metrics))))
            }
        };
        let server = Server::start(listener, app(config, &host, metrics));
        Ok((Self { host, server, calling, drain: config.server.drain }, loader))
    }

    /// Take nothing new, and let what is under way finish as long as the configuration says.
    pub(crate) async fn stop(self, cause: &Cause) {
        if let Some(calling) = self.calling {
            calling.abort();
        }
        stop(&self.host, self.server, cause, self.drain).await;
    }
}

/// Open the host, once one that this process has closed has let go of its store.
async fn open(config: &Config, observer: &Arc<dyn Observer>) -> Result<Host, HostError> {
    let deadline = Instant::now() + STORE_PATIENCE;
    loop {
        match Host::open(host_options(config, Arc::clone(observer))).await {
            Err(error) if error.is_held_by_this_process() && Instant::now() < deadline => {
                tokio::time::sleep(STORE_LOOK).await;
            }
            opened => return opened,
        }
    }
}

pub(crate) async fn bind(listen: SocketAddr) -> Result<TcpListener> {
    match TcpListener::bind(listen).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
            "another program listens on {listen}; choose another address with --listen {}:PORT, or with listen under \
             [server] in the configuration",
            listen.ip()
        ),
        Err(error) => Err(error).with_context(|| format!("cannot listen on {listen}; choose an address with --listen")),
    }
}

fn host_options(config: &Config, observer: Arc<dyn Observer>) -> HostOptions {
    let mut options = HostOptions::new(&config.store.folder);
    options.store = config.store.options;
    options.limits = config.limits.engine.clone();
    options.data_bytes_max = config.limits.data_bytes_max;
    options.instances_max = config.limits.instances_max;
    options.handler_threads = config.limits.handler_threads.unwrap_or(options.handler_threads);
    options.handler_limits_max = config.limits.handler;
    options.signatures = config.signatures.clone();
    options.compiler = compile_worker::compiler(config.limits.compile);
    options.observer = observer;
    options
}

fn app(config: &Config, host: &Host, metrics: Arc<Metrics>) -> App {
    let (body_bytes_max, defaults) = (config.server.body_bytes_max, HttpLimits::default());
    let bodies_bytes_max = defaults.bodies_bytes_max.max(body_bytes_max);
    let limits = HttpLimits { body_bytes_max, bodies_bytes_max, ..defaults };
    App { limits, callbacks: Arc::new(config.callbacks.clone()), ..App::new(host.clone(), metrics) }
}

/// The HTTP server, while it runs.
pub(crate) struct Server {
    draining: Draining,
    stop: oneshot::Sender<()>,
    running: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Answer requests from now on.
    pub(crate) fn start(listener: TcpListener, app: App) -> Self {
        let draining = app.draining.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = listener.tap_io(|connection: &mut TcpStream| {
            // Answers are small and somebody waits for each of them.
            let _ = connection.set_nodelay(true);
        });
        let serving = axum::serve(listener, http::router(app)).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        Self { draining, stop, running: tokio::spawn(async { serving.await }) }
    }

    /// Say that we are not ready any more, take no new connection, and let requests and streams that are under way finish.
    pub(crate) async fn stop(self, patience: Duration) {
        self.draining.begin();
        let _ = self.stop.send(());
        let abort = self.running.abort_handle();
        // The server lets go of a WebSocket when it is opened, so streams are waited for apart.
        let finished = async {
            let _ = self.running.await;
            self.draining.finished().await;
        };
        if tokio::time::timeout(patience, finished).await.is_err() {
            tracing::warn!("some requests were not finished within {patience:?}; they are cut");
            abort.abort();
        }
    }
}

async fn stop(host: &Host, server: Server, cause: &Cause, drain: Duration) {
    let deadline = Instant::now() + drain;
    match cause {
        Cause::Asked(signal) => tracing::info!("{signal}: stopping; deliveries that are under way have {drain:?}"),
        Cause::Failed(reason) => tracing::error!("the host failed and stops: {reason}"),
    }
    server.stop(drain.min(REQUESTS_PATIENCE)).await;
    let settled = host.close(deadline.saturating_duration_since(Instant::now())).await;
    if settled {
        tracing::info!("stopped; everything that was under way is settled");
    } else {
        tracing::warn!("stopped; some deliveries were still running and run again at the next start");
    }
}

//! What a change asks for: the build, and then a host with what was built.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpListener;
use wasmill_delivery::name::HandlerName;
use wasmill_runtime::{Component, Host, LoadOptions, Observer};

use super::build;
use crate::{
    cli::output::{complain, say, size},
    config::Config,
    serve::{Running, bind},
    signature_file,
    telemetry::Metrics,
};

/// All that it takes.
pub(super) struct Job {
    pub(super) build: String,
    pub(super) component: PathBuf,
    pub(super) handlers: Vec<HandlerName>,
    pub(super) config: Config,
    /// The one that runs; without it one is started.
    pub(super) host: Option<Host>,
    /// Where a new one listens, if that is open already.
    pub(super) listener: Option<TcpListener>,
    pub(super) address: SocketAddr,
    pub(super) metrics: Arc<Metrics>,
    pub(super) observer: Arc<dyn Observer>,
}

/// What came of it.
pub(super) enum Worked {
    /// A host runs it.
    Started(Running),
    /// The host that ran before runs it.
    Loaded,
    /// It was not built, or does not fit. What ran before still runs.
    NotBuilt,
}

/// Do it, and say how it goes.
pub(super) async fn work(job: Job) -> Worked {
    let runs = job.host.is_some();
    match carry_out(job).await {
        Ok(worked) => worked,
        Err(error) => {
            complain(&format!("{error:#}{}", if runs { "; the old version stays" } else { "" }));
            Worked::NotBuilt
        }
    }
}

async fn carry_out(job: Job) -> Result<Worked> {
    let started = Instant::now();
    say(format!("building: {}", job.build))?;
    let status = build::run(&job.build).await?;
    ensure!(status.success(), "the build failed ({status})");
    let built = tokio::fs::metadata(&job.component).await;
    let bytes = built.with_context(|| format!("the build made no {}", job.component.display()))?.len();
    say(format!("built {} ({}) in {:.1?}", job.component.display(), size(bytes), started.elapsed()))?;
    let started = Instant::now();
    let Some(host) = &job.host else {
        let listener = match job.listener {
            Some(listener) => listener,
            None => bind(job.address).await?,
        };
        let (running, _) = Running::start(&job.config, listener, job.metrics, job.observer).await?;
        let names: Vec<&str> = job.handlers.iter().map(HandlerName::as_str).collect();
        say(format!("loaded {} in {:.1?}", names.join(", "), started.elapsed()))?;
        return Ok(Worked::Started(running));
    };
    for handler in &job.handlers {
        load(host, handler, &job.component).await.with_context(|| format!("{handler} is refused"))?;
    }
    Ok(Worked::Loaded)
}

async fn load(host: &Host, handler: &HandlerName, path: &Path) -> Result<()> {
    let started = Instant::now();
    let wasm = tokio::fs::read(path).await.with_context(|| format!("cannot read {}", path.display()))?;
    // At once, whatever the configuration says of trials: whoever builds wants to see it run.
    let options = LoadOptions { approve: true, share_percent: Some(0), ..LoadOptions::default() };
    let component = Component::from(wasm).signed(signature_file::find(path)?);
    let loaded = host.load_version(handler.clone(), component, options).await?;
    let digest = loaded.digest.to_string();
    let short = &digest[..digest.len().min(12)];
    if loaded.changed {
        say(format!("loaded {handler} {short} in {:.1?}", started.elapsed()))
    } else {
        say(format!("{handler} {short} is what runs already"))
    }
}

//! What a change asks for: the build, and then that what was built runs.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpListener;
use wasmill_delivery::name::HandlerName;
use wasmill_runtime::{Component, HandlerLoaded, Host, LoadOptions, Observer};

use super::build;
use crate::{
    cli::output::{complain, say, size},
    config::Config,
    serve::{Running, bind},
    signature_file,
    telemetry::Metrics,
};

/// Run the build. Answers whether it made the component, and says how it goes.
pub(super) async fn build(command: String, component: PathBuf, runs: bool) -> bool {
    said(&build_component(&command, &component).await, runs)
}

/// What it takes to have what was built run.
pub(super) struct Placing {
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
pub(super) struct Placed {
    /// The host, when there was none before.
    pub(super) started: Option<Running>,
    /// Whether it runs what was built. If not, what it ran before still runs.
    pub(super) runs: bool,
}

/// Load what was built into the host, and say how it goes.
pub(super) async fn place(mut placing: Placing) -> Placed {
    let mut started = None;
    let begun = placing.host.is_none().then(Instant::now);
    let host = match placing.host.take() {
        Some(host) => host,
        None => match start(&mut placing).await {
            Ok(running) => started.insert(running).host.clone(),
            Err(error) => return Placed { started, runs: said(&Err(error), false) },
        },
    };
    // Also when it was just started: one whose store knows an earlier version keeps to that when this one is refused, and
    // only tries this one for a share when the configuration says so.
    let runs = said(&load_all(&host, &placing, begun).await, true);
    Placed { started, runs }
}

fn said(result: &Result<()>, runs: bool) -> bool {
    if let Err(error) = result {
        complain(&format!("{error:#}{}", if runs { "; the old version stays" } else { "" }));
    }
    result.is_ok()
}

async fn build_component(command: &str, component: &Path) -> Result<()> {
    let started = Instant::now();
    say(format!("building: {command}"))?;
    let status = build::run(command).await?;
    ensure!(status.success(), "the build failed ({status})");
    let built = tokio::fs::metadata(component).await;
    let bytes = built.with_context(|| format!("the build made no {}", component.display()))?.len();
    say(format!("built {} ({}) in {:.1?}", component.display(), size(bytes), started.elapsed()))
}

async fn start(placing: &mut Placing) -> Result<Running> {
    let listener = match placing.listener.take() {
        Some(listener) => listener,
        None => bind(placing.address).await?,
    };
    let (metrics, observer) = (Arc::clone(&placing.metrics), Arc::clone(&placing.observer));
    Ok(Running::start(&placing.config, listener, metrics, observer).await?.0)
}

/// `begun` is when the host was started, if it was for this.
async fn load_all(host: &Host, placing: &Placing, begun: Option<Instant>) -> Result<()> {
    for handler in &placing.handlers {
        let begun_or_now = begun.unwrap_or_else(Instant::now);
        let loaded = load(host, handler, &placing.component).await.with_context(|| format!("{handler} is refused"))?;
        let digest = loaded.digest.to_string();
        let short = &digest[..digest.len().min(12)];
        if loaded.changed || begun.is_some() {
            say(format!("loaded {handler} {short} in {:.1?}", begun_or_now.elapsed()))?;
        } else {
            say(format!("{handler} {short} is what runs already"))?;
        }
    }
    Ok(())
}

async fn load(host: &Host, handler: &HandlerName, path: &Path) -> Result<HandlerLoaded> {
    let wasm = tokio::fs::read(path).await.with_context(|| format!("cannot read {}", path.display()))?;
    // At once, whatever the configuration says of trials: whoever builds wants to see it run.
    let options = LoadOptions { approve: true, share_percent: Some(0), ..LoadOptions::default() };
    let component = Component::from(wasm).signed(signature_file::find(path)?);
    Ok(host.load_version(handler.clone(), component, options).await?)
}

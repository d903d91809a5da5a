//! What the host says once it is ready.

use std::{io::Write as _, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result};
use wasmill_runtime::Host;

use crate::config::LogFormat;

/// Say in one line where the host listens, where it keeps things, and what it runs.
pub(super) async fn say(host: &Host, address: SocketAddr, store: &Path, format: LogFormat) -> Result<()> {
    let handlers: Vec<String> =
        host.handlers().await?.into_iter().map(|handler| handler.record.name.to_string()).collect();
    let queues = host.queues().await?.len();
    let consumers = host.consumers().await?.len();
    let line = match format {
        LogFormat::Text => format!(
            "listening on http://{address}, store {}, {}, {}, {}",
            store.display(),
            listed(&handlers),
            counted(queues, "queue"),
            counted(consumers, "consumer"),
        ),
        LogFormat::Json => serde_json::json!({
            "listening": format!("http://{address}"),
            "store": store,
            "handlers": handlers,
            "queues": queues,
            "consumers": consumers,
        })
        .to_string(),
    };
    // Somebody who closed our output does not want to read it; that is no reason to stop.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
    Ok(())
}

fn listed(handlers: &[String]) -> String {
    let count = counted(handlers.len(), "handler");
    if handlers.is_empty() { count } else { format!("{count} ({})", handlers.join(", ")) }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Leave the address in a file, whole or not at all, for whoever started us on port 0.
pub(super) fn write_address(file: &Path, address: SocketAddr) -> Result<()> {
    let unfinished = file.with_extension("unfinished");
    std::fs::write(&unfinished, format!("{address}\n"))
        .and_then(|()| std::fs::rename(&unfinished, file))
        .with_context(|| format!("cannot write the address to {}", file.display()))
}

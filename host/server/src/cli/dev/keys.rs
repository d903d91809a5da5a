//! Lines of standard input.

use std::io::BufRead as _;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

/// Lines that wait to be read by us; whoever types more waits.
const WAITING_MAX: usize = 16;

/// What is typed.
pub(super) struct Keys(mpsc::Receiver<String>);

impl Keys {
    /// Read from now on. Reading a terminal cannot be given up, so it has a thread that ends with the process.
    ///
    /// # Errors
    /// When there are no threads.
    pub(super) fn listen() -> Result<Self> {
        let (typed, lines) = mpsc::channel(WAITING_MAX);
        let reading = move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if typed.blocking_send(line.trim().to_owned()).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("wasmill-keys".to_owned()).spawn(reading).context("cannot read the keys")?;
        Ok(Self(lines))
    }

    /// The next line; never, when there is no more to come.
    pub(super) async fn next(&mut self) -> String {
        match self.0.recv().await {
            Some(line) => line,
            None => std::future::pending().await,
        }
    }
}

//! The server begins to stop: whoever waits hears it at once, and whoever has something to finish is waited for.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the server stops. Clones are cheap, and share it.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<watch::Sender<bool>>);

impl Draining {
    /// From now on the server stops.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether it does.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Wait until it does.
    pub async fn begun(&self) {
        self.attend().begun().await;
    }

    /// Take part: until what this answers is dropped, [`Draining::finished`] waits.
    #[must_use]
    pub fn attend(&self) -> Attendant {
        Attendant(self.0.subscribe())
    }

    /// Wait until nobody has anything to finish.
    pub async fn finished(&self) {
        self.0.closed().await;
    }
}

/// Who has something to finish when the server stops.
#[derive(Debug)]
pub struct Attendant(watch::Receiver<bool>);

impl Attendant {
    /// Wait until the server stops.
    pub async fn begun(&mut self) {
        // The sender is there as long as anything of the server is; without it nothing is left to wait for.
        let _ = self.0.wait_for(|begun| *begun).await;
    }
}

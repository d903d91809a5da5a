//! The writing end of a stream: frames are gathered while the socket is busy, and flushed when there are no more.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures::{FutureExt as _, SinkExt as _, stream::SplitSink};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

/// Frames that wait to be written.
const FRAMES_WAITING_MAX: usize = 64;

/// What is to be written.
pub(super) enum Written {
    Frame(Bytes),
    Ping,
    /// The last one.
    Close(u16, &'static str),
}

/// Where frames are left.
pub(super) type Outlet = mpsc::Sender<Written>;

/// When the client last took what had to wait for it.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    pub(super) fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn made(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// Begin to write. The task ends when the outlet is gone, after a close, or when the client takes nothing for `patience`.
pub(super) fn start(sink: SplitSink<WebSocket, Message>, patience: Duration) -> (Outlet, Progress, JoinHandle<()>) {
    let (outlet, frames) = mpsc::channel(FRAMES_WAITING_MAX);
    let progress = Progress(Arc::new(Mutex::new(Instant::now())));
    let writer = Writer { sink, frames, patience, progress: progress.clone() };
    (outlet, progress, tokio::spawn(writer.write()))
}

struct Writer {
    sink: SplitSink<WebSocket, Message>,
    frames: mpsc::Receiver<Written>,
    patience: Duration,
    progress: Progress,
}

/// There is nobody to write to.
struct Gone;

impl Writer {
    async fn write(mut self) {
        while let Some(first) = self.frames.recv().await {
            if self.write_all(first).await.is_err() {
                return;
            }
        }
    }

    /// This one and all that wait behind it.
    async fn write_all(&mut self, first: Written) -> Result<(), Gone> {
        let mut next = first;
        loop {
            let message = match next {
                Written::Frame(bytes) => Message::Binary(bytes),
                Written::Ping => Message::Ping(Bytes::new()),
                Written::Close(code, reason) => {
                    let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
                    let _ = tokio::time::timeout(self.patience, self.sink.send(close)).await;
                    return Err(Gone);
                }
            };
            in_time(self.sink.feed(message), self.patience, &self.progress).await?;
            match self.frames.try_recv() {
                Ok(more) => next = more,
                Err(_) => break,
            }
        }
        in_time(self.sink.flush(), self.patience, &self.progress).await
    }
}

/// One write. One that had to wait goes on only because the client takes what is sent.
async fn in_time(
    write: impl Future<Output = Result<(), axum::Error>>,
    patience: Duration,
    progress: &Progress,
) -> Result<(), Gone> {
    let mut write = pin!(write);
    if let Some(written) = write.as_mut().now_or_never() {
        return written.map_err(|_| Gone);
    }
    let written = tokio::time::timeout(patience, write).await;
    written.map_err(|_| Gone)?.map_err(|_| Gone)?;
    progress.made();
    Ok(())
}

//! The writing end of a stream: frames are gathered while the socket is busy, and flushed when there are no more.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures::{SinkExt as _, stream::SplitSink};
use tokio::sync::mpsc;

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

/// Begin to write. The task ends when the outlet is gone, after a close, or when the client takes nothing for `patience`.
pub(super) fn start(sink: SplitSink<WebSocket, Message>, patience: Duration) -> (Outlet, tokio::task::JoinHandle<()>) {
    let (outlet, frames) = mpsc::channel(FRAMES_WAITING_MAX);
    (outlet, tokio::spawn(write(sink, frames, patience)))
}

async fn write(mut sink: SplitSink<WebSocket, Message>, mut frames: mpsc::Receiver<Written>, patience: Duration) {
    while let Some(mut next) = frames.recv().await {
        let writing = async {
            loop {
                match next {
                    Written::Frame(bytes) => sink.feed(Message::Binary(bytes)).await?,
                    Written::Ping => sink.feed(Message::Ping(Bytes::new())).await?,
                    Written::Close(code, reason) => {
                        sink.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await?;
                        return Ok(false);
                    }
                }
                match frames.try_recv() {
                    Ok(more) => next = more,
                    Err(_) => break,
                }
            }
            sink.flush().await?;
            Ok::<bool, axum::Error>(true)
        };
        match tokio::time::timeout(patience, writing).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false) | Err(_)) | Err(_) => return,
        }
    }
}

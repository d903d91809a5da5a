//! The connection, as callers have it.

use std::{future::Future, time::Duration};

use futures::StreamExt as _;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use tokio_tungstenite::tungstenite::{
    self,
    client::IntoClientRequest as _,
    http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
    protocol::WebSocketConfig,
};
use wasmill_wire::{ClientFrame, Exception, HostFrame, PATH, SUBPROTOCOL, decode};

use crate::{
    Error, Outgoing, Published, Subscription,
    driver::{self, Call, Socket},
};

/// Calls that wait for the connection; more wait outside.
const CALLS_WAITING_MAX: usize = 16_384;
/// The largest frame that is taken from a host: a lease of 16 MiB and what comes with it.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A connection to a host. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    calls: mpsc::Sender<Call>,
    frame_bytes_max: usize,
    /// Where the driver runs.
    runtime: Handle,
}

impl Client {
    /// Connect to the host at `url`, for example `http://127.0.0.1:7500`. There is no TLS: put what speaks it in front.
    ///
    /// # Errors
    /// [`Error::Connect`] when nothing answers there, or not as a host does that takes streams.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, driver::SILENCE_MAX).await
    }

    /// To a host that is gone when nothing is heard of it for so long.
    pub(crate) async fn connect_with(url: &str, silence_max: Duration) -> Result<Self, Error> {
        let (socket, frame_bytes_max) =
            open(url).await.map_err(|reason| Error::Connect { url: url.to_owned(), reason })?;
        let (calls, asked) = mpsc::channel(CALLS_WAITING_MAX);
        tokio::spawn(driver::drive(socket, asked, silence_max));
        Ok(Self { calls, frame_bytes_max, runtime: Handle::current() })
    }

    /// Publish a message. It is durable when this answers.
    ///
    /// Calls are carried out in the order in which they were made, which is when this is called and not when it is awaited, as
    /// long as fewer than 16,384 wait.
    ///
    /// # Errors
    /// [`Error::Refused`] when the host takes it not, with its reason; [`Error::TooLarge`]; [`Error::Disconnected`] when the
    /// connection breaks before the answer.
    pub fn publish(&self, message: Outgoing) -> impl Future<Output = Result<Published, Error>> + Send + use<> {
        let bytes = message.frame_bytes();
        let (reply, answer) = oneshot::channel();
        let left = match bytes <= self.frame_bytes_max {
            true => Ok(self.leave(Call::Publish(message, reply))),
            false => Err(Error::TooLarge { bytes, bytes_max: self.frame_bytes_max }),
        };
        async move {
            left?.await?;
            answer.await.map_err(|_| gone())?
        }
    }

    /// Take deliveries of a pull consumer, at most `credit` (1 to 10,000) that are not settled.
    ///
    /// # Errors
    /// [`Error::Disconnected`]. What the host has against it is told by [`Subscription::next`].
    pub async fn subscribe(&self, queue: &str, consumer: &str, credit: u32) -> Result<Subscription, Error> {
        let (deliveries, incoming) = mpsc::unbounded_channel();
        let (subscription, named) = oneshot::channel();
        let (queue, consumer) = (queue.to_owned(), consumer.to_owned());
        self.leave(Call::Subscribe { queue, consumer, credit, deliveries, subscription }).await?;
        let name = named.await.map_err(|_| gone())?;
        Ok(Subscription::new(self.clone(), name, incoming))
    }

    /// Wait until everything that was asked is answered, and close the connection. Deliveries that are not settled go back.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.leave(Call::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    /// Ask something that is answered for each of its parts.
    pub(crate) async fn request(
        &self,
        frame: impl FnOnce(u64) -> ClientFrame + Send + 'static,
    ) -> Result<Vec<(u32, Exception)>, Error> {
        let (reply, answer) = oneshot::channel();
        self.leave(Call::Request(Box::new(frame), reply)).await?;
        answer.await.map_err(|_| gone())?
    }

    /// Say that nobody listens any more; nobody waits for it.
    pub(crate) fn release(&self, subscription: u64) {
        if let Err(mpsc::error::TrySendError::Full(call)) = self.calls.try_send(Call::Release(subscription)) {
            let calls = self.calls.clone();
            self.runtime.spawn(async move { calls.send(call).await });
        }
    }

    /// Leave a call with the driver, now if there is room.
    fn leave(&self, call: Call) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let left = match self.calls.try_send(call) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(call) | mpsc::error::TrySendError::Closed(call)) => {
                Some((self.calls.clone(), call))
            }
        };
        async move {
            match left {
                None => Ok(()),
                Some((calls, call)) => calls.send(call).await.map_err(|_| gone()),
            }
        }
    }
}

/// The driver has ended, and cannot say why any more.
fn gone() -> Error {
    Error::Disconnected { reason: "it was closed before".to_owned() }
}

async fn open(url: &str) -> Result<(Socket, usize), String> {
    let rest = url.trim_end_matches('/').strip_prefix("http://").ok_or("a URL begins with http:// here")?;
    let words = |error: tungstenite::Error| {
        let tungstenite::Error::Http(response) = error else { return error.to_string() };
        let body = response.body().as_deref().unwrap_or_default();
        format!("the host answers {}: {}", response.status(), String::from_utf8_lossy(body))
    };
    let mut request = format!("ws://{rest}{PATH}").into_client_request().map_err(words)?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let config =
        WebSocketConfig::default().max_message_size(Some(FRAME_BYTES_MAX)).max_frame_size(Some(FRAME_BYTES_MAX));
    let (mut socket, _) =
        tokio_tungstenite::connect_async_with_config(request, Some(config), true).await.map_err(words)?;
    let welcome = match socket.next().await {
        Some(Ok(message)) => decode::<HostFrame>(&message.into_data()).map_err(|error| error.to_string())?,
        Some(Err(error)) => return Err(words(error)),
        None => return Err("the host closed the stream at once".to_owned()),
    };
    let HostFrame::Welcome { frame_bytes_max, .. } = welcome else {
        return Err(format!("the host does not begin with a welcome but with {welcome:?}"));
    };
    Ok((socket, usize::try_from(frame_bytes_max).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_release_waits_for_room_behind_what_was_asked_before() {
        let (calls, mut asked) = mpsc::channel(1);
        let client = Client { calls, frame_bytes_max: 1_000, runtime: Handle::current() };
        drop(client.publish(Outgoing::new("t", "")));
        let (_, incoming) = mpsc::unbounded_channel();
        drop(Subscription::new(client.clone(), 7, incoming));
        assert!(matches!(asked.recv().await, Some(Call::Publish(..))));
        assert!(matches!(asked.recv().await, Some(Call::Release(7))));
    }
}

//! The connection, as callers have it.

use std::{future::Future, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
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
use wasmill_wire::{ClientFrame, Exception, HostFrame, MESSAGES_MAX, PATH, READ_BYTES, SUBPROTOCOL, decode};

use crate::{
    Error, Outgoing, Published, Subscription,
    driver::{self, Call, FRAME_BYTES, Socket},
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
        let (reply, answer) = oneshot::channel();
        let left = self.fits(&message).map(|()| self.leave(Call::Publish(message, reply)));
        async move {
            if let Some(waiting) = left? {
                waiting.await?;
            }
            answer.await.map_err(|_| gone())?
        }
    }

    /// Publish many messages. Each that is answered with `Ok` is durable; the answers are in the order of the messages, and so are
    /// the messages themselves in every queue.
    ///
    /// This is the quickest way: a thousand messages, or 256 KiB of them, are one frame, one commit of the host and one answer.
    /// What is more goes in several, each of which commits for itself. As with [`Self::publish`], the call is made when this is
    /// called; frames that find 16,384 calls waiting are left when this is awaited, and not at all when it is dropped before.
    pub fn publish_all(
        &self,
        messages: Vec<Outgoing>,
    ) -> impl Future<Output = Vec<Result<Published, Error>>> + Send + use<> {
        let count = messages.len();
        let mut parts = Vec::new();
        let mut late = Vec::new();
        for group in Groups::of(messages, |message| self.fits(message)) {
            parts.push(group.map(|messages| {
                let (reply, answer) = oneshot::channel();
                let part = (messages.len(), answer);
                let call = Call::PublishAll(messages, reply);
                // Behind what waits already.
                late.extend(if late.is_empty() { self.try_leave(call) } else { Some(call) });
                part
            }));
        }
        let calls = (!late.is_empty()).then(|| self.calls.clone());
        async move {
            if let Some(calls) = calls {
                for call in late {
                    // When the driver has ended, so has whoever would answer.
                    let _ = calls.send(call).await;
                }
            }
            let mut answers = Vec::with_capacity(count);
            for part in parts {
                match part {
                    Err(error) => answers.push(Err(error)),
                    Ok((count, answer)) => {
                        answers.extend(answer.await.unwrap_or_else(|_| vec![Err(gone()); count]));
                    }
                }
            }
            answers
        }
    }

    fn fits(&self, message: &Outgoing) -> Result<(), Error> {
        let (bytes, bytes_max) = (message.frame_bytes(), self.frame_bytes_max);
        if bytes <= bytes_max { Ok(()) } else { Err(Error::TooLarge { bytes, bytes_max }) }
    }

    /// Take deliveries of a pull consumer, at most `credit` (1 to 10,000) that are not settled.
    ///
    /// # Errors
    /// [`Error::Disconnected`]. What the host has against it is told by [`Subscription::next`].
    pub async fn subscribe(&self, queue: &str, consumer: &str, credit: u32) -> Result<Subscription, Error> {
        let (deliveries, incoming) = mpsc::unbounded_channel();
        let (subscription, named) = oneshot::channel();
        let (queue, consumer) = (queue.to_owned(), consumer.to_owned());
        self.ask(Call::Subscribe { queue, consumer, credit, deliveries, subscription }).await?;
        let name = named.await.map_err(|_| gone())?;
        Ok(Subscription::new(self.clone(), name, incoming))
    }

    /// Wait until everything that was asked is answered, and close the connection. Deliveries that are not settled go back.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.ask(Call::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    /// Ask something that is answered for each of its parts.
    pub(crate) async fn request(
        &self,
        frame: impl FnOnce(u64) -> ClientFrame + Send + 'static,
    ) -> Result<Vec<(u32, Exception)>, Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Call::Request(Box::new(frame), reply)).await?;
        answer.await.map_err(|_| gone())?
    }

    /// Say that nobody listens any more; nobody waits for it.
    pub(crate) fn release(&self, subscription: u64) {
        if let Some(waiting) = self.leave(Call::Release(subscription)) {
            self.runtime.spawn(waiting);
        }
    }

    /// Leave a call with the driver, and wait until it is left.
    async fn ask(&self, call: Call) -> Result<(), Error> {
        match self.leave(call) {
            None => Ok(()),
            Some(waiting) => waiting.await,
        }
    }

    /// Leave a call with the driver, now if there is room. What is to be waited for if not is boxed: it holds the message, and calls
    /// that wait for their answers shall be small.
    fn leave(&self, call: Call) -> Option<BoxFuture<'static, Result<(), Error>>> {
        let call = self.try_leave(call)?;
        let calls = self.calls.clone();
        Some(async move { calls.send(call).await.map_err(|_| gone()) }.boxed())
    }

    /// Leave a call with the driver if there is room, or give it back.
    fn try_leave(&self, call: Call) -> Option<Call> {
        match self.calls.try_send(call) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(call) | mpsc::error::TrySendError::Closed(call)) => Some(call),
        }
    }
}

/// Messages as they go into frames: some that fit into one, or why one fits into none.
struct Groups<F> {
    messages: std::iter::Peekable<std::vec::IntoIter<Outgoing>>,
    fits: F,
}

impl<F: Fn(&Outgoing) -> Result<(), Error>> Groups<F> {
    fn of(messages: Vec<Outgoing>, fits: F) -> Self {
        Self { messages: messages.into_iter().peekable(), fits }
    }
}

impl<F: Fn(&Outgoing) -> Result<(), Error>> Iterator for Groups<F> {
    type Item = Result<Vec<Outgoing>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.messages.next()?;
        if let Err(error) = (self.fits)(&first) {
            return Some(Err(error));
        }
        let mut bytes = first.frame_bytes();
        let mut group = Vec::with_capacity((self.messages.len() + 1).min(MESSAGES_MAX));
        group.push(first);
        let has_room = |message: &Outgoing, bytes: usize| bytes + message.frame_bytes() <= FRAME_BYTES;
        while group.len() < MESSAGES_MAX
            && let Some(message) = self.messages.next_if(|message| has_room(message, bytes))
        {
            bytes += message.frame_bytes();
            group.push(message);
        }
        Some(Ok(group))
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
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
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

//! The one task that owns the connection.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{Instant, Interval, interval},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use wasmill_wire::{ClientFrame, Delivery, HostFrame, MESSAGES_MAX, REQUESTS_OPEN_MAX, Refusal, decode, encode};

use crate::{
    Error, Outgoing,
    pending::{ManyReply, OneReply, Pending, PublishReply, SettleReply, Waiting},
};

/// Messages of calls that came together go into frames of about so many bytes, unless one alone is larger.
pub(crate) const FRAME_BYTES: usize = 256 * 1024;
/// Frames are written when they are so many bytes, besides those of the calls that wait.
const WRITTEN_BYTES: usize = 4 * 1024 * 1024;
/// How long a host may take to answer a close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// A host that nothing is heard of for so long is gone: it pings three times as often.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How often that is looked at, in that time.
const LOOKS: u32 = 6;
/// Calls that are taken at once.
const CALLS_MAX: usize = 4_096;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What is asked of the driver.
pub(crate) enum Call {
    Publish(Outgoing, OneReply),
    /// At most [`MESSAGES_MAX`], and of [`FRAME_BYTES`] unless one alone is larger.
    PublishAll(Vec<Outgoing>, ManyReply),
    /// A frame that is answered by `settled`.
    Request(Box<dyn FnOnce(u64) -> ClientFrame + Send>, SettleReply),
    Subscribe {
        queue: String,
        consumer: String,
        credit: u32,
        deliveries: mpsc::UnboundedSender<Result<Vec<Delivery>, Refusal>>,
        subscription: oneshot::Sender<u64>,
    },
    /// Nobody listens to this subscription any more; whatever is out goes back.
    Release(u64),
    /// Nothing more is asked.
    Close(oneshot::Sender<()>),
}

/// Run until the connection is closed, and tell everybody who waits why.
pub(crate) async fn drive(socket: Socket, mut calls: mpsc::Receiver<Call>, silence_max: Duration) {
    let (mut sink, stream) = socket.split();
    let mut stream = Incoming { stream, heard: Instant::now(), silence_max, look: interval(silence_max / LOOKS) };
    let mut pending = Pending::default();
    let mut taken = Vec::new();
    // Nothing more is asked: by whom that was said, unless every clone of the client is just gone.
    let mut closing: Option<Option<oneshot::Sender<()>>> = None;
    let reason = 'open: loop {
        let has_room = pending.len() < REQUESTS_OPEN_MAX && closing.is_none();
        tokio::select! {
            message = stream.next() => if let Err(reason) = message.and_then(|message| pending.hear(message)) {
                break reason;
            },
            asked = calls.recv_many(&mut taken, CALLS_MAX), if has_room => {
                if asked == 0 {
                    closing = Some(None);
                }
                let mut frames = Frames::default();
                let mut calls = taken.drain(..);
                while let Some(call) = calls.next() {
                    if let Call::Close(done) = call { closing = Some(Some(done)) } else { frames.add(call, &mut pending) }
                    if frames.written_bytes < WRITTEN_BYTES {
                        continue;
                    }
                    if let Err(reason) = write(frames.take(), &mut sink, &mut stream, &mut pending).await {
                        calls.for_each(|call| frames.add(call, &mut pending));
                        frames.flush(&mut pending);
                        break 'open reason;
                    }
                }
                drop(calls);
                frames.flush(&mut pending);
                if let Err(reason) = write(frames.take(), &mut sink, &mut stream, &mut pending).await {
                    break reason;
                }
            }
        }
        let released = pending.release_unowned();
        if !released.is_empty()
            && let Err(reason) = write(released, &mut sink, &mut stream, &mut pending).await
        {
            break reason;
        }
        if closing.is_some() && pending.len() == 0 {
            break "it was closed".to_owned();
        }
    };
    let error = Error::Disconnected { reason: pending.said_why().unwrap_or(reason) };
    pending.fail(&error);
    calls.close();
    while let Some(call) = calls.recv().await {
        call.fail(&error);
    }
    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let closed = async {
        let said = sink.send(Message::Close(Some(close))).await;
        if said.is_ok() && matches!(closing, Some(Some(_))) {
            // The host answers a close when it has let go of everything.
            while let Some(Ok(_)) = stream.stream.next().await {}
        }
    };
    let _ = tokio::time::timeout(CLOSE_PATIENCE, closed).await;
    if let Some(Some(done)) = closing {
        let _ = done.send(());
    }
}

/// What comes from the host, as long as anything comes.
struct Incoming {
    stream: SplitStream<Socket>,
    heard: Instant,
    silence_max: Duration,
    look: Interval,
}

impl Incoming {
    /// The next message, if the host is there. Dropping the future loses none.
    async fn next(&mut self) -> Result<Option<Result<Message, tungstenite::Error>>, String> {
        loop {
            tokio::select! {
                message = self.stream.next() => {
                    self.heard = Instant::now();
                    return Ok(message);
                }
                _ = self.look.tick() => if self.heard.elapsed() > self.silence_max {
                    return Err(format!("nothing was heard of the host for {:?}", self.silence_max));
                }
            }
        }
    }
}

/// Write frames. Answers are read meanwhile, or both sides could wait for each other.
async fn write(
    frames: Vec<Bytes>,
    sink: &mut SplitSink<Socket, Message>,
    stream: &mut Incoming,
    pending: &mut Pending,
) -> Result<(), String> {
    let mut writing = pin!(async {
        for frame in frames {
            sink.feed(Message::Binary(frame)).await?;
        }
        sink.flush().await
    });
    loop {
        tokio::select! {
            biased;
            written = &mut writing => return written.map_err(|error: tungstenite::Error| error.to_string()),
            message = stream.next() => pending.hear(message?)?,
        }
    }
}

impl Pending {
    /// What came from the host; why it is the last when it is.
    fn hear(&mut self, message: Option<Result<Message, tungstenite::Error>>) -> Result<(), String> {
        match message {
            Some(Ok(Message::Binary(bytes))) => {
                self.take(decode::<HostFrame>(&bytes).map_err(|error| error.to_string())?);
                Ok(())
            }
            Some(Ok(Message::Close(Some(frame)))) if !frame.reason.is_empty() => Err(frame.reason.to_string()),
            Some(Ok(Message::Close(_))) | None => Err("the host closed it".to_owned()),
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(error.to_string()),
        }
    }
}

/// Calls that become frames. Messages that come one after another go into one.
#[derive(Default)]
struct Frames {
    written: Vec<Bytes>,
    written_bytes: usize,
    messages: Vec<wasmill_wire::Outgoing>,
    replies: Vec<PublishReply>,
    bytes: usize,
}

impl Frames {
    fn add(&mut self, call: Call, pending: &mut Pending) {
        match call {
            Call::Publish(message, reply) => {
                self.make_room(1, message.frame_bytes(), pending);
                self.messages.push(message.0);
                self.replies.push(PublishReply::One(reply));
            }
            Call::PublishAll(messages, reply) => {
                let bytes = messages.iter().map(Outgoing::frame_bytes).sum();
                self.make_room(messages.len(), bytes, pending);
                self.replies.push(PublishReply::Many(messages.len(), reply));
                self.messages.extend(messages.into_iter().map(|message| message.0));
            }
            Call::Request(frame, reply) => {
                self.flush(pending);
                let request = pending.next_request();
                self.push(encode(&frame(request)));
                pending.put(request, Waiting::Settle(reply));
            }
            Call::Subscribe { queue, consumer, credit, deliveries, subscription } => {
                self.flush(pending);
                // Requests and subscriptions are numbered together, so that a refusal names one thing.
                let name = pending.next_request();
                self.push(encode(&ClientFrame::Subscribe { subscription: name, queue, consumer, credit }));
                pending.subscribe(name, deliveries);
                if subscription.send(name).is_err() {
                    self.release(name, pending);
                }
            }
            Call::Release(subscription) => self.release(subscription, pending),
            Call::Close(_) => {}
        }
    }

    fn push(&mut self, frame: Bytes) {
        self.written_bytes += frame.len();
        self.written.push(frame);
    }

    /// What is to be written now.
    fn take(&mut self) -> Vec<Bytes> {
        self.written_bytes = 0;
        std::mem::take(&mut self.written)
    }

    /// For messages that come into one frame.
    fn make_room(&mut self, messages: usize, bytes: usize, pending: &mut Pending) {
        if self.messages.len() + messages > MESSAGES_MAX || self.bytes + bytes > FRAME_BYTES {
            self.flush(pending);
        }
        self.bytes += bytes;
    }

    /// After what was asked before.
    fn release(&mut self, subscription: u64, pending: &mut Pending) {
        self.flush(pending);
        self.push(encode(&pending.release(subscription)));
    }

    /// Messages that were gathered become a frame.
    fn flush(&mut self, pending: &mut Pending) {
        if self.messages.is_empty() {
            return;
        }
        let request = pending.next_request();
        let mut messages = std::mem::take(&mut self.messages);
        let topic = said_by_all(&mut messages, |message| &mut message.topic);
        let content_type = said_by_all(&mut messages, |message| &mut message.content_type);
        let publish = ClientFrame::Publish { request, topic, content_type, messages, receipts: false };
        self.push(encode(&publish));
        pending.put(request, Waiting::Publish(std::mem::take(&mut self.replies)));
        self.bytes = 0;
    }
}

/// What several messages all say the same of is said once, by the frame.
fn said_by_all(
    messages: &mut [wasmill_wire::Outgoing],
    said: fn(&mut wasmill_wire::Outgoing) -> &mut Option<String>,
) -> Option<String> {
    let (first, others) = messages.split_first_mut()?;
    let first = said(first);
    if others.is_empty() || first.is_none() || others.iter_mut().any(|other| said(other) != first) {
        return None;
    }
    for other in others {
        *said(other) = None;
    }
    first.take()
}

impl Call {
    fn fail(self, error: &Error) {
        match self {
            Self::Publish(_, reply) => PublishReply::One(reply).fail(error),
            Self::PublishAll(messages, reply) => PublishReply::Many(messages.len(), reply).fail(error),
            Self::Request(_, reply) => drop(reply.send(Err(error.clone()))),
            // Whoever subscribes sees that nothing comes; the connection is closed anyway.
            Self::Subscribe { .. } | Self::Release(_) | Self::Close(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::net::TcpListener;
    use tokio_tungstenite::{accept_hdr_async, tungstenite::handshake::server};

    use super::*;
    use crate::Client;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A host of a few lines, and a client that gives up soon.
    async fn host_and_client(silence_max: Duration) -> (WebSocketStream<TcpStream>, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let hosting = async {
            let (connection, _) = listener.accept().await.expect("a connection");
            #[expect(clippy::result_large_err, reason = "the library's own")]
            let agree = |_: &server::Request, mut response: server::Response| {
                response
                    .headers_mut()
                    .insert("sec-websocket-protocol", wasmill_wire::SUBPROTOCOL.parse().expect("a header"));
                Ok(response)
            };
            let mut socket = accept_hdr_async(connection, agree).await.expect("a WebSocket");
            let welcome = HostFrame::Welcome { frame_bytes_max: 1 << 23, data_bytes_max: 1 << 22 };
            socket.send(Message::Binary(encode(&welcome))).await.expect("it is sent");
            socket
        };
        let (socket, client) = futures::future::join(hosting, Client::connect_with(&url, silence_max)).await;
        (socket, client.expect("a stream"))
    }

    async fn hear(socket: &mut WebSocketStream<TcpStream>) -> ClientFrame {
        loop {
            let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a frame in time");
            if let Message::Binary(bytes) = message.expect("a message").expect("a message") {
                return decode(&bytes).expect("a frame");
            }
        }
    }

    #[tokio::test]
    async fn a_host_that_says_nothing_is_gone_whether_it_reads_or_not() {
        let (socket, client) = host_and_client(Duration::from_millis(300)).await;
        // More than a connection holds that nobody reads.
        let waiting: Vec<_> = (0..30).map(|_| client.publish(Outgoing::new("t", vec![0; 1 << 20]))).collect();
        for answer in waiting {
            match tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time") {
                Err(Error::Disconnected { reason }) => assert!(reason.contains("nothing was heard"), "{reason}"),
                other => panic!("{other:?}"),
            }
        }
        drop(socket);
    }

    #[tokio::test]
    async fn a_host_that_pings_stays() {
        let (mut socket, client) = host_and_client(Duration::from_millis(400)).await;
        let publishing = tokio::spawn(client.publish(Outgoing::new("t", "")));
        let ClientFrame::Publish { request, .. } = hear(&mut socket).await else { panic!() };
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            socket.send(Message::Ping(Bytes::new())).await.expect("it is sent");
        }
        let published = HostFrame::Published { request, exceptions: Vec::new(), receipts: Vec::new() };
        socket.send(Message::Binary(encode(&published))).await.expect("it is sent");
        assert!(publishing.await.expect("no panic").is_ok());
    }

    #[tokio::test]
    async fn what_all_messages_of_a_frame_say_is_said_once() {
        let (mut socket, client) = host_and_client(SILENCE_MAX).await;
        let message = |topic: &str, data: Vec<u8>| Outgoing::new(topic, data).content_type("text/plain");
        let large = message("c", vec![0; FRAME_BYTES]);
        let too_large = message("d", vec![0; 1 << 23]);
        let bytes = too_large.frame_bytes();
        let mut messages = vec![message("a", Vec::new()); MESSAGES_MAX + 1];
        messages.extend([message("b", Vec::new()), large, too_large, message("e", Vec::new())]);
        let publishing = tokio::spawn(client.publish_all(messages));
        for (said, own, count) in
            [(Some("a"), None, MESSAGES_MAX), (None, Some("a"), 2), (None, Some("c"), 1), (None, Some("e"), 1)]
        {
            let ClientFrame::Publish { request, topic, content_type, messages, .. } = hear(&mut socket).await else {
                panic!()
            };
            assert_eq!((topic.as_deref(), messages.len()), (said, count));
            assert_eq!(messages[0].topic.as_deref(), own);
            assert_eq!(content_type.is_some(), count > 1);
            assert!(messages.iter().all(|message| message.content_type.is_some() != content_type.is_some()));
            let exceptions = vec![(0, wasmill_wire::Exception::Duplicate)];
            let published = HostFrame::Published { request, exceptions, receipts: Vec::new() };
            socket.send(Message::Binary(encode(&published))).await.expect("it is sent");
        }
        let answers = publishing.await.expect("no panic");
        let twice: Vec<usize> = (0..)
            .zip(&answers)
            .filter(|(_, answer)| matches!(answer, Ok(done) if done.duplicate))
            .map(|(n, _)| n)
            .collect();
        assert_eq!(
            (answers.len(), twice),
            (MESSAGES_MAX + 5, vec![0, MESSAGES_MAX, MESSAGES_MAX + 2, MESSAGES_MAX + 4])
        );
        assert_eq!(answers[MESSAGES_MAX + 3], Err(Error::TooLarge { bytes, bytes_max: 1 << 23 }));
        drop(socket);
        let answers = client.publish_all(vec![message("f", Vec::new()); 3]).await;
        assert!(answers.len() == 3 && answers.iter().all(|answer| matches!(answer, Err(Error::Disconnected { .. }))));
    }

    #[tokio::test]
    async fn a_subscription_that_nobody_waited_for_is_released() {
        let (mut socket, client) = host_and_client(SILENCE_MAX).await;
        let subscribing = client.subscribe("q", "c", 1);
        assert!(subscribing.now_or_never().is_none(), "it is left with the driver");
        let ClientFrame::Subscribe { subscription, .. } = hear(&mut socket).await else { panic!() };
        let ClientFrame::Release { subscription: released, request } = hear(&mut socket).await else { panic!() };
        assert_eq!(released, subscription);
        // The client waits for its answer before it closes.
        let closing = tokio::spawn(client.close());
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!closing.is_finished());
        let settled = HostFrame::Settled { request, exceptions: Vec::new() };
        socket.send(Message::Binary(encode(&settled))).await.expect("it is sent");
        while let Some(Ok(_)) = socket.next().await {}
        drop(socket);
        closing.await.expect("it is closed");
    }

    #[tokio::test]
    async fn the_host_says_why_it_goes() {
        let (mut socket, client) = host_and_client(SILENCE_MAX).await;
        let publishing = tokio::spawn(client.publish(Outgoing::new("t", "")));
        hear(&mut socket).await;
        let closing = HostFrame::Closing { detail: "gone to lunch".to_owned() };
        socket.send(Message::Binary(encode(&closing))).await.expect("it is sent");
        drop(socket);
        let answer = publishing.await.expect("no panic");
        assert_eq!(answer, Err(Error::Disconnected { reason: "gone to lunch".to_owned() }));
    }
}

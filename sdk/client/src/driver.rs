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
    pending::{Pending, PublishReply, SettleReply, Waiting},
};

/// Messages of calls that came together go into frames of about so many bytes, unless one alone is larger.
const FRAME_BYTES: usize = 256 * 1024;
/// How long a host may take to answer a close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// Calls that are taken at once.
const CALLS_MAX: usize = 4_096;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What is asked of the driver.
pub(crate) enum Call {
    Publish(Outgoing, PublishReply),
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
pub(crate) async fn drive(socket: Socket, mut calls: mpsc::Receiver<Call>) {
    let (mut sink, mut stream) = socket.split();
    let mut pending = Pending::default();
    let mut taken = Vec::new();
    // Nothing more is asked: by whom that was said, unless every clone of the client is just gone.
    let mut closing: Option<Option<oneshot::Sender<()>>> = None;
    let reason = loop {
        let has_room = pending.len() < REQUESTS_OPEN_MAX && closing.is_none();
        tokio::select! {
            message = stream.next() => if let Err(reason) = pending.hear(message) {
                break reason;
            },
            asked = calls.recv_many(&mut taken, CALLS_MAX), if has_room => {
                if asked == 0 {
                    closing = Some(None);
                }
                let mut frames = Frames::default();
                for call in taken.drain(..) {
                    if let Call::Close(done) = call { closing = Some(Some(done)) } else { frames.add(call, &mut pending) }
                }
                frames.flush(&mut pending);
                if let Err(reason) = write(frames.written, &mut sink, &mut stream, &mut pending).await {
                    break reason;
                }
            }
        }
        if closing.is_some() && pending.len() == 0 {
            break "it was closed".to_owned();
        }
    };
    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let _ = sink.send(Message::Close(Some(close))).await;
    let error = Error::Disconnected { reason };
    pending.fail(&error);
    calls.close();
    while let Some(call) = calls.recv().await {
        call.fail(&error);
    }
    if let Some(Some(done)) = closing {
        // The host answers a close when it has let go of everything.
        let closed = async { while let Some(Ok(_)) = stream.next().await {} };
        let _ = tokio::time::timeout(CLOSE_PATIENCE, closed).await;
        let _ = done.send(());
    }
}

/// Write frames. Answers are read meanwhile, or both sides could wait for each other.
async fn write(
    frames: Vec<Bytes>,
    sink: &mut SplitSink<Socket, Message>,
    stream: &mut SplitStream<Socket>,
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
            message = stream.next() => pending.hear(message)?,
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
    messages: Vec<wasmill_wire::Outgoing>,
    replies: Vec<PublishReply>,
    bytes: usize,
}

impl Frames {
    fn add(&mut self, call: Call, pending: &mut Pending) {
        match call {
            Call::Publish(message, reply) => {
                let bytes = message.frame_bytes();
                if self.messages.len() == MESSAGES_MAX || self.bytes + bytes > FRAME_BYTES {
                    self.flush(pending);
                }
                self.bytes += bytes;
                self.messages.push(message.0);
                self.replies.push(reply);
            }
            Call::Request(frame, reply) => {
                self.flush(pending);
                let request = pending.next_request();
                self.written.push(encode(&frame(request)));
                pending.put(request, Waiting::Settle(reply));
            }
            Call::Subscribe { queue, consumer, credit, deliveries, subscription } => {
                self.flush(pending);
                // Requests and subscriptions are numbered together, so that a refusal names one thing.
                let name = pending.next_request();
                self.written.push(encode(&ClientFrame::Subscribe { subscription: name, queue, consumer, credit }));
                pending.subscribe(name, deliveries);
                let _ = subscription.send(name);
            }
            Call::Release(subscription) => {
                self.flush(pending);
                pending.unsubscribe(subscription);
                let request = pending.next_request();
                self.written.push(encode(&ClientFrame::Release { request, subscription }));
            }
            Call::Close(_) => {}
        }
    }

    /// Messages that were gathered become a frame.
    fn flush(&mut self, pending: &mut Pending) {
        if self.messages.is_empty() {
            return;
        }
        let request = pending.next_request();
        let messages = std::mem::take(&mut self.messages);
        let publish = ClientFrame::Publish { request, topic: None, content_type: None, messages, receipts: false };
        self.written.push(encode(&publish));
        pending.put(request, Waiting::Publish(std::mem::take(&mut self.replies)));
        self.bytes = 0;
    }
}

impl Call {
    fn fail(self, error: &Error) {
        match self {
            Self::Publish(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::Request(_, reply) => drop(reply.send(Err(error.clone()))),
            // Whoever subscribes sees that nothing comes; the connection is closed anyway.
            Self::Subscribe { .. } | Self::Release(_) | Self::Close(_) => {}
        }
    }
}

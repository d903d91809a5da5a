//! One stream, from the first frame to the last.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::extract::ws::{Message, WebSocket, close_code};
use bytes::Bytes;
use futures::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{FuturesUnordered, SplitStream},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::{Instant, Interval},
};
use tokio_tungstenite::tungstenite;
use wasmill_delivery::{
    name::{ConsumerName, QueueName},
    time::Timestamp,
};
use wasmill_wire::{
    CREDIT_MAX, ClientFrame, HostFrame, MESSAGES_MAX, REQUESTS_OPEN_MAX, Refusal, SUBSCRIPTIONS_MAX, decode, encode,
    is_publish,
};

use super::{
    failed,
    publish::{Defaults, Publish},
    settle,
    subscription::Subscription,
    too_many, writer,
    writer::{Outlet, Progress, Written},
};
use crate::http::{App, Attendant, problem::Problem, timing::now_ms};

/// How long what is under way may take when the host stops.
const CLOSING_PATIENCE: Duration = Duration::from_secs(3);
/// How long a client may take to read the end of a stream.
const READING_PATIENCE: Duration = Duration::from_secs(1);
/// How often a client is asked whether it is there before it is gone.
const PINGS: u32 = 3;

/// See the module.
pub(super) struct Connection {
    app: App,
    publishing: Arc<Semaphore>,
    socket: SplitStream<WebSocket>,
    outlet: Outlet,
    progress: Progress,
    writing: JoinHandle<()>,
    answers: FuturesUnordered<BoxFuture<'static, HostFrame>>,
    subscriptions: BTreeMap<u64, Subscription>,
    ping: Interval,
    frame_bytes_max: usize,
}

/// How a stream ended.
enum End {
    /// The client closed it.
    Closed,
    /// The host stops.
    Stopping,
    /// The client sent what is no frame.
    BadFrame(String),
    /// The client sends a frame that is not read.
    TooLarge,
    /// The client is gone.
    Broken,
}

impl Connection {
    pub(super) fn new(app: App, publishing: Arc<Semaphore>, frame_bytes_max: usize, socket: WebSocket) -> Self {
        let (sink, socket) = socket.split();
        let (outlet, progress, writing) = writer::start(sink, app.limits.socket_idle_max);
        let (answers, subscriptions) = (FuturesUnordered::new(), BTreeMap::new());
        let pause = app.limits.socket_idle_max / PINGS;
        let ping = tokio::time::interval_at(Instant::now() + pause, pause);
        Self { app, publishing, socket, outlet, progress, writing, answers, subscriptions, ping, frame_bytes_max }
    }

    pub(super) async fn run(mut self, mut attendant: Attendant) {
        let welcome = HostFrame::Welcome {
            frame_bytes_max: self.frame_bytes_max as u64,
            data_bytes_max: self.app.host.data_bytes_max() as u64,
        };
        let end = match self.send(&welcome).await {
            Ok(()) => self.converse(&mut attendant).await.unwrap_or_else(|end| end),
            Err(end) => end,
        };
        self.finish(end).await;
    }

    async fn converse(&mut self, attendant: &mut Attendant) -> Result<End, End> {
        let mut stopping = std::pin::pin!(attendant.begun());
        let mut heard = Instant::now();
        let idle_max = self.app.limits.socket_idle_max;
        loop {
            tokio::select! {
                Some(answer) = self.answers.next(), if !self.answers.is_empty() => self.send(&answer).await?,
                message = self.socket.next(), if self.answers.len() < REQUESTS_OPEN_MAX => {
                    match message {
                        Some(Ok(Message::Binary(frame))) => self.take(&frame).await?,
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Text(_))) => {
                            return Ok(End::BadFrame("frames are binary messages".to_owned()));
                        }
                        Some(Ok(Message::Close(frame))) => {
                            let in_order = frame.is_none_or(|frame| frame.code == close_code::NORMAL);
                            return Ok(if in_order { End::Closed } else { End::Broken });
                        }
                        Some(Err(error)) if is_too_large(&error) => return Ok(End::TooLarge),
                        Some(Err(_)) | None => return Ok(End::Broken),
                    }
                    // Once it is taken: whoever waits for room is not read meanwhile.
                    heard = Instant::now();
                }
                _ = self.ping.tick() => {
                    if self.answers.len() >= REQUESTS_OPEN_MAX {
                        // A stream that is full is not read, so it cannot be heard either.
                        heard = Instant::now();
                    }
                    // A ping waits behind what the client has not taken yet.
                    if heard.max(self.progress.last()).elapsed() > idle_max {
                        return Ok(End::Broken);
                    }
                    self.write(Written::Ping).await?;
                }
                () = &mut stopping => return Ok(End::Stopping),
            }
        }
    }

    async fn take(&mut self, bytes: &Bytes) -> Result<(), End> {
        // Before it takes memory once more.
        let room = if is_publish(bytes) { Some(self.room(bytes.len()).await?) } else { None };
        match decode::<ClientFrame>(bytes).map_err(|error| End::BadFrame(error.to_string()))? {
            ClientFrame::Publish { request, topic, content_type, messages, receipts } => {
                if messages.len() > MESSAGES_MAX {
                    return self.refuse(request, too_many("messages", MESSAGES_MAX)).await;
                }
                let publish = Publish { request, defaults: Defaults { topic, content_type }, messages, receipts };
                let host = self.app.host.clone();
                let handed = self.meanwhile(publish.hand_over(&host, Timestamp(now_ms()))).await?;
                let answer = async move {
                    let answer = handed.answer().await;
                    drop(room);
                    answer
                };
                self.answers.push(answer.boxed());
                Ok(())
            }
            ClientFrame::Subscribe { subscription, queue, consumer, credit } => {
                match self.subscribe(subscription, queue, consumer, credit).await {
                    Ok(()) => Ok(()),
                    Err(refusal) => self.refuse(subscription, refusal).await,
                }
            }
            ClientFrame::Settle { request, subscription, settlements } => {
                if settlements.len() > MESSAGES_MAX {
                    return self.refuse(request, too_many("settlements", MESSAGES_MAX)).await;
                }
                match self.subscriptions.get(&subscription).map(Subscription::taken) {
                    Some(taken) => self.begin(settle::settle(self.app.host.clone(), taken, request, settlements)).await,
                    None => self.refuse(request, unknown(subscription)).await,
                }
            }
            ClientFrame::Extend { request, subscription, leases, lease_ms } => {
                if leases.len() > MESSAGES_MAX {
                    return self.refuse(request, too_many("leases", MESSAGES_MAX)).await;
                }
                match self.subscriptions.get(&subscription).map(Subscription::taken) {
                    Some(taken) => {
                        self.begin(settle::extend(self.app.host.clone(), taken, request, leases, lease_ms)).await
                    }
                    None => self.refuse(request, unknown(subscription)).await,
                }
            }
            ClientFrame::Release { request, subscription } => match self.subscriptions.remove(&subscription) {
                Some(subscribed) => {
                    // Carried out even when nobody waits for its answer any more.
                    let releasing = tokio::spawn(subscribed.release());
                    self.begin(async move {
                        match releasing.await {
                            Ok(Err(error)) => failed(request, error),
                            Ok(Ok(())) => HostFrame::Settled { request, exceptions: Vec::new() },
                            Err(error) => {
                                HostFrame::Refused { request, refusal: Problem::fault(error.to_string()).into() }
                            }
                        }
                    })
                    .await
                }
                None => self.refuse(request, unknown(subscription)).await,
            },
        }
    }

    async fn subscribe(
        &mut self,
        subscription: u64,
        queue: String,
        consumer: String,
        credit: u32,
    ) -> Result<(), Refusal> {
        let place = (
            QueueName::new(queue).map_err(|error| Refusal::from(Problem::from(error)))?,
            ConsumerName::new(consumer).map_err(|error| Refusal::from(Problem::from(error)))?,
        );
        if !(1..=CREDIT_MAX).contains(&credit) {
            let detail = format!("credit is {credit}; it is from 1 to {CREDIT_MAX}");
            return Err(Problem::invalid("out-of-range", detail).into());
        }
        let now = Timestamp(now_ms());
        self.subscriptions.retain(|_, subscribed| !subscribed.is_over(now));
        if self.subscriptions.contains_key(&subscription) {
            let detail = format!("subscription {subscription} is there already; release it first, or name another");
            return Err(Problem::new(axum::http::StatusCode::CONFLICT, "subscribed-before", detail).into());
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let detail =
                format!("{SUBSCRIPTIONS_MAX} subscriptions are on this stream, which is the limit; release one");
            return Err(Problem::invalid("too-many", detail).into());
        }
        let started = Subscription::start(&self.app.host, self.outlet.clone(), subscription, place, credit);
        self.subscriptions.insert(subscription, started);
        Ok(())
    }

    /// Room for a frame that is published.
    async fn room(&mut self, bytes: usize) -> Result<OwnedSemaphorePermit, End> {
        let permits = u32::try_from(bytes.min(self.app.limits.frames_bytes_max)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.publishing).acquire_many_owned(permits);
        self.meanwhile(room).await?.map_err(|_| End::Broken)
    }

    /// Wait for something before the next frame is read. What is under way goes on.
    async fn meanwhile<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, End> {
        let mut waiting = std::pin::pin!(waiting);
        loop {
            tokio::select! {
                biased;
                done = &mut waiting => return Ok(done),
                _ = self.ping.tick() => write(&self.outlet, Written::Ping).await?,
                Some(answer) = self.answers.next(), if !self.answers.is_empty() => {
                    write(&self.outlet, Written::Frame(encode(&answer))).await?;
                }
            }
        }
    }

    /// Begin what is handed to the host by the first poll, so that what comes later comes later there too.
    async fn begin(&mut self, request: impl Future<Output = HostFrame> + Send + 'static) -> Result<(), End> {
        let mut request = request.boxed();
        match (&mut request).now_or_never() {
            Some(answer) => self.send(&answer).await,
            None => {
                self.answers.push(request);
                Ok(())
            }
        }
    }

    async fn refuse(&mut self, request: u64, refusal: Refusal) -> Result<(), End> {
        self.send(&HostFrame::Refused { request, refusal }).await
    }

    async fn send(&mut self, frame: &HostFrame) -> Result<(), End> {
        self.write(Written::Frame(encode(frame))).await
    }

    async fn write(&mut self, written: Written) -> Result<(), End> {
        write(&self.outlet, written).await
    }

    /// Answer what is under way, and let go of what is out.
    async fn finish(mut self, end: End) {
        for subscription in self.subscriptions.values() {
            subscription.stop();
        }
        let close = match &end {
            End::Closed => Written::Close(close_code::NORMAL, ""),
            End::Stopping => {
                let detail = "the host is shutting down; send again, later, what is not answered".to_owned();
                let _ = self.send(&HostFrame::Closing { detail }).await;
                Written::Close(close_code::AWAY, "the host is shutting down")
            }
            End::BadFrame(detail) => {
                tracing::debug!(detail, "a client's frame cannot be read");
                let problem = Problem::malformed("bad-frame", detail.as_str());
                let _ = self.send(&HostFrame::Refused { request: 0, refusal: problem.into() }).await;
                Written::Close(close_code::PROTOCOL, "a frame cannot be read")
            }
            End::TooLarge => {
                let detail = format!("a frame has at most {} bytes here", self.frame_bytes_max);
                let problem = Problem::new(axum::http::StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail);
                let _ = self.refuse(0, problem.into()).await;
                Written::Close(close_code::SIZE, "a frame is too large")
            }
            End::Broken => Written::Close(close_code::AWAY, ""),
        };
        // What was handed over goes on in any case; whoever is still there is told.
        let answering = async {
            while let Some(answer) = self.answers.next().await {
                let _ = write(&self.outlet, Written::Frame(encode(&answer))).await;
            }
        };
        let _ = tokio::time::timeout(CLOSING_PATIENCE, answering).await;
        let is_gone = matches!(end, End::Broken | End::BadFrame(_) | End::TooLarge);
        for (name, subscription) in self.subscriptions {
            let left = if is_gone { subscription.expire().await } else { subscription.release().await };
            if let Err(error) = left {
                tracing::debug!(subscription = name, %error, "what a stream held goes back by its leases' end");
            }
        }
        let _ = self.outlet.send(close).await;
        drop(self.outlet);
        let _ = tokio::time::timeout(CLOSING_PATIENCE, self.writing).await;
        // A connection that is dropped while the client sends is reset, and what it was told may be lost on its way.
        let mut socket = self.socket;
        match end {
            End::Stopping | End::BadFrame(_) => {
                let reading = async { while let Some(Ok(_)) = socket.next().await {} };
                let _ = tokio::time::timeout(READING_PATIENCE, reading).await;
            }
            // The rest of a frame that is too large cannot be read.
            End::TooLarge => tokio::time::sleep(READING_PATIENCE).await,
            End::Closed | End::Broken => {}
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let error = std::error::Error::source(error).and_then(|error| error.downcast_ref::<tungstenite::Error>());
    matches!(error, Some(tungstenite::Error::Capacity(_)))
}

async fn write(outlet: &Outlet, written: Written) -> Result<(), End> {
    outlet.send(written).await.map_err(|_| End::Broken)
}

fn unknown(subscription: u64) -> Refusal {
    Problem::unknown("unknown-subscription", format!("there is no subscription {subscription} on this stream")).into()
}

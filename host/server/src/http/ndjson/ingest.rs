//! The loop that reads a body and publishes its lines.

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
};

use axum::body::BodyDataStream;
use bytes::Bytes;
use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, MaybeDone, maybe_done},
};

use super::{
    BATCHES_IN_FLIGHT_MAX,
    batch::{Batch, put_problem},
    line::Format,
    outlet::{Gone, Outlet},
    split::{Line, Lines},
};
use crate::http::{App, body, problem::Problem};

/// A batch on its way; what it answers.
type InFlight = MaybeDone<BoxFuture<'static, Bytes>>;

/// See the module.
pub(super) struct Ingest {
    app: App,
    format: Format,
    /// None when the body has ended.
    frames: Option<BodyDataStream>,
    bytes_read: usize,
    lines: Lines,
    batch: Batch,
    in_flight: VecDeque<InFlight>,
    outlet: Outlet,
}

impl Ingest {
    pub(super) fn new(app: App, format: Format, frames: BodyDataStream, lines: Lines, outlet: Outlet) -> Self {
        Self {
            app,
            format,
            frames: Some(frames),
            bytes_read: 0,
            lines,
            batch: Batch::default(),
            in_flight: VecDeque::new(),
            outlet,
        }
    }

    /// Publish everything. When the client goes away meanwhile, what was read may be published or not.
    pub(super) async fn run(mut self) {
        if let Err(Gone) = self.publish_all().await {
            tracing::debug!(line = self.lines.next_number(), "a publisher went away before its last answer");
        }
    }

    async fn publish_all(&mut self) -> Result<(), Gone> {
        let end = loop {
            self.gather();
            if self.batch.is_full() {
                self.start_batch().await?;
                continue;
            }
            match self.next_frame().await? {
                Ok(Some(frame)) => self.lines.feed(frame),
                Ok(None) => break None,
                Err(problem) => break Some(problem),
            }
        };
        self.finish(end).await
    }

    /// Take lines from what was read until the batch is full.
    fn gather(&mut self) {
        while !self.batch.is_full()
            && let Some((number, line)) = self.lines.next()
        {
            let draft = match line {
                Line::Whole(line) => self.format.draft(line),
                Line::TooLong => Err(Problem::too_large("the line is longer than a message of this host can be")),
            };
            self.batch.push(number, draft);
        }
    }

    /// Read on. While there is nothing to read, what was gathered is published, if the disk has time for it.
    async fn next_frame(&mut self) -> Result<Result<Option<Bytes>, Problem>, Gone> {
        let Some(frames) = &mut self.frames else { return Ok(Ok(None)) };
        if let Some(frame) = frames.next().now_or_never() {
            return Ok(self.take_frame(frame));
        }
        if !self.batch.is_empty() && self.in_flight.len() < BATCHES_IN_FLIGHT_MAX {
            self.start_batch().await?;
        }
        loop {
            let Some(frames) = &mut self.frames else { return Ok(Ok(None)) };
            tokio::select! {
                biased;
                frame = frames.next() => return Ok(self.take_frame(frame)),
                () = first(&mut self.in_flight), if !self.in_flight.is_empty() => self.answer_first().await?,
                () = self.outlet.gone() => return Err(Gone),
            }
        }
    }

    fn take_frame(&mut self, frame: Option<Result<Bytes, axum::Error>>) -> Result<Option<Bytes>, Problem> {
        let Some(frame) = frame else {
            self.frames = None;
            return Ok(Some(Lines::END));
        };
        let frame = frame.map_err(|error| body::broken(&error))?;
        self.bytes_read += frame.len();
        if self.bytes_read > self.app.limits.body_bytes_max {
            return Err(body::too_large(self.app.limits.body_bytes_max));
        }
        if self.app.draining.has_begun() {
            return Err(Problem::stopped("the host is shutting down; send the lines from here on again, later"));
        }
        Ok(Some(frame))
    }

    /// Leave the batch with the host, after those before it.
    async fn start_batch(&mut self) -> Result<(), Gone> {
        while self.in_flight.len() >= BATCHES_IN_FLIGHT_MAX {
            first(&mut self.in_flight).await;
            self.answer_first().await?;
        }
        let batch = std::mem::take(&mut self.batch);
        let host = self.app.host.clone();
        let mut handing_over = pin!(batch.hand_over(&host));
        loop {
            tokio::select! {
                biased;
                publishing = &mut handing_over => {
                    self.in_flight.push_back(maybe_done(publishing));
                    return Ok(());
                }
                // What they hold of the room for what waits may be what this batch waits for.
                () = first(&mut self.in_flight), if !self.in_flight.is_empty() => self.answer_first().await?,
            }
        }
    }

    async fn answer_first(&mut self) -> Result<(), Gone> {
        let answers = self.in_flight.pop_front().and_then(|mut done| Pin::new(&mut done).take_output());
        match answers {
            Some(answers) => self.outlet.send(answers).await,
            None => Ok(()),
        }
    }

    /// Publish what is left, and say why the rest was not read when it was not.
    async fn finish(&mut self, end: Option<Problem>) -> Result<(), Gone> {
        if !self.batch.is_empty() {
            self.start_batch().await?;
        }
        while !self.in_flight.is_empty() {
            first(&mut self.in_flight).await;
            self.answer_first().await?;
        }
        if let Some(problem) = end {
            let mut line = Vec::new();
            put_problem(&mut line, self.lines.next_number(), &problem);
            self.outlet.send(line.into()).await?;
        }
        if let Some(frames) = self.frames.take() {
            body::drain(frames);
        }
        Ok(())
    }
}

/// Wait until the oldest batch is done.
async fn first(in_flight: &mut VecDeque<InFlight>) {
    if let Some(oldest) = in_flight.front_mut() {
        Pin::new(oldest).await;
    }
}

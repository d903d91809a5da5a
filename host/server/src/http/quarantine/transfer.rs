//! The quarantine as NDJSON: out of a host with everything that is known, and into this or another one.

use std::convert::Infallible;

use axum::{
    body::{Body, BodyDataStream},
    extract::State,
    response::Response,
};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Serialize;
use tokio::sync::mpsc;
use wasmill_delivery::{name::QuarantineId, record::QuarantineRecord};
use wasmill_runtime::{Import, Imported};

use super::{filter::FilterQuery, line::Line as RecordLine};
use crate::http::{
    App, body,
    extract::{Search, from_json},
    ndjson::{Line, Lines, answer_lines},
    problem::Problem,
};

/// Lines of an export that wait for a client that reads slowly. Each holds a whole message.
const LINES_WAITING_MAX: usize = 4;
/// Records that are imported in one commit.
const IMPORT_AT_ONCE: usize = 64;
/// Data of records that are imported in one commit, in bytes.
const IMPORT_BYTES_AT_ONCE: usize = 4 * 1024 * 1024;
/// What a line may have besides its data, in bytes: names, headers, and the evidence of its attempts.
const LINE_EVIDENCE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Everything that matches, as long as the client reads. What is put into quarantine meanwhile may be in it or not.
pub(super) async fn export(State(app): State<App>, Search(query): Search<FilterQuery>) -> Response {
    let (sender, lines) = mpsc::channel::<Bytes>(LINES_WAITING_MAX);
    tokio::task::spawn_blocking(move || {
        let result = query.filter().each(&app.host, |record| {
            let line = json_line(&RecordLine::from(record));
            sender.blocking_send(line).is_ok()
        });
        if let Err(error) = result {
            let error = Problem::from(error);
            let _ = sender.blocking_send(json_line(&Broken { error: &error }));
        }
    });
    let lines = futures::stream::unfold(lines, |mut lines| async move {
        let line = lines.recv().await?;
        Some((Ok::<_, Infallible>(line), lines))
    });
    answer_lines(Body::from_stream(lines))
}

/// The last line of an export that ends early.
#[derive(Serialize)]
struct Broken<'a> {
    error: &'a Problem,
}

#[derive(Serialize)]
struct Taken {
    line: u64,
    quarantine_id: Option<QuarantineId>,
    duplicate: bool,
}

#[derive(Serialize)]
struct Refused<'a> {
    line: u64,
    error: &'a Problem,
}

/// Put what the lines say into quarantine, and answer each of them.
pub(super) async fn import(State(app): State<App>, body: Body) -> Result<Response, Problem> {
    let frames = body::accept(body, app.limits.body_bytes_max)?;
    let line_bytes_max = app.host.data_bytes_max() * 2 + LINE_EVIDENCE_BYTES_MAX;
    let import = app.host.begin_import().await?;
    let reading = Reading {
        import,
        bytes_left: app.limits.body_bytes_max,
        body_bytes_max: app.limits.body_bytes_max,
        lines: Lines::new(line_bytes_max),
        batch: Vec::new(),
        batch_bytes: 0,
        // As large as the body at most: an answer is shorter than its line.
        answers: Vec::new(),
    };
    Ok(answer_lines(reading.run(frames).await.into()))
}

struct Reading {
    import: Import,
    bytes_left: usize,
    body_bytes_max: usize,
    lines: Lines,
    /// Lines that wait to be imported together, with what is wrong with those that hold no record.
    batch: Vec<(u64, Result<QuarantineRecord, Problem>)>,
    batch_bytes: usize,
    answers: Vec<u8>,
}

impl Reading {
    async fn run(mut self, mut frames: BodyDataStream) -> Vec<u8> {
        while let Some(frame) = frames.next().await {
            match self.check(frame) {
                Ok(frame) => self.feed(frame).await,
                Err(problem) => {
                    self.flush().await;
                    let line = self.lines.next_number();
                    put(&mut self.answers, &Refused { line, error: &problem });
                    body::drain(frames);
                    return self.answers;
                }
            }
        }
        self.feed(Lines::END).await;
        self.flush().await;
        self.answers
    }

    fn check(&mut self, frame: Result<Bytes, axum::Error>) -> Result<Bytes, Problem> {
        let frame = frame.map_err(|error| body::broken(&error))?;
        match self.bytes_left.checked_sub(frame.len()) {
            Some(left) => self.bytes_left = left,
            None => return Err(body::too_large(self.body_bytes_max)),
        }
        Ok(frame)
    }

    async fn feed(&mut self, frame: Bytes) {
        self.lines.feed(frame);
        while let Some((number, line)) = self.lines.next() {
            let record = match line {
                Line::Whole(line) => from_json::<RecordLine>(line).and_then(RecordLine::into_record),
                Line::TooLong => Err(Problem::too_large("the line is longer than a record of this host can be")),
            };
            self.batch_bytes += record.as_ref().map_or(0, |record| record.message.data.len());
            self.batch.push((number, record));
            if self.batch.len() >= IMPORT_AT_ONCE || self.batch_bytes >= IMPORT_BYTES_AT_ONCE {
                self.flush().await;
            }
        }
    }

    async fn flush(&mut self) {
        self.batch_bytes = 0;
        let mut records = Vec::with_capacity(self.batch.len());
        let mut entries = Vec::with_capacity(self.batch.len());
        for (line, record) in std::mem::take(&mut self.batch) {
            match record {
                Ok(record) => {
                    records.push(record);
                    entries.push((line, None));
                }
                Err(problem) => entries.push((line, Some(problem))),
            }
        }
        let mut imported = self.import.take(records).await.into_iter();
        for (line, problem) in entries {
            let result = match problem {
                Some(problem) => Err(problem),
                None => match imported.next() {
                    Some(result) => result.map_err(Problem::from),
                    None => Err(Problem::stopped("the host has stopped")),
                },
            };
            match result {
                Ok(Imported::As(id)) => {
                    put(&mut self.answers, &Taken { line, quarantine_id: Some(id), duplicate: false });
                }
                Ok(Imported::Already) => {
                    put(&mut self.answers, &Taken { line, quarantine_id: None, duplicate: true });
                }
                Err(error) => put(&mut self.answers, &Refused { line, error: &error }),
            }
        }
    }
}

fn json_line(value: &impl Serialize) -> Bytes {
    let mut line = Vec::new();
    put(&mut line, value);
    line.into()
}

fn put(lines: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *lines, value).expect("memory takes all bytes, and the keys are strings");
    lines.push(b'\n');
}

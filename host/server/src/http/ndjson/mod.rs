//! Publishing many messages, one JSON object per line.
//!
//! This is the way in for volume. The body is read, split and parsed while it arrives; up to
//! [`BATCH_LINES_MAX`] lines are published in one commit, and while one batch is committed the next is gathered. Answers
//! are streamed in the order of the lines.

mod batch;
mod ingest;
mod line;
mod outlet;
mod pointer;
mod split;

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse as _, Response},
};

use self::ingest::Ingest;
pub(super) use self::{
    batch::Batch,
    line::Format,
    split::{Line, Lines},
};
use super::{App, body, problem::Problem};

/// Lines of one commit.
pub(super) const BATCH_LINES_MAX: usize = 1_000;
/// Data of one commit, in bytes. What is above 2 MiB in one piece is too long for the store's log.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Batches that are being committed while the next one is gathered.
const BATCHES_IN_FLIGHT_MAX: usize = 2;
/// What a line may have besides its data: names, headers, white space, in bytes.
const LINE_ENVELOPE_BYTES_MAX: usize = 64 * 1024;
/// Answers that wait for a client that sends and does not read, in bytes. Enough for a whole body of ordinary lines,
/// so that a client may well send everything before it reads anything.
const ANSWERS_WAITING_BYTES_MAX: u32 = 32 * 1024 * 1024;

/// Publish what the lines of a body say. The answer begins at once; the reading goes on behind it.
pub(super) fn publish(app: App, format: Format, body: Body) -> Result<Response, Problem> {
    let frames = body::accept(body, app.limits.body_bytes_max)?;
    // Base64 takes a third more than the data; twice leaves room for escapes in text.
    let line_bytes_max = app.host.data_bytes_max() * 2 + LINE_ENVELOPE_BYTES_MAX;
    let (outlet, answers) = outlet::open(ANSWERS_WAITING_BYTES_MAX);
    tokio::spawn(Ingest::new(app, format, frames, Lines::new(line_bytes_max), outlet).run());
    Ok(answer_lines(Body::from_stream(answers)))
}

/// An answer of one line for each entry.
pub(super) fn answer_lines(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

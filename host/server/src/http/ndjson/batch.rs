//! What is published in one commit, and what its publisher is told.

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use serde::Serialize;
use wasmill_runtime::{Draft, Host, PublishError, Published};

use super::{BATCH_BYTES_MAX, BATCH_LINES_MAX};
use crate::http::{problem::Problem, publish::Receipt};

/// Room for the answer of one message, in bytes.
const ANSWER_BYTES: usize = 112;

/// Messages that wait to be published together, and the lines among them that hold none.
#[derive(Default)]
pub(in crate::http) struct Batch {
    entries: Vec<Entry>,
    drafts: Vec<Draft>,
    data_bytes: usize,
}

/// One line, or one entry of a JSON array.
struct Entry {
    number: u64,
    /// Why it holds no message; none when it holds the next of the drafts.
    problem: Option<Problem>,
}

#[derive(Serialize)]
struct Refused<'a> {
    error: &'a Problem,
    line: u64,
}

impl Batch {
    /// Add what entry `number` says.
    pub(in crate::http) fn push(&mut self, number: u64, draft: Result<Draft, Problem>) {
        let problem = match draft {
            Ok(draft) => {
                self.data_bytes += draft.data.len();
                self.drafts.push(draft);
                None
            }
            Err(problem) => Some(problem),
        };
        self.entries.push(Entry { number, problem });
    }

    pub(in crate::http) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether it is to be published before more is added.
    pub(in crate::http) const fn is_full(&self) -> bool {
        self.entries.len() >= BATCH_LINES_MAX || self.data_bytes >= BATCH_BYTES_MAX
    }

    /// Publish it, and answer one line for each entry.
    pub(in crate::http) async fn publish(self, host: &Host) -> Bytes {
        self.hand_over(host).await.await
    }

    /// Wait until the host has room for it and hand it over, so that it comes before what is handed over later. What this
    /// answers is to be waited for: it ends with one line for each entry.
    pub(in crate::http) async fn hand_over(self, host: &Host) -> BoxFuture<'static, Bytes> {
        let Self { entries, drafts, .. } = self;
        let publishing = host.hand_over(drafts).await;
        let answers = async move {
            match publishing.answer().await {
                Ok(published) => answer(&entries, published),
                Err(error) => answer_all(&entries, &Problem::from(error)),
            }
        };
        answers.boxed()
    }
}

fn answer(entries: &[Entry], published: Vec<Result<Published, PublishError>>) -> Bytes {
    let mut lines = Vec::with_capacity(entries.len() * ANSWER_BYTES);
    let mut published = published.into_iter();
    for Entry { number, problem } in entries {
        match problem {
            Some(problem) => put_problem(&mut lines, *number, problem),
            None => match published.next() {
                Some(Ok(published)) => put(&mut lines, &Receipt::from(&published)),
                Some(Err(error)) => put_problem(&mut lines, *number, &error.into()),
                None => put_problem(&mut lines, *number, &Problem::stopped("the host has stopped")),
            },
        }
    }
    lines.into()
}

fn answer_all(entries: &[Entry], fault: &Problem) -> Bytes {
    let mut lines = Vec::new();
    for Entry { number, problem } in entries {
        put_problem(&mut lines, *number, problem.as_ref().unwrap_or(fault));
    }
    lines.into()
}

/// The line that says why a line, or all from it on, were not published.
pub(super) fn put_problem(lines: &mut Vec<u8>, line: u64, error: &Problem) {
    put(lines, &Refused { error, line });
}

fn put(lines: &mut Vec<u8>, answer: &impl Serialize) {
    serde_json::to_writer(&mut *lines, answer).expect("memory takes all bytes, and the keys are strings");
    lines.push(b'\n');
}

//! A new version is run once, on the sample message of its handler, before it takes a delivery.
//!
//! It runs in an instance of its own beside the deliveries, with the handler's configuration, secrets and limits; it
//! sees the handler's state, and what it stores or publishes is thrown away. It may send no HTTP requests.

use std::sync::Arc;

use wasmill_delivery::{
    input::AttemptResult,
    name::{ConsumerName, QueueName, Sequence},
    outcome::{Outcome, cut_reason},
    record::{AttemptRecord, Grants, HandlerRecord, Sample},
};
use wasmill_sandbox::{Delivery, Program, Session, StagedState};

use crate::{draft::now, error::HostError, host::Host, secrets};

/// A sample may take no longer than this, whatever the handler's limit is, in milliseconds: other handlers wait to be
/// loaded.
pub const SMOKE_TEST_MS_MAX: u64 = 10_000;

impl Host {
    /// Run the program on the sample of its handler, when it has one.
    pub(crate) async fn smoke_test(&self, record: &HandlerRecord, program: &Arc<Program>) -> Result<(), HostError> {
        let Some(sample) = &record.replacing.sample else { return Ok(()) };
        let secrets = secrets::read_off_thread(record).await?;
        let mut context = self.inner.registry.context(record, secrets);
        context.grants = Arc::new(Grants::default());
        context.limits.wall_clock_ms_max = context.limits.wall_clock_ms_max.min(SMOKE_TEST_MS_MAX);
        let delivery = delivery_of(record, sample)?;
        let mut session = Session::new(Arc::clone(program), Arc::new(context));
        let running = self
            .inner
            .dispatch
            .threads()
            .spawn(async move { session.run(&delivery, &mut StagedState::default()).await });
        let attempt = running.await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) })?;
        match attempt.result {
            AttemptResult::Succeeded(_) | AttemptResult::SucceededWithNext => Ok(()),
            AttemptResult::Failed(failed) => Err(refusal(record, program, failed)),
        }
    }
}

fn delivery_of(record: &HandlerRecord, sample: &Sample) -> Result<Delivery, HostError> {
    Ok(Delivery {
        message: Arc::new(sample.message(now()).map_err(HostError::Replacing)?),
        queue: QueueName::new(record.name.as_str()).map_err(HostError::Replacing)?,
        consumer: ConsumerName::new(record.name.as_str()).map_err(HostError::Replacing)?,
        sequence: Sequence::FIRST,
        attempt: 1,
        attempts_max: 1,
    })
}

fn refusal(record: &HandlerRecord, program: &Program, failed: AttemptRecord) -> HostError {
    let AttemptRecord { outcome, log, .. } = failed;
    tracing::warn!(handler = %record.name, digest = %program.digest(), outcome = outcome.name(), "refused: it fails on the sample");
    HostError::SmokeTest { handler: record.name.clone(), outcome: Box::new(outcome), log: cut_reason(log) }
}

/// What a refusal says, in one sentence and with the log.
pub(crate) fn describe(outcome: &Outcome, log: &str) -> String {
    let mut text = outcome.describe();
    if !log.trim().is_empty() {
        text.push_str("; it printed: ");
        text.push_str(log.trim());
    }
    text
}

//! Run an attempt again on its capsule: offline, with nothing of what it does taking effect.

use std::{path::PathBuf, sync::Arc, time::Duration};

use wasmill_delivery::{input::AttemptResult, message::Message, outcome::Outcome, record::AttemptRecord};

use crate::{
    attempt::{Attempt, Delivery, HandlerContext},
    capsule::{self, Capsule, Player, Tape, mask},
    capsule_file::{CapsuleFile, CapsuleFileError},
    fit::LoadError,
    overlay::StagedState,
    program::Program,
    sandbox::{Sandbox, SandboxError, SandboxOptions},
    secrets::Secrets,
    session::Session,
};

/// The time that a replay of an attempt gets that was not stopped by the clock: a slow machine must not make a failure
/// into another one. A replay waits for nothing, so this is for computing alone.
const PATIENCE_MIN: Duration = Duration::from_secs(60);

/// Instances that a replayer has at once, with room for those whose end takes a moment.
const INSTANCES_MAX: u32 = 8;

/// Opens capsule files and runs what is in them, with a sandbox of its own: what a program needs that is no host.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use wasmill_sandbox::{CapsuleFile, Replayer};
///
/// let file = CapsuleFile::from_bytes(&std::fs::read("7.capsule")?)?;
/// let replayer = Replayer::new("/tmp/compiled")?;
/// let program = replayer.load(file.component.as_ref().ok_or("exported files have it")?)?;
/// let replayed = replayer.run(&program, &file).await?;
/// assert!(replayed.compare(file.last_attempt()?).outcome);
/// # Ok(())
/// # }
/// ```
pub struct Replayer(Sandbox);

impl Replayer {
    /// With compiled code in this folder.
    ///
    /// # Errors
    /// When the engine cannot be set up, or the folder cannot be used.
    pub fn new(compiled_folder: impl Into<PathBuf>) -> Result<Self, SandboxError> {
        let options = SandboxOptions { instances_max: INSTANCES_MAX, ..SandboxOptions::new(compiled_folder) };
        Sandbox::new(options).map(Self)
    }

    /// Make a program of a component: the recorded one, or a candidate. It blocks while it compiles.
    ///
    /// # Errors
    /// When it is not a handler that this version can run.
    pub fn load(&self, wasm: &[u8]) -> Result<Arc<Program>, LoadError> {
        self.0.load(wasm)
    }

    /// Run it on what is in the file.
    ///
    /// # Errors
    /// When the capsule in it cannot be read.
    pub async fn run(&self, program: &Arc<Program>, file: &CapsuleFile) -> Result<Replayed, CapsuleFileError> {
        let (capsule, recorded) = (file.capsule()?, file.last_attempt()?);
        Ok(Box::pin(replay(Arc::clone(program), &capsule, recorded, Arc::clone(&file.record.message))).await)
    }
}

/// What a replay brought.
#[derive(Debug)]
pub struct Replayed {
    /// Whether the component is the one that was recorded.
    pub same_component: bool,
    /// How it ended, with what it used and printed. What it would have published and stored is in a success.
    pub attempt: Attempt,
    /// Where it went another way than the recorded attempt, and what else may make a difference, in words.
    pub notes: Vec<String>,
}

/// How a replay of the component that was recorded compares with the recorded attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// It ended in the same way, with the same words.
    pub outcome: bool,
    /// It used the same fuel.
    pub fuel: bool,
    /// It broke in the same place.
    pub backtrace: bool,
    /// Whether fuel must be the same: an instance that served others before, and a clock that ran out, make it another.
    pub fuel_counts: bool,
}

impl Comparison {
    /// Whether it is the same failure.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.outcome && self.backtrace && (self.fuel || !self.fuel_counts)
    }
}

/// Run a component on the inputs of an attempt: the one that was recorded, or a candidate. `recorded` is what is known of
/// that attempt, and `message` what was delivered.
///
/// It needs a tokio runtime with its timers on, and speaks to nobody.
pub async fn replay(
    program: Arc<Program>,
    capsule: &Capsule,
    recorded: &AttemptRecord,
    message: Arc<Message>,
) -> Replayed {
    let same_component = program.digest() == capsule.digest;
    let timed_out = matches!(recorded.outcome, Outcome::TimedOut { .. });
    let player = Arc::new(Player::new(capsule, same_component, timed_out, recorded.started_at.0));
    let context = Arc::new(context(capsule, &player));
    let delivery = Delivery {
        message,
        queue: capsule.queue.clone(),
        consumer: capsule.consumer.clone(),
        sequence: capsule.sequence,
        attempt: capsule.attempt,
        attempts_max: capsule.attempts_max,
    };
    let limit = Duration::from_millis(capsule.limits.wall_clock_ms_max);
    let patience = if same_component && !timed_out { limit.saturating_mul(10).max(PATIENCE_MIN) } else { limit };
    let mut session = Session::replaying(program, context, Tape::Playing(Arc::clone(&player)), patience);
    let attempt = session.run(&delivery, &mut StagedState::default()).await;
    drop(session);
    let mut notes = notes_before(capsule, same_component);
    notes.extend(player.take_notes());
    Replayed { same_component, attempt, notes }
}

fn context(capsule: &Capsule, player: &Arc<Player>) -> HandlerContext {
    let stands_in = |(name, bytes): (&String, &u64)| {
        // A capsule that somebody made up must not take all memory.
        let bytes = usize::try_from(*bytes).unwrap_or(usize::MAX).min(wasmill_delivery::limits::SECRET_BYTES_MAX);
        (name.clone(), mask::stand_in(name, bytes))
    };
    HandlerContext {
        handler: capsule.handler.clone(),
        limits: capsule.limits,
        config: capsule.config.clone(),
        grants: Arc::new(capsule.grants.clone()),
        secrets: Secrets::new(
            capsule.secrets.iter().take(wasmill_delivery::limits::SECRETS_MAX).map(stands_in).collect(),
        ),
        data_bytes_max: usize::try_from(capsule.data_bytes_max).unwrap_or(usize::MAX),
        state: capsule::state_of(player),
        simulation: None,
    }
}

fn notes_before(capsule: &Capsule, same_component: bool) -> Vec<String> {
    let mut notes = capsule.engine_differences();
    let left_out = capsule.calls.left_out;
    if left_out > 0 {
        notes.push(format!(
            "the capsule is not complete: {left_out} answers of the host did not fit its limit of {} bytes, and what \
             comes after the first of them is not known",
            crate::limits::CAPSULE_CALLS_BYTES_MAX
        ));
    }
    if !capsule.left_out.is_empty() {
        notes.push(format!("the capsule is not complete: it has no {}", capsule.left_out.join(", ")));
    }
    if same_component && !capsule.fresh {
        notes.push(
            "the attempt ran in an instance that had served deliveries before it; a replay is fresh, so its fuel and \
             memory may differ"
                .to_owned(),
        );
    }
    notes
}

impl Replayed {
    /// How it compares with the attempt that was recorded.
    #[must_use]
    pub fn compare(&self, recorded: &AttemptRecord) -> Comparison {
        let no_backtrace = Vec::new();
        let backtrace = match &self.attempt.result {
            AttemptResult::Succeeded(_) | AttemptResult::SucceededWithNext => &no_backtrace,
            AttemptResult::Failed(record) => &record.backtrace,
        };
        Comparison {
            outcome: *self.attempt.result.outcome() == recorded.outcome,
            fuel: self.attempt.fuel_used == recorded.fuel_used,
            backtrace: *backtrace == recorded.backtrace,
            fuel_counts: recorded.fresh && !matches!(recorded.outcome, Outcome::TimedOut { .. }),
        }
    }
}

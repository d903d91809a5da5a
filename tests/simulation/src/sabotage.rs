//! What can be broken on purpose, to prove that the auditor would see it.

use wasmill_delivery::{
    effect::Effect,
    input::{AttemptResult, Effects, Input, Settlement},
    write::Write,
};

use crate::random::Random;

/// Something that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// The disk loses a write of this kind now and then.
    DiskLoses(&'static str),
    /// The disk takes half of a commit that it refuses.
    DiskTearsCommits,
    /// Effects are let out although their commit is refused.
    EffectsBeforeCommit,
    /// Workers do not say what they read.
    WorkersHideReads,
    /// Workers say that they read later than they did.
    WorkersReadLater,
    /// Answers get lost.
    AnswersLost,
    /// Deliveries are handed out once more with the next fence.
    LeasedTwice,
    /// Attempts are counted wrongly.
    AttemptsMiscounted,
    /// Waiting workers are not woken for some deliveries.
    LeasesLost,
    /// A publish goes to one queue fewer than it says.
    QueueForgotten,
    /// The deliveries of a run are handed out last first.
    RunsReversed,
    /// One of a group of deliveries is settled by itself.
    GroupsTorn,
    /// Nobody is told that a delivery ran alone when the host stopped.
    CrashesUntold,
}

/// The word for a write.
#[must_use]
pub const fn kind(write: &Write) -> &'static str {
    match write {
        Write::Append { .. } => "Append",
        Write::Trim { .. } => "Trim",
        Write::PutCursor { .. } => "PutCursor",
        Write::PutPending { .. } => "PutPending",
        Write::DeletePending { .. } => "DeletePending",
        Write::PutDelayed { .. } => "PutDelayed",
        Write::DeleteDelayed { .. } => "DeleteDelayed",
        Write::PutRunning { .. } => "PutRunning",
        Write::DeleteRunning { .. } => "DeleteRunning",
        Write::PutQuarantine { .. } => "PutQuarantine",
        Write::DeleteQuarantine { .. } => "DeleteQuarantine",
        Write::PutState { .. } => "PutState",
        Write::DeleteState { .. } => "DeleteState",
        Write::AddState { .. } => "AddState",
        Write::PutDedup { .. } => "PutDedup",
        Write::DeleteDedup { .. } => "DeleteDedup",
        Write::PutQueue { .. } => "PutQueue",
        Write::DeleteQueue { .. } => "DeleteQueue",
        Write::PutConsumer { .. } => "PutConsumer",
        Write::DeleteConsumer { .. } => "DeleteConsumer",
        Write::PutHandler { .. } => "PutHandler",
        Write::DeleteHandler { .. } => "DeleteHandler",
        Write::PutSchedule { .. } => "PutSchedule",
        Write::DeleteSchedule { .. } => "DeleteSchedule",
        Write::PutJob { .. } => "PutJob",
        Write::PutJobResult { .. } => "PutJobResult",
        Write::DeleteJob { .. } => "DeleteJob",
        Write::PutCounters { .. } => "PutCounters",
    }
}

impl Sabotage {
    /// What of a commit reaches the disk.
    pub fn writes(self, random: &mut Random, writes: &[Write]) -> Vec<Write> {
        match self {
            Self::DiskLoses(lost) => {
                writes.iter().filter(|write| kind(write) != lost || !random.chance(10)).cloned().collect()
            }
            Self::QueueForgotten => forget_second_append(random, writes),
            Self::None
            | Self::DiskTearsCommits
            | Self::EffectsBeforeCommit
            | Self::WorkersHideReads
            | Self::WorkersReadLater
            | Self::AnswersLost
            | Self::LeasedTwice
            | Self::AttemptsMiscounted
            | Self::LeasesLost
            | Self::RunsReversed
            | Self::GroupsTorn
            | Self::CrashesUntold => writes.to_vec(),
        }
    }

    /// What of the inputs the engine is given.
    #[must_use]
    pub fn inputs(self, inputs: Vec<Input>) -> Vec<Input> {
        if self != Self::GroupsTorn {
            return inputs;
        }
        let mut inputs = inputs;
        for input in &mut inputs {
            if let Input::Settle { settlements, .. } = input {
                settlements.iter_mut().for_each(tear);
            }
        }
        inputs
    }

    /// What of the effects gets out.
    pub fn effects(self, random: &mut Random, mut effects: Vec<Effect>) -> Vec<Effect> {
        if effects.is_empty() || !random.chance(10) {
            return effects;
        }
        match self {
            Self::AnswersLost => drop(effects.remove(random.index(effects.len()))),
            Self::LeasesLost => effects.retain(|effect| !matches!(effect, Effect::Leased { .. })),
            Self::LeasedTwice => effects.iter_mut().for_each(lease_twice),
            Self::AttemptsMiscounted => effects.iter_mut().for_each(miscount),
            Self::RunsReversed => effects.iter_mut().for_each(reverse_run),
            Self::CrashesUntold => effects.retain(|effect| !matches!(effect, Effect::Crashed { .. })),
            Self::None
            | Self::DiskLoses(_)
            | Self::DiskTearsCommits
            | Self::EffectsBeforeCommit
            | Self::WorkersHideReads
            | Self::WorkersReadLater
            | Self::GroupsTorn
            | Self::QueueForgotten => {}
        }
        effects
    }
}

fn forget_second_append(random: &mut Random, writes: &[Write]) -> Vec<Write> {
    let appends = writes.iter().enumerate().filter(|(_, write)| kind(write) == "Append");
    let forgotten = appends.map(|(index, _)| index).nth(1).filter(|_| random.chance(20));
    let kept = writes.iter().enumerate().filter(|(index, _)| Some(*index) != forgotten);
    kept.map(|(_, write)| write.clone()).collect()
}

fn tear(settlement: &mut Settlement) {
    if matches!(settlement.result, AttemptResult::SucceededWithNext) {
        settlement.result = AttemptResult::Succeeded(Effects::default());
    }
}

/// The fences change places too, so that only the order is wrong.
fn reverse_run(effect: &mut Effect) {
    if let Effect::Leased { leases, .. } = effect {
        let fences: Vec<_> = leases.iter().map(|lease| lease.fence).collect();
        leases.reverse();
        leases.iter_mut().zip(fences).for_each(|(lease, fence)| lease.fence = fence);
    }
}

fn lease_twice(effect: &mut Effect) {
    if let Effect::Leased { leases, .. } = effect
        && let Some(mut again) = leases.last().copied()
    {
        again.fence.0 += 1;
        leases.push(again);
    }
}

fn miscount(effect: &mut Effect) {
    if let Effect::Leased { leases, .. } = effect {
        leases.iter_mut().for_each(|lease| lease.attempt += 1);
    }
}

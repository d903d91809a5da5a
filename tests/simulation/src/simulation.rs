//! The world around the engine: a clock, a disk, publishers, workers, operators and bad luck.

mod drain;
mod faults;
mod jobs;
mod operators;
mod publishers;
mod workers;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use wasmill_delivery::{
    engine::{Engine, EngineLimits, Recovery, Unrouted},
    input::{Input, PublishEntry, Ticket},
    name::{ConsumerId, QueueName},
    record::QuarantineRecord,
    time::Timestamp,
};

use self::workers::{OldSettle, Run};
use crate::{
    Plan, Summary,
    auditor::Auditor,
    disk::Disk,
    handler::Notes,
    random::Random,
    sabotage::Sabotage,
    violation::{Checked, Violation},
};

/// Steps kept for the report of a failure.
const LAST_STEPS: usize = 30;

/// One simulation.
#[derive(Debug)]
pub struct Simulation {
    random: Random,
    /// Not the same numbers, so that what is broken does not change what happens.
    bad_luck: Random,
    sabotage: Sabotage,
    steps: u32,
    step: u32,
    weights: Vec<(u64, Step)>,
    limits: EngineLimits,
    engine: Option<Engine>,
    disk: Disk,
    auditor: Auditor,
    clock: Timestamp,
    /// What happened outside and the engine was not told yet.
    mailbox: VecDeque<Input>,
    notes: BTreeMap<Ticket, Vec<Notes>>,
    /// Who waits for deliveries.
    requests: BTreeMap<Ticket, ConsumerId>,
    /// Who waited and does not any more, though the engine may not know yet.
    cancelled: BTreeSet<Ticket>,
    runs: Vec<Run>,
    old_settles: VecDeque<OldSettle>,
    old_publishes: VecDeque<PublishEntry>,
    old_quarantine: VecDeque<Arc<QuarantineRecord>>,
    next_ticket: u64,
    next_message: u64,
    ticks: u64,
    last_steps: VecDeque<String>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish,
    Lease,
    Work,
    Settle,
    Return,
    SettleLate,
    Cancel,
    Order,
    Time,
    Tick,
    TickRefused,
    TickUnanswered,
    Crash,
}

/// How often a step happens, and whether a seed may leave it out.
const STEPS: [(u64, Step); 13] = [
    (30, Step::Publish),
    (30, Step::Lease),
    (100, Step::Work),
    (40, Step::Settle),
    (5, Step::Return),
    (8, Step::SettleLate),
    (6, Step::Cancel),
    (20, Step::Order),
    (20, Step::Time),
    (80, Step::Tick),
    (2, Step::TickRefused),
    (2, Step::TickUnanswered),
    (2, Step::Crash),
];

/// Each seed leaves some steps out and takes others more often: what always happens together hides what happens
/// only apart ("swarm testing", Groce and others, 2012).
fn random_steps(random: &mut Random) -> Vec<(u64, Step)> {
    let weighted = STEPS.map(|(weight, step)| match step {
        Step::Publish | Step::Lease | Step::Work | Step::Settle | Step::Tick => (weight * random.between(1, 3), step),
        Step::Return
        | Step::SettleLate
        | Step::Cancel
        | Step::Order
        | Step::Time
        | Step::TickRefused
        | Step::TickUnanswered
        | Step::Crash => (weight * random.below(3), step),
    });
    weighted.to_vec()
}

impl Simulation {
    /// Nothing happened yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let mut random = Random::new(plan.seed);
        let limits = random_limits(&mut random);
        let weights = random_steps(&mut random);
        Self {
            bad_luck: Random::new(!plan.seed),
            random,
            sabotage: plan.sabotage,
            steps: plan.steps,
            step: 0,
            weights,
            limits: limits.clone(),
            engine: Some(Recovery::new(limits.clone()).finish()),
            disk: Disk::default(),
            auditor: Auditor::new(limits),
            clock: Timestamp(1_000_000),
            mailbox: VecDeque::new(),
            notes: BTreeMap::new(),
            requests: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            runs: Vec::new(),
            old_settles: VecDeque::new(),
            old_publishes: VecDeque::new(),
            old_quarantine: VecDeque::new(),
            next_ticket: 0,
            next_message: 0,
            ticks: 0,
            last_steps: VecDeque::new(),
        }
    }

    /// All steps, then the drain.
    ///
    /// # Errors
    /// The first violation.
    pub fn run(&mut self) -> Checked {
        self.declare_first();
        while self.step < self.steps {
            self.step += 1;
            self.one_step()?;
        }
        self.drain()
    }

    fn one_step(&mut self) -> Checked {
        match self.random.weighted(&self.weights) {
            Step::Publish => self.publish(),
            Step::Lease => self.request_lease(),
            Step::Work => return self.work(),
            Step::Settle => self.settle_some(),
            Step::Return => self.return_run(),
            Step::SettleLate => self.settle_late(),
            Step::Cancel => self.cancel_lease(),
            Step::Order => self.order(),
            Step::Time => self.pass_time(),
            Step::Tick => return self.tick_some(),
            Step::TickRefused => return self.tick_refused(),
            Step::TickUnanswered => return self.tick_unanswered(),
            Step::Crash => return self.crash("between ticks"),
        }
        Ok(())
    }

    fn pass_time(&mut self) {
        let due = self.engine().next_due();
        let (before, far) = (self.clock, self.random.below(5_000));
        self.clock = match (self.random.below(6), due) {
            (0, Some(due)) => self.clock.max(due),
            (1, _) => Timestamp(self.clock.0 - self.random.below(500)),
            (2, _) => self.clock.plus_ms(far),
            _ => self.clock.plus_ms(self.random.below(60)),
        };
        self.say(format!("the clock goes from {} to {}", before.0, self.clock.0));
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("there is an engine between steps")
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    fn say(&mut self, words: impl std::fmt::Display) {
        if self.last_steps.len() == LAST_STEPS {
            self.last_steps.pop_front();
        }
        self.last_steps.push_back(format!("{:>4} {words}", self.step));
    }

    /// What happened.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary { ticks: self.ticks, counts: self.auditor.counts.clone() }
    }

    /// The last steps, in words.
    #[must_use]
    pub fn last_steps(&self) -> Vec<String> {
        self.last_steps.iter().cloned().collect()
    }

    /// How many steps were taken.
    #[must_use]
    pub const fn steps_taken(&self) -> u32 {
        self.step
    }

    fn count(&mut self, what: &'static str) {
        *self.auditor.counts.entry(what).or_default() += 1;
    }
}

/// Small limits are met often, large ones let other things happen.
fn random_limits(random: &mut Random) -> EngineLimits {
    let defaults = EngineLimits::default();
    EngineLimits {
        dedup_window_ms: *random.pick(&[0, 50, 500, 5_000, 120_000]).unwrap_or(&0),
        dedup_ids_max: if random.chance(20) { 3 } else { defaults.dedup_ids_max },
        quarantine_max: if random.chance(20) { random.between(1, 4) } else { defaults.quarantine_max },
        capsules_bytes_max: if random.chance(30) { random.between(0, 20) } else { defaults.capsules_bytes_max },
        pending_max: if random.chance(20) { random.between(1, 4) } else { defaults.pending_max },
        delayed_max: if random.chance(20) { random.between(1, 4) } else { defaults.delayed_max },
        jobs_max: if random.chance(30) { random.between(1, 4) } else { defaults.jobs_max },
        job_keep_ms: *random.pick(&[50, 2_000, 1_000_000]).unwrap_or(&0),
        job_result_bytes_max: if random.chance(30) { 2 } else { defaults.job_result_bytes_max },
        job_results_bytes_max: if random.chance(30) { 3 } else { defaults.job_results_bytes_max },
        order_window_max: if random.chance(50) { random.index(8) + 2 } else { defaults.order_window_max },
        unrouted: match random.below(10) {
            0 => Unrouted::Drop,
            1 => QueueName::new("q0").map_or(Unrouted::Refuse, Unrouted::Park),
            _ => Unrouted::Refuse,
        },
    }
}

/// A violation of the simulation's own making.
fn impossible(words: &str) -> Violation {
    Violation(format!("the simulation is wrong: {words}"))
}

//! The production engine under random inputs and faults, audited after every tick, repeatable by its seed.
//!
//! [`simulate`] runs `wasmill_delivery::engine::Engine` itself, not a copy, against a model of the disk
//! ([`disk::Disk`]) and models of publishers, workers, handlers and operators ([`simulation::Simulation`]). The
//! [`auditor::Auditor`] follows every tick with a naive model. It must not know how the engine does what it does.
//!
//! ```
//! use wasmill_simulation::{Plan, simulate};
//! let summary = simulate(&Plan { steps: 100, ..Plan::of_seed(1) }).expect("no property is violated");
//! assert!(summary.ticks > 0);
//! ```

pub mod auditor;
pub mod disk;
pub mod handler;
pub mod random;
pub mod sabotage;
pub mod simulation;
pub mod state;
pub mod violation;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{auditor::Counts, sabotage::Sabotage, simulation::Simulation};

/// How many steps a simulation takes unless it is told.
pub const STEPS_DEFAULT: u32 = 400;

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// From which all that is random follows.
    pub seed: u64,
    /// So many steps, then everything is drained.
    pub steps: u32,
    /// What is broken on purpose.
    pub sabotage: Sabotage,
}

impl Plan {
    /// The usual steps, nothing broken.
    #[must_use]
    pub const fn of_seed(seed: u64) -> Self {
        Self { seed, steps: STEPS_DEFAULT, sabotage: Sabotage::None }
    }
}

/// A simulation that held.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Ticks of the engine.
    pub ticks: u64,
    /// How often what happened.
    pub counts: Counts,
}

/// A simulation that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was simulated, in as few steps as show it.
    pub plan: Plan,
    /// What is wrong.
    pub problem: String,
    /// The last steps, in words.
    pub last_steps: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, steps, sabotage } = self.plan;
        writeln!(f, "seed {seed} fails within {steps} steps: {}", self.problem)?;
        writeln!(f, "repeat it: cargo run -p wasmill-simulation --bin simulate -- --seed {seed} --steps {steps}")?;
        if sabotage != Sabotage::None {
            writeln!(f, "broken on purpose: {sabotage:?}")?;
        }
        writeln!(f, "the last {} steps:", self.last_steps.len())?;
        self.last_steps.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}

impl std::error::Error for Failure {}

/// Run one simulation.
///
/// # Errors
/// When a property is violated or the engine panics; the failure is that of the shortest prefix that fails.
pub fn simulate(plan: &Plan) -> Result<Summary, Box<Failure>> {
    run(plan).map_err(|(failure, steps_taken)| shrink(failure, steps_taken))
}

fn run(plan: &Plan) -> Result<Summary, (Box<Failure>, u32)> {
    let mut simulation = Simulation::new(plan);
    let result = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let problem = match result {
        Ok(Ok(())) => return Ok(simulation.summary()),
        Ok(Err(violation)) => violation.0,
        Err(panic) => format!("panic: {}", panic_words(panic.as_ref())),
    };
    let failure = Failure { plan: *plan, problem, last_steps: simulation.last_steps() };
    Err((Box::new(failure), simulation.steps_taken()))
}

fn panic_words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}

/// A prefix longer than this is halved instead of being looked for from the front.
const SHRINK_FROM_FRONT_MAX: u32 = 1_000;

/// The shortest prefix that fails, in whatever way; at most the steps that were taken. Of a long one, a prefix that fails
/// while the one a step shorter does not.
fn shrink(found: Box<Failure>, steps_taken: u32) -> Box<Failure> {
    let most = steps_taken.min(found.plan.steps);
    let fails = |steps| run(&Plan { steps, ..found.plan }).err().map(|(failure, _)| failure);
    if most <= SHRINK_FROM_FRONT_MAX {
        return (1..most).find_map(fails).unwrap_or(found);
    }
    let (mut sound, mut broken, mut shortest) = (0, most, None);
    while broken - sound > 1 {
        let middle = sound + (broken - sound) / 2;
        match fails(middle) {
            Some(failure) => (broken, shortest) = (middle, Some(failure)),
            None => sound = middle,
        }
    }
    shortest.unwrap_or(found)
}

//! Ticks that go well, ticks that do not, and what comes after a crash.

use std::collections::BTreeMap;

use wasmill_delivery::{
    effect::Effect,
    engine::{Engine, Recovery},
    input::Input,
    write::Write,
};

use super::{Simulation, impossible};
use crate::{
    disk::Trimming,
    sabotage::Sabotage,
    violation::{Checked, Violation},
};

/// Why a tick's commit answers with an error.
enum Stop {
    Refused,
    Illegal(Violation),
}

impl Simulation {
    /// The pump takes what waits, not always all of it.
    pub(super) fn tick_some(&mut self) -> Checked {
        let waiting = self.mailbox.len();
        let count = if self.random.chance(80) { waiting } else { self.random.index(waiting + 1) };
        self.tick(count)
    }

    /// One tick with the first inputs that wait.
    pub(super) fn tick(&mut self, count: usize) -> Checked {
        let inputs: Vec<Input> = self.mailbox.drain(..count).collect();
        self.say(format!("tick at {} with {} inputs", self.clock.0, inputs.len()));
        let effects = self.durable_tick(&inputs)?;
        self.deliver(effects)
    }

    /// The disk takes the commit, then the host stops before anybody hears of it.
    pub(super) fn tick_unanswered(&mut self) -> Checked {
        let inputs: Vec<Input> = self.mailbox.drain(..).collect();
        self.say(format!("tick at {} with {} inputs, unanswered", self.clock.0, inputs.len()));
        self.durable_tick(&inputs)?;
        self.count("crash: commit durable, nothing answered");
        self.crash("after a commit, before its effects")
    }

    /// The disk takes nothing of the commit, and the engine is gone.
    pub(super) fn tick_refused(&mut self) -> Checked {
        let inputs: Vec<Input> = self.mailbox.drain(..).collect();
        self.say(format!("tick at {} with {} inputs, refused", self.clock.0, inputs.len()));
        let engine = self.engine.take().ok_or_else(|| impossible("there is no engine"))?;
        let saved = engine.clone();
        let mut refused: Vec<Write> = Vec::new();
        let given = self.sabotage.inputs(inputs.clone());
        let result = engine.tick(self.clock, given, |writes| {
            refused = writes.to_vec();
            Err(Stop::Refused)
        });
        if let Ok((engine, effects)) = result {
            // There was nothing to write, so nothing to refuse.
            self.ticks += 1;
            return self.accept(engine, &inputs, effects).and_then(|effects| self.deliver(effects));
        }
        if self.sabotage == Sabotage::DiskTearsCommits {
            refused[..refused.len() / 2].iter().for_each(|write| self.disk.apply(write, Trimming::Lazy));
        }
        if self.sabotage == Sabotage::EffectsBeforeCommit
            && let Ok((engine, effects)) = saved.tick(self.clock, inputs.clone(), |_| Ok::<(), Stop>(()))
        {
            self.accept(engine, &inputs, effects)?;
        }
        self.count("crash: commit refused");
        self.crash("because the commit was refused")
    }

    fn durable_tick(&mut self, inputs: &[Input]) -> Result<Vec<Effect>, Violation> {
        let engine = self.engine.take().ok_or_else(|| impossible("there is no engine"))?;
        let trimming = if self.random.chance(50) { Trimming::Eager } else { Trimming::Lazy };
        let (disk, sabotage, bad_luck) = (&mut self.disk, self.sabotage, &mut self.bad_luck);
        let given = sabotage.inputs(inputs.to_vec());
        let result = engine.tick(self.clock, given, |writes| {
            disk.commit(&sabotage.writes(bad_luck, writes), trimming).map_err(Stop::Illegal)
        });
        self.ticks += 1;
        match result {
            Ok((engine, effects)) => self.accept(engine, inputs, effects),
            Err(Stop::Illegal(violation)) => Err(violation),
            Err(Stop::Refused) => Err(impossible("nothing was to be refused")),
        }
    }

    /// What a tick did is audited before anybody hears of it.
    fn accept(&mut self, engine: Engine, inputs: &[Input], effects: Vec<Effect>) -> Result<Vec<Effect>, Violation> {
        let effects = self.sabotage.effects(&mut self.bad_luck, effects);
        self.auditor.observe(self.clock, inputs, &effects, &self.notes, &self.disk)?;
        self.auditor.compare(&self.disk, &engine)?;
        self.engine = Some(engine);
        Ok(effects)
    }

    /// The process ends. What is durable stays; workers, tickets and what was not told the engine is gone. The clock
    /// may have been set back when the host starts again.
    pub(super) fn crash(&mut self, when: &str) -> Checked {
        self.mailbox.clear();
        self.requests.clear();
        self.runs.clear();
        self.old_settles.clear();
        self.notes = BTreeMap::new();
        if self.random.chance(20) {
            self.clock.0 -= self.random.below(2_000);
            self.count("crash: clock set back");
        }
        self.say(format!("crash {when}, start again at {}", self.clock.0));
        self.count("crash");
        let mut recovery = Recovery::new(self.limits.clone());
        self.disk.recover().into_iter().for_each(|recovered| recovery.take(recovered));
        let engine = recovery.finish();
        self.auditor.crashed(&self.disk);
        self.auditor.compare(&self.disk, &engine)?;
        self.engine = Some(engine);
        Ok(())
    }
}

//! Runs a case, as often as its faults and seeds ask for.

use std::{sync::Arc, time::Duration};

use wasmill_runtime::simulated::Program;

use crate::{
    capsule::Capsule,
    case::Case,
    check::{AfterCrash, Check, Mismatch, Seen},
    error::HarnessError,
    forms::RawCrash,
    harness::Harness,
    loader::Loader,
    notes::{Attempt, CrashAt},
    settings::Settings,
    snapshot,
};

/// How cases are run.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Run every case with this seed and no other.
    pub seed: Option<u64>,
    /// Write what was seen into snapshots.
    pub update: bool,
}

/// What came of a case.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// How often it was run.
    pub runs: u64,
    /// What was not as expected, in the first run in which something was not; empty when all is well.
    pub mismatches: Vec<Mismatch>,
    /// Which run that was, in words; none for a plain one. Of a capsule, where it went another way than the recorded attempt.
    pub circumstances: Option<String>,
    /// The attempts of that run, or of the first.
    pub attempts: Vec<Attempt>,
    /// The snapshot that was written.
    pub snapshot_written: Option<std::path::PathBuf>,
}

impl CaseReport {
    /// Whether it was run, and all is as expected.
    #[must_use]
    pub const fn has_passed(&self) -> bool {
        self.runs > 0 && self.mismatches.is_empty()
    }
}

impl Case {
    /// Run it against this component. Only a capsule needs none: it may have that which failed.
    ///
    /// # Errors
    /// When it cannot be run to its end. What is not as expected is in the report.
    pub fn run(
        &self,
        loader: &Loader,
        program: Option<&Arc<Program>>,
        options: RunOptions,
    ) -> Result<CaseReport, HarnessError> {
        let faults = self.raw.faults.unwrap_or_default();
        let seeds = self.raw.seeds.or(faults.seeds).map_or(1, |seeds| seeds.get::<u64>());
        let seeds = match options.seed {
            Some(seed) => seed..=seed,
            None => self.settings.seed..=self.settings.seed.saturating_add(seeds - 1),
        };
        let mut report = CaseReport {
            runs: 0,
            mismatches: Vec::new(),
            circumstances: None,
            attempts: Vec::new(),
            snapshot_written: None,
        };
        let several = seeds.start() != seeds.end();
        for seed in seeds {
            let settings = Settings { seed, ..self.settings.clone() };
            let of_seed = || several.then(|| format!("with seed {seed}"));
            let (plain, commits) =
                self.run_once(loader, program, (settings.clone(), None), options, &mut report, of_seed)?;
            if !report.has_passed() {
                return Ok(report);
            }
            let crashes = if faults.crash == Some(RawCrash::Each) { commits } else { 0 };
            for number in 0..crashes {
                for (crash_at, when) in [(CrashAt::Before(number), "before"), (CrashAt::After(number), "after")] {
                    let settings = Settings { crash_at: Some(crash_at), ..settings.clone() };
                    let words = || {
                        let crash = format!("killed right {when} commit {} of {commits}", number + 1);
                        Some(of_seed().map_or(crash.clone(), |seed| format!("{seed}, {crash}")))
                    };
                    let after = Some(AfterCrash { plain: &plain, is_cut_off: self.raw.run_for.is_some() });
                    self.run_once(loader, program, (settings, after), options, &mut report, words)?;
                    if !report.has_passed() {
                        return Ok(report);
                    }
                }
            }
        }
        Ok(report)
    }

    fn run_once(
        &self,
        loader: &Loader,
        program: Option<&Arc<Program>>,
        (settings, after_crash): (Settings, Option<AfterCrash<'_>>),
        options: RunOptions,
        report: &mut CaseReport,
        circumstances: impl FnOnce() -> Option<String>,
    ) -> Result<(Seen, u64), HarnessError> {
        if let Some(capsule) = &self.raw.capsule {
            let seen = Capsule::read(self.folder.join(capsule))?.see(loader, program)?;
            self.judge(&seen, Vec::new(), None, options, report, || None)?;
            // Also of one that passes: then what it was told is not all recorded.
            let notes = seen.notes.join("; ");
            report.circumstances =
                (!notes.is_empty()).then(|| format!("it went another way than the recorded attempt: {notes}"));
            return Ok((seen, 0));
        }
        let program = program.ok_or_else(|| HarnessError::Setting("the case is about no component".to_owned()))?;
        let mut harness = Harness::new(loader, Arc::clone(program), self.with_state(settings)?)?;
        let mut mismatches = Vec::new();
        match self.play(&mut harness) {
            Err(HarnessError::Endless { what }) => {
                let expected = "an end; say run-for when there is none".to_owned();
                mismatches.push(Mismatch { what: "the run".to_owned(), expected, seen: what });
            }
            played => played?,
        }
        let seen = Seen::of(&harness)?;
        self.judge(&seen, mismatches, after_crash, options, report, circumstances)?;
        Ok((seen, harness.commits()))
    }

    fn judge(
        &self,
        seen: &Seen,
        mut mismatches: Vec<Mismatch>,
        after_crash: Option<AfterCrash<'_>>,
        options: RunOptions,
        report: &mut CaseReport,
        circumstances: impl FnOnce() -> Option<String>,
    ) -> Result<(), HarnessError> {
        report.runs += 1;
        if report.runs == 1 {
            report.attempts.clone_from(&seen.attempts);
        }
        mismatches.extend(Check::new(&self.raw.expect, &self.folder, seen, after_crash).run()?);
        if let (Some(name), 1) = (&self.raw.expect.snapshot, report.runs) {
            let path = self.folder.join(name);
            let text = snapshot::text(seen);
            if options.update {
                report.snapshot_written = snapshot::write(&path, &text)?.then_some(path);
            } else {
                mismatches.extend(snapshot::compare(&path, &text)?);
            }
        }
        if !mismatches.is_empty() {
            report.mismatches = mismatches;
            report.attempts.clone_from(&seen.attempts);
            report.circumstances = circumstances();
        }
        Ok(())
    }

    fn with_state(&self, mut settings: Settings) -> Result<Settings, HarnessError> {
        for (key, value) in &self.raw.state {
            let data = value.0.data(&self.folder)?;
            settings.state.push((key.clone(), data.map(|data| data.bytes()).unwrap_or_default()));
        }
        Ok(settings)
    }

    /// Publish all, and let time pass.
    fn play(&self, harness: &mut Harness) -> Result<(), HarnessError> {
        for plan in self.plans()? {
            harness.plan_http(plan);
        }
        let mut passed = Duration::ZERO;
        for given in self.given(|number| format!("message-{number}"))? {
            harness.advance_before(given.at.saturating_sub(passed))?;
            passed = given.at;
            harness.publish_all(given.drafts)?;
        }
        match self.raw.run_for {
            Some(run_for) => harness.advance(Duration::from_millis(run_for.0).saturating_sub(passed)),
            None => harness.run_until_idle(),
        }
    }
}

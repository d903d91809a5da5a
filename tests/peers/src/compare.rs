//! The comparison: each system in turn, several rounds, only one running at a time.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    case::{self, Case},
    install,
    measure::{self, Figures, Times},
    results::{self, Outcome, Record, Report},
    systems::{Kind, Place, System, in_process},
    table,
};

/// Compare Wasmill with other systems
#[derive(Debug, clap::Args)]
pub struct CompareArguments {
    /// Few cases, short measurements, a backlog of 20,000, one round unless told otherwise
    #[arg(long)]
    quick: bool,
    /// How often everything is measured, each system in its turn; 3 unless told otherwise
    #[arg(long)]
    rounds: Option<u32>,
    /// How long one measurement takes, about; 2 s unless told otherwise
    #[arg(long)]
    seconds: Option<f64>,
    /// Messages of the backlog; 1,000,000 unless told otherwise. A system that would need longer than the patience gets
    /// fewer, and the table says so
    #[arg(long)]
    backlog: Option<u64>,
    /// After how many seconds a measurement is given up
    #[arg(long, default_value_t = 240)]
    patience: u64,
    /// Only these systems
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Only cases whose name contains this, such as "256 B, 4x100"
    #[arg(long)]
    case: Option<String>,
    /// Where compare.json and compare.svg go; results/ of this folder unless told otherwise
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What was found out once and holds for all rounds.
struct Comparison<'a> {
    place: &'a Place,
    times: Times,
    cases: Vec<Case>,
    sizes: BTreeMap<(&'static str, String), u64>,
    records: Vec<Record>,
}

pub async fn run(arguments: CompareArguments, place: &Place, problems: Vec<String>) -> Result<()> {
    let quick = arguments.quick;
    let rounds = arguments.rounds.unwrap_or(if quick { 1 } else { 3 });
    let seconds = arguments.seconds.unwrap_or(if quick { 0.5 } else { 2.0 });
    let backlog = arguments.backlog.unwrap_or(if quick { 20_000 } else { 1_000_000 });
    let mut cases = case::all(quick, backlog);
    if let Some(wanted) = &arguments.case {
        cases.retain(|case| case.to_string().contains(wanted));
    }
    let kinds = if arguments.only.is_empty() { Kind::ALL.to_vec() } else { arguments.only };
    let times = Times { wanted: Duration::from_secs_f64(seconds), patience: Duration::from_secs(arguments.patience) };
    let versions: BTreeMap<String, String> = install::versions(&place.wasmill, &place.venv).into_iter().collect();
    let mut comparison = Comparison { place, times, cases, sizes: BTreeMap::new(), records: Vec::new() };
    let out = arguments.out.unwrap_or_else(|| install::checkout().join("tests/peers/results"));
    std::fs::create_dir_all(&out)?;
    for round in 1..=rounds {
        // Forwards and backwards in turn, so that no system is always the one that follows the same other.
        let order: Vec<Kind> = if round % 2 == 1 { kinds.clone() } else { kinds.iter().rev().copied().collect() };
        for kind in order {
            comparison.measure(round, kind).await;
            // After each system, so that a run that is cut short leaves what it had.
            write(&out, &report(&comparison, round, &versions, &kinds, &problems))?;
        }
    }
    let report = report(&comparison, rounds, &versions, &kinds, &problems);
    println!("{}", table::for_people(&report));
    println!("written: {}/compare.json, compare.svg, compare.txt", out.display());
    Ok(())
}

fn report(
    comparison: &Comparison<'_>,
    rounds: u32,
    versions: &BTreeMap<String, String>,
    kinds: &[Kind],
    problems: &[String],
) -> Report {
    let records = comparison.records.clone();
    let (medians, ratios) = (results::medians(&records), results::ratios(&records));
    let targets = results::targets(&ratios, &medians);
    let settings = kinds.iter().map(|kind| (kind.name(), kind.settings())).collect();
    let (versions, problems) = (versions.clone(), problems.to_vec());
    Report { versions, settings, rounds, problems, records, medians, ratios, targets }
}

fn write(out: &std::path::Path, report: &Report) -> Result<()> {
    std::fs::write(out.join("compare.json"), serde_json::to_string_pretty(report)?)?;
    std::fs::write(out.join("compare.txt"), table::for_people(report))?;
    std::fs::write(out.join("compare.svg"), table::plot(report)).context("cannot write the plot")
}

impl Comparison<'_> {
    /// All cases on one system, which runs as long as they take.
    async fn measure(&mut self, round: u32, kind: Kind) {
        let mut running: Option<Arc<dyn System>> = None;
        for case in self.cases.clone() {
            let begun = Instant::now();
            let outcome = match kind {
                Kind::WasmillInProcess => self.in_process(&case),
                kind => match self.running(kind, &mut running).await {
                    Ok(system) => self.on_system(kind, &system, &case).await,
                    Err(error) => Outcome::Failed(format!("cannot be started: {error:#}")),
                },
            };
            eprintln!("round {round}, {}, {case}: {} [{:.1?}]", kind.name(), said(&outcome), begun.elapsed());
            // What it does after a failure is not known, so that it begins anew.
            if matches!(outcome, Outcome::Failed(_)) {
                stop(kind, running.take()).await;
            }
            self.push(round, kind, case, outcome);
        }
        stop(kind, running).await;
    }

    async fn running(&self, kind: Kind, running: &mut Option<Arc<dyn System>>) -> Result<Arc<dyn System>> {
        if let Some(system) = running {
            return Ok(Arc::clone(system));
        }
        let system = kind.start(self.place).await?;
        Ok(Arc::clone(running.insert(system)))
    }

    fn push(&mut self, round: u32, kind: Kind, what: Case, outcome: Outcome) {
        self.records.push(Record { round, system: kind.name(), case: what.to_string(), what, outcome });
    }

    async fn on_system(&mut self, kind: Kind, system: &Arc<dyn System>, case: &Case) -> Outcome {
        if let Some(why) = system.lacks(case) {
            return Outcome::Skipped(why.to_owned());
        }
        outcome(self.sized_run(kind, system, case).await)
    }

    async fn sized_run(&mut self, kind: Kind, system: &Arc<dyn System>, case: &Case) -> Result<Figures> {
        let known = (kind.name(), case.to_string());
        let messages = match self.sizes.get(&known) {
            Some(messages) => *messages,
            None => {
                let messages = measure::size(system, case, &self.times).await?;
                *self.sizes.entry(known).or_insert(messages)
            }
        };
        measure::run(system, case, messages, &self.times).await
    }

    fn in_process(&self, case: &Case) -> Outcome {
        if let Some(why) = in_process::lacks(case) {
            return Outcome::Skipped(why.to_owned());
        }
        outcome(self.in_process_figures(case))
    }

    fn in_process_figures(&self, case: &Case) -> Result<Figures> {
        let load = u64::from(case.producers) * u64::from(case.in_flight);
        let pilot = in_process::measure(self.place, case, (load * 20).max(500))?;
        let messages = ((pilot.end_to_end_per_s * self.times.wanted.as_secs_f64()) as u64).max(load * 2);
        let seen = in_process::measure(self.place, case, messages)?;
        Ok(Figures {
            messages,
            per_s: seen.end_to_end_per_s,
            publish_per_s: seen.publish_per_s,
            latency_p50_ms: Some(seen.latency_p50_ms),
            latency_p99_ms: Some(seen.latency_p99_ms),
            server_rss_mib: seen.rss_mib_max,
            raw_append_per_s: Some(seen.raw_append_per_s),
            ..Figures::default()
        })
    }
}

async fn stop(kind: Kind, system: Option<Arc<dyn System>>) {
    if let Some(system) = system
        && let Err(error) = system.stop().await
    {
        eprintln!("{}: {error:#}", kind.name());
    }
}

fn outcome(measured: Result<Figures>) -> Outcome {
    measured.map_or_else(|error| Outcome::Failed(format!("{error:#}")), Outcome::Figures)
}

fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Figures(Figures { latency_p50_ms: Some(p50), latency_p99_ms: Some(p99), per_s, .. }) => {
            format!("{per_s:.0}/s, one at a time {p50:.2} ms, p99 {p99:.2} ms")
        }
        Outcome::Figures(figures) => format!("{:.0}/s of {}", figures.per_s, figures.messages),
        Outcome::Skipped(why) => format!("skipped: {why}"),
        Outcome::Failed(why) => format!("FAILED: {why}"),
    }
}

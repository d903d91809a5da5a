//! `simulate`: run simulations by seed, and say what fails and how to repeat it.

use std::{collections::BTreeMap, io::Write, process::ExitCode};

use clap::Parser;
use wasmill_simulation::{Plan, STEPS_DEFAULT, simulate};

/// Run the production engine under random inputs and faults.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds, from 1 or from the one given.
    #[arg(long, default_value_t = 1_000, conflicts_with = "seed")]
    seeds: u64,
    /// Only this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// The first of the seeds.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Steps of each simulation.
    #[arg(long, default_value_t = STEPS_DEFAULT)]
    steps: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = arguments.seed.map_or(arguments.from..arguments.from + arguments.seeds, |seed| seed..seed + 1);
    let count = seeds.end - seeds.start;
    let (mut ticks, mut counts) = (0, BTreeMap::<&str, u64>::new());
    for seed in seeds {
        match simulate(&Plan { steps: arguments.steps, ..Plan::of_seed(seed) }) {
            Ok(summary) => {
                ticks += summary.ticks;
                summary.counts.iter().for_each(|(what, more)| *counts.entry(what).or_default() += more);
            }
            Err(failure) => {
                let _ = write!(std::io::stderr(), "{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{count} seeds held, {ticks} ticks");
    for (what, times) in counts {
        let _ = writeln!(out, "{times:>10} {what}");
    }
    ExitCode::SUCCESS
}

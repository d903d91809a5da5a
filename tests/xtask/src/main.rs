//! The commands of the project's developers: `cargo xtask`.
//!
//! It adds what a fresh machine lacks, says what it is doing, and stops with one clear sentence when it cannot.

mod c;
mod guests;
mod javascript;
mod python;
mod rust;
mod shell;
mod suite;
mod zig;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::shell::{cargo, run, say};

/// Build, run and test Wasmill.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and run the main job on real input: 1,707 earthquakes through three handlers
    Demo(Demo),
    /// Run all tests; CI calls this
    Test,
    /// Build all components into target/guests
    Guests,
    /// Build the handlers in other languages into target/languages, and run their SDKs' own tests
    Languages,
    /// Run the simulator of the delivery engine
    Simulate(Simulate),
    /// Kill a working host again and again and audit what it kept
    Crash(Crash),
    /// Measure throughput and latency; arguments go to `wasmill bench`
    Bench(Bench),
    /// Check sizes, directions of dependencies, words and maps
    Tidy,
}

#[derive(clap::Args)]
struct Demo {
    /// Kill the host with SIGKILL half way and start it again; the summary is the same
    #[arg(long)]
    crash: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Simulate {
    /// How many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Only this seed
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(clap::Args)]
struct Crash {
    /// How many kills
    #[arg(long, default_value_t = 100)]
    kills: u32,
}

#[derive(clap::Args)]
struct Bench {
    /// Use the release profile; without it the profile of the tests is used, which is optimised too
    #[arg(long)]
    release: bool,
    /// See `wasmill bench --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

fn main() -> ExitCode {
    match carry_out(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> Result<()> {
    match command {
        Command::Demo(demo) => show(&demo),
        Command::Test => suite::test(),
        Command::Guests => components(),
        Command::Languages => languages(),
        Command::Simulate(Simulate { seeds, seed }) => simulate(seeds, seed),
        Command::Crash(Crash { kills }) => crash(kills),
        Command::Bench(bench) => measure(bench),
        Command::Tidy => run(cargo(["test", "--quiet", "--locked", "--package", "tidy"])),
    }
}

/// All components in Rust, and the one in JavaScript that tests of costs use.
fn components() -> Result<()> {
    guests::build()?;
    rust::build()?;
    javascript::build_guest()
}

/// A line for each language.
fn languages() -> Result<()> {
    javascript::build().and_then(|()| javascript::test())?;
    python::build().and_then(|()| python::test())?;
    c::build().and_then(|()| c::test())?;
    zig::build().and_then(|()| zig::test())
}

fn show(demo: &Demo) -> Result<()> {
    guests::build()?;
    build()?;
    say("running the demo");
    let mut command = built("quakes")?;
    command.args(demo.crash.then_some("--crash")).args(demo.json.then_some("--json"));
    run(command)
}

/// Build every program. Always the whole workspace: what is built for one package alone gets other features of its
/// dependencies, and Wasmtime would be compiled once more.
fn build() -> Result<()> {
    say("building every program (the first time Wasmtime is compiled: about ten minutes on two cores)");
    run(cargo(["build", "--locked", "--workspace"]))
}

/// A program that was built.
fn built(name: &str) -> Result<std::process::Command> {
    let mut command = std::process::Command::new(guests::target_folder()?.join("debug").join(name));
    command.current_dir(shell::project_root());
    Ok(command)
}

fn simulate(seeds: u64, seed: Option<u64>) -> Result<()> {
    // The simulator is pure: it builds in a minute, without Wasmtime.
    let mut command =
        cargo(["run", "--quiet", "--locked", "--package", "wasmill-simulation", "--bin", "simulate", "--"]);
    match seed {
        Some(seed) => command.args(["--seed", &seed.to_string()]),
        None => command.args(["--seeds", &seeds.to_string()]),
    };
    run(command)
}

fn crash(kills: u32) -> Result<()> {
    guests::build()?;
    build()?;
    let mut command = built("crash")?;
    command.args(["--kills", &kills.to_string()]);
    run(command)
}

fn measure(bench: Bench) -> Result<()> {
    guests::build()?;
    let mut command = if bench.release {
        cargo(["run", "--locked", "--release", "--package", "wasmill-server", "--"])
    } else {
        build()?;
        built("wasmill")?
    };
    command.arg("bench").args(bench.arguments);
    run(command)
}

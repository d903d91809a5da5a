//! Wasmill next to what people would use instead, measured in the same run; see README.md.

mod case;
mod compare;
mod curves;
mod install;
mod measure;
mod plot;
mod process;
mod results;
mod soak;
mod systems;
mod table;
mod tally;
mod work;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::{compare::CompareArguments, curves::CurvesArguments, soak::SoakArguments, systems::Place};

/// Wasmill next to what people would use instead
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    compare: CompareArguments,
    /// The host's binary; unless told otherwise, that of this checkout, built now
    #[arg(long, global = true)]
    wasmill: Option<PathBuf>,
    /// Where all systems have their data, each in a folder of its own that is removed at the end; a folder on a real disk
    #[arg(long, global = true)]
    folder: Option<PathBuf>,
    /// Install nothing: what is not there is not measured
    #[arg(long, global = true)]
    no_install: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Compare Wasmill with other systems; what is done without a command
    Compare(CompareArguments),
    Curves(CurvesArguments),
    Soak(SoakArguments),
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let venv = install::target().join("peers-venv");
    let wants_peers = matches!(arguments.command, None | Some(Command::Compare(_)));
    let problems = if arguments.no_install || !wants_peers { Vec::new() } else { install::peers(&venv) };
    let wasmill = install::wasmill(arguments.wasmill)?;
    let (handlers, batch_handlers) = install::guests()?;
    let within = arguments.folder.unwrap_or_else(|| install::target().join("run"));
    std::fs::create_dir_all(&within).with_context(|| format!("cannot make {}", within.display()))?;
    let folder = tempfile::tempdir_in(&within)?;
    let place = Place { folder: folder.path().canonicalize()?, wasmill, handlers, batch_handlers, venv };
    let work = async {
        match arguments.command.unwrap_or(Command::Compare(arguments.compare)) {
            Command::Compare(arguments) => compare::run(arguments, &place, problems).await,
            Command::Curves(arguments) => curves::run(arguments, &place).await,
            Command::Soak(arguments) => soak::run(arguments, &place).await,
        }
    };
    // Dropped when it is interrupted, it kills the servers that it started.
    tokio::select! {
        done = work => done,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_or_else(|error| Err(error.into()), |()| bail!("interrupted")),
    }
}

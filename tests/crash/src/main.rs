//! `crash --kills N [--seed S]`: see the library.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use crash::parent::Plan;

/// Kill a working host again and again and audit what it kept.
#[derive(Parser)]
struct Arguments {
    /// How often
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// What the instants of the kills are made of
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The longest life between two kills, in milliseconds
    #[arg(long, default_value_t = 400)]
    life_ms: u64,
    /// Numbers in one publish
    #[arg(long, default_value_t = 8)]
    batch: u64,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// What the program starts and kills
    #[command(hide = true)]
    Child { folder: PathBuf, first: u64, batch: u64 },
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command for people")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.role {
        Some(Role::Child { folder, first, batch }) => crash::child::run(&folder, first, batch).map(|()| String::new()),
        None => std::env::current_exe().map_err(anyhow::Error::from).and_then(|this| {
            let Arguments { kills, seed, life_ms, batch, .. } = arguments;
            crash::parent::run(&this, &Plan { kills, seed, life_ms_max: life_ms.max(1), batch: batch.max(1) })
        }),
    };
    match result {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("crash: seed {}: {error:#}", arguments.seed);
            ExitCode::FAILURE
        }
    }
}

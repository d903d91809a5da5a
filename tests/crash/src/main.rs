//! `crash --kills N [--seed S]`: see the library.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Kill a working host again and again and audit what it kept.
#[derive(Parser)]
struct Arguments {
    /// How often
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// What the instants of the kills are made of
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// What the program starts and kills
    #[command(hide = true)]
    Child { folder: PathBuf, first: u64 },
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command for people")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.role {
        Some(Role::Child { folder, first }) => crash::child::run(&folder, first).map(|()| String::new()),
        None => std::env::current_exe()
            .map_err(anyhow::Error::from)
            .and_then(|this| crash::parent::run(&this, arguments.kills, arguments.seed)),
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

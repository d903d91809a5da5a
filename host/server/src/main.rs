//! The program `wasmill`: see [`wasmill_server::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    wasmill_server::cli::run()
}

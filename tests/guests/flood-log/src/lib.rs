//! Prints 4 MiB and succeeds. Proves that a log is cut at its limit and that printing is no failure: the outcome is
//! `success`, and the log kept is small. The line it starts with must be in it.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

const LINES: usize = 4 * 1024;

#[wasmill::handler]
fn flood_log() -> wasmill::Result {
    println!("guest-flood-log begins");
    let line = "x".repeat(1023);
    for _ in 0..LINES {
        println!("{line}");
    }
    Ok(())
}

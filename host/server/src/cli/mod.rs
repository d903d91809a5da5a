//! The command line. `serve` runs a host, `bench` measures one, everything else speaks to a host over HTTP.
//!
//! Each command prints tables for people, or with `--json` what the host answered. Errors go to standard error, and the
//! process answers with 1 (2 when the command line itself is wrong).

pub(crate) mod compile_worker;
mod compiled_code;
mod componentize;
mod consumer;
mod delayed;
mod dev;
mod filter;
mod handler;
mod handler_versions;
mod inspect;
mod job;
mod message;
mod new;
pub(crate) mod output;
mod publish;
mod pull;
mod quarantine;
mod quarantine_bulk;
mod queue;
mod replay;
mod request;
mod schedule;
mod signature;
mod test;
mod why;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use crate::{
    bench::{self, BenchArguments},
    client::{Client, URL_DEFAULT},
    serve::{self, ServeArguments},
};

/// Durable queues whose messages are handled by sandboxed WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "wasmill", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(ServeArguments),
    Publish(publish::PublishArguments),
    Request(request::RequestArguments),
    Job(job::JobArguments),
    Delayed(delayed::DelayedArguments),
    Pull(pull::PullArguments),
    Queue(queue::QueueArguments),
    Consumer(consumer::ConsumerArguments),
    Handler(handler::HandlerArguments),
    Quarantine(quarantine::QuarantineArguments),
    Schedule(schedule::ScheduleArguments),
    Why(why::WhyArguments),
    Componentize(componentize::ComponentizeArguments),
    Test(test::TestArguments),
    New(new::NewArguments),
    Dev(dev::DevArguments),
    Inspect(inspect::InspectArguments),
    Bench(BenchArguments),
    #[command(hide = true)]
    CompileWorker(compile_worker::CompileWorkerArguments),
}

/// Which host, and how its answers are shown.
#[derive(Clone, Debug, clap::Args)]
struct Remote {
    /// The host's URL; without it WASMILL_URL, or else http://127.0.0.1:7500
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// Print what the host answered, as JSON
    #[arg(long, global = true)]
    json: bool,
}

impl Remote {
    fn client(&self) -> Result<Client> {
        let environment = || std::env::var("WASMILL_URL").ok().filter(|url| !url.is_empty());
        Client::new(&self.url.clone().or_else(environment).unwrap_or_else(|| URL_DEFAULT.to_owned()))
    }
}

/// Run the program.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let result = run_command(arguments.command);
    result.unwrap_or_else(|error| {
        if output::is_closed(&error) {
            // Whoever read our output, `head` for example, has seen enough.
            return ExitCode::SUCCESS;
        }
        output::complain(&format!("wasmill: {error:#}"));
        ExitCode::FAILURE
    })
}

fn run_command(command: Command) -> Result<ExitCode> {
    if let Command::CompileWorker(arguments) = &command {
        return Ok(arguments.run());
    }
    if let Command::Test(arguments) = command {
        // It has clocks, and so threads' runtimes, of its own.
        return test::run(&arguments);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let result = runtime.block_on(Box::pin(carry_out(command)));
    // A component that is being compiled cannot be told to stop, and nobody waits for it any more.
    runtime.shutdown_background();
    result
}

async fn carry_out(command: Command) -> Result<ExitCode> {
    let done = match command {
        Command::Serve(arguments) => return Box::pin(serve::serve(arguments)).await,
        Command::Publish(arguments) => return publish::run(arguments).await,
        Command::Request(arguments) => request::run(arguments).await,
        Command::Job(arguments) => return job::run(arguments).await,
        Command::Delayed(arguments) => delayed::run(arguments).await,
        Command::Pull(arguments) => return pull::run(arguments).await,
        Command::Queue(arguments) => queue::run(arguments).await,
        Command::Consumer(arguments) => consumer::run(arguments).await,
        Command::Handler(arguments) => handler::run(arguments).await,
        Command::Schedule(arguments) => schedule::run(arguments).await,
        Command::Quarantine(arguments) => return quarantine::run(arguments).await,
        Command::CompileWorker(arguments) => return Ok(arguments.run()),
        Command::Test(arguments) => return test::run(&arguments),
        Command::New(arguments) => new::run(&arguments),
        Command::Dev(arguments) => return Box::pin(dev::run(arguments)).await,
        Command::Inspect(arguments) => return inspect::run(arguments).await,
        Command::Why(arguments) => why::run(arguments).await,
        Command::Componentize(arguments) => componentize::run(&arguments),
        Command::Bench(arguments) => Box::pin(bench::run(arguments)).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}

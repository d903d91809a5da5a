//! Hosts a handler inside another Rust program: `cargo xtask guests`, `cargo build --workspace`,
//! `target/debug/embed`. (Building it alone would compile Wasmtime again with other features.)

use std::time::Duration;

use wasmill_runtime::{
    Draft, Host, HostOptions,
    delivery::{
        name::Sequence,
        record::{ConsumerConfig, QueueConfig},
    },
};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::open(HostOptions::new(folder.path())).await?;

    // A handler that publishes what it is given to the topic of its configuration.
    let component = std::fs::read("target/guests/guest-echo.wasm")?;
    host.put_handler("echo".parse()?, settings()).await?;
    host.load_handler("echo".parse()?, component.into()).await?;
    host.put_queue("in".parse()?, QueueConfig { bindings: vec!["in".parse()?], ..QueueConfig::default() }).await?;
    host.put_queue("out".parse()?, QueueConfig { bindings: vec!["out".parse()?], ..QueueConfig::default() }).await?;
    host.put_consumer("in".parse()?, "echo".parse()?, ConsumerConfig::new("echo".parse()?)).await?;

    host.publish(Draft::new("in", "hello")).await?;
    let out = host.queues().await?.into_iter().find(|queue| queue.record.name.as_str() == "out").expect("declared");
    while host.messages(out.record.id, Sequence::FIRST, 1)?.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("{:?}", host.messages(out.record.id, Sequence::FIRST, 1)?);
    host.close(Duration::from_secs(5)).await;
    Ok(())
}

fn settings() -> wasmill_runtime::HandlerSettings {
    wasmill_runtime::HandlerSettings { config: [("to".to_owned(), "out".to_owned())].into(), ..Default::default() }
}

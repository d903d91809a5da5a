//! A host with 100 handlers, one of them in JavaScript, that was stopped delivers to each of them again within 2 seconds of
//! its start, because compiled code is kept.
// What was measured is worth reading also when it is good enough.
#![allow(clippy::print_stdout)]

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use end_to_end::{PATIENCE, TestHost};
use host_process::guest;

const HANDLERS: usize = 100;
const START_MAX: Duration = Duration::from_secs(2);
/// On a machine that does much else; ten seconds are usual.
const COMPILE_MAX: Duration = Duration::from_secs(600);
/// What a component with an engine of its own has at least, in bytes.
const JAVASCRIPT_BYTES_MIN: usize = 10_000_000;

/// The same component with another digest: with a custom section behind it.
fn numbered(component: &[u8], number: usize) -> Vec<u8> {
    let name = format!("number-{number:03}");
    let length = u8::try_from(name.len()).expect("a short name");
    [component, &[0, length + 1, length], name.as_bytes()].concat()
}

#[test]
fn a_hundred_handlers_are_there_again_within_two_seconds() -> Result<()> {
    let mut host = TestHost::start("")?;
    let noop = fs::read(guest("guest-noop")?)?;
    let javascript = fs::read(guest("guest-javascript")?)?;
    ensure!(javascript.len() > JAVASCRIPT_BYTES_MIN, "it has only {} bytes", javascript.len());
    let mut components = vec![javascript];
    components.extend((components.len()..HANDLERS).map(|number| numbered(&noop, number)));
    let topics = (0..HANDLERS).map(|number| format!("handler-{number}"));
    for (name, component) in topics.clone().zip(components) {
        let client = host.client();
        // A large component compiles for longer than the client waits; it is compiled all the same.
        let put = || client.put(&format!("/v1/handlers/{name}"), "application/wasm", component.clone());
        let give_up = Instant::now() + COMPILE_MAX;
        while let Err(error) = put() {
            ensure!(Instant::now() < give_up, "{name}: {error:#}");
        }
        client.put(&format!("/v1/queues/{name}"), "application/json", format!(r#"{{"bindings": ["{name}"]}}"#))?;
        let consumer = format!("/v1/queues/{name}/consumers/{name}");
        client.put(&consumer, "application/json", format!(r#"{{"handler": "{name}"}}"#))?;
    }
    ensure!(host.take_process()?.terminate()?.success(), "it must stop in good order");

    let started = Instant::now();
    host.start_again()?;
    let ready = started.elapsed();
    let lines: String = topics.map(|topic| format!("{{\"topic\": \"{topic}\", \"data\": \"x\"}}\n")).collect();
    let answers = host.client().publish_lines("/v1/messages", &lines)?;
    ensure!(answers.len() >= HANDLERS, "{answers:?}");
    host.client().wait_until_settled(PATIENCE)?;
    let delivered = started.elapsed();
    println!("ready after {ready:?}, one message delivered to each of {HANDLERS} handlers after {delivered:?}");
    ensure!(delivered < START_MAX, "it took {delivered:?}, {ready:?} of it until it was ready");
    let handlers = host.client().get("/v1/handlers")?;
    let problems =
        handlers["handlers"].as_array().map(|all| all.iter().filter(|one| !one["problem"].is_null()).count());
    ensure!(problems == Some(0), "{handlers}");
    Ok(())
}

//! Components come and are replaced while the host runs.

use std::fs;

use anyhow::Result;
use end_to_end::{PATIENCE, TestHost, handler_with_queue};
use host_process::guest;

#[test]
fn a_component_is_replaced_without_a_restart_and_an_unfit_one_is_refused() -> Result<()> {
    let host = TestHost::start(&handler_with_queue("work", "guest-noop", "config = { to = \"out\" }")?)?;
    let client = host.client();
    client.put("/v1/queues/out", "application/json", r#"{"bindings":["out"]}"#)?;
    client.post("/v1/topics/work/messages", "text/plain", "one")?;
    client.wait_until_settled(PATIENCE)?;
    assert_eq!(client.get("/v1/queues/out")?["messages"], 0, "noop publishes nothing");

    client.put("/v1/handlers/work?approve=true", "application/wasm", fs::read(guest("guest-echo")?)?)?;
    let echo = client.get("/v1/handlers/work")?["digest"].clone();
    for bad in [fs::read(guest("guest-wrong-world")?)?, b"\0asm\x01\0\0\0".to_vec(), b"no wasm at all".to_vec()] {
        let refused = client.put("/v1/handlers/work", "application/wasm", bad).expect_err("it does not fit");
        assert!(format!("{refused:#}").contains("422"), "{refused:#}");
    }
    assert_eq!(client.get("/v1/handlers/work")?["digest"], echo, "the old one stays");
    client.post("/v1/topics/work/messages", "text/plain", "two")?;
    client.wait_until_settled(PATIENCE)?;
    assert_eq!(client.get("/v1/queues/out")?["messages"], 1, "echo publishes what it gets");
    Ok(())
}

#[test]
fn what_was_declared_over_http_is_there_after_a_crash() -> Result<()> {
    let mut host = TestHost::start("")?;
    let client = host.client();
    client.put("/v1/handlers/counter", "application/wasm", fs::read(guest("guest-counter")?)?)?;
    client.put("/v1/queues/numbers", "application/json", r#"{"bindings":["numbers.#"]}"#)?;
    client.put("/v1/queues/numbers/consumers/counter", "application/json", r#"{"handler":"counter"}"#)?;
    client.post("/v1/topics/numbers.small/messages", "text/plain", "41")?;
    host.take_process()?.kill()?;
    host.start_again()?;
    let client = host.client();
    client.post("/v1/topics/numbers.small/messages", "text/plain", "1")?;
    client.wait_until_settled(PATIENCE)?;
    assert_eq!(client.get_text("/v1/handlers/counter/state/sum")?, "42");
    assert_eq!(client.get_text("/v1/handlers/counter/state/count")?, "2");
    Ok(())
}

/// A delivery is in flight a moment before its handler is called. A stop in that moment hands it back, as it should,
/// so a round proves something only when the stop came later.
#[test]
fn a_stop_settles_what_is_under_way() -> Result<()> {
    const ROUNDS: usize = 10;
    let more = "config = { ms = \"300\" }";
    let mut host = TestHost::start(&handler_with_queue("sleeper", "guest-sleeper", more)?)?;
    for _ in 0..ROUNDS {
        host.client().post("/v1/topics/sleeper/messages", "text/plain", "x")?;
        let deadline = std::time::Instant::now() + PATIENCE;
        while host.client().get("/v1/consumers")?["consumers"][0]["in_flight"] != 1 {
            assert!(std::time::Instant::now() < deadline, "the delivery never started");
        }
        assert!(host.take_process()?.terminate()?.success(), "SIGTERM must end in exit code 0");
        host.start_again()?;
        if host.client().unsettled()? == 0 {
            return Ok(());
        }
        host.client().wait_until_settled(PATIENCE)?;
    }
    panic!("in {ROUNDS} stops no delivery under way was settled before the end");
}

//! Does nothing and succeeds. What a benchmark measures with it is the host.

#[wasmill::handler]
fn noop() -> wasmill::Result {
    Ok(())
}

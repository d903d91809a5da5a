//! Does nothing and succeeds: what is measured with it is the queue.

#[wasmill::handler]
fn nothing() -> wasmill::Result {
    Ok(())
}

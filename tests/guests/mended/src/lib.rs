//! What `guest-evidence` should have been: it is told the same, publishes it, and succeeds, but for messages whose first
//! word is `reject`. Proves that a candidate is given the inputs of what it is to mend.

#[path = "../../evidence/src/seen.rs"]
mod seen;

use wasmill::{Context, Outgoing, Text, reject};

#[wasmill::handler]
fn mended(text: Text, ctx: Context) -> wasmill::Result {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (how, urls) = words.split_first().ok_or_else(|| reject("say how to fail"))?;
    let seen = seen::gather(&ctx, urls);
    if *how == "reject" {
        return Err(reject("still not"));
    }
    ctx.publish(Outgoing::text("seen", seen.text).header("number", seen.number.to_string()))?;
    Ok(())
}

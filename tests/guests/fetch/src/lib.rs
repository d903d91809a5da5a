//! Sends HTTP requests, as the words of its message say, and publishes the answer's body to `fetched`. What fails is
//! rejected with the error as the reason.
//!
//! `GET url`; `POST url bytes` with so many bytes; `MANY url count`, one after the other; `LEAK`, which prints the
//! secret `API_KEY` and gives it as its reason. With that secret every request has it in a header.

use wasmill::{Context, Outgoing, Text, http::Request, reject};

#[wasmill::handler]
fn fetch(text: Text, ctx: Context) -> wasmill::Result {
    let key = ctx.config("API_KEY");
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok()).unwrap_or(1);
    let (request, times) = match words.as_slice() {
        ["GET", url, ..] => (Request::get(*url), 1),
        ["POST", url, ..] => (Request::post(*url, vec![b'x'; number(2)]), 1),
        ["MANY", url, ..] => (Request::get(*url), number(2)),
        ["LEAK", ..] => return leak(&key.unwrap_or_default()),
        _ => return Err(reject("say GET, POST, MANY or LEAK")),
    };
    let request = match key {
        Some(key) => request.header("authorization", format!("Bearer {key}")),
        None => request,
    };
    for at in 1..=times {
        let response = request.send().map_err(|error| reject(format!("request {at}: {error}")))?;
        ctx.publish(Outgoing::bytes("fetched", response.body).header("status", response.status.to_string()))?;
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "what it prints is the lesson")]
fn leak(key: &str) -> wasmill::Result {
    println!("the key is {key}");
    Err(reject(format!("it has {} bytes: {key}", key.len())))
}

//! Does what the topic says, as `../README.md` describes it, and is the reference for the handlers of other languages.

mod state;

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use wasmill::{
    Context, Failure, OrFail as _, Outgoing, PublishError, Result, defer, http::Request, reject, retry, retry_after,
    throttle,
};

#[wasmill::handler]
fn conformance(ctx: Context) -> Result {
    let message = ctx.message();
    match message.topic.as_str() {
        "do.echo" => echo(&ctx),
        "do.fields" => fields(&ctx),
        "do.publish" => publish(&ctx, message.json()?),
        "do.state" => state::steps(&ctx, message.json()?),
        "do.state-size" => state::size(&ctx, &message.json()?),
        "do.config" => answer(&ctx, ctx.config(message.text()?).as_deref().unwrap_or("(none)")),
        "do.config-all" => answer_json(&ctx, &json!(ctx.config_all())),
        "do.clock" => clock(&ctx),
        "do.random" => answer(&ctx, &ctx.random_bytes::<16>().map(|byte| format!("{byte:02x}")).concat()),
        "do.log" => log(message.text()?),
        "do.http" => http(&ctx, message.json()?),
        "do.retry" => Err(wanted_retry(message.json()?)),
        "do.defer" => wait(&ctx, defer),
        "do.throttle" => wait(&ctx, throttle),
        "do.reject" => Err(reject(message.text()?)),
        "do.error" => error(message.text()?),
        "do.panic" => panic!("as asked"),
        "do.void" => void(&ctx),
        "do.spin" => spin(),
        "do.allocate" => allocate(),
        "do.exit" => std::process::exit(1),
        _ => wasmill::reject!("unknown topic {}", message.topic),
    }
}

pub(crate) fn answer(ctx: &Context, text: &str) -> Result {
    ctx.publish(Outgoing::new("out", text).content_type("text/plain"))?;
    Ok(())
}

pub(crate) fn answer_json(ctx: &Context, value: &Value) -> Result {
    ctx.publish(Outgoing::json("out", value)?)?;
    Ok(())
}

fn echo(ctx: &Context) -> Result {
    let message = ctx.message().clone();
    let mut outgoing = Outgoing::new("out", message.data);
    (outgoing.key, outgoing.content_type, outgoing.headers) = (message.key, message.content_type, message.headers);
    ctx.publish(outgoing)?;
    Ok(())
}

fn fields(ctx: &Context) -> Result {
    let (delivery, message) = (ctx.delivery(), ctx.message());
    let fields = json!({
        "id": message.id,
        "topic": message.topic,
        "key": message.key,
        "contentType": message.content_type,
        "headers": message.headers,
        "length": message.data.len(),
        "publishedAt": message.published_at,
        "queue": delivery.queue,
        "sequence": delivery.sequence,
        "attempt": delivery.attempt,
        "maxAttempts": delivery.max_attempts,
    });
    answer_json(ctx, &fields)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    topic: String,
    key: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    text: String,
    delay_ms: Option<u64>,
    expires_after_ms: Option<u64>,
}

fn publish(ctx: &Context, wanted: Wanted) -> Result {
    let outgoing = Outgoing {
        topic: wanted.topic,
        key: wanted.key,
        content_type: wanted.content_type,
        headers: wanted.headers,
        data: wanted.text.into_bytes(),
        delay: wanted.delay_ms,
        expires_after: wanted.expires_after_ms,
    };
    match ctx.publish(outgoing) {
        Ok(id) => answer(ctx, &id),
        Err(PublishError::InvalidTopic { .. }) => answer(ctx, "error: invalid-topic"),
        Err(PublishError::InvalidMessage { .. }) => answer(ctx, "error: invalid-message"),
        Err(PublishError::TooLarge { .. }) => answer(ctx, "error: too-large"),
        Err(error @ PublishError::NotJson { .. }) => Err(error.into()),
    }
}

fn clock(ctx: &Context) -> Result {
    let since_epoch = ctx.now().duration_since(std::time::UNIX_EPOCH)?;
    answer(ctx, &since_epoch.as_millis().to_string())
}

/// The one line as people print, the other as people log.
#[allow(clippy::print_stdout, reason = "that is what is asked for")]
fn log(text: &str) -> Result {
    wasmill::logging::init();
    println!("{text}");
    tracing::error!("err: {text}");
    Ok(())
}

#[derive(Deserialize)]
struct WantedRequest {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    text: String,
}

fn http(ctx: &Context, wanted: WantedRequest) -> Result {
    let request =
        Request { headers: wanted.headers, body: wanted.text.into_bytes(), ..Request::new(wanted.method, wanted.url) };
    match ctx.send(&request) {
        Ok(response) => answer_json(ctx, &json!({"status": response.status, "text": response.text()})),
        Err(_) => answer_json(ctx, &json!({"error": true})),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WantedRetry {
    reason: String,
    after_ms: Option<u64>,
}

fn wanted_retry(wanted: WantedRetry) -> Failure {
    match wanted.after_ms {
        Some(after) => retry_after(wanted.reason, Duration::from_millis(after)),
        None => retry(wanted.reason),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wait {
    after_ms: u64,
}

fn wait(ctx: &Context, failure: fn(Duration) -> Failure) -> Result {
    let after = Duration::from_millis(ctx.message().json::<Wait>()?.after_ms);
    if ctx.now() < ctx.message().published_at() + after {
        return Err(failure(after));
    }
    answer(ctx, "ran")
}

fn error(text: &str) -> Result {
    Err(std::io::Error::other(text))?;
    Ok(())
}

fn void(ctx: &Context) -> Result {
    ctx.state().set("void", b"stored")?;
    answer(ctx, "published")?;
    None.or_reject("what was stored and published is void")
}

fn spin() -> Result {
    let mut rounds = 0_u64;
    loop {
        rounds = std::hint::black_box(rounds.wrapping_add(1));
    }
}

fn allocate() -> Result {
    let mut held = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1_u8; 1024 * 1024]));
    }
}

#[cfg(test)]
mod tests {
    use wasmill::Delivery;

    use super::*;

    #[test]
    fn a_topic_that_nobody_knows_is_rejected() {
        let ctx = Context::for_delivery(Delivery::for_test("do.nothing", ""));
        assert_eq!(ctx.call(conformance), Err(reject("unknown topic do.nothing")));
    }

    #[test]
    fn what_waits_runs_when_its_time_has_come() {
        let ctx = Context::for_delivery(Delivery::for_test("do.defer", r#"{"afterMs": 5000}"#));
        let epoch = std::time::UNIX_EPOCH;
        let early = ctx.with_time(epoch + Duration::from_millis(4_999));
        assert_eq!(early.call(conformance), Err(defer(Duration::from_secs(5))));
        let late = early.with_time(epoch + Duration::from_secs(5));
        assert_eq!(late.call(conformance), Ok(()));
        assert_eq!(late.published()[0].data, b"ran");
    }
}

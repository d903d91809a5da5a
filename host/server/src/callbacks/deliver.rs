//! Callbacks are pulled from their queue and posted.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::http::{
    Request, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use http_body_util::Full;
use serde_json::Value;
use tokio::task::JoinSet;
use wasmill_delivery::{
    job::{CALLBACK_JOB_HEADER, CALLBACK_QUEUE, CALLBACK_URL_HEADER, JobId},
    limits::REASON_BYTES_MAX,
    message::Message,
    name::{ConsumerName, QueueName},
    policy::Backoff,
    record::{ConsumerConfig, QueueConfig},
};
use wasmill_runtime::{Host, HostError, PULL_WAIT_MAX, Pulled, PulledOutcome, PulledSettlement};

use super::{
    CallbackRules,
    client::{Client, client},
};
use crate::{http, telemetry::Metrics};

/// The consumer that callbacks are pulled from.
const CALLBACK_CONSUMER: &str = "deliver";
/// Attempts unless an operator changes the consumer.
const CALLBACK_ATTEMPTS: u32 = 20;
/// The longest wait between two attempts unless an operator changes the consumer, 10 minutes in milliseconds.
const CALLBACK_WAIT_MS_MAX: u64 = 10 * 60 * 1_000;
/// Callbacks under way at once.
const CALLBACKS_AT_ONCE: u32 = 32;
/// How long a receiver may take to answer.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest wait that a receiver may ask for, 1 hour in milliseconds.
const RETRY_AFTER_MS_MAX: u64 = 60 * 60 * 1_000;
/// A lease must outlast the timeout.
const CALLBACK_LEASE_MS: u64 = 60_000;
/// The wait after the host could not be asked for callbacks.
const TROUBLE_WAIT: Duration = Duration::from_secs(1);

fn queue() -> QueueName {
    QueueName::new(CALLBACK_QUEUE).expect("a name that is one")
}

fn consumer() -> ConsumerName {
    ConsumerName::new(CALLBACK_CONSUMER).expect("a name that is one")
}

/// Declare the queue and the consumer of callbacks where they are not there. What an operator made of them stays.
pub(crate) async fn declare(host: &Host) -> anyhow::Result<()> {
    let name = queue();
    if !host.queues().await?.iter().any(|view| view.record.name == name) {
        host.put_queue(name.clone(), QueueConfig::default()).await.context("cannot declare the queue of callbacks")?;
    }
    let has_consumer = |view: &wasmill_delivery::engine::ConsumerView| {
        view.queue == name && view.record.name.as_str() == CALLBACK_CONSUMER
    };
    if !host.consumers().await?.iter().any(has_consumer) {
        let config = ConsumerConfig {
            attempts_max: CALLBACK_ATTEMPTS,
            backoff: Backoff::Exponential { initial_ms: 1_000, factor: 2, cap_ms: CALLBACK_WAIT_MS_MAX, jitter: true },
            lease_ms: CALLBACK_LEASE_MS,
            ..ConsumerConfig::pulled()
        };
        host.put_consumer(name, consumer(), config).await.context("cannot declare the consumer of callbacks")?;
    }
    Ok(())
}

/// Call what is to be called, until dropped.
pub(crate) async fn deliver(host: Host, rules: Arc<CallbackRules>, metrics: Arc<Metrics>) {
    let client = client(&rules);
    let caller = Arc::new(Caller { host, rules, metrics, client });
    let mut calls = JoinSet::new();
    loop {
        while calls.len() >= CALLBACKS_AT_ONCE as usize {
            calls.join_next().await;
        }
        let room = CALLBACKS_AT_ONCE - u32::try_from(calls.len()).unwrap_or(CALLBACKS_AT_ONCE);
        match caller.host.pull(&queue(), &consumer(), room, PULL_WAIT_MAX).await {
            Ok(pulled) => {
                for one in pulled {
                    let caller = Arc::clone(&caller);
                    calls.spawn(async move { caller.call_and_settle(one).await });
                }
            }
            Err(HostError::Stopped { .. }) => return,
            Err(error) => {
                tracing::warn!(%error, "callbacks wait: they cannot be read now");
                tokio::time::sleep(TROUBLE_WAIT).await;
            }
        }
        while calls.try_join_next().is_some() {}
    }
}

struct Caller {
    host: Host,
    rules: Arc<CallbackRules>,
    metrics: Arc<Metrics>,
    client: Client,
}

impl Caller {
    async fn call_and_settle(&self, pulled: Pulled) {
        let outcome = self.call(&pulled.message).await;
        self.metrics.callback_called(outcome == PulledOutcome::Ack);
        if let PulledOutcome::Nack { reason, .. } | PulledOutcome::Reject { reason } = &outcome {
            tracing::warn!(callback = %pulled.message.id, attempt = pulled.attempt, reason, "a callback failed");
        }
        let settlement = PulledSettlement { sequence: pulled.sequence, fence: pulled.fence, outcome };
        if let Err(error) = self.host.settle_pulled(&queue(), &consumer(), vec![settlement]).await {
            tracing::debug!(%error, callback = %pulled.message.id, "a callback is not settled and is called again");
        }
    }

    async fn call(&self, message: &Message) -> PulledOutcome {
        let reject = |reason: &str| PulledOutcome::Reject { reason: reason.to_owned() };
        let Some(url) = header(message, CALLBACK_URL_HEADER) else {
            return reject("it names no URL; only the host puts messages here that do");
        };
        if let Err(refused) = self.rules.check(url) {
            return reject(&refused.to_string());
        }
        let request = Request::post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("wasmill/", env!("CARGO_PKG_VERSION")))
            .header("idempotency-key", message.id.as_str())
            .header("wasmill-id", message.id.as_str())
            .body(Full::from(self.body(message).await));
        let request = match request {
            Ok(request) => request,
            Err(error) => return reject(&error.to_string()),
        };
        match tokio::time::timeout(CALLBACK_TIMEOUT, self.client.request(request)).await {
            Ok(Ok(response)) if response.status().is_success() => PulledOutcome::Ack,
            Ok(Ok(response)) => {
                let status = response.status();
                let patient = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
                let asked = response.headers().get(RETRY_AFTER).filter(|_| patient).and_then(|text| text.to_str().ok());
                let reason = format!("{url} answered {status}");
                PulledOutcome::Nack { after_ms: asked.and_then(retry_after_ms), reason }
            }
            Ok(Err(error)) => failed(format!("{url}: {:#}", anyhow::Error::new(error))),
            Err(_) => failed(format!("{url} did not answer within {} s", CALLBACK_TIMEOUT.as_secs())),
        }
    }

    /// What the job was when it ended, with the data of its result if that is still known.
    async fn body(&self, message: &Message) -> String {
        let Ok(mut status) = serde_json::from_slice::<Value>(&message.data) else {
            return String::from_utf8_lossy(&message.data).into_owned();
        };
        if let Some(id) = header(message, CALLBACK_JOB_HEADER).and_then(|id| JobId::new(id).ok())
            && !status["result"].is_null()
        {
            let host = self.host.clone();
            let reading = tokio::task::spawn_blocking(move || http::job_result(&host, &id)).await;
            if let Ok(Some(result)) = reading {
                status["result"] = result;
            }
        }
        status.to_string()
    }
}

fn failed(mut reason: String) -> PulledOutcome {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    PulledOutcome::Nack { after_ms: None, reason }
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let ms = match text.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1_000),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
            u64::try_from(at.saturating_sub(jiff::Timestamp::now().as_millisecond())).unwrap_or_default()
        }
    };
    Some(ms.min(RETRY_AFTER_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        assert_eq!(retry_after_ms("2"), Some(2_000));
        assert_eq!(retry_after_ms("99999999999999999999"), None);
        assert_eq!(retry_after_ms("9999999"), Some(RETRY_AFTER_MS_MAX));
        assert_eq!(retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(retry_after_ms("Sat, 06 Nov 2190 08:49:37 GMT"), Some(RETRY_AFTER_MS_MAX));
        assert_eq!(retry_after_ms("soon"), None);
    }
}

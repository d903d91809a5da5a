use std::{sync::Barrier, time::Instant};

use wasmill_delivery::{
    effect::SettleAnswer,
    message::{Lineage, Message},
    name::{ConsumerName, MessageId, QuarantineId, Sequence},
    outcome::Outcome,
    record::QuarantineReason,
    time::Timestamp,
    topic::Topic,
};

use super::*;

struct Names {
    queue: QueueName,
    consumer: ConsumerName,
    handler: HandlerName,
    message: Message,
}

impl Names {
    fn new() -> Self {
        Self {
            queue: QueueName::new("orders").expect("a name"),
            consumer: ConsumerName::new("check").expect("a name"),
            handler: HandlerName::new("validate").expect("a name"),
            message: Message {
                id: MessageId::new("m").expect("an id"),
                topic: Topic::new("orders").expect("a topic"),
                key: None,
                content_type: None,
                headers: Vec::new(),
                data: Default::default(),
                published_at: Timestamp(0),
                expires_at: None,
                lineage: Lineage::default(),
            },
        }
    }

    fn attempt<'a>(&'a self, outcome: &'a Outcome) -> AttemptSeen<'a> {
        AttemptSeen {
            queue: &self.queue,
            consumer: &self.consumer,
            handler: &self.handler,
            outcome,
            duration_us: 20,
            fuel_used: 1_000,
            memory_bytes_peak: 65_536,
            message: &self.message,
            attempt: 1,
            log: "",
            place_in_call: 0,
            sequence: Sequence::FIRST,
            published: &[],
        }
    }

    fn settle<'a>(&'a self, outcome: &'static str, answer: &'a SettleAnswer) -> SettleSeen<'a> {
        let Self { queue, consumer, handler, .. } = self;
        SettleSeen { queue, consumer, sequence: Sequence::FIRST, handler: Some(handler), outcome, answer }
    }
}

fn text_of(metrics: &Arc<Metrics>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Arc::clone(metrics)));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("memory takes all text");
    text
}

fn line<'a>(text: &'a str, begin: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(begin).map(str::trim))
}

#[test]
fn what_happens_is_counted_under_its_name() {
    let (metrics, names) = (Metrics::new(), Names::new());
    metrics.published(&names.queue, 7);
    metrics.job_ended(JobState::Expired);
    [true, false, false].into_iter().for_each(|delivered| metrics.callback_called(delivered));
    metrics.committed(&Commit { duration: std::time::Duration::from_micros(1_500) });
    let trapped = Outcome::Trapped { trap: "unreachable".to_owned() };
    for outcome in [&Outcome::Success, &Outcome::Success, &trapped] {
        metrics.attempted(&names.attempt(outcome));
    }
    let quarantined = SettleAnswer::Quarantined { id: QuarantineId(1), reason: QuarantineReason::AttemptsExhausted };
    metrics.settled(&names.settle("success", &SettleAnswer::Committed));
    metrics.settled(&names.settle("success", &SettleAnswer::Conflict));
    metrics.settled(&names.settle("trapped", &quarantined));
    let text = text_of(&metrics);
    for (begin, value) in [
        (r#"wasmill_messages_published_total{queue="orders"}"#, "7"),
        (r#"wasmill_deliveries_settled_total{queue="orders",handler="validate",outcome="success"}"#, "1"),
        (r#"wasmill_deliveries_settled_total{queue="orders",handler="validate",outcome="conflict"}"#, "1"),
        (r#"wasmill_deliveries_settled_total{queue="orders",handler="validate",outcome="trapped"}"#, "1"),
        (r#"wasmill_deliveries_quarantined_total{queue="orders",handler="validate",reason="attempts-exhausted"}"#, "1"),
        (r#"wasmill_process_duration_seconds_count{handler="validate"}"#, "3"),
        (r#"wasmill_process_duration_seconds_bucket{le="0.00001",handler="validate"}"#, "0"),
        (r#"wasmill_process_duration_seconds_bucket{le="0.00005",handler="validate"}"#, "3"),
        (r#"wasmill_process_duration_seconds_bucket{le="+Inf",handler="validate"}"#, "3"),
        (r#"wasmill_handler_fuel_used_total{handler="validate"}"#, "3000"),
        (r#"wasmill_handler_memory_peak_bytes{handler="validate"}"#, "65536"),
        (r#"wasmill_handler_traps_total{handler="validate",kind="trapped"}"#, "1"),
        ("wasmill_store_commit_duration_seconds_sum", "0.0015"),
        (r#"wasmill_jobs_ended_total{state="expired"}"#, "1"),
        (r#"wasmill_callbacks_total{outcome="delivered"}"#, "1"),
        (r#"wasmill_callbacks_total{outcome="failed"}"#, "2"),
    ] {
        assert_eq!(line(&text, begin), Some(value), "{begin} in\n{text}");
    }
    assert!(!text.contains(r#"outcome="retry""#), "what never happened has no series");
    metrics.handler_replaced(&names.handler, Digest([0; 32]));
    assert_eq!(line(&text_of(&metrics), r#"wasmill_handler_memory_peak_bytes{handler="validate"}"#), Some("0"));
}

#[test]
fn every_outcome_has_a_name_of_its_own() {
    let text = String::new;
    let all = [
        Outcome::Success,
        Outcome::Retry { reason: text(), after_ms: None },
        Outcome::Defer { after_ms: 1 },
        Outcome::Reject { reason: text() },
        Outcome::OutOfFuel { fuel_max: 1 },
        Outcome::OutOfMemory { memory_bytes_max: 1 },
        Outcome::TimedOut { wall_clock_ms_max: 1 },
        Outcome::StackOverflow,
        Outcome::PublishLimit { limit: text() },
        Outcome::StateLimit { limit: text() },
        Outcome::Trapped { trap: text() },
        Outcome::Exited { success: false },
        Outcome::Unroutable { topic: text() },
        Outcome::HostCrash,
        Outcome::HostFault { detail: text() },
        Outcome::Throttle { after_ms: 1 },
        Outcome::Expired,
        Outcome::NeverFits { limit: text() },
        Outcome::LeaseExpired { lease_ms: 1 },
    ];
    for outcome in &all {
        assert!(names::OUTCOMES.contains(&outcome.name()), "{outcome:?} is counted as other");
    }
    assert_eq!(all.len() + 6, names::OUTCOMES.len(), "a name that nothing has");
    for (index, state) in JobState::ALL.iter().enumerate() {
        assert_eq!(*state as usize, index, "{state:?} is counted as another");
    }
    assert!(names::KINDS.iter().all(|kind| names::OUTCOMES.contains(kind)));
    for (index, reason) in series::REASONS.iter().enumerate() {
        assert_eq!(*reason as usize, index, "{reason:?} is counted as another");
    }
}

/// The target is 150,000 deliveries a second on two threads: both calls of a delivery must be far below 6 µs.
#[test]
fn counting_is_cheap_on_two_threads() {
    const DELIVERIES: u32 = 200_000;
    let (metrics, names) = (Metrics::new(), Names::new());
    let start = Barrier::new(2);
    let work = || {
        start.wait();
        let started = Instant::now();
        for _ in 0..DELIVERIES {
            metrics.attempted(&names.attempt(&Outcome::Success));
            metrics.settled(&names.settle("success", &SettleAnswer::Committed));
        }
        started.elapsed() / DELIVERIES
    };
    let each = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        work().max(other.join().expect("no panic"))
    });
    tracing::info!(?each, "counting one delivery");
    assert!(each.as_micros() < 6, "{each:?} for one delivery");
    let counted = r#"wasmill_deliveries_settled_total{queue="orders",handler="validate",outcome="success"}"#;
    assert_eq!(line(&text_of(&metrics), counted), Some("400000"));
}

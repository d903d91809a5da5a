//! What is read off the host when somebody asks, instead of being counted.

use std::fmt::Error;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};
use wasmill_delivery::{
    engine::{ConsumerView, QueueView},
    job::JobState,
    name::{HandlerName, QueueName},
};
use wasmill_runtime::{HandlerView, Host, HostError};

use super::{
    encode::{begin, put_gauge},
    names,
};
use crate::http::oldest_message_age_ms;

/// The host at one moment.
#[derive(Debug)]
pub(super) struct Gauges {
    queues: Vec<(QueueView, Option<u64>)>,
    consumers: Vec<ConsumerView>,
    handlers: Vec<HandlerView>,
    delayed: u64,
    schedules_late: u64,
    jobs: Vec<(JobState, u64)>,
    store_bytes: Option<u64>,
}

impl Gauges {
    /// Look at the host.
    pub(super) async fn read(host: &Host) -> Result<Self, HostError> {
        let (queues, consumers, handlers) = (host.queues().await?, host.consumers().await?, host.handlers().await?);
        let delayed = host.delayed().await?;
        let jobs = host.jobs_by_state().await?;
        let late = host.schedules().await?.iter().filter(|view| view.problem.is_some()).count();
        let host = host.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let aged = queues.into_iter().map(|view| {
                let age_ms = oldest_message_age_ms(&host, &view);
                (view, age_ms)
            });
            (aged.collect(), host.store_bytes().ok())
        });
        let read = reading.await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) });
        let (queues, store_bytes) = read?;
        Ok(Self { queues, consumers, handlers, delayed, schedules_late: late as u64, jobs, store_bytes })
    }

    pub(super) fn has_queue(&self, name: &QueueName) -> bool {
        self.queues.iter().any(|(view, _)| view.record.name == *name)
    }

    pub(super) fn has_handler(&self, name: &HandlerName) -> bool {
        self.handlers.iter().any(|view| view.record.name == *name)
    }

    fn encode_queues(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut metric = begin(encoder, names::QUEUE_MESSAGES, MetricType::Gauge)?;
        for (view, _) in &self.queues {
            for (state, messages) in self.states(view) {
                let labels = [(names::QUEUE, view.record.name.as_str()), (names::STATE, state)];
                put_gauge(&mut metric, &labels, messages)?;
            }
        }
        let mut metric = begin(encoder, names::QUEUE_BYTES, MetricType::Gauge)?;
        for (view, _) in &self.queues {
            put_gauge(&mut metric, &[(names::QUEUE, view.record.name.as_str())], view.bytes)?;
        }
        let mut metric = begin(encoder, names::QUEUE_OLDEST_AGE, MetricType::Gauge)?;
        for (view, age_ms) in &self.queues {
            if let Some(age_ms) = age_ms {
                let labels = [(names::QUEUE, view.record.name.as_str())];
                metric.encode_family(&labels)?.encode_gauge(&seconds(*age_ms))?;
            }
        }
        Ok(())
    }

    fn states(&self, queue: &QueueView) -> [(&'static str, u64); 4] {
        let consumers = || self.consumers.iter().filter(|consumer| consumer.record.queue == queue.record.id);
        let sum = |of: fn(&ConsumerView) -> u64| consumers().map(of).sum();
        [
            (names::STATE_LOG, queue.messages),
            (names::STATE_IN_FLIGHT, sum(|consumer| consumer.in_flight)),
            (names::STATE_PENDING, sum(|consumer| consumer.pending)),
            (names::STATE_QUARANTINED, sum(|consumer| consumer.quarantined)),
        ]
    }

    fn encode_consumers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        type Of = fn(&ConsumerView) -> u64;
        let of: [(names::Name, Of); 5] = [
            (names::CONSUMER_LAG, |view| view.lag),
            (names::CONSUMER_PAUSED, |view| view.record.paused.is_some().into()),
            (names::CONSUMER_FULL, |view| view.is_full.into()),
            (names::CONSUMER_SUSPECTS, |view| view.suspects),
            (names::QUARANTINE_MESSAGES, |view| view.quarantined),
        ];
        for (name, of) in of {
            let mut metric = begin(encoder, name, MetricType::Gauge)?;
            for view in &self.consumers {
                let labels = [
                    (names::QUEUE, view.queue.as_str()),
                    (names::CONSUMER, view.record.name.as_str()),
                    (names::HANDLER, view.record.config.handler.as_ref().map_or("", HandlerName::as_str)),
                ];
                put_gauge(&mut metric, &labels, of(view))?;
            }
        }
        Ok(())
    }

    fn encode_handlers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut metric = begin(encoder, names::HANDLER_ACTIVE, MetricType::Gauge)?;
        for view in self.handlers.iter().filter(|view| view.problem.is_none()) {
            if let Some(digest) = view.record.digest {
                let digest = digest.to_string();
                put_gauge(&mut metric, &[(names::HANDLER, view.record.name.as_str()), (names::DIGEST, &digest)], 1)?;
            }
        }
        let mut metric = begin(encoder, names::HANDLER_CANDIDATE, MetricType::Gauge)?;
        for view in &self.handlers {
            if let Some(canary) = &view.record.versions.canary {
                let digest = canary.digest.to_string();
                put_gauge(&mut metric, &[(names::HANDLER, view.record.name.as_str()), (names::DIGEST, &digest)], 1)?;
            }
        }
        Ok(())
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.encode_queues(&mut encoder)?;
        self.encode_consumers(&mut encoder)?;
        self.encode_handlers(&mut encoder)?;
        begin(&mut encoder, names::DELAYED_MESSAGES, MetricType::Gauge)?.encode_gauge(&self.delayed)?;
        begin(&mut encoder, names::SCHEDULES_LATE, MetricType::Gauge)?.encode_gauge(&self.schedules_late)?;
        let mut metric = begin(&mut encoder, names::JOBS, MetricType::Gauge)?;
        for (state, jobs) in &self.jobs {
            put_gauge(&mut metric, &[(names::STATE, state.name())], *jobs)?;
        }
        if let Some(bytes) = self.store_bytes {
            begin(&mut encoder, names::STORE_BYTES, MetricType::Gauge)?.encode_gauge(&bytes)?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 285,000 years of milliseconds")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

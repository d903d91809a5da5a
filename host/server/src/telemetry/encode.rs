//! What was counted, written as metric families.

use std::{
    fmt::Error,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::{MetricType, exemplar::Exemplar},
};

use wasmill_delivery::job::JobState;

use super::{
    Metrics,
    histogram::Counted,
    names::{self, Name},
    series::REASONS,
};

/// A label and its value.
pub(super) type Label<'a> = (&'static str, &'a str);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.encode_published(&mut encoder)?;
        self.encode_settled(&mut encoder)?;
        self.encode_quarantined(&mut encoder)?;
        self.encode_handlers(&mut encoder)?;
        let mut metric = begin(&mut encoder, names::JOBS_ENDED, MetricType::Counter)?;
        put_words(&mut metric, [], names::STATE, &JobState::ALL.map(JobState::name), &self.jobs_ended)?;
        let mut metric = begin(&mut encoder, names::CALLBACKS, MetricType::Counter)?;
        put_words(&mut metric, [], names::OUTCOME, &names::CALLBACK_OUTCOMES, &self.callbacks)?;
        begin(&mut encoder, names::STREAMS_OPEN, MetricType::Gauge)?.encode_gauge(&self.streams_open.load(Relaxed))?;
        begin(&mut encoder, names::STREAMS_REFUSED, MetricType::Counter)?
            .encode_counter(&self.streams_refused.load(Relaxed), None::<&Exemplar<NoLabelSet, f64>>)?;
        let mut metric = begin(&mut encoder, names::COMMIT_DURATION, MetricType::Histogram)?;
        put_histogram(&mut metric, &self.commits.counted(&names::COMMIT_BUCKETS_US))
    }
}

impl Metrics {
    fn encode_published(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut metric = begin(encoder, names::MESSAGES_PUBLISHED, MetricType::Counter)?;
        self.queues
            .each(|queue, series| put_counter(&mut metric, &[(names::QUEUE, queue.as_str())], series.published_total()))
    }

    fn encode_settled(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut metric = begin(encoder, names::DELIVERIES_SETTLED, MetricType::Counter)?;
        self.settled.each(|queue, handlers| {
            handlers.each(|handler, series| {
                let of = [(names::QUEUE, queue.as_str()), (names::HANDLER, handler.as_str())];
                put_words(&mut metric, of, names::OUTCOME, &names::OUTCOMES, &series.outcomes)
            })
        })?;
        self.settled_outside.each(|queue, series| {
            let of = [(names::QUEUE, queue.as_str()), (names::HANDLER, "")];
            put_words(&mut metric, of, names::OUTCOME, &names::OUTCOMES, &series.outcomes)
        })
    }

    fn encode_quarantined(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut metric = begin(encoder, names::DELIVERIES_QUARANTINED, MetricType::Counter)?;
        let reasons = REASONS.map(wasmill_delivery::record::QuarantineReason::name);
        self.settled.each(|queue, handlers| {
            handlers.each(|handler, series| {
                let of = [(names::QUEUE, queue.as_str()), (names::HANDLER, handler.as_str())];
                put_words(&mut metric, of, names::REASON, &reasons, &series.quarantined)
            })
        })?;
        self.settled_outside.each(|queue, series| {
            let of = [(names::QUEUE, queue.as_str()), (names::HANDLER, "")];
            put_words(&mut metric, of, names::REASON, &reasons, &series.quarantined)
        })
    }

    fn encode_handlers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut metric = begin(encoder, names::PROCESS_DURATION, MetricType::Histogram)?;
        self.handlers.each(|handler, series| {
            let labels = [(names::HANDLER, handler.as_str())];
            put_histogram(&mut metric.encode_family(&labels)?, &series.duration.counted(&names::PROCESS_BUCKETS_US))
        })?;
        let mut metric = begin(encoder, names::HANDLER_FUEL_USED, MetricType::Counter)?;
        self.handlers.each(|handler, series| {
            put_counter(&mut metric, &[(names::HANDLER, handler.as_str())], series.fuel_used.load(Relaxed))
        })?;
        let mut metric = begin(encoder, names::HANDLER_MEMORY_PEAK, MetricType::Gauge)?;
        self.handlers.each(|handler, series| {
            put_gauge(&mut metric, &[(names::HANDLER, handler.as_str())], series.memory_bytes_peak.load(Relaxed))
        })?;
        let mut metric = begin(encoder, names::HANDLER_TRAPS, MetricType::Counter)?;
        self.handlers.each(|handler, series| {
            put_words(&mut metric, [(names::HANDLER, handler.as_str())], names::KIND, &names::KINDS, &series.traps)
        })?;
        let mut metric = begin(encoder, names::HANDLER_CANARIES, MetricType::Counter)?;
        self.handlers.each(|handler, series| {
            let of = [(names::HANDLER, handler.as_str())];
            put_words(&mut metric, of, names::OUTCOME, &names::CANARY_OUTCOMES, &series.canaries)
        })
    }
}

/// Begin a metric.
pub(super) fn begin<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: Name,
    metric_type: MetricType,
) -> Result<MetricEncoder<'a>, Error> {
    encoder.encode_descriptor(name.name, name.help, None, metric_type)
}

/// One gauge of a family.
pub(super) fn put_gauge(metric: &mut MetricEncoder<'_>, labels: &[Label<'_>], value: u64) -> Result<(), Error> {
    metric.encode_family(&labels)?.encode_gauge(&value)
}

fn put_counter(metric: &mut MetricEncoder<'_>, labels: &[Label<'_>], value: u64) -> Result<(), Error> {
    metric.encode_family(&labels)?.encode_counter(&value, None::<&Exemplar<NoLabelSet, f64>>)
}

/// A counter for each word that was counted at least once.
fn put_words<const M: usize, const N: usize>(
    metric: &mut MetricEncoder<'_>,
    of: [Label<'_>; M],
    label: &'static str,
    words: &[&str; N],
    counts: &[AtomicU64; N],
) -> Result<(), Error> {
    for (word, count) in words.iter().zip(counts) {
        let count = count.load(Relaxed);
        if count > 0 {
            let labels: Vec<Label<'_>> = of.into_iter().chain([(label, *word)]).collect();
            put_counter(metric, &labels, count)?;
        }
    }
    Ok(())
}

fn put_histogram(metric: &mut MetricEncoder<'_>, counted: &Counted) -> Result<(), Error> {
    metric.encode_histogram::<NoLabelSet>(counted.sum_s, counted.count, &counted.buckets, None)
}

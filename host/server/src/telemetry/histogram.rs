//! A histogram of durations that takes no lock.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Durations in microseconds, counted in `N` buckets and one for what is longer.
#[derive(Debug)]
pub(super) struct Histogram<const N: usize> {
    buckets: [AtomicU64; N],
    longer: AtomicU64,
    sum_us: AtomicU64,
}

/// A histogram as OpenMetrics writes it: seconds, with the counts of each bucket by itself.
#[derive(Debug, PartialEq)]
pub(super) struct Counted {
    pub(super) sum_s: f64,
    pub(super) count: u64,
    pub(super) buckets: Vec<(f64, u64)>,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: array::from_fn(|_| AtomicU64::new(0)), longer: AtomicU64::new(0), sum_us: AtomicU64::new(0) }
    }
}

impl<const N: usize> Histogram<N> {
    /// Count one. `ends_us` are the upper ends of the buckets, ascending; they belong to their bucket.
    pub(super) fn observe(&self, us: u64, ends_us: &[u64; N]) {
        let bucket = ends_us.iter().position(|end| us <= *end).map_or(&self.longer, |index| &self.buckets[index]);
        bucket.fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// What was counted so far.
    pub(super) fn counted(&self, ends_us: &[u64; N]) -> Counted {
        let each = self.buckets.iter().map(|bucket| bucket.load(Relaxed));
        let ends = ends_us.iter().map(|us| seconds(*us));
        let mut buckets: Vec<(f64, u64)> = ends.zip(each).collect();
        buckets.push((f64::MAX, self.longer.load(Relaxed)));
        let count = buckets.iter().map(|(_, count)| count).sum();
        Counted { sum_s: seconds(self.sum_us.load(Relaxed)), count, buckets }
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 285 years of microseconds")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_in_the_first_bucket_that_holds_them() {
        let histogram = Histogram::default();
        let ends = [10, 100];
        for us in [0, 10, 11, 100, 101, 5_000_000] {
            histogram.observe(us, &ends);
        }
        let counted = histogram.counted(&ends);
        assert_eq!(counted.buckets, [(0.000_01, 2), (0.000_1, 2), (f64::MAX, 2)]);
        assert_eq!((counted.count, counted.sum_s), (6, 5.000_222));
    }
}

//! How many deliveries a consumer may lease in a second: a token bucket (ITU-T I.371 calls it GCRA) that holds a tenth of
//! a second, at least one, so that a limit is kept over every second and not only on average.

use crate::time::Timestamp;

/// A thousand of these are one delivery; so many as `per_second` come each millisecond.
const DELIVERY: u64 = 1_000;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    tokens: u64,
    filled_at: Timestamp,
}

impl Bucket {
    fn tokens(self, per_second: u32, now: Timestamp) -> u64 {
        let rate = u64::from(per_second);
        let holds = (rate * DELIVERY / 10).max(DELIVERY);
        let since = now.ms_since(self.filled_at);
        self.tokens.saturating_add(rate.saturating_mul(since)).min(holds)
    }

    /// How many deliveries may be leased now.
    pub(super) fn room(self, per_second: Option<u32>, now: Timestamp) -> usize {
        per_second.map_or(usize::MAX, |rate| usize::try_from(self.tokens(rate, now) / DELIVERY).unwrap_or(usize::MAX))
    }

    /// So many were leased.
    pub(super) fn take(&mut self, per_second: Option<u32>, now: Timestamp, deliveries: usize) {
        let Some(rate) = per_second else { return };
        self.tokens = self.tokens(rate, now).saturating_sub(deliveries as u64 * DELIVERY);
        self.filled_at = now;
    }

    /// When the next one may be leased, if none may be now.
    pub(super) fn next_token(self, per_second: Option<u32>, now: Timestamp) -> Option<Timestamp> {
        let rate = per_second?;
        let missing = DELIVERY.checked_sub(self.tokens(rate, now)).filter(|missing| *missing > 0)?;
        Some(now.plus_ms(missing.div_ceil(u64::from(rate))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_the_rate_and_a_tenth() {
        let (rate, mut bucket, mut leased) = (Some(50), Bucket::default(), Vec::new());
        for now in (1_000..6_000).map(Timestamp) {
            let room = bucket.room(rate, now);
            bucket.take(rate, now, room);
            leased.extend(std::iter::repeat_n(now, room));
            assert_eq!(bucket.next_token(rate, now).is_some(), bucket.room(rate, now) == 0);
        }
        assert!((245..=256).contains(&leased.len()), "{}", leased.len());
        for start in 1_000..5_000 {
            let within = leased.iter().filter(|at| (start..start + 1_000).contains(&at.0)).count();
            assert!(within <= 55, "{within} from {start} on");
        }
    }

    #[test]
    fn the_next_token_is_when_it_says() {
        let (rate, mut bucket) = (Some(3), Bucket::default());
        let now = Timestamp(10_000);
        bucket.take(rate, now, 1);
        let next = bucket.next_token(rate, now).expect("none is left");
        assert_eq!(bucket.room(rate, Timestamp(next.0 - 1)), 0);
        assert_eq!(bucket.room(rate, next), 1);
        assert_eq!(bucket.room(None, now), usize::MAX);
    }
}

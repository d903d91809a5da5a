//! From what the sandbox saw to what is done about it: one exhaustive match.

use serde::{Deserialize, Serialize};

use crate::{
    limits::HANDLER_DELAY_MS_MAX,
    outcome::Outcome,
    record::{ConsumerConfig, Expired, QuarantineReason},
    time::Timestamp,
};

/// The wait before the next attempt.
///
/// With jitter a share of the wait between nothing and all is taken, so that failures of one moment spread out ("full
/// jitter", Brooker, AWS Architecture Blog, 2015).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Backoff {
    /// `initial_ms`, multiplied by `factor` each further time, up to `cap_ms`.
    Exponential {
        /// Before the second attempt, in milliseconds.
        initial_ms: u64,
        /// What each further wait is multiplied by.
        factor: u32,
        /// No wait is longer, in milliseconds.
        cap_ms: u64,
        /// Whether a random share of the wait is taken; without it waits are exact.
        jitter: bool,
    },
    /// The same each time.
    Fixed {
        /// Before each attempt but the first, in milliseconds.
        fixed_ms: u64,
        /// Whether a random share of the wait is taken.
        jitter: bool,
    },
    /// One after the other; the last one is used again when the list is over.
    List {
        /// Never none, in milliseconds.
        delays_ms: Vec<u64>,
        /// Whether a random share of the wait is taken.
        jitter: bool,
    },
}

impl Default for Backoff {
    fn default() -> Self {
        Self::Exponential { initial_ms: 100, factor: 2, cap_ms: 60_000, jitter: true }
    }
}

impl Backoff {
    /// The wait after `attempts_made` failed attempts. `identity` makes the jitter: the same delivery waits the
    /// same time in every replay, different deliveries do not.
    #[must_use]
    pub fn delay_ms(&self, attempts_made: u32, identity: u64) -> u64 {
        let earlier = attempts_made.saturating_sub(1);
        let (full, jitter) = match self {
            Self::Exponential { initial_ms, factor, cap_ms, jitter } => {
                let growth = u64::from(*factor).saturating_pow(earlier);
                (initial_ms.saturating_mul(growth).min(*cap_ms), *jitter)
            }
            Self::Fixed { fixed_ms, jitter } => (*fixed_ms, *jitter),
            Self::List { delays_ms, jitter } => {
                let at = usize::try_from(earlier).unwrap_or(usize::MAX).min(delays_ms.len().saturating_sub(1));
                (delays_ms.get(at).copied().unwrap_or_default(), *jitter)
            }
        };
        if !jitter || full == 0 {
            return full;
        }
        mix(identity ^ mix(u64::from(attempts_made))) % (full + 1)
    }

    /// The longest wait that it can say, in milliseconds.
    #[must_use]
    pub fn longest_ms(&self) -> u64 {
        match self {
            Self::Exponential { cap_ms, .. } => *cap_ms,
            Self::Fixed { fixed_ms, .. } => *fixed_ms,
            Self::List { delays_ms, .. } => delays_ms.iter().copied().max().unwrap_or_default(),
        }
    }
}

/// SplitMix64's finaliser (Steele, Lea, Flood, 2014): spreads close numbers over the whole range.
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// What is done about an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Settle it, with everything it published and stored.
    Commit,
    /// Run it again at that time.
    RetryAt {
        /// When.
        due: Timestamp,
        /// Whether the attempt that failed counts.
        burns_attempt: bool,
    },
    /// Settle it without effects: it was of no use any more.
    Drop,
    /// Give it up.
    Quarantine(QuarantineReason),
}

/// The wait before another run when the host was at fault or a queue was full, in milliseconds.
pub const HOST_FAULT_DELAY_MS: u64 = 1_000;

/// Judge an outcome. `attempts_made` counts the attempt that just ended.
#[must_use]
pub fn verdict(
    config: &ConsumerConfig,
    outcome: &Outcome,
    attempts_made: u32,
    identity: u64,
    now: Timestamp,
) -> Verdict {
    let again = |after_ms: Option<u64>| {
        if attempts_made >= config.attempts_max {
            return Verdict::Quarantine(QuarantineReason::AttemptsExhausted);
        }
        let delay_ms = after_ms.unwrap_or_else(|| config.backoff.delay_ms(attempts_made, identity));
        Verdict::RetryAt { due: now.plus_ms(delay_ms.min(HANDLER_DELAY_MS_MAX)), burns_attempt: true }
    };
    let later =
        |after_ms: u64| Verdict::RetryAt { due: now.plus_ms(after_ms.min(HANDLER_DELAY_MS_MAX)), burns_attempt: false };
    match outcome {
        Outcome::Success => Verdict::Commit,
        Outcome::Retry { after_ms, .. } => again(*after_ms),
        Outcome::Defer { after_ms } | Outcome::Throttle { after_ms } => later(*after_ms),
        Outcome::HostFault { .. } => later(HOST_FAULT_DELAY_MS),
        Outcome::Reject { .. } => Verdict::Quarantine(QuarantineReason::Rejected),
        Outcome::Expired => match config.expired {
            Expired::Drop => Verdict::Drop,
            Expired::Quarantine => Verdict::Quarantine(QuarantineReason::Expired),
        },
        Outcome::OutOfFuel { .. }
        | Outcome::OutOfMemory { .. }
        | Outcome::TimedOut { .. }
        | Outcome::StackOverflow
        | Outcome::PublishLimit { .. }
        | Outcome::StateLimit { .. }
        | Outcome::Trapped { .. }
        | Outcome::Exited { .. }
        | Outcome::Unroutable { .. }
        | Outcome::NeverFits { .. }
        | Outcome::LeaseExpired { .. }
        | Outcome::HostCrash => again(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_cap() {
        let exact = Backoff::Exponential { initial_ms: 100, factor: 2, cap_ms: 60_000, jitter: false };
        let waits: Vec<u64> = (1..=12).map(|made| exact.delay_ms(made, 7)).collect();
        assert_eq!(waits[..4], [100, 200, 400, 800]);
        assert_eq!(waits[10..], [60_000, 60_000]);
        assert_eq!(exact.delay_ms(u32::MAX, 7), 60_000);
    }

    #[test]
    fn jitter_is_repeatable_and_spreads() {
        let backoff = Backoff::default();
        let waits: Vec<u64> = (0..1_000).map(|identity| backoff.delay_ms(3, identity)).collect();
        assert!(waits.iter().all(|wait| *wait <= 400));
        assert!(waits.iter().filter(|wait| **wait < 200).count().abs_diff(500) < 100, "not spread evenly");
        assert_eq!(waits, (0..1_000).map(|identity| backoff.delay_ms(3, identity)).collect::<Vec<_>>());
    }

    #[test]
    fn lists_and_fixed_waits() {
        let list = Backoff::List { delays_ms: vec![5, 60, 10], jitter: false };
        assert_eq!((1..=5).map(|made| list.delay_ms(made, 7)).collect::<Vec<_>>(), [5, 60, 10, 10, 10]);
        let fixed = Backoff::Fixed { fixed_ms: 9, jitter: false };
        assert_eq!((1..=3).map(|made| fixed.delay_ms(made, 7)).collect::<Vec<_>>(), [9, 9, 9]);
        assert_eq!((list.longest_ms(), fixed.longest_ms()), (60, 9));
    }

    #[test]
    fn verdicts() {
        use crate::name::HandlerName;
        let config = ConsumerConfig {
            attempts_max: 3,
            backoff: Backoff::Exponential { initial_ms: 100, factor: 2, cap_ms: 60_000, jitter: false },
            ..ConsumerConfig::new(HandlerName::new("h").expect("a name"))
        };
        let now = Timestamp(1_000);
        let judge = |outcome: &Outcome, made| verdict(&config, outcome, made, 1, now);
        let trapped = Outcome::Trapped { trap: "unreachable".to_owned() };
        let exhausted = Verdict::Quarantine(QuarantineReason::AttemptsExhausted);
        assert_eq!(judge(&Outcome::Success, 1), Verdict::Commit);
        assert_eq!(judge(&trapped, 1), Verdict::RetryAt { due: Timestamp(1_100), burns_attempt: true });
        assert_eq!(judge(&trapped, 2), Verdict::RetryAt { due: Timestamp(1_200), burns_attempt: true });
        assert_eq!(judge(&trapped, 3), exhausted);
        let asked = Outcome::Retry { reason: String::new(), after_ms: Some(50) };
        assert_eq!(judge(&asked, 1), Verdict::RetryAt { due: Timestamp(1_050), burns_attempt: true });
        assert_eq!(judge(&asked, 3), exhausted);
        let defer = Outcome::Defer { after_ms: 70 };
        assert_eq!(judge(&defer, 99), Verdict::RetryAt { due: Timestamp(1_070), burns_attempt: false });
        let rejected = Outcome::Reject { reason: String::new() };
        assert_eq!(judge(&rejected, 1), Verdict::Quarantine(QuarantineReason::Rejected));
        let endless = Outcome::Defer { after_ms: u64::MAX };
        let capped = Verdict::RetryAt { due: now.plus_ms(HANDLER_DELAY_MS_MAX), burns_attempt: false };
        assert_eq!(judge(&endless, 1), capped);
    }
}

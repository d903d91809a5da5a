//! A new version of a handler that runs for a share of the keys first: which messages go to it, and when the trial is
//! over.
//!
//! Two things end a trial for the worse. One attempt is enough when the sandbox had to end it in a way in which the
//! current version did not fail, neither in this trial nor on this delivery. Otherwise failure rates are compared, of
//! first attempts only: later ones would count one bad message many times.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    fnv,
    limits::{
        CANARY_DELIVERIES_CEILING, CANARY_DELIVERIES_COMPARED_MIN, CANARY_DELIVERIES_DEFAULT,
        CANARY_DURATION_MS_DEFAULT, CANARY_DURATION_MS_MAX, CANARY_MARGIN_POINTS_DEFAULT, CANARY_SHARE_PERCENT_MAX,
    },
    message::Message,
    name::{Digest, NameError},
    outcome::{Outcome, cut_reason},
    policy::mix,
    record::AttemptRecord,
};

/// How a new version is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CanaryPolicy {
    /// How many of a hundred keys go to the new version; none means that it replaces the old one at once.
    pub share_percent: u32,
    /// It is promoted after so many deliveries of its own.
    pub deliveries: u64,
    /// It is given back when its failure rate is higher by more than this, in percentage points.
    pub margin_points: u32,
    /// It is given back when it is not decided after this, in milliseconds.
    pub duration_ms: u64,
}

impl Default for CanaryPolicy {
    fn default() -> Self {
        Self {
            share_percent: 0,
            deliveries: CANARY_DELIVERIES_DEFAULT,
            margin_points: CANARY_MARGIN_POINTS_DEFAULT,
            duration_ms: CANARY_DURATION_MS_DEFAULT,
        }
    }
}

impl CanaryPolicy {
    /// Whether every number is in its range.
    ///
    /// # Errors
    /// With the one that is not.
    pub fn check(&self) -> Result<(), NameError> {
        let ranges = [
            ("canary share", u64::from(self.share_percent), 0, u64::from(CANARY_SHARE_PERCENT_MAX), "percent"),
            ("canary deliveries", self.deliveries, 1, CANARY_DELIVERIES_CEILING, "deliveries"),
            ("canary margin", u64::from(self.margin_points), 0, 100, "percentage points"),
            ("canary duration", self.duration_ms, 1, CANARY_DURATION_MS_MAX, "ms"),
        ];
        for (what, given, least, most, unit) in ranges {
            if given < least || given > most {
                let problem = format!("must be from {least} to {most} {unit}");
                return Err(NameError::new(what, &given.to_string(), problem));
            }
        }
        Ok(())
    }
}

/// Whether a message goes to the version that is tried. All messages of a key go to the same one. `candidate` is in
/// it so that another trial picks other keys, and not always the same ones bear the risk.
#[must_use]
pub fn is_of_share(share_percent: u32, candidate: Digest, message: &Message) -> bool {
    let hash = message.key_hash().map_or_else(|| fnv::of(message.id.as_str().as_bytes()), |hash| hash.0);
    mix(hash ^ fnv::of(&candidate.0)) % 100 < u64::from(share_percent)
}

/// One of the two versions of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What ran before.
    Current,
    /// What is tried.
    Candidate,
}

/// First attempts of both versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Of the current version.
    pub current_deliveries: u64,
    /// Those of them that failed.
    pub current_failures: u64,
    /// Of the version that is tried.
    pub candidate_deliveries: u64,
    /// Those of them that failed.
    pub candidate_failures: u64,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum CanaryEnd {
    /// It was not worse.
    NotWorse,
    /// The sandbox had to end it where the current version went on.
    Trapped {
        /// How the attempt ended, for a person.
        detail: String,
    },
    /// It failed more often.
    FailedMore,
    /// Its time was over before there were enough deliveries.
    Undecided,
    /// Its component cannot run.
    Unfit {
        /// What is wrong with it.
        detail: String,
    },
    /// Another version came to be tried or loaded.
    Superseded,
    /// An operator said so.
    Operator,
}

impl CanaryEnd {
    /// Whether the version that was tried is the current one from then on, when no operator decided.
    #[must_use]
    pub const fn is_promotion(&self) -> bool {
        matches!(self, Self::NotWorse)
    }

    /// For a person.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::NotWorse => "it did not fail more often".to_owned(),
            Self::Trapped { detail } => format!("{detail}, where the current version did not"),
            Self::FailedMore => "it failed more often".to_owned(),
            Self::Undecided => "its time was over before enough deliveries came".to_owned(),
            Self::Unfit { detail } => format!("it cannot run: {detail}"),
            Self::Superseded => "another version came".to_owned(),
            Self::Operator => "an operator said so".to_owned(),
        }
    }
}

/// What is known of both versions in one trial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: Counts,
    /// How attempts of the current version were ended by the sandbox.
    current_traps: BTreeSet<&'static str>,
}

impl Tally {
    /// What was counted.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// An attempt ended. `earlier` are those of the same delivery before it. Answers how the trial ends by that.
    pub fn attempted(
        &mut self,
        side: Side,
        outcome: &Outcome,
        earlier: &[AttemptRecord],
        candidate: Digest,
    ) -> Option<CanaryEnd> {
        if !outcome.is_repeatable() {
            return None;
        }
        if side == Side::Current {
            self.current_traps.insert(outcome.name());
            return None;
        }
        let same =
            |attempt: &AttemptRecord| attempt.digest != Some(candidate) && attempt.outcome.name() == outcome.name();
        let excused = self.current_traps.contains(outcome.name()) || earlier.iter().any(same);
        (!excused).then(|| CanaryEnd::Trapped { detail: cut_reason(outcome.describe()) })
    }

    /// The first attempt of a delivery was settled. Answers how the trial ends by that.
    pub fn settled(&mut self, side: Side, failed: bool, policy: &CanaryPolicy) -> Option<CanaryEnd> {
        let counts = &mut self.counts;
        let (deliveries, failures) = match side {
            Side::Current => (&mut counts.current_deliveries, &mut counts.current_failures),
            Side::Candidate => (&mut counts.candidate_deliveries, &mut counts.candidate_failures),
        };
        *deliveries += 1;
        *failures += u64::from(failed);
        self.judge(policy)
    }

    fn judge(&self, policy: &CanaryPolicy) -> Option<CanaryEnd> {
        let counts = &self.counts;
        let is_over = counts.candidate_deliveries >= policy.deliveries;
        let compared = counts.candidate_deliveries.min(counts.current_deliveries) >= CANARY_DELIVERIES_COMPARED_MIN;
        // Before its end, as if all that is to come succeeded: then nothing can save it.
        let deliveries = counts.candidate_deliveries.max(policy.deliveries);
        if (is_over || compared) && is_worse(counts, deliveries, policy.margin_points) {
            return Some(CanaryEnd::FailedMore);
        }
        is_over.then_some(CanaryEnd::NotWorse)
    }
}

/// `failures/deliveries > current rate + margin`, without division.
fn is_worse(counts: &Counts, deliveries: u64, margin_points: u32) -> bool {
    let current = u128::from(counts.current_deliveries.max(1));
    let candidate = u128::from(deliveries.max(1));
    let failed = u128::from(counts.candidate_failures) * current * 100;
    let allowed = (u128::from(counts.current_failures) * 100 + u128::from(margin_points) * current) * candidate;
    failed > allowed
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        message::Lineage,
        name::{MessageId, MessageKey},
        time::Timestamp,
        topic::Topic,
    };

    const CANDIDATE: Digest = Digest([7; 32]);

    fn message(id: u32, key: Option<u32>) -> Message {
        Message {
            id: MessageId::new(format!("id-{id}")).expect("an id"),
            topic: Topic::new("t").expect("a topic"),
            key: key.map(|key| MessageKey::new(format!("key-{key}")).expect("a key")),
            content_type: None,
            headers: Vec::new(),
            data: Bytes::new(),
            published_at: Timestamp(0),
            expires_at: None,
            lineage: Lineage::default(),
        }
    }

    fn trap() -> Outcome {
        Outcome::Trapped { trap: "unreachable".to_owned() }
    }

    fn attempt(digest: Digest, outcome: Outcome) -> AttemptRecord {
        AttemptRecord { digest: Some(digest), ..AttemptRecord::without_sandbox(1, Timestamp(0), outcome) }
    }

    #[test]
    fn the_share_is_what_was_asked_and_keys_stay_together() {
        for share in [0_u32, 1, 10, 50, 99] {
            let taken = |key: bool| {
                let of = |n: u32| message(n, key.then_some(n));
                (0..10_000).filter(|n| is_of_share(share, CANDIDATE, &of(*n))).count()
            };
            for count in [taken(true), taken(false)] {
                let wanted = share as usize * 100;
                assert!(count.abs_diff(wanted) <= 200, "{share} %: {count} of 10000");
            }
        }
        for key in 0..100 {
            let sides: BTreeSet<bool> = (0..10).map(|id| is_of_share(50, CANDIDATE, &message(id, Some(key)))).collect();
            assert_eq!(sides.len(), 1, "key {key} is on both sides");
        }
        let moved = (0..100).filter(|key| {
            let message = message(0, Some(*key));
            is_of_share(50, CANDIDATE, &message) != is_of_share(50, Digest([8; 32]), &message)
        });
        assert!(moved.count() > 20, "another candidate gets other keys");
    }

    #[test]
    fn a_trap_ends_it_unless_the_current_version_has_the_same() {
        let mut tally = Tally::default();
        let gone_back = |tally: &mut Tally, earlier: &[AttemptRecord]| {
            tally.attempted(Side::Candidate, &trap(), earlier, CANDIDATE).is_some()
        };
        assert!(gone_back(&mut tally, &[]));
        assert!(gone_back(&mut tally, &[attempt(CANDIDATE, trap())]), "its own trap is no excuse");
        assert!(
            gone_back(&mut tally, &[attempt(Digest([1; 32]), Outcome::StackOverflow)]),
            "nor is one of another kind"
        );
        assert!(!gone_back(&mut tally, &[attempt(Digest([1; 32]), trap())]), "the message is at fault");
        let other = tally.attempted(Side::Current, &Outcome::OutOfFuel { fuel_max: 1 }, &[], CANDIDATE);
        assert_eq!(other, None);
        assert!(gone_back(&mut tally, &[]), "out of fuel excuses no trap");
        assert_eq!(tally.attempted(Side::Current, &trap(), &[], CANDIDATE), None);
        assert!(!gone_back(&mut tally, &[]));
        for outcome in [Outcome::Reject { reason: String::new() }, Outcome::TimedOut { wall_clock_ms_max: 1 }] {
            let ended = Tally::default().attempted(Side::Candidate, &outcome, &[], CANDIDATE);
            assert_eq!(ended, None, "{} is judged by its rate", outcome.name());
        }
    }

    /// Settle so many of both sides, in turn, and say after how many of the candidate it ended and how.
    fn run(policy: CanaryPolicy, current_fails: u64, candidate_fails: u64) -> (u64, Option<CanaryEnd>) {
        let mut tally = Tally::default();
        for n in 0..policy.deliveries {
            let fails = |each: u64| each > 0 && n % each == 0;
            for (side, each) in [(Side::Current, current_fails), (Side::Candidate, candidate_fails)] {
                if let Some(end) = tally.settled(side, fails(each), &policy) {
                    return (n + 1, Some(end));
                }
            }
        }
        (policy.deliveries, None)
    }

    #[test]
    fn rates_are_compared_with_a_margin() {
        let policy = CanaryPolicy { deliveries: 100, margin_points: 5, ..CanaryPolicy::default() };
        for (current, candidate, wanted) in [
            (0, 0, CanaryEnd::NotWorse),
            (0, 20, CanaryEnd::NotWorse),
            (0, 10, CanaryEnd::FailedMore),
            (10, 10, CanaryEnd::NotWorse),
            (10, 3, CanaryEnd::FailedMore),
            (1, 1, CanaryEnd::NotWorse),
            (2, 0, CanaryEnd::NotWorse),
        ] {
            let (_, end) = run(policy, current, candidate);
            assert_eq!(end, Some(wanted), "one of {current} against one of {candidate}");
        }
    }

    #[test]
    fn what_cannot_get_better_ends_early_but_not_by_one_failure() {
        let policy = CanaryPolicy { deliveries: 1_000, margin_points: 1, ..CanaryPolicy::default() };
        assert_eq!(run(policy, 0, 1), (11, Some(CanaryEnd::FailedMore)));
        let strict = CanaryPolicy { deliveries: 1_000, margin_points: 0, ..CanaryPolicy::default() };
        assert_eq!(run(strict, 0, 1), (CANARY_DELIVERIES_COMPARED_MIN, Some(CanaryEnd::FailedMore)));
        let mut tally = Tally::default();
        for _ in 0..9 {
            assert_eq!(tally.settled(Side::Candidate, true, &strict), None, "there is nothing to compare with");
        }
    }

    #[test]
    fn without_anything_to_compare_with_its_own_rate_decides() {
        let policy = CanaryPolicy { deliveries: 20, margin_points: 5, ..CanaryPolicy::default() };
        let end = |failures: u64| {
            let mut tally = Tally::default();
            (0..20).find_map(|n| tally.settled(Side::Candidate, n < failures, &policy))
        };
        assert_eq!(end(1), Some(CanaryEnd::NotWorse));
        assert_eq!(end(2), Some(CanaryEnd::FailedMore));
    }

    #[test]
    fn each_number_has_its_range() {
        let good = CanaryPolicy { share_percent: CANARY_SHARE_PERCENT_MAX, ..CanaryPolicy::default() };
        assert!(good.check().is_ok() && CanaryPolicy::default().check().is_ok());
        for bad in [
            CanaryPolicy { share_percent: CANARY_SHARE_PERCENT_MAX + 1, ..good },
            CanaryPolicy { deliveries: 0, ..good },
            CanaryPolicy { deliveries: CANARY_DELIVERIES_CEILING + 1, ..good },
            CanaryPolicy { margin_points: 101, ..good },
            CanaryPolicy { duration_ms: 0, ..good },
            CanaryPolicy { duration_ms: CANARY_DURATION_MS_MAX + 1, ..good },
        ] {
            assert!(bad.check().expect_err("out of range").to_string().contains("must be from"), "{bad:?}");
        }
    }
}

//! Whether most of a consumer's last deliveries fail in the same way: then the fault is not in the messages, and going
//! on would only empty the queue into quarantine.

use std::collections::VecDeque;

use crate::{consumer_config::StormPolicy, limits::STORM_PROBE_MS_MAX, name::Sequence, time::Timestamp};

#[derive(Clone, Debug, Default)]
pub(super) struct Storm {
    /// How the last deliveries ended, each once; none is success.
    last: VecDeque<(Sequence, Option<String>)>,
    probe: Option<Probe>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    at: Timestamp,
    wait_ms: u64,
}

impl Storm {
    /// Note how an attempt ended. Answers with the fingerprint when the policy says that this is a storm.
    pub(super) fn note(
        &mut self,
        policy: StormPolicy,
        sequence: Sequence,
        fingerprint: Option<String>,
    ) -> Option<String> {
        let looked_at = policy.deliveries as usize;
        if looked_at == 0 {
            return None;
        }
        if fingerprint.is_some() {
            self.last.retain(|(at, _)| *at != sequence);
        }
        self.last.push_back((sequence, fingerprint));
        while self.last.len() > looked_at {
            self.last.pop_front();
        }
        let newest = self.last.back()?.1.clone()?;
        let same = self.last.iter().filter(|(_, ended)| ended.as_ref() == Some(&newest)).count();
        let wanted = (looked_at * policy.percent as usize).div_ceil(100).max(1);
        (self.last.len() == looked_at && same >= wanted).then_some(newest)
    }

    /// The consumer is paused: the first probe comes after the policy's wait.
    pub(super) fn begin(&mut self, policy: StormPolicy, now: Timestamp) {
        self.probe = Some(Probe { at: now.plus_ms(policy.probe_ms), wait_ms: policy.probe_ms });
    }

    /// A probe failed: the next one comes after twice the wait.
    pub(super) fn probe_failed(&mut self, policy: StormPolicy, now: Timestamp) {
        let wait_ms = self.probe.map_or(policy.probe_ms, |probe| probe.wait_ms.saturating_mul(2));
        let wait_ms = wait_ms.clamp(policy.probe_ms.min(STORM_PROBE_MS_MAX), STORM_PROBE_MS_MAX).max(1);
        self.probe = Some(Probe { at: now.plus_ms(wait_ms), wait_ms });
    }

    /// Whoever pauses or resumes the consumer, what was counted is not true any more once it goes on.
    pub(super) fn resumed(&mut self, goes_on: bool) {
        if goes_on {
            *self = Self::default();
        }
    }

    /// When one delivery may be tried. After a restart that is at once.
    pub(super) fn probe_at(&self) -> Option<Timestamp> {
        Some(self.probe.map_or(Timestamp(0), |probe| probe.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: StormPolicy = StormPolicy { deliveries: 5, percent: 80, probe_ms: 100 };

    fn notes(ends: &[(u64, &str)]) -> Vec<Option<String>> {
        let mut storm = Storm::default();
        let fingerprint = |end: &str| (!end.is_empty()).then(|| end.to_owned());
        ends.iter().map(|(at, end)| storm.note(POLICY, Sequence(*at), fingerprint(end))).collect()
    }

    #[test]
    fn four_of_five_alike_are_a_storm() {
        let told = notes(&[(1, "a"), (2, "a"), (3, ""), (4, "a"), (5, "a"), (6, "a")]);
        assert_eq!(told[..4], [None, None, None, None]);
        assert_eq!(told[4], Some("a".to_owned()));
    }

    #[test]
    fn different_failures_and_retries_of_one_delivery_are_none() {
        assert!(notes(&[(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "b"), (6, "c")]).iter().all(Option::is_none));
        assert!(notes(&[(7, "a"); 20]).iter().all(Option::is_none), "one message is no storm");
    }

    #[test]
    fn probes_come_less_often() {
        let mut storm = Storm::default();
        storm.begin(POLICY, Timestamp(0));
        assert_eq!(storm.probe_at(), Some(Timestamp(100)));
        let mut now = Timestamp(0);
        let waits: Vec<u64> = (0..15)
            .map(|_| {
                storm.probe_failed(POLICY, now);
                let wait = storm.probe_at().expect("there is a probe").ms_since(now);
                now = now.plus_ms(wait);
                wait
            })
            .collect();
        assert_eq!(waits[..3], [200, 400, 800]);
        assert_eq!(waits[14], STORM_PROBE_MS_MAX);
    }
}

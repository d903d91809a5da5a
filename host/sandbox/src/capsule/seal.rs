//! From what was taken down to the capsule of a failed attempt.

use bytes::Bytes;
use wasmill_delivery::outcome::Outcome;

use super::{Capsule, WASMTIME_VERSION, engine_settings, mask::Mask, recorder::Calls};
use crate::{
    attempt::{Delivery, HandlerContext},
    limits::CAPSULE_BYTES_MAX,
};
use wasmill_delivery::name::Digest;

/// Make the capsule of an attempt, if it is one that can come into quarantine.
pub(crate) fn seal(
    context: &HandlerContext,
    (delivery, digest, fresh): (&Delivery, Digest, bool),
    outcome: &Outcome,
    calls: Calls,
) -> Option<Bytes> {
    if never_rests_in_quarantine(outcome) {
        return None;
    }
    let mut capsule = Capsule {
        wasmtime: WASMTIME_VERSION.to_owned(),
        engine: engine_settings(),
        handler: context.handler.clone(),
        digest,
        limits: context.limits,
        config: context.config.clone(),
        secrets: Mask::lengths(&context.secrets),
        grants: (*context.grants).clone(),
        data_bytes_max: context.data_bytes_max as u64,
        queue: delivery.queue.clone(),
        consumer: delivery.consumer.clone(),
        sequence: delivery.sequence,
        attempt: delivery.attempt,
        attempts_max: delivery.attempts_max,
        fresh,
        calls,
        left_out: Vec::new(),
    };
    capsule.mask(&Mask::new(&context.secrets));
    Some(capsule.into_bytes_within(CAPSULE_BYTES_MAX))
}

const fn never_rests_in_quarantine(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Success | Outcome::Defer { .. } | Outcome::Throttle { .. } | Outcome::HostFault { .. })
}

impl Capsule {
    fn mask(&mut self, mask: &Mask) {
        if mask.is_empty() {
            return;
        }
        self.config.values_mut().for_each(|value| mask.text(value));
        for read in &mut self.calls.state {
            mask.text(&mut read.key);
            if let Some(value) = &mut read.value {
                mask.bytes(value);
            }
        }
        for read in &mut self.calls.keys {
            mask.text(&mut read.prefix);
            if let Some(after) = &mut read.after {
                mask.text(after);
            }
            read.keys.iter_mut().for_each(|key| mask.text(key));
        }
        self.calls.http.iter_mut().for_each(|exchange| exchange.mask(mask));
    }

    /// What the calls leave room for is not enough for some configurations. The grants go first: they are looked at
    /// only for requests, and those that were allowed are in the capsule.
    fn into_bytes_within(mut self, bytes_max: usize) -> Bytes {
        let bytes = self.to_bytes();
        if bytes.len() <= bytes_max {
            return bytes;
        }
        self.grants = wasmill_delivery::record::Grants::default();
        self.left_out.push("grants".to_owned());
        let bytes = self.to_bytes();
        if bytes.len() <= bytes_max {
            return bytes;
        }
        self.config.clear();
        self.left_out.push("config".to_owned());
        self.to_bytes()
    }
}

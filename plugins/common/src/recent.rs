//! Memory that forgets: a time for each of many hashes, in state that cannot grow without end.
//!
//! A hash has its place in one of [`SLOTS`] values of state. Each access drops what is over in that value, and a value has room
//! for [`PER_SLOT_MAX`] hashes, the oldest of which makes room. So nothing has to sweep, no keys are listed (which would conflict
//! with every other delivery), and two deliveries conflict only when their hashes are in one slot.

use wasmill::{Result, State, StateError};

/// How many values of state there are at most.
pub(crate) const SLOTS: u128 = 16_384;
/// How many hashes one of them holds: 2,097,152 in all. At a million that are spread as hashes are, none is full.
pub(crate) const PER_SLOT_MAX: usize = 128;
/// A hash and its time.
const ENTRY_BYTES: usize = 24;

/// The hashes that share a place with one hash, read from state.
#[derive(Debug)]
pub struct Recent {
    place: String,
    hash: u128,
    entries: Vec<(u128, u64)>,
}

impl Recent {
    /// Look the hash up. Times are the caller's: what is not after `now` is over and forgotten.
    ///
    /// # Errors
    /// When state cannot be read.
    pub fn look_up(state: &State<'_>, hash: u128, now: u64) -> Result<Self, StateError> {
        let place = format!("recent/{:04x}", hash % SLOTS);
        let stored = state.get(&place)?.unwrap_or_default();
        let entries = stored.chunks_exact(ENTRY_BYTES).filter_map(entry).filter(|(_, until)| *until > now).collect();
        Ok(Self { place, hash, entries })
    }

    /// The time that was kept for the hash, if it is not over.
    #[must_use]
    pub fn until(&self) -> Option<u64> {
        self.entries.iter().find(|(hash, _)| *hash == self.hash).map(|(_, until)| *until)
    }

    /// Keep the hash until then.
    ///
    /// # Errors
    /// When state cannot be written.
    pub fn keep(mut self, state: &State<'_>, until: u64) -> Result<(), StateError> {
        self.entries.retain(|(hash, _)| *hash != self.hash);
        self.entries.push((self.hash, until));
        let over = self.entries.len().saturating_sub(PER_SLOT_MAX);
        let entries = self.entries.iter().skip(over);
        let bytes: Vec<u8> =
            entries.flat_map(|(hash, until)| hash.to_le_bytes().into_iter().chain(until.to_le_bytes())).collect();
        state.set(&self.place, &bytes)
    }
}

fn entry(bytes: &[u8]) -> Option<(u128, u64)> {
    let (hash, until) = bytes.split_at_checked(16)?;
    Some((u128::from_le_bytes(hash.try_into().ok()?), u64::from_le_bytes(until.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use wasmill::Context;

    use super::*;

    fn keep(ctx: &Context, hash: u128, now: u64, until: u64) {
        Recent::look_up(&ctx.state(), hash, now).and_then(|recent| recent.keep(&ctx.state(), until)).expect("state");
    }

    fn until(ctx: &Context, hash: u128, now: u64) -> Option<u64> {
        Recent::look_up(&ctx.state(), hash, now).expect("state").until()
    }

    #[test]
    fn a_hash_is_known_until_its_time_is_over() {
        let ctx = Context::for_test();
        assert_eq!(until(&ctx, 7, 0), None);
        keep(&ctx, 7, 0, 100);
        assert_eq!((until(&ctx, 7, 99), until(&ctx, 7, 100), until(&ctx, 8, 0)), (Some(100), None, None));
        keep(&ctx, 7, 50, 200);
        assert_eq!(until(&ctx, 7, 100), Some(200), "the later word counts");
    }

    #[test]
    fn what_is_over_leaves_the_state() {
        let ctx = Context::for_test();
        keep(&ctx, 1, 0, 10);
        keep(&ctx, 1 + SLOTS, 20, 30);
        let stored = ctx.state().get("recent/0001").expect("state").expect("the slot of both");
        assert_eq!(stored.len(), ENTRY_BYTES);
    }

    #[test]
    fn a_full_slot_forgets_its_oldest() {
        let ctx = Context::for_test();
        let in_one_slot = |n: usize| 5 + SLOTS * n as u128;
        for n in 0..=PER_SLOT_MAX {
            keep(&ctx, in_one_slot(n), 0, 10);
        }
        assert_eq!(until(&ctx, in_one_slot(0), 0), None, "the oldest made room");
        assert!((1..=PER_SLOT_MAX).all(|n| until(&ctx, in_one_slot(n), 0) == Some(10)));
        let stored = ctx.state().get("recent/0005").expect("state").expect("the slot");
        assert_eq!(stored.len(), PER_SLOT_MAX * ENTRY_BYTES);
    }
}

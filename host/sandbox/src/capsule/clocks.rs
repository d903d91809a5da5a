//! Clocks and random numbers that can be played back.
//!
//! Random numbers are made by a generator (ChaCha with 12 rounds, which is what the standard generator of the rand crate
//! is too) with a seed of its own for each attempt, drawn when the attempt first asks. So 32 bytes stand for all of
//! them, and a candidate that asks for more than was recorded gets more of the same.

use std::{convert::Infallible, sync::Arc, time::Duration};

use chacha20::{
    ChaCha12Rng,
    rand_core::{SeedableRng as _, TryRng},
};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use wasmtime_wasi::clocks::{self, HostMonotonicClock, HostWallClock};

use super::Tape;
use crate::simulation::Simulation;

/// Which interface of WASI asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// `wasi:random/random`.
    Secure,
    /// `wasi:random/insecure`.
    Insecure,
}

/// What the random numbers of an attempt are made from.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seeds {
    /// What `insecure-seed` answers, which is the same for the life of an instance.
    instance: [u8; 16],
    secure: Option<[u8; 32]>,
    insecure: Option<[u8; 32]>,
    #[serde(skip)]
    generators: [Option<ChaCha12Rng>; 2],
    /// What draws them, in a test.
    #[serde(skip)]
    simulation: Option<Arc<Simulation>>,
}

/// What is known of them, without how far the generators are.
impl Clone for Seeds {
    fn clone(&self) -> Self {
        Self { instance: self.instance, secure: self.secure, insecure: self.insecure, ..Self::default() }
    }
}

impl PartialEq for Seeds {
    fn eq(&self, other: &Self) -> bool {
        (self.instance, self.secure, self.insecure) == (other.instance, other.secure, other.insecure)
    }
}

impl Seeds {
    pub(super) fn of_instance(simulation: Option<Arc<Simulation>>) -> Self {
        Self { instance: drawn(simulation.as_deref()), simulation, ..Self::default() }
    }

    pub(super) fn begin_attempt(&mut self) {
        *self = Self { instance: self.instance, simulation: self.simulation.take(), ..Self::default() };
    }

    pub(crate) const fn instance(&self) -> u128 {
        u128::from_le_bytes(self.instance)
    }

    fn fill(&mut self, security: Security, bytes: &mut [u8]) {
        let Self { secure, insecure, generators, simulation, .. } = self;
        let (seed, at) = match security {
            Security::Secure => (secure, 0),
            Security::Insecure => (insecure, 1),
        };
        let seed = seed.get_or_insert_with(|| drawn(simulation.as_deref()));
        let generator = generators[at].get_or_insert_with(|| ChaCha12Rng::from_seed(*seed));
        let Ok(()) = generator.try_fill_bytes(bytes);
    }
}

fn drawn<const BYTES: usize>(simulation: Option<&Simulation>) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    match simulation {
        None => rand::rng().fill_bytes(&mut bytes),
        Some(simulation) => simulation.draw(&mut bytes),
    }
    bytes
}

/// The random numbers of one interface.
pub(crate) struct RandomNumbers(pub(crate) Tape, pub(crate) Security);

impl TryRng for RandomNumbers {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.with_seeds(|seeds| seeds.fill(self.1, bytes));
        Ok(())
    }
}

/// The time of day.
pub(crate) struct WallClock(pub(crate) Tape);

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        match &self.0 {
            Tape::Playing(player) => Duration::from_nanos(player.wall_clock_ns()),
            Tape::Recording(_) => {
                let clock = self.0.simulation().map(|simulation| simulation.clock());
                let now = clock.map_or_else(|| clocks::WallClock::new().now(), |clock| clock.since_1970());
                self.0.note(|recorder| recorder.wall_clock(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)));
                now
            }
        }
    }
}

/// Time that passes.
pub(crate) struct MonotonicClock {
    tape: Tape,
    clock: clocks::MonotonicClock,
}

impl MonotonicClock {
    pub(crate) fn new(tape: Tape) -> Self {
        Self { tape, clock: clocks::MonotonicClock::new() }
    }
}

impl HostMonotonicClock for MonotonicClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        match &self.tape {
            Tape::Playing(player) => player.monotonic_ns(),
            Tape::Recording(_) => {
                let simulation = self.tape.simulation();
                let now_ns = simulation.map_or_else(|| self.clock.now(), |simulation| simulation.monotonic_ns());
                self.tape.note(|recorder| recorder.monotonic(now_ns));
                now_ns
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_stand_for_all_numbers_of_an_attempt() {
        let mut seeds = Seeds::of_instance(None);
        let draw = |seeds: &mut Seeds, security| {
            let mut bytes = [0; 100];
            seeds.fill(security, &mut bytes[..7]);
            seeds.fill(security, &mut bytes[7..]);
            bytes
        };
        let first = [draw(&mut seeds, Security::Secure), draw(&mut seeds, Security::Insecure)];
        assert_ne!(first[0], first[1]);
        let bytes = rmp_serde::to_vec_named(&seeds).expect("plain");
        let mut again: Seeds = rmp_serde::from_slice(&bytes).expect("what was written");
        assert_eq!([draw(&mut again, Security::Secure), draw(&mut again, Security::Insecure)], first);
        assert_eq!(again.instance(), seeds.instance());
        seeds.begin_attempt();
        assert_ne!(draw(&mut seeds, Security::Secure), first[0], "each attempt draws its own");
        assert_eq!(again.instance(), seeds.instance(), "and the instance keeps its own");
    }
}

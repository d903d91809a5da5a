//! How much of the machine long calls take while others want it.
//!
//! A low priority decides who goes first, not how much the others suffer: beside threads that compute all the time, even
//! of the lowest priority there is, a host on two cores did 60 % of what it did alone, because it waits more than it
//! computes and finds a busy, cold processor each time. So long calls rest: the more of the machine the rest of the
//! process uses, the longer. Alone they have all of it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// How often it is looked at what the others use.
const WINDOW: Duration = Duration::from_millis(5);
/// What is left to long calls is what there is without so many times what the others use: those use less the more
/// they are disturbed, and this must see that they would use more.
const OTHERS_WEIGHT: f64 = 3.0;
/// What long calls have of the machine at least, as a part of it.
const SHARE_MIN: f64 = 0.05;
/// What is remembered of the others' use from one window to the next, so that a pause of a moment is not taken for rest.
const KEPT: f64 = 0.8;
/// A long rest is taken in parts, and ends when nobody else wants the machine any more.
const REST_PART: Duration = Duration::from_millis(5);
/// The longest rest after one stretch, which may have been one costly instruction.
const REST_MAX: Duration = Duration::from_secs(1);
/// A rest that is shorter is not worth going to sleep for.
const REST_MIN: Duration = Duration::from_micros(20);

/// What the threads of the slow lane share.
pub(crate) struct Share {
    threads: f64,
    cores: f64,
    computed_ns: AtomicU64,
    /// The part of its time that a thread may compute, as the bits of a number up to 1.
    duty: AtomicU64,
    window: Mutex<Window>,
}

struct Window {
    began: Instant,
    process: Duration,
    computed_ns: u64,
    others: f64,
}

impl Share {
    pub(crate) fn new(threads: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let window = Window { began: Instant::now(), process: process_time(), computed_ns: 0, others: 0.0 };
        Self {
            threads: threads as f64,
            cores: cores as f64,
            computed_ns: AtomicU64::new(0),
            duty: AtomicU64::new(1.0_f64.to_bits()),
            window: Mutex::new(window),
        }
    }

    /// Count what a thread has computed, and say how long it is to rest.
    pub(crate) fn rest_after(&self, computed: Duration) -> Duration {
        let ns = u64::try_from(computed.as_nanos()).unwrap_or(u64::MAX);
        let computed_ns = self.computed_ns.fetch_add(ns, Ordering::Relaxed).saturating_add(ns);
        if let Ok(mut window) = self.window.try_lock()
            && window.began.elapsed() >= WINDOW
        {
            self.look(&mut window, computed_ns);
        }
        let duty = self.duty();
        let rest = computed.mul_f64(1.0 / duty - 1.0).min(REST_MAX);
        if rest < REST_MIN { Duration::ZERO } else { rest }
    }

    /// Leave the processor to others for so long, as far as they want it.
    pub(crate) fn rest(&self, rest: Duration) {
        let mut left = rest;
        while !left.is_zero() {
            std::thread::sleep(left.min(REST_PART));
            left = left.saturating_sub(REST_PART);
            // It looks again at what the others use.
            self.rest_after(Duration::ZERO);
            if self.duty() >= 1.0 {
                return;
            }
        }
    }

    fn duty(&self) -> f64 {
        f64::from_bits(self.duty.load(Ordering::Relaxed))
    }

    fn look(&self, window: &mut Window, computed_ns: u64) {
        let (now, process) = (Instant::now(), process_time());
        let passed = (now - window.began).as_secs_f64();
        let used = process.saturating_sub(window.process).as_secs_f64();
        let ours = Duration::from_nanos(computed_ns.saturating_sub(window.computed_ns)).as_secs_f64();
        let others = ((used - ours) / passed).clamp(0.0, self.cores).max(window.others * KEPT);
        *window = Window { began: now, process, computed_ns, others };
        self.duty.store(duty(self.cores, self.threads, others).to_bits(), Ordering::Relaxed);
    }
}

/// The part of its time that each of so many threads may compute while others use so many cores.
fn duty(cores: f64, threads: f64, others: f64) -> f64 {
    let left = (cores - OTHERS_WEIGHT * others).max(cores * SHARE_MIN);
    (left / threads).clamp(0.001, 1.0)
}

/// The processor time of this thread.
pub(crate) fn thread_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

fn process_time() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_they_have_the_machine_and_beside_others_a_part_of_it() {
        for (cores, threads, others, expected) in [
            (2.0, 2.0, 0.0, 1.0),
            (2.0, 2.0, 0.1, 0.85),
            (2.0, 2.0, 1.5, 0.05),
            (8.0, 4.0, 0.5, 1.0),
            (1.0, 1.0, 9.0, 0.05),
        ] {
            let found = duty(cores, threads, others);
            assert!((found - expected).abs() < 1e-9, "{cores} cores, {threads} threads, {others}: {found}");
        }
    }

    #[test]
    fn who_computes_beside_nobody_does_not_rest() {
        let share = Share::new(1);
        assert_eq!(share.rest_after(Duration::from_micros(100)), Duration::ZERO);
    }

    #[test]
    fn who_computes_beside_a_busy_process_rests() {
        let share = Share::new(std::thread::available_parallelism().map_or(1, usize::from));
        let mut window = share.window.lock().expect("nobody panicked");
        // All that the process used in this window was used by others.
        window.began = Instant::now().checked_sub(Duration::from_millis(10)).expect("later than that");
        window.others = share.cores;
        share.look(&mut window, 0);
        drop(window);
        let rest = share.rest_after(Duration::from_micros(100));
        assert!(rest > Duration::from_micros(300), "{rest:?}");
    }
}

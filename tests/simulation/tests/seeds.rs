//! A thousand worlds, and proof that things happened in them.

use wasmill_simulation::{Plan, STEPS_DEFAULT, auditor::Counts, simulate};

const SEEDS: u64 = 1_200;

/// What the auditor must have seen, or the simulation checks less than its README says.
const MUST_HAPPEN: [(&str, u64); 40] = [
    ("attempts-exhausted", 100),
    ("committed before the drain", 5_000),
    ("committed with messages", 100),
    ("conflict", 100),
    ("conflict: run broken", 100),
    ("consumer declared", 1_000),
    ("consumer removed", 50),
    ("crash", 1_000),
    ("crash: clock set back", 100),
    ("crash: commit durable, nothing answered", 300),
    ("crash: commit refused", 100),
    ("deferred", 300),
    ("fenced off by a new handler", 10),
    ("handler declared", 1_000),
    ("handler removed", 10),
    ("lease cancelled", 300),
    ("lease ended", 300),
    ("lease void", 5),
    ("leased", 10_000),
    ("leased again", 1_000),
    ("leases for nobody", 3),
    ("loop", 50),
    ("order refused", 1_000),
    ("paused", 100),
    ("publish duplicate", 500),
    ("publish refused: full", 500),
    ("publish unroutable", 500),
    ("published", 5_000),
    ("published to several queues", 1_000),
    ("purged", 100),
    ("quarantine full", 10),
    ("queue declared", 1_000),
    ("queue removed", 50),
    ("redriven", 100),
    ("rejected", 50),
    ("resumed", 1_000),
    ("retry", 500),
    ("returned", 1_000),
    ("settle refused: queue full", 50),
    ("settle stale", 500),
];

#[test]
fn the_engine_holds_under_many_seeds() {
    let mut counts = Counts::new();
    for seed in 1..=SEEDS {
        match simulate(&Plan::of_seed(seed)) {
            Ok(summary) => summary.counts.into_iter().for_each(|(what, more)| *counts.entry(what).or_default() += more),
            Err(failure) => panic!("{failure}"),
        }
    }
    let rare = MUST_HAPPEN.iter().filter(|(what, least)| counts.get(what).is_none_or(|count| count < least));
    let rare: Vec<_> = rare.collect();
    assert!(rare.is_empty(), "too rare to be checked: {rare:?} of {counts:?}");
}

#[test]
fn the_engine_holds_for_long() {
    for seed in 1..=20 {
        if let Err(failure) = simulate(&Plan { steps: 6_000, ..Plan::of_seed(1_000_000 + seed) }) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_seed_repeats_itself() {
    let first = simulate(&Plan::of_seed(42)).expect("seed 42 holds");
    let again = simulate(&Plan::of_seed(42)).expect("seed 42 holds");
    assert_eq!((first.ticks, &first.counts), (again.ticks, &again.counts));
    let other = simulate(&Plan { steps: STEPS_DEFAULT / 2, ..Plan::of_seed(43) }).expect("seed 43 holds");
    assert_ne!(first.counts, other.counts);
}

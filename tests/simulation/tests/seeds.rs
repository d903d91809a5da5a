//! Ten thousand worlds, and proof that things happened in them.

use wasmill_simulation::{Plan, STEPS_DEFAULT, auditor::Counts, simulate};

const SEEDS: u64 = 10_000;

/// What the auditor must have seen, or the simulation checks less than ARCHITECTURE.md says.
const MUST_HAPPEN: [(&str, u64); 94] = [
    ("attempts-exhausted", 1_000),
    ("callback put", 1_000),
    ("callback waits for room", 1_000),
    ("cancelled before it ran", 1_000),
    ("cancelled while it ran", 100),
    ("committed before the drain", 20_000),
    ("committed with messages", 1_000),
    ("conflict", 1_000),
    ("conflict: run broken", 1_000),
    ("consumer declared", 10_000),
    ("consumer removed", 500),
    ("crash", 10_000),
    ("crash: clock set back", 1_000),
    ("crash: commit durable, nothing answered", 1_000),
    ("crash: commit refused", 1_000),
    ("deferred", 3_000),
    ("delayed", 10_000),
    ("delayed and published", 10_000),
    ("delayed cancelled", 500),
    ("delayed job cancelled", 200),
    ("delayed job started", 1_000),
    ("delayed job without a consumer", 50),
    ("delayed once more", 1_000),
    ("deterministic", 3),
    ("dropped the oldest", 1_000),
    ("expired", 500),
    ("imported", 300),
    ("failed in a storm", 100),
    ("fenced off by a new handler", 10),
    ("fenced off by a new order", 100),
    ("group committed", 1_000),
    ("group in conflict", 100),
    ("group refused", 1_000),
    ("group to be run alone", 50),
    ("group without room", 25),
    ("handler declared", 10_000),
    ("handler removed", 100),
    ("host crash counted", 1_000),
    ("host crash told", 1_000),
    ("job cancelled", 1_000),
    ("job done", 5_000),
    ("job expired", 50),
    ("job forgotten", 3_000),
    ("job forgotten for its result", 30),
    ("job known already", 100),
    ("job lost a delivery", 1_000),
    ("job made room for another", 1_000),
    ("job quarantined", 200),
    ("job redriven", 300),
    ("job result", 100),
    ("job result too large", 50),
    ("job submitted", 10_000),
    ("lease cancelled", 3_000),
    ("lease ended", 3_000),
    ("lease void", 50),
    ("leased", 100_000),
    ("leased again", 10_000),
    ("leased as a run", 10_000),
    ("leased by priority", 10_000),
    ("leases for nobody", 30),
    ("less urgent in turn", 100),
    ("loop", 500),
    ("order refused", 10_000),
    ("parked behind its key", 1_000),
    ("paused", 1_000),
    ("paused behind poison", 500),
    ("publish dropped: unroutable", 1_000),
    ("publish duplicate", 5_000),
    ("publish refused: full", 5_000),
    ("publish refused: never fits", 500),
    ("publish refused: too many delayed", 500),
    ("publish unroutable", 5_000),
    ("published", 50_000),
    ("published to several queues", 10_000),
    ("purged", 1_000),
    ("quarantine full", 100),
    ("queue declared", 10_000),
    ("queue removed", 500),
    ("redriven", 1_000),
    ("rejected", 500),
    ("rested", 300),
    ("resumed", 10_000),
    ("retry", 5_000),
    ("returned", 10_000),
    ("schedule fired", 300),
    ("settle out of order", 1_000),
    ("settle refused: queue full", 500),
    ("settle refused: too many delayed", 30),
    ("settle stale", 5_000),
    ("storm began", 20),
    ("storm ended", 50),
    ("suspect ran alone", 10_000),
    ("throttled", 500),
    ("too many jobs", 1_000),
];

#[test]
fn the_engine_holds_under_many_seeds() {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let counts = std::thread::scope(|scope| {
        let shares = (0..threads).map(|share| scope.spawn(move || hold(share + 1, threads)));
        let shares: Vec<_> = shares.collect();
        let mut counts = Counts::new();
        for share in shares {
            let seen = share.join().expect("a share of the seeds does not hold; see above");
            seen.into_iter().for_each(|(what, more)| *counts.entry(what).or_default() += more);
        }
        counts
    });
    let rare = MUST_HAPPEN.iter().filter(|(what, least)| counts.get(what).is_none_or(|count| count < least));
    let rare: Vec<_> = rare.collect();
    assert!(rare.is_empty(), "too rare to be checked: {rare:?} of {counts:?}");
}

/// Every `step`th seed.
fn hold(first: u64, step: u64) -> Counts {
    let mut counts = Counts::new();
    let mut seed = first;
    while seed <= SEEDS {
        match simulate(&Plan::of_seed(seed)) {
            Ok(summary) => summary.counts.into_iter().for_each(|(what, more)| *counts.entry(what).or_default() += more),
            Err(failure) => panic!("{failure}"),
        }
        seed += step;
    }
    counts
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

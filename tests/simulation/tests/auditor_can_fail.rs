//! An auditor that is never unhappy proves nothing: each thing that is broken on purpose must be found, and the
//! report must say what is wrong and how to repeat it.

use wasmill_simulation::{Failure, Plan, sabotage::Sabotage, simulate};

/// Every sabotage is found within so many seeds.
const SEEDS: u64 = 3_000;

fn first_failure(sabotage: Sabotage) -> Failure {
    let plans = (1..=SEEDS).map(|seed| Plan { sabotage, ..Plan::of_seed(seed) });
    let failure = plans.filter_map(|plan| simulate(&plan).err()).next();
    *failure.unwrap_or_else(|| panic!("{sabotage:?} is not found in {SEEDS} seeds"))
}

fn check(sabotage: Sabotage, words: &[&str]) {
    let failure = first_failure(sabotage);
    let Failure { plan, problem, .. } = &failure;
    assert!(words.iter().any(|words| problem.contains(words)), "{sabotage:?} is found as: {failure}");
    let report = failure.to_string();
    assert!(report.contains(&format!("--seed {} --steps {}", plan.seed, plan.steps)), "{report}");
    assert!(simulate(plan).is_err(), "the report does not repeat it: {report}");
    let sound = Plan { sabotage: Sabotage::None, ..*plan };
    assert!(simulate(&sound).is_ok(), "it fails without the sabotage too: {report}");
}

#[test]
fn a_disk_that_loses_writes_is_found() {
    for (lost, words) in [
        ("Append", &["the log ends at", "on disk at", "its log ends at"][..]),
        ("PutCursor", &["settled is", "no cursor", "leased to", "and unsettled in the log", "goes back", "Trim of"]),
        ("PutPending", &["pending on disk", "which is not there", "settled is", "which is settled"]),
        ("DeletePending", &["must not be pending", "is the same delivery"]),
        ("PutDelayed", &["delayed are"]),
        ("DeleteDelayed", &["delayed are", "is the same message"]),
        ("PutRunning", &["suspects", "ran alone", "runs alone"]),
        ("DeleteRunning", &["which is settled", "is gone and", "suspects"]),
        ("PutQuarantine", &["rest in quarantine"]),
        ("DeleteQuarantine", &["rest in quarantine"]),
        ("PutState", &["state in commit order", "which holds"]),
        ("DeleteState", &["state in commit order"]),
        ("AddState", &["state in commit order"]),
        ("PutDedup", &["is not known"]),
        ("PutQueue", &["queues are", "not there"]),
        ("DeleteQueue", &["queues are"]),
        ("PutConsumer", &["consumers are", "not there"]),
        ("DeleteConsumer", &["consumers are", "is deleted under"]),
        ("PutHandler", &["handlers are", "without its handler"]),
        ("DeleteHandler", &["handlers are"]),
        ("PutSchedule", &["schedules are"]),
        ("DeleteSchedule", &["schedules are"]),
        ("PutJob", &["job"]),
        ("PutJobResult", &["result"]),
        ("DeleteJob", &["jobs are"]),
        (
            "PutCounters",
            &["is the same message", "delayed are", "fence from before", "used again", "used before", "go back"],
        ),
    ] {
        check(Sabotage::DiskLoses(lost), words);
    }
}

#[test]
fn a_torn_commit_is_found() {
    check(
        Sabotage::DiskTearsCommits,
        &["on disk", "differ", "no cursor", "used again", "unsettled in the log", "pending"],
    );
}

#[test]
fn deliveries_out_of_order_are_found() {
    check(Sabotage::RunsReversed, &["which is not settled", "but the answer is StaleFence"]);
}

#[test]
fn a_group_that_commits_in_part_is_found() {
    check(Sabotage::GroupsTorn, &["of a group"]);
}

#[test]
fn a_crash_that_nobody_is_told_of_is_found() {
    check(Sabotage::CrashesUntold, &["ran alone"]);
}

#[test]
fn one_queue_of_two_forgotten_is_found() {
    check(Sabotage::QueueForgotten, &["on disk at", "its log ends at", "the log ends at"]);
}

#[test]
fn effects_before_their_commit_are_found() {
    let failure = first_failure(Sabotage::EffectsBeforeCommit);
    assert!(
        ["on disk", "differ", "(due, attempts, evidence)", "fence from before"]
            .iter()
            .any(|words| failure.problem.contains(words)),
        "{failure}"
    );
}

#[test]
fn lost_updates_are_found() {
    check(Sabotage::WorkersHideReads, &["and commits when it is"]);
    check(Sabotage::WorkersReadLater, &["and commits when", "adds to", "which holds"]);
}

#[test]
fn answers_that_are_lost_are_found() {
    check(Sabotage::AnswersLost, &["no answer to", "is answered", "got", "must end", "while", "not", "shown"]);
    check(Sabotage::LeasesLost, &["waits for deliveries while", "shown"]);
}

#[test]
fn leases_that_are_wrong_are_found() {
    check(Sabotage::LeasedTwice, &["while it is leased", "are allowed"]);
    check(Sabotage::AttemptsMiscounted, &["is next"]);
}

//! A hundred kills in every run of the tests; `cargo xtask crash --kills N` for more.

use std::path::Path;

use crash::parent::Plan;

#[test]
fn a_hundred_kills_lose_nothing_and_double_nothing() {
    let program = Path::new(env!("CARGO_BIN_EXE_crash"));
    let report = crash::parent::run(program, &Plan::of_kills(100)).unwrap_or_else(|error| panic!("seed 1: {error:#}"));
    assert!(report.starts_with("100 kills"), "{report}");
}

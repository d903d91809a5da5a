//! Settings as people write them: values with units and ranges, handlers' limits, consumers, and what is wrong where.
//!
//! A host's configuration and the cases of tests say the same things; both read them here. This crate must not know of
//! anything that runs.

pub mod consumer;
pub mod forms;
pub mod limits;
mod problem;
pub mod value;

pub use problem::{Wrong, nearest};

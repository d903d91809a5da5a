//! What the tests of the sandbox share: guests in the text format, and a host around them.
// Each test file uses its own part of it, and what cannot be set up fails the test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod guest;
pub mod host;

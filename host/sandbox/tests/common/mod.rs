//! What the tests of the sandbox share: guests in the text format, and a host around them.
#![allow(dead_code, unreachable_pub)] // Each test file uses its own part of it.

pub mod guest;
pub mod host;

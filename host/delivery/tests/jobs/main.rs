//! Jobs: what their status says through all that can become of a message, and each of their limits.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind and passes over all others")]

mod cancel;
mod life;
mod limits;
mod world;

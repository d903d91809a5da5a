//! A child process publishes numbers and has a handler work on them; it is killed with SIGKILL at random instants, and
//! started again on the same store. At the end the store is audited: every publish that was answered was handled,
//! every effect is there exactly once, and nothing else is.
//!
//! The child is this same program, started again ([`child`]); the parent ([`parent`]) kills it and reads what it says.

mod audit;
pub mod child;
pub mod parent;
mod work;

//! What is behind a [`Context`](crate::Context): the host, or natively a stand-in in memory. Both have the same
//! functions, in the words of the contract, so that everything above them is the same code in both worlds.

#[cfg(target_family = "wasm")]
mod imports;
#[cfg(not(target_family = "wasm"))]
mod memory;

#[cfg(target_family = "wasm")]
pub(crate) use imports::Host;
#[cfg(not(target_family = "wasm"))]
pub(crate) use memory::Host;

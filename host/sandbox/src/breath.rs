//! Functions of the host that do much for a guest that pays little.
//!
//! A guest lets others run when it has used up some fuel, and what the host does for it costs no fuel. A guest that has the
//! host do one costly thing after the other would hold its thread for seconds before that. So these functions count
//! what they take, and let others run by themselves after a tenth of a millisecond of it, as often as
//! a guest does that computes.

use std::time::Duration;

use tokio::time::Instant;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    WasiView,
    p2::{
        DynPollable,
        bindings::random::{insecure::Host as _, random::Host as _},
    },
};

use crate::{capsule, host_state::HostState};

/// What the host may do for one attempt until it lets others run.
const BREATH: Duration = Duration::from_micros(100);
/// What reading a guest's memory counts for: a gigabyte in a second, with all that is done to the bytes.
const BYTES_PER_US: u64 = 1_000;

/// What the host has done for an attempt since it last let others run.
#[derive(Debug, Default)]
pub(crate) struct Breath {
    spent: Duration,
}

impl Breath {
    /// Count what began then, and let others run if it is time.
    pub(crate) async fn take(&mut self, begun: Instant, bytes: usize) {
        self.spent += begun.elapsed() + Duration::from_micros(bytes as u64 / BYTES_PER_US);
        if self.spent >= BREATH {
            self.spent = Duration::ZERO;
            tokio::task::yield_now().await;
        }
    }
}

/// Put these in the place of WASI's own.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:random/random@0.2.12")?.func_wrap_async(
        "get-random-bytes",
        |mut store: StoreContextMut<'_, HostState>, (length,): (u64,)| {
            Box::new(async move {
                let begun = Instant::now();
                let bytes = store.data_mut().ctx().ctx.random().get_random_bytes(length)?;
                store.data_mut().current.breath.take(begun, bytes.len()).await;
                Ok((bytes,))
            })
        },
    )?;
    linker.instance("wasi:random/insecure@0.2.12")?.func_wrap_async(
        "get-insecure-random-bytes",
        |mut store: StoreContextMut<'_, HostState>, (length,): (u64,)| {
            Box::new(async move {
                let begun = Instant::now();
                let bytes = store.data_mut().ctx().ctx.random().get_insecure_random_bytes(length)?;
                store.data_mut().current.breath.take(begun, bytes.len()).await;
                Ok((bytes,))
            })
        },
    )?;
    linker.instance("wasi:io/poll@0.2.12")?.func_wrap_async(
        "poll",
        |mut store: StoreContextMut<'_, HostState>, (pollables,): (Vec<Resource<DynPollable>>,)| {
            Box::new(async move {
                let handles = pollables.len();
                let ready = capsule::poll(store.data_mut(), pollables).await?;
                // Waiting is no work, so it is counted by what there was to do: about 100 ns for each.
                store.data_mut().current.breath.take(Instant::now(), handles * 100).await;
                Ok((ready,))
            })
        },
    )?;
    capsule::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

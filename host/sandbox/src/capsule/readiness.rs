//! The functions of WASI that tell a guest what is ready, so that a guest that goes one way or the other by it goes the
//! same way in a replay. They stand in the place of WASI's own, do what those do, and are cheap to take down.

use std::time::Duration;

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{
    WasiView,
    clocks::WasiClocksCtxView,
    p2::{
        DynInputStream, DynOutputStream, DynPollable, StreamError,
        bindings::{
            clocks::monotonic_clock::Host as _,
            io::{
                poll::{Host as _, HostPollable as _},
                streams::{self, Host as _, HostInputStream as _},
            },
        },
    },
};

use super::{Player, player::Expected, recorder::Readiness};
use crate::{host_state::HostState, stop::Stop};

type Answer<T> = wasmtime::Result<(Result<T, streams::StreamError>,)>;

/// Put these in the place of WASI's own.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut poll = linker.instance("wasi:io/poll@0.2.12")?;
    poll.func_wrap_async(
        "[method]pollable.block",
        |mut store: StoreContextMut<'_, HostState>, (pollable,): (Resource<DynPollable>,)| {
            Box::new(async move { block(store.data_mut(), pollable).await })
        },
    )?;
    poll.func_wrap_async(
        "[method]pollable.ready",
        |mut store: StoreContextMut<'_, HostState>, (pollable,): (Resource<DynPollable>,)| {
            Box::new(async move { Ok((ready(store.data_mut(), pollable).await?,)) })
        },
    )?;
    let mut streams = linker.instance("wasi:io/streams@0.2.12")?;
    streams.func_wrap(
        "[method]input-stream.read",
        |mut store: StoreContextMut<'_, HostState>, (stream, length): (Resource<DynInputStream>, u64)| {
            read(store.data_mut(), stream, length)
        },
    )?;
    streams.func_wrap_async(
        "[method]output-stream.check-write",
        |mut store: StoreContextMut<'_, HostState>, (stream,): (Resource<DynOutputStream>,)| {
            Box::new(async move { check_write(store.data_mut(), stream).await })
        },
    )?;
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.2.12")?;
    clock.func_wrap("subscribe-duration", |mut store: StoreContextMut<'_, HostState>, (wanted_ns,): (u64,)| {
        let data = store.data_mut();
        let wanted = Duration::from_nanos(wanted_ns);
        let sleeps = data.tape().player().map_or(wanted, |player| player.sleep(wanted));
        Ok((subscribe(data, sleeps)?,))
    })?;
    clock.func_wrap("subscribe-instant", |mut store: StoreContextMut<'_, HostState>, (when_ns,): (u64,)| {
        let data = store.data_mut();
        let now_ns = clocks(data).now()?;
        let wanted = Duration::from_nanos(when_ns.saturating_sub(now_ns));
        let sleeps = data.tape().player().map_or(wanted, |player| player.sleep(wanted));
        Ok((subscribe(data, sleeps)?,))
    })?;
    Ok(())
}

fn clocks(data: &mut HostState) -> WasiClocksCtxView<'_> {
    let view = data.ctx();
    WasiClocksCtxView { ctx: view.ctx.clocks(), table: view.table }
}

fn subscribe(data: &mut HostState, sleeps: Duration) -> wasmtime::Result<Resource<DynPollable>> {
    clocks(data).subscribe_duration(u64::try_from(sleeps.as_nanos()).unwrap_or(u64::MAX))
}

fn table(data: &mut HostState) -> &mut ResourceTable {
    data.ctx().table
}

/// Wait until one of them is ready.
pub(crate) async fn poll(data: &mut HostState, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
    let tape = data.tape().clone();
    let Some(player) = tape.player() else {
        let ready = table(data).poll(pollables).await?;
        tape.readiness(Readiness::Polled(ready.clone()));
        return Ok(ready);
    };
    let count = pollables.len();
    let fits = |next: &Readiness| match next {
        Readiness::Polled(ready) => ready.iter().all(|at| (*at as usize) < count),
        Readiness::Blocked | Readiness::Ready(_) | Readiness::NothingToRead | Readiness::NothingToWrite => false,
    };
    match player.expect(fits) {
        Expected::Recorded(Readiness::Polled(ready)) => {
            for at in &ready {
                table(data).block(Resource::new_borrow(pollables[*at as usize].rep())).await?;
            }
            Ok(ready)
        }
        Expected::TimedOut => Err(Stop::TimedOutWaiting.into()),
        Expected::Recorded(_) | Expected::Unknown => table(data).poll(pollables).await,
    }
}

async fn block(data: &mut HostState, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
    let tape = data.tape().clone();
    if let Some(player) = tape.player()
        && matches!(player.expect(|next| *next == Readiness::Blocked), Expected::TimedOut)
    {
        return Err(Stop::TimedOutWaiting.into());
    }
    table(data).block(pollable).await?;
    tape.readiness(Readiness::Blocked);
    Ok(())
}

async fn ready(data: &mut HostState, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
    let tape = data.tape().clone();
    let recorded = tape.player().map(|player| player.expect(|next| matches!(next, Readiness::Ready(_))));
    match recorded {
        Some(Expected::Recorded(Readiness::Ready(true))) => {
            table(data).block(pollable).await?;
            Ok(true)
        }
        Some(Expected::Recorded(_)) => Ok(false),
        // It does not wait, so it was not what took too long: the guest computed.
        Some(Expected::TimedOut | Expected::Unknown) | None => {
            let ready = table(data).ready(pollable).await?;
            tape.readiness(Readiness::Ready(ready));
            Ok(ready)
        }
    }
}

fn was(player: Option<&std::sync::Arc<Player>>, answer: &Readiness) -> bool {
    player.is_some_and(|player| player.was(answer))
}

fn read(data: &mut HostState, stream: Resource<DynInputStream>, length: u64) -> Answer<Vec<u8>> {
    let tape = data.tape().clone();
    if was(tape.player(), &Readiness::NothingToRead) {
        return Ok((Ok(Vec::new()),));
    }
    match table(data).read(stream, length) {
        Ok(bytes) => {
            if bytes.is_empty() {
                tape.readiness(Readiness::NothingToRead);
            }
            Ok((Ok(bytes),))
        }
        Err(error) => refused(data, error),
    }
}

async fn check_write(data: &mut HostState, stream: Resource<DynOutputStream>) -> Answer<u64> {
    let tape = data.tape().clone();
    if was(tape.player(), &Readiness::NothingToWrite) {
        return Ok((Ok(0),));
    }
    let stream = table(data).get_mut(&stream)?;
    let mut allowed = stream.check_write();
    match (&allowed, tape.player()) {
        (Ok(0), None) => tape.readiness(Readiness::NothingToWrite),
        // What takes the bytes away needs a moment that it had when this was recorded.
        (Ok(0), Some(_)) => allowed = stream.write_ready().await,
        (Ok(_) | Err(_), _) => {}
    }
    match allowed {
        Ok(bytes) => Ok((Ok(bytes as u64),)),
        Err(error) => refused(data, error),
    }
}

fn refused<T>(data: &mut HostState, error: StreamError) -> Answer<T> {
    Ok((Err(table(data).convert_stream_error(error)?),))
}

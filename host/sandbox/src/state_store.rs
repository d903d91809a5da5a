//! `wasmill:handler/state`: the guest's side of [`StateView`](crate::state_view::StateView).

use tokio::time::Instant;

use crate::{
    bindings::wasmill::handler::state::{Host, KeyPage, StateError},
    host_state::HostState,
    state_view::{Below, Refused, StateView},
};

type Answer<T> = wasmtime::Result<Result<T, StateError>>;

impl Host for HostState {
    async fn get(&mut self, key: String) -> Answer<Option<Vec<u8>>> {
        self.reading(|state, below| state.get(below, &key).map(|value| value.map(Vec::from))).await
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Answer<()> {
        self.reading(|state, below| state.set(below, key, value.into())).await
    }

    async fn delete(&mut self, key: String) -> Answer<()> {
        self.reading(|state, below| state.delete(below, key)).await
    }

    async fn exists(&mut self, key: String) -> Answer<bool> {
        self.reading(|state, below| state.get(below, &key).map(|value| value.is_some())).await
    }

    async fn increment(&mut self, key: String, delta: i64) -> Answer<()> {
        self.reading(|state, below| state.increment(below, key, delta)).await
    }

    async fn list_keys(&mut self, prefix: String, after: Option<String>) -> Answer<KeyPage> {
        self.reading(|state, below| state.list_keys(below, &prefix, after)).await
    }
}

impl HostState {
    async fn reading<T>(&mut self, read: impl FnOnce(&mut StateView, Below<'_>) -> Result<T, Refused>) -> Answer<T> {
        let begun = Instant::now();
        let (state, below) = self.state();
        let read = answer(read(state, below));
        self.current.breath.take(begun, 0).await;
        read
    }
}

fn answer<T>(result: Result<T, Refused>) -> Answer<T> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Refused::Answer(error)) => Ok(Err(error)),
        Err(Refused::Stop(stop)) => Err(stop.into()),
    }
}

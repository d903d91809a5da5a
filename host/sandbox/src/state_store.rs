//! `wasmill:handler/state`: the guest's side of [`StateView`](crate::state_view::StateView).

use crate::{
    bindings::wasmill::handler::state::{Host, KeyPage, StateError},
    host_state::HostState,
    state_view::Refused,
};

type Answer<T> = wasmtime::Result<Result<T, StateError>>;

impl Host for HostState {
    fn get(&mut self, key: String) -> Answer<Option<Vec<u8>>> {
        let (state, below) = self.state();
        answer(state.get(below, &key).map(|value| value.map(Vec::from)))
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Answer<()> {
        let (state, below) = self.state();
        answer(state.set(below, key, value.into()))
    }

    fn delete(&mut self, key: String) -> Answer<()> {
        let (state, below) = self.state();
        answer(state.delete(below, key))
    }

    fn exists(&mut self, key: String) -> Answer<bool> {
        let (state, below) = self.state();
        answer(state.get(below, &key).map(|value| value.is_some()))
    }

    fn increment(&mut self, key: String, delta: i64) -> Answer<()> {
        let (state, below) = self.state();
        answer(state.increment(below, key, delta))
    }

    fn list_keys(&mut self, prefix: String, after: Option<String>) -> Answer<KeyPage> {
        let (state, below) = self.state();
        answer(state.list_keys(below, &prefix, after))
    }
}

fn answer<T>(result: Result<T, Refused>) -> Answer<T> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Refused::Answer(error)) => Ok(Err(error)),
        Err(Refused::Stop(stop)) => Err(stop.into()),
    }
}

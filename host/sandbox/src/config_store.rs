//! `wasi:config/store`: the values under `config` of the handler, and nothing else.

use crate::{
    bindings::wasi::config::store::{Error, Host},
    host_state::HostState,
};

impl Host for HostState {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        Ok(Ok(self.context.config.get(&key).cloned()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        let all = self.context.config.iter().map(|(key, value)| (key.clone(), value.clone()));
        Ok(Ok(all.collect()))
    }
}

//! `wasi:config/store`: the values under `config` of the handler and its secrets, and nothing else.

use crate::{
    bindings::wasi::config::store::{Error, Host},
    host_state::HostState,
};

impl Host for HostState {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        let secret = self.context.secrets.get(&key).map(ToOwned::to_owned);
        Ok(Ok(secret.or_else(|| self.context.config.get(&key).cloned())))
    }

    /// Secrets are not listed: who asks for all values does so to print them, as a rule.
    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        let all = self.context.config.iter().map(|(key, value)| (key.clone(), value.clone()));
        Ok(Ok(all.collect()))
    }
}

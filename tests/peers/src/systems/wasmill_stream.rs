//! Wasmill by its streaming client, `wasmill-client`. Everything that is to be written for it belongs into this file:
//! a [`System`](super::System) around [`Host`](super::wasmill::Host), with `produce` and `one_by_one` by that client,
//! as `wasmill_http.rs` has it by HTTP.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Place, wasmill_http::WasmillHttp};

pub(super) async fn start(_place: &Place, _folder: &Path) -> Result<WasmillHttp> {
    bail!("this version of the comparison has no streaming client yet")
}

//! Wasmill by its streaming client, `wasmill-client`: the place where that line of the comparison goes. What is to be
//! written is a [`Door`](super::wasmill_system::Door) whose `produce` keeps a window of unconfirmed publishes, as
//! `nats.rs` does, and whose `one_by_one` awaits each; then [`IS_THERE`] is true, and `start` is
//! `wasmill_system::start::<Stream>`.

use std::path::Path;

use anyhow::{Result, bail};

use super::{Place, wasmill_http::Http, wasmill_system::Wasmill};

/// Whether it is measured.
pub const IS_THERE: bool = false;

pub(super) async fn start(_place: &Place, _folder: &Path) -> Result<Wasmill<Http>> {
    bail!("this version of the comparison has no streaming client")
}

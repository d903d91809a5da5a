//! What a component may import.

use wasmtime::{
    Engine,
    component::{HasSelf, Linker},
};

use crate::{
    bindings::{
        wasi::config::store,
        wasmill::handler::{producer, state, types},
    },
    breath,
    host_state::HostState,
    worlds,
};

/// Every interface that has functions, for telling what a component imports in vain. A test holds it to the linker.
/// WASI's are compatible within a minor version, so a component may name another patch of it.
pub(crate) const OFFERED: &[&str] = &[
    "wasmill:handler/producer@0.1.0",
    "wasmill:handler/state@0.1.0",
    "wasi:config/store@0.2.0-draft",
    "wasi:logging/logging@0.1.0-draft",
    "wasi:messaging/producer@0.2.0-draft",
    "wasi:messaging/request-reply@0.2.0-draft",
    "wasi:messaging/types@0.2.0-draft",
    "wasmcloud:messaging/consumer@0.2.0",
    "wasi:cli/environment@0.2.12",
    "wasi:cli/exit@0.2.12",
    "wasi:cli/stderr@0.2.12",
    "wasi:cli/stdin@0.2.12",
    "wasi:cli/stdout@0.2.12",
    "wasi:cli/terminal-input@0.2.12",
    "wasi:cli/terminal-output@0.2.12",
    "wasi:cli/terminal-stderr@0.2.12",
    "wasi:cli/terminal-stdin@0.2.12",
    "wasi:cli/terminal-stdout@0.2.12",
    "wasi:clocks/monotonic-clock@0.2.12",
    "wasi:clocks/wall-clock@0.2.12",
    "wasi:filesystem/preopens@0.2.12",
    "wasi:filesystem/types@0.2.12",
    "wasi:http/outgoing-handler@0.2.12",
    "wasi:http/types@0.2.12",
    "wasi:io/error@0.2.12",
    "wasi:io/poll@0.2.12",
    "wasi:io/streams@0.2.12",
    "wasi:random/insecure-seed@0.2.12",
    "wasi:random/insecure@0.2.12",
    "wasi:random/random@0.2.12",
    "wasi:sockets/instance-network@0.2.12",
    "wasi:sockets/ip-name-lookup@0.2.12",
    "wasi:sockets/network@0.2.12",
    "wasi:sockets/tcp-create-socket@0.2.12",
    "wasi:sockets/tcp@0.2.12",
    "wasi:sockets/udp-create-socket@0.2.12",
    "wasi:sockets/udp@0.2.12",
];

/// Files, sockets and the environment are there to be linked, because most languages' libraries import them, and
/// hold nothing. HTTP is linked for all too; where a request may go is decided by the grants when it is sent.
pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    breath::add_to_linker(&mut linker)?;
    types::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)?;
    producer::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)?;
    state::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)?;
    store::add_to_linker::<_, HasSelf<HostState>>(&mut linker, |state| state)?;
    worlds::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// Whether a component that imports this interface may find it here.
pub(crate) fn offers(interface: &str) -> bool {
    OFFERED.iter().any(|offered| *offered == interface || track(offered) == track(interface))
}

/// An interface with as much of its version as must be the same: `wasi:cli/exit@0.2`. A pre-release fits nothing
/// but itself.
fn track(interface: &str) -> &str {
    let Some((name, version)) = interface.split_once('@') else { return interface };
    if version.contains('-') {
        return interface;
    }
    let kept = if version.starts_with("0.") { 2 } else { 1 };
    let length = version.split('.').take(kept).map(|part| part.len() + 1).sum::<usize>();
    &interface[..(name.len() + length).min(interface.len())]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_in_the_linker() {
        let mut linker = new(&crate::engine::new(1, true).unwrap()).unwrap();
        linker.allow_shadowing(false);
        let mut is_new = |name: &str| linker.root().func_new(name, |_, _, _, _| Ok(())).is_ok();
        for interface in OFFERED {
            assert!(!is_new(interface), "{interface} could be defined, so it was not there");
        }
        assert!(is_new("wasi:http/incoming-handler@0.2.12"), "this test must be able to fail");
    }

    #[test]
    fn patches_of_one_version_fit_each_other() {
        for (interface, offered) in [
            ("wasi:cli/exit@0.2.0", true),
            ("wasi:cli/exit@0.2.99", true),
            ("wasi:cli/exit@0.3.0", false),
            ("wasi:cli/exit@1.2.0", false),
            ("wasi:cli/exit@0.20.0", false),
            ("wasi:cli/exit", false),
            ("wasi:config/store@0.2.0-draft", true),
            ("wasi:config/store@0.2.0", false),
            ("wasi:http/types@0.2.0", true),
            ("wasi:http/incoming-handler@0.2.0", false),
            ("@", false),
            ("", false),
            ("wasmill:handler/state@0.1.3", true),
        ] {
            assert_eq!(offers(interface), offered, "{interface}");
        }
    }
}

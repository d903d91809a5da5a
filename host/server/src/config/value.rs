//! Values that only a host's configuration has.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use tracing_subscriber::EnvFilter;
pub(super) use wasmill_settings::value::{Count, DurationMs, Size, text};

/// What a log lets through.
#[derive(Clone, Debug)]
pub struct LogFilter(pub String);

/// An IP address and a port.
#[derive(Clone, Copy, Debug)]
pub struct Listen(pub std::net::SocketAddr);

/// A path that is not empty.
#[derive(Clone, Debug)]
pub struct FilePath(pub PathBuf);

impl<'de> Deserialize<'de> for LogFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let check = |text: &str| match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(format!(
                "{text:?} is not a log level; write error, warn, info, debug or trace, or such as \"info,wasmill_runtime=debug\""
            )),
        };
        text(deserializer, "a log level as text, for example \"info\"", check)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let check = |text: &str| {
            text.parse().map(Self).map_err(|_| {
                format!("{text:?} is not an address; write an IP address and a port, for example \"127.0.0.1:7500\"")
            })
        };
        text(deserializer, "an address as text, for example \"127.0.0.1:7500\"", check)
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let check = |text: &str| match text {
            "" => Err("the path is empty; leave the key out instead".to_owned()),
            path => Ok(Self(path.into())),
        };
        text(deserializer, "a path as text", check)
    }
}

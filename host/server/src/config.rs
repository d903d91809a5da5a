//! The configuration: read from TOML, checked once, and used everywhere else as it was checked.
//!
//! `wasmill.reference.toml` documents every key with its default. What is wrong is said with its place, its key, and
//! what to write instead.
//!
//! ```
//! use wasmill_server::config::Config;
//!
//! let config = Config::parse("[server]\ndrain = \"5s\"\n", "wasmill.toml".as_ref())?;
//! assert_eq!(config.server.drain.as_secs(), 5);
//! # Ok::<(), wasmill_server::config::ConfigError>(())
//! ```

mod check;
mod problem;
mod queue;
mod raw;
mod replacing;
mod schedule;
mod signatures;
mod value;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use wasmill_delivery::{
    engine::EngineLimits,
    name::{ConsumerName, HandlerName, QueueName},
    record::{ConsumerConfig, HandlerLimits, QueueConfig},
    schedule::ScheduleName,
};
use wasmill_runtime::{CompileBounds, HandlerSettings, ScheduleSettings, SignatureRules, StoreOptions};

use crate::callbacks::CallbackRules;

pub use self::problem::{ConfigError, Wrong};
pub use wasmill_settings::value::{parse_duration_ms, parse_size_bytes};

/// Everything that a configuration file can say.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[log]`
    pub log: LogConfig,
    /// `[store]`
    pub store: StoreConfig,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[handlers] folder`: every `NAME.wasm` in it is the component of handler NAME. It need not be there.
    pub handlers_folder: PathBuf,
    /// `[handler.NAME]`
    pub handlers: BTreeMap<HandlerName, HandlerDeclaration>,
    /// `[queue.NAME]`
    pub queues: BTreeMap<QueueName, QueueDeclaration>,
    /// `[signatures]`
    pub signatures: SignatureRules,
    /// `[callbacks] allow`: what may be called when a job has ended.
    pub callbacks: CallbackRules,
    /// `[schedule.NAME]`
    pub schedules: BTreeMap<ScheduleName, ScheduleSettings>,
}

/// How the host is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The body of one request, in bytes.
    pub body_bytes_max: usize,
    /// How long a stop waits for what is under way.
    pub drain: Duration,
    /// Whether an address that other machines reach is fine.
    pub allow_remote: bool,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// What `RUST_LOG` overrides.
    pub level: String,
    /// How it looks.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where and how things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The folder of the store.
    pub folder: PathBuf,
    /// Durability and cache.
    pub options: StoreOptions,
}

/// What bounds the whole host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Data of one message, in bytes.
    pub data_bytes_max: usize,
    /// What bounds the engine.
    pub engine: EngineLimits,
    /// Instances of all handlers at once.
    pub instances_max: u32,
    /// Threads that run handlers; one for each core when none.
    pub handler_threads: Option<usize>,
    /// What compiling one component may take.
    pub compile: CompileBounds,
    /// What handlers may set their limits to at most.
    pub handler: HandlerLimits,
}

/// A handler as the file declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerDeclaration {
    /// Its component; without one it is looked for in the handlers folder.
    pub file: Option<PathBuf>,
    /// Limits and configuration.
    pub settings: HandlerSettings,
    /// Where the data of its sample message is, when it is not in the settings.
    pub sample_file: Option<PathBuf>,
}

/// A queue as the file declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDeclaration {
    /// Bindings and limits.
    pub config: QueueConfig,
    /// Its consumers.
    pub consumers: BTreeMap<ConsumerName, ConsumerConfig>,
}

impl Config {
    /// Read and check a file.
    ///
    /// # Errors
    /// When it cannot be read or something in it is wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|problem| ConfigError::Read { path: path.to_owned(), problem })?;
        Self::parse(&text, path)
    }

    /// Check the text of a file. Relative paths are relative to the folder of `path`.
    ///
    /// # Errors
    /// When something in it is wrong.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let raw = toml::from_str(text)
            .map_err(|error| ConfigError::Wrong(Box::new(Wrong::new(path.to_owned(), text, &error))))?;
        Ok(check::check(raw, path.parent().unwrap_or(Path::new(""))))
    }

    /// What is used without a file: loopback, and everything in the current folder.
    #[must_use]
    pub fn without_file() -> Self {
        check::check(raw::Raw::default(), Path::new(""))
    }

    /// Whether handlers of the folder get a queue and a consumer of their own name. They do when the file declares no
    /// queue, for then nobody said where messages go.
    #[must_use]
    pub fn makes_queues(&self) -> bool {
        self.queues.is_empty()
    }

    /// Whether it may listen where it is told to.
    ///
    /// # Errors
    /// When other machines reach the address and the file does not allow that.
    pub const fn check_listen(&self) -> Result<(), ConfigError> {
        let ServerConfig { listen, allow_remote, .. } = self.server;
        if listen.ip().is_loopback() || allow_remote { Ok(()) } else { Err(ConfigError::Remote { listen }) }
    }
}

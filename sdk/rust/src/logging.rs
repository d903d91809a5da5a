//! What a handler logs by the crates `log` (feature `log`) and `tracing` (feature `tracing`) goes to the host's log: one
//! line each, errors and warnings to standard error, the rest to standard output.
//!
//! A handler asks for it by one line, [`init`], so that one that does not log does not carry a logger. Natively the same line
//! prints to the terminal; a unit test may bring a logger of its own first.
//!
//! ```
//! use wasmill::{Context, Json, logging::{self, Level}};
//!
//! #[wasmill::handler]
//! fn on_order(order: Json<u32>, ctx: Context) -> wasmill::Result {
//!     logging::init();
//!     if ctx.config("verbose").is_some() {
//!         logging::set_level(Level::Debug);
//!     }
//!     tracing::debug!(order = *order, "it is here");
//!     log::warn!("order {} is late", *order);
//!     Ok(())
//! }
//! # assert_eq!(Context::for_test().call(|ctx: Context| on_order(Json(7), ctx)), Ok(()));
//! ```
//!
//! A line is `LEVEL target: message field=value`; the host adds time, handler and message.

/// How much is logged; each level has those before it too.
///
/// ```
/// use wasmill::logging::Level;
///
/// assert!(Level::Error < Level::Trace);
/// assert_eq!(Level::default(), Level::Info);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only what went wrong.
    Error,
    /// What may become wrong.
    Warn,
    /// What happens; without [`set_level`] it is this.
    #[default]
    Info,
    /// What is of use to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// Log to the host from here on: the first line of a handler. It is cheap, and after the first time it does nothing, nor does it
/// when another logger is there.
///
/// ```
/// wasmill::logging::init();
/// log::info!("this is printed");
/// tracing::info!(answer = 42, "and so is this");
/// ```
pub fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        #[cfg(feature = "log")]
        by_log::install();
        #[cfg(feature = "tracing")]
        by_tracing::install();
    });
}

/// Log what is of this level and above, from now on.
///
/// ```
/// use wasmill::logging::{Level, set_level};
///
/// wasmill::logging::init();
/// set_level(Level::Error);
/// assert!(!log::log_enabled!(log::Level::Warn));
/// assert!(!tracing::enabled!(tracing::Level::WARN));
/// set_level(Level::Trace);
/// assert!(log::log_enabled!(log::Level::Trace));
/// assert!(tracing::enabled!(tracing::Level::TRACE));
/// ```
pub fn set_level(level: Level) {
    #[cfg(feature = "log")]
    by_log::set_level(level);
    #[cfg(feature = "tracing")]
    by_tracing::set_level(level);
}

#[cfg(feature = "log")]
mod by_log {
    use log::{LevelFilter, Log, Metadata, Record};

    use super::Level;

    struct Lines;

    impl Log for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.level() <= log::max_level()
        }

        #[allow(clippy::print_stdout, clippy::print_stderr, reason = "that is where a component logs to")]
        fn log(&self, record: &Record<'_>) {
            if !self.enabled(record.metadata()) {
                return;
            }
            let (level, target) = (record.level(), record.target());
            if level <= log::Level::Warn {
                eprintln!("{level:>5} {target}: {}", record.args());
            } else {
                println!("{level:>5} {target}: {}", record.args());
            }
        }

        fn flush(&self) {}
    }

    pub(super) fn install() {
        if log::set_logger(&Lines).is_ok() {
            set_level(Level::default());
        }
    }

    pub(super) fn set_level(level: Level) {
        log::set_max_level(match level {
            Level::Error => LevelFilter::Error,
            Level::Warn => LevelFilter::Warn,
            Level::Info => LevelFilter::Info,
            Level::Debug => LevelFilter::Debug,
            Level::Trace => LevelFilter::Trace,
        });
    }
}

#[cfg(feature = "tracing")]
mod by_tracing {
    use std::sync::OnceLock;

    use tracing_subscriber::{
        Registry,
        filter::LevelFilter,
        fmt::{layer, writer::MakeWriterExt as _},
        layer::SubscriberExt as _,
        reload,
    };

    use super::Level;

    static FILTER: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

    pub(super) fn install() {
        let (filter, handle) = reload::Layer::new(LevelFilter::INFO);
        let writer = std::io::stderr.with_max_level(tracing::Level::WARN).or_else(std::io::stdout);
        let lines = layer().without_time().with_ansi(false).with_writer(writer);
        let subscriber = tracing_subscriber::registry().with(filter).with(lines);
        if tracing::subscriber::set_global_default(subscriber).is_ok() {
            let _ = FILTER.set(handle);
        }
    }

    pub(super) fn set_level(level: Level) {
        let Some(filter) = FILTER.get() else { return };
        let level = match level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        };
        // It fails only when the subscriber is gone, and a global one stays.
        let _ = filter.reload(level);
    }
}

//! A world outside that is the same each time, for tests: its clock is one that the test moves, its random numbers come
//! from a seed, and its HTTP answers are planned.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use chacha20::{ChaCha12Rng, rand_core::SeedableRng as _};
use rand::Rng as _;
use tokio::time::Instant;
use wasmill_delivery::time::Timestamp;

/// Tells the time of day: the machine's clock, or one that follows tokio's, which a test can pause and move.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock(Option<Origin>);

#[derive(Clone, Copy, Debug)]
struct Origin {
    began: Instant,
    shown: Timestamp,
}

impl Clock {
    /// A clock that shows this time now, and goes on as the clock of the tokio runtime does in which this is called.
    #[must_use]
    pub fn following_tokio(shown: Timestamp) -> Self {
        Self(Some(Origin { began: Instant::now(), shown }))
    }

    /// The time in milliseconds, which is what messages and retries are told by.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.since_1970().as_millis()).unwrap_or(u64::MAX))
    }

    /// The instant of tokio at which this clock shows that time; now, when it does not follow tokio.
    #[must_use]
    pub fn instant_of(&self, time: Timestamp) -> Instant {
        match self.0 {
            Some(Origin { began, shown }) => began + Duration::from_millis(time.ms_since(shown)),
            None => Instant::now() + Duration::from_millis(time.ms_since(self.now())),
        }
    }

    pub(crate) fn since_1970(&self) -> Duration {
        match self.0 {
            Some(Origin { began, shown }) => Duration::from_millis(shown.0).saturating_add(began.elapsed()),
            None => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }
}

/// What a guest meets instead of the world outside.
pub struct Simulation {
    clock: Clock,
    random: Mutex<ChaCha12Rng>,
    http: Box<dyn SimulatedHttp>,
}

/// Answers requests that a guest was allowed to send.
pub trait SimulatedHttp: Send + Sync {
    /// What comes of this request. It is called when the guest has sent all of it.
    fn answer(&self, request: SentRequest) -> PlannedAnswer;
}

/// A request as a server would see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentRequest {
    /// `GET` and so on.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Names are lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// What comes of a request, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedAnswer {
    /// So long after the request.
    pub after: Duration,
    /// What comes then.
    pub result: Result<ReceivedAnswer, SimulatedFailure>,
}

/// An answer as a server would give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedAnswer {
    /// 200 and so on.
    pub status: u16,
    /// In order; what is no header by the rules of HTTP is left out.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// How a request fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimulatedFailure {
    /// Nobody listens there.
    ConnectionRefused,
    /// No connection comes about in the time that the guest or the host gives it.
    ConnectionTimeout,
    /// The connection ends before there is an answer.
    ConnectionReset,
    /// The name is not known.
    Dns,
    /// The server is not who it says it is.
    TlsCertificate,
    /// The server takes the request and never answers.
    NoAnswer,
    /// Nothing was planned for it; this is what the guest is told.
    Unplanned(String),
}

impl Simulation {
    /// A world with this clock and these answers, in which everything random comes from `seed`.
    #[must_use]
    pub fn new(clock: Clock, seed: u64, http: Box<dyn SimulatedHttp>) -> Self {
        Self { clock, random: Mutex::new(ChaCha12Rng::seed_from_u64(seed)), http }
    }

    /// Its clock.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn http(&self) -> &dyn SimulatedHttp {
        &*self.http
    }

    pub(crate) fn draw(&self, bytes: &mut [u8]) {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }

    /// Nanoseconds since its clock began.
    pub(crate) fn monotonic_ns(&self) -> u64 {
        let passed = self.clock.0.map_or(Duration::ZERO, |origin| origin.began.elapsed());
        u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("clock", &self.clock).finish_non_exhaustive()
    }
}

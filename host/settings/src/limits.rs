//! The limits of a handler as they are written.

use serde::Deserialize;
use wasmill_delivery::record::HandlerLimits;

use crate::value::{Count, DurationMs, ENDLESS, Size};

/// The most memory of an instance, what a 32-bit memory can address.
const MEMORY_CEILING: u64 = 4 * 1024 * 1024 * 1024;

/// Limits of one handler, or the most that handlers may have.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawHandlerLimits {
    fuel: Option<Count<1, ENDLESS>>,
    memory: Option<Size<1, MEMORY_CEILING>>,
    wall_clock: Option<DurationMs<1, ENDLESS>>,
    published_max: Option<Count<0, { u32::MAX as u64 }>>,
    published_bytes: Option<Size<0, ENDLESS>>,
    state_bytes: Option<Size<0, ENDLESS>>,
    log_bytes: Option<Size<0, { u32::MAX as u64 }>>,
    instance_calls: Option<Count<1, { u32::MAX as u64 }>>,
    http_requests: Option<Count<0, { u32::MAX as u64 }>>,
    http_open: Option<Count<1, 1_000>>,
    http_sent_bytes: Option<Size<0, ENDLESS>>,
    http_received_bytes: Option<Size<0, ENDLESS>>,
}

impl RawHandlerLimits {
    /// What was written, and for the rest what is given here.
    #[must_use]
    pub fn over(&self, rest: HandlerLimits) -> HandlerLimits {
        let raw = self;
        HandlerLimits {
            fuel_max: raw.fuel.map_or(rest.fuel_max, Count::get),
            memory_bytes_max: raw.memory.map_or(rest.memory_bytes_max, |size| size.0),
            wall_clock_ms_max: raw.wall_clock.map_or(rest.wall_clock_ms_max, |duration| duration.0),
            published_max: raw.published_max.map_or(rest.published_max, Count::get),
            published_bytes_max: raw.published_bytes.map_or(rest.published_bytes_max, |size| size.0),
            state_bytes_max: raw.state_bytes.map_or(rest.state_bytes_max, |size| size.0),
            log_bytes_max: raw.log_bytes.map_or(rest.log_bytes_max, |size| u32::try_from(size.0).unwrap_or(u32::MAX)),
            instance_calls_max: raw.instance_calls.map_or(rest.instance_calls_max, Count::get),
            http_requests_max: raw.http_requests.map_or(rest.http_requests_max, Count::get),
            http_open_max: raw.http_open.map_or(rest.http_open_max, Count::get),
            http_sent_bytes_max: raw.http_sent_bytes.map_or(rest.http_sent_bytes_max, |size| size.0),
            http_received_bytes_max: raw.http_received_bytes.map_or(rest.http_received_bytes_max, |size| size.0),
        }
    }
}

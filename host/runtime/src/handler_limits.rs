//! What the operator of a host lets handlers have at most, whatever their settings ask for.

use wasmill_delivery::record::HandlerLimits;

use crate::error::HostError;

/// The most that a handler's limits can be set to, unless the host is set up otherwise.
pub const HANDLER_LIMITS_CEILING_DEFAULT: HandlerLimits = HandlerLimits {
    fuel_max: 1_000_000_000_000,
    memory_bytes_max: 4 * 1024 * 1024 * 1024,
    wall_clock_ms_max: 60 * 60 * 1_000,
    published_max: 100_000,
    published_bytes_max: 256 * 1024 * 1024,
    state_bytes_max: 64 * 1024 * 1024,
    log_bytes_max: 1024 * 1024,
    instance_calls_max: u32::MAX,
    http_requests_max: 100_000,
    http_open_max: 1_000,
    http_sent_bytes_max: 1024 * 1024 * 1024,
    http_received_bytes_max: 1024 * 1024 * 1024,
};

/// Each limit with its name, as it was given and at most.
fn pairs(given: &HandlerLimits, most: &HandlerLimits) -> [(&'static str, u64, u64); 12] {
    [
        ("fuel", given.fuel_max, most.fuel_max),
        ("memory", given.memory_bytes_max, most.memory_bytes_max),
        ("wall-clock", given.wall_clock_ms_max, most.wall_clock_ms_max),
        ("published-max", given.published_max.into(), most.published_max.into()),
        ("published-bytes", given.published_bytes_max, most.published_bytes_max),
        ("state-bytes", given.state_bytes_max, most.state_bytes_max),
        ("log-bytes", given.log_bytes_max.into(), most.log_bytes_max.into()),
        ("instance-calls", given.instance_calls_max.into(), most.instance_calls_max.into()),
        ("http-requests", given.http_requests_max.into(), most.http_requests_max.into()),
        ("http-open", given.http_open_max.into(), most.http_open_max.into()),
        ("http-sent-bytes", given.http_sent_bytes_max, most.http_sent_bytes_max),
        ("http-received-bytes", given.http_received_bytes_max, most.http_received_bytes_max),
    ]
}

/// Whether a handler may have these limits.
pub(crate) fn check(given: &HandlerLimits, most: &HandlerLimits) -> Result<(), HostError> {
    match pairs(given, most).into_iter().find(|(_, given, most)| given > most) {
        Some((limit, given, most)) => Err(HostError::BeyondMaximum { limit, given, most }),
        None => Ok(()),
    }
}

/// The lesser of each limit.
#[must_use]
pub fn at_most(given: HandlerLimits, most: &HandlerLimits) -> HandlerLimits {
    HandlerLimits {
        fuel_max: given.fuel_max.min(most.fuel_max),
        memory_bytes_max: given.memory_bytes_max.min(most.memory_bytes_max),
        wall_clock_ms_max: given.wall_clock_ms_max.min(most.wall_clock_ms_max),
        published_max: given.published_max.min(most.published_max),
        published_bytes_max: given.published_bytes_max.min(most.published_bytes_max),
        state_bytes_max: given.state_bytes_max.min(most.state_bytes_max),
        log_bytes_max: given.log_bytes_max.min(most.log_bytes_max),
        instance_calls_max: given.instance_calls_max.min(most.instance_calls_max),
        http_requests_max: given.http_requests_max.min(most.http_requests_max),
        http_open_max: given.http_open_max.min(most.http_open_max),
        http_sent_bytes_max: given.http_sent_bytes_max.min(most.http_sent_bytes_max),
        http_received_bytes_max: given.http_received_bytes_max.min(most.http_received_bytes_max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_held_to_its_own_maximum() {
        let one = HandlerLimits {
            fuel_max: 1,
            memory_bytes_max: 1,
            wall_clock_ms_max: 1,
            published_max: 1,
            published_bytes_max: 1,
            state_bytes_max: 1,
            log_bytes_max: 1,
            instance_calls_max: 1,
            http_requests_max: 1,
            http_open_max: 1,
            http_sent_bytes_max: 1,
            http_received_bytes_max: 1,
        };
        assert!(check(&one, &one).is_ok());
        let default = HandlerLimits::default();
        assert!(check(&default, &HANDLER_LIMITS_CEILING_DEFAULT).is_ok());
        assert_eq!(at_most(default, &one), one);
        assert_eq!(at_most(default, &HANDLER_LIMITS_CEILING_DEFAULT), default);
        for (index, (name, ..)) in pairs(&one, &one).into_iter().enumerate() {
            let mut more = one;
            match index {
                0 => more.fuel_max = 2,
                1 => more.memory_bytes_max = 2,
                2 => more.wall_clock_ms_max = 2,
                3 => more.published_max = 2,
                4 => more.published_bytes_max = 2,
                5 => more.state_bytes_max = 2,
                6 => more.log_bytes_max = 2,
                7 => more.instance_calls_max = 2,
                8 => more.http_requests_max = 2,
                9 => more.http_open_max = 2,
                10 => more.http_sent_bytes_max = 2,
                _ => more.http_received_bytes_max = 2,
            }
            let error = check(&more, &one).expect_err(name).to_string();
            assert!(error.starts_with(&format!("{name} is 2; this host allows a handler at most 1")), "{error}");
        }
    }
}

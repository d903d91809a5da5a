//! What the receiver's answer means for the delivery.

use std::time::{Duration, SystemTime};

use wasmill::{
    Context, Result,
    http::{Error, Response},
    reject, retry, retry_after, throttle,
};
use wasmill_plugin_common::{duration, log, misconfigured, numbers, one_of};

/// The most that a receiver can ask to wait.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// What a receiver that says "now" is given.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// Statuses that may pass, of the server (5xx) besides: request timeout, too early, too many requests.
const RETRY: [u16; 3] = [408, 425, 429];
/// Statuses whose `Retry-After` speaks of the receiver, not of this message.
const BUSY: [u16; 2] = [429, 503];
/// What can be told to be tried again or not.
const STATUSES: std::ops::RangeInclusive<u16> = 300..=599;
/// How much of an answer's body is told.
const TOLD_CHARS_MAX: usize = 200;

/// The config of it, checked.
#[derive(Debug)]
pub(crate) struct Judge {
    retry: Vec<u16>,
    reject: Vec<u16>,
    /// Whether a busy receiver that says how long is left alone by all, or only by this message.
    is_busy_for_all: bool,
    wait_max: Duration,
}

impl Judge {
    pub(crate) fn read(ctx: &Context) -> Result<Self> {
        let wait_max = duration(ctx, "wait-max", Some(WAIT_MAX))?;
        if wait_max < WAIT_MIN {
            return Err(misconfigured("config wait-max must be at least 1s"));
        }
        Ok(Self {
            retry: numbers(ctx, "retry-statuses", &STATUSES)?,
            reject: numbers(ctx, "reject-statuses", &STATUSES)?,
            is_busy_for_all: one_of(ctx, "busy", &[("throttle", true), ("retry", false)])?,
            wait_max,
        })
    }

    pub(crate) fn outcome(&self, answer: Result<Response, Error>, now: SystemTime) -> Result {
        match answer {
            Ok(response) if response.is_success() => Ok(()),
            Ok(response) if self.is_passing(response.status) => {
                let wait = response.retry_after_at(now).map(|wait| wait.clamp(WAIT_MIN, self.wait_max));
                Err(match wait {
                    Some(wait) if self.is_busy_for_all && BUSY.contains(&response.status) => {
                        log(format_args!("{}; nothing is sent for {} s", told(&response), wait.as_secs()));
                        throttle(wait)
                    }
                    Some(wait) => retry_after(told(&response), wait),
                    None => retry(told(&response)),
                })
            }
            Ok(response) => Err(reject(told(&response))),
            Err(error @ (Error::Denied | Error::Invalid(_))) => {
                Err(misconfigured(format_args!("{error}; see config url, config headers, and http of its grants")))
            }
            Err(error @ Error::TooLarge) => Err(reject(error.to_string())),
            Err(error @ (Error::TimedOut | Error::Failed(_))) => Err(retry(error.to_string())),
        }
    }

    fn is_passing(&self, status: u16) -> bool {
        self.retry.contains(&status) || ((RETRY.contains(&status) || status >= 500) && !self.reject.contains(&status))
    }
}

fn told(response: &Response) -> String {
    let body: String = response.text().trim().chars().take(TOLD_CHARS_MAX).collect();
    let to = response.header("location").map(|location| format!(" to {location}, which is not followed"));
    let to = to.filter(|_| (300..400).contains(&response.status)).unwrap_or_default();
    let colon = if body.is_empty() { "" } else { ": " };
    format!("the receiver answered {}{to}{colon}{body}", response.status)
}

#[cfg(test)]
mod tests;

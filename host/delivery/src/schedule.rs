//! Schedules: messages that the host publishes by itself, at times that a cron expression tells.
//!
//! Nothing here knows calendars or time zones. Whoever does computes the next time and gives it in; the engine keeps it,
//! and publishes and moves on in one commit, so that a planned time fires once, whatever crashes.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    limits::{SCHEDULE_MISSED_DEFAULT, SCHEDULE_NAME_BYTES_MAX},
    name::{MessageKey, NameError, check_name, checked_text},
    time::Timestamp,
    topic::Topic,
};

fn check_schedule_name(what: &'static str, given: &str) -> Result<(), NameError> {
    check_name(what, given)?;
    if given.len() > SCHEDULE_NAME_BYTES_MAX {
        let problem = format!("is longer than {SCHEDULE_NAME_BYTES_MAX} bytes; it is part of the ids of its messages");
        return Err(NameError::new(what, given, problem));
    }
    Ok(())
}

checked_text!(
    /// The name of a schedule. It is part of the ids of the messages that it publishes.
    ScheduleName, "schedule name", check_schedule_name
);

/// What happens to runs whose time fell into a while when the host was down or asleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One run now stands for all of them.
    #[default]
    Once,
    /// Each is made up for, in order, as soon as possible.
    All {
        /// At most so many, the latest ones; at most [`crate::limits::SCHEDULE_MISSED_CEILING`].
        max: u32,
    },
}

impl Missed {
    /// Each, up to [`SCHEDULE_MISSED_DEFAULT`].
    pub const ALL: Self = Self::All { max: SCHEDULE_MISSED_DEFAULT };
}

/// What a schedule shall do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleConfig {
    /// When, as a cron expression. It was checked by whoever knows them.
    pub cron: String,
    /// The IANA name of the time zone that the expression is read in.
    pub timezone: String,
    /// The topic of its messages.
    pub topic: Topic,
    /// Their key.
    pub key: Option<MessageKey>,
    /// The media type of their data.
    pub content_type: Option<String>,
    /// Their headers; names are lower case.
    pub headers: Vec<(String, String)>,
    /// Their data.
    pub data: Bytes,
    /// What happens to runs whose time has passed.
    pub missed: Missed,
    /// Whether it rests until somebody resumes it. What falls into a pause is not missed.
    pub paused: bool,
}

/// A schedule as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRecord {
    /// Its name.
    pub name: ScheduleName,
    /// Its declaration.
    pub config: ScheduleConfig,
    /// The time that it fires at next; none while it is paused, and when the expression has no further time.
    pub next: Option<Timestamp>,
    /// The last planned time that fired; always before `next`.
    pub last: Option<Timestamp>,
    /// How many planned times fired.
    pub fired: u64,
}

//! What is done about a time that has passed.

use wasmill_delivery::{schedule::Missed, time::Timestamp};

use super::calendar::Calendar;

/// What to do with a planned time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Publish for it, and go on to the next one.
    Fire { next: Option<Timestamp> },
    /// Do not publish for it, and go on to the next one.
    Skip { next: Option<Timestamp> },
}

/// A time that comes when it should.
pub(super) fn in_time(calendar: &Calendar, planned: Timestamp) -> Step {
    Step::Fire { next: calendar.next_after(planned) }
}

/// A time that was missed, and perhaps others up to `now` with it.
pub(super) fn make_up(calendar: &Calendar, rule: Missed, planned: Timestamp, now: Timestamp) -> Step {
    match rule {
        Missed::Skip => Step::Skip { next: calendar.next_after(now) },
        Missed::Once => Step::Fire { next: calendar.next_after(now) },
        Missed::All { max } => match calendar.first_of_last(planned, now, max) {
            first if first > planned => Step::Skip { next: Some(first) },
            _ => in_time(calendar, planned),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_says_what_becomes_of_missed_times() {
        let calendar = Calendar::new("* * * * *", "UTC").expect("a good schedule");
        let minute = |minute: u64| Timestamp(minute * 60_000);
        let now = Timestamp(10 * 60_000 + 500);
        for (rule, planned, step) in [
            (Missed::Skip, 3, Step::Skip { next: Some(minute(11)) }),
            (Missed::Once, 3, Step::Fire { next: Some(minute(11)) }),
            (Missed::ALL, 3, Step::Fire { next: Some(minute(4)) }),
            (Missed::All { max: 8 }, 3, Step::Fire { next: Some(minute(4)) }),
            (Missed::All { max: 7 }, 3, Step::Skip { next: Some(minute(4)) }),
            (Missed::All { max: 1 }, 3, Step::Skip { next: Some(minute(10)) }),
            (Missed::All { max: 1 }, 10, Step::Fire { next: Some(minute(11)) }),
        ] {
            assert_eq!(make_up(&calendar, rule, minute(planned), now), step, "{rule:?} from {planned}");
        }
    }
}

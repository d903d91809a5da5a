//! Which of the messages that were seen is which of those that were expected, in any order.

use std::{path::Path, time::Duration};

use wasmill_settings::forms::Headers;

use crate::{
    data::{DurationOrNone, OrNone, Shown},
    error::HarnessError,
    forms::RawPublished,
};

/// For each column the row that is put there, so that as many rows as possible have one that fits them. `fits[row][column]`
/// says which do. Along augmenting paths: who came first moves on to another column, if it can, to make room.
pub(crate) fn assign(fits: &[Vec<bool>], columns: usize) -> Vec<Option<usize>> {
    let mut taken = vec![None; columns];
    for row in 0..fits.len() {
        place(row, fits, &mut taken, &mut vec![false; columns]);
    }
    taken
}

fn place(row: usize, fits: &[Vec<bool>], taken: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for column in 0..taken.len() {
        if !fits[row][column] || std::mem::replace(&mut tried[column], true) {
            continue;
        }
        if taken[column].is_none_or(|other| place(other, fits, taken, tried)) {
            taken[column] = Some(row);
            return true;
        }
    }
    false
}

/// What is expected of a message, in words.
pub(crate) fn wanted_message(expected: &RawPublished, folder: &Path) -> Result<String, HarnessError> {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let quoted = |OrNone(text): &OrNone| or_none(text.as_ref().map(|text| format!("{text:?}")));
    let time = |DurationOrNone(ms): DurationOrNone| or_none(ms.map(|ms| format!("{:?}", Duration::from_millis(ms))));
    let RawPublished { topic, id, key, content_type, headers, delay, expires_after, text_has, .. } = expected;
    let parts = [
        topic.as_ref().map(|topic| format!("topic {topic}")),
        id.as_ref().map(|id| format!("id {id}")),
        key.as_ref().map(|key| format!("key {}", quoted(key))),
        content_type.as_ref().map(|given| format!("content-type {}", quoted(given))),
        headers.as_ref().map(|Headers(headers)| format!("headers {headers:?}")),
        delay.map(|delay| format!("delay {}", time(delay))),
        expires_after.map(|after| format!("expires-after {}", time(after))),
        expected.written().data(folder)?.map(|data| format!("data {}", Shown(&data.bytes()))),
        text_has.as_ref().map(|words| format!("data with {words:?}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    Ok(if parts.is_empty() { "any message".to_owned() } else { parts.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_can_be_are_placed() {
        let row = |text: &str| text.chars().map(|letter| letter == 'x').collect::<Vec<bool>>();
        let placed = |rows: &[&str]| {
            let fits: Vec<Vec<bool>> = rows.iter().map(|text| row(text)).collect();
            assign(&fits, rows[0].len())
        };
        assert_eq!(placed(&["xx", "x."]), [Some(1), Some(0)]);
        assert_eq!(placed(&["xxx", "xx.", "x.."]), [Some(2), Some(1), Some(0)]);
        assert_eq!(placed(&["x.", "x."]), [Some(0), None]);
        assert_eq!(placed(&["..", "xx"]), [Some(1), None]);
    }
}

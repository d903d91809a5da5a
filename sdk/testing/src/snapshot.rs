//! What came of a run as text, to be compared with a file.

use std::{fmt::Write as _, path::Path};

use crate::{
    check::{Mismatch, Seen},
    data::Shown,
    error::HarnessError,
};

/// What was published and stored, and how attempts ended.
pub(crate) fn text(seen: &Seen) -> String {
    let mut text = String::new();
    let outcomes: Vec<&str> = seen.attempts.iter().map(|attempt| attempt.outcome.name()).collect();
    let _ = writeln!(text, "outcomes: {}", outcomes.join(", "));
    for published in &seen.published {
        let message = &published.message;
        let _ = writeln!(text, "\npublished to {}", message.topic);
        if let Some(key) = &message.key {
            let _ = writeln!(text, "  key: {}", key.as_str());
        }
        if let Some(content_type) = &message.content_type {
            let _ = writeln!(text, "  content-type: {content_type}");
        }
        for (name, value) in &message.headers {
            let _ = writeln!(text, "  header {name}: {value}");
        }
        if let Some(delay_ms) = published.delay_ms {
            let _ = writeln!(text, "  delay: {delay_ms} ms");
        }
        if let Some(after_ms) = published.expires_after_ms() {
            let _ = writeln!(text, "  expires-after: {after_ms} ms");
        }
        let _ = writeln!(text, "  data: {}", Shown(&message.data));
    }
    if !seen.state.is_empty() {
        text.push_str("\nstate\n");
    }
    for (key, value) in &seen.state {
        let _ = writeln!(text, "  {key:?}: {}", Shown(value));
    }
    text
}

/// Write it, unless it is there as it is. Answers whether it was written.
pub(crate) fn write(path: &Path, text: &str) -> Result<bool, HarnessError> {
    if std::fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(false);
    }
    let write = || {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, text)
    };
    write().map(|()| true).map_err(|problem| HarnessError::File { path: path.to_owned(), problem })
}

/// Compare it with the file.
pub(crate) fn compare(path: &Path, text: &str) -> Result<Option<Mismatch>, HarnessError> {
    let what = format!("snapshot {}", path.display());
    match std::fs::read_to_string(path) {
        // Line ends are a matter of the editor, or of git; those of data are escaped.
        Ok(expected) if expected.lines().eq(text.lines()) => Ok(None),
        Ok(expected) => {
            let differ = |(_, (expected, seen)): &(usize, (&str, &str))| expected != seen;
            let ended = "(the end)";
            let longest = expected.lines().count().max(text.lines().count());
            let of = |text: &'_ str| -> Vec<String> {
                text.lines().map(ToOwned::to_owned).chain(std::iter::repeat(ended.to_owned())).take(longest).collect()
            };
            let (expected, seen) = (of(&expected), of(text));
            let pairs = expected.iter().map(String::as_str).zip(seen.iter().map(String::as_str));
            let (line, (expected, seen)) = pairs.enumerate().find(differ).expect("some line differs");
            Ok(Some(Mismatch {
                what: format!("{what}, line {}; `wasmill test --update` writes what was seen", line + 1),
                expected: expected.to_owned(),
                seen: seen.to_owned(),
            }))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(Mismatch {
            what,
            expected: "a file".to_owned(),
            seen: "none; `wasmill test --update` writes it".to_owned(),
        })),
        Err(problem) => Err(HarnessError::File { path: path.to_owned(), problem }),
    }
}

//! How things are shown to people.

use std::{
    fmt::Display,
    io::{ErrorKind, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use bytesize::ByteSize;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::Serialize;

/// Print lines.
pub(crate) fn say(text: impl Display) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Print JSON as people read it.
pub(crate) fn say_json(value: &impl Serialize) -> Result<()> {
    say(serde_json::to_string_pretty(value)?)
}

/// Print bytes as they are.
pub(super) fn say_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Print an error.
pub(super) fn complain(text: &str) {
    // There is nobody to tell when this fails too.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether nobody reads our output any more.
pub(super) fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Columns under headings, aligned; those whose heading ends with `>` to the right, as numbers are read.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(headings.iter().map(|heading| heading.trim_end_matches('>')));
    table.add_rows(rows);
    for (index, heading) in headings.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if heading.ends_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    trim_lines(&table.to_string())
}

/// Names and values below each other.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines: Vec<String> = facts.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    trim_lines(&lines.join("\n"))
}

/// The text with each line moved to the right.
pub(super) fn indent(text: &str, by: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("{by}{line}")).collect();
    trim_lines(&lines.join("\n"))
}

fn trim_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// A list, or a dash when it is empty.
pub(super) fn list(items: &[String]) -> String {
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

/// What there is, or a dash.
pub(super) fn or_dash<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A size, with the unit that fits.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// A duration, with the units that fit.
pub(super) fn duration(ms: u64) -> String {
    let duration = jiff::SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    format!("{duration:#}")
}

/// A time of day with its date, in UTC.
pub(super) fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    or_dash(time.map(|time| format!("{time:.3}")))
}

/// How long ago that was, to the second.
pub(super) fn ago(ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let age_ms = u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(ms);
    format!("{} ago", duration(age_ms / 1_000 * 1_000))
}

/// The text, cut when it is longer than a table likes.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    let one_line = text.replace(['\n', '\r', '\t'], " ");
    if one_line.chars().count() <= chars_max {
        return one_line;
    }
    let kept: String = one_line.chars().take(chars_max - 1).collect();
    kept + "…"
}

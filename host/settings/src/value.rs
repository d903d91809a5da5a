//! Values as people write them: `30s`, `64MiB`, numbers with a range. Each refuses with what is wrong and an example.

use std::{fmt, marker::PhantomData};

use bytesize::ByteSize;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// No upper end.
pub const ENDLESS: u64 = u64::MAX;

/// Read a duration, in milliseconds.
///
/// # Errors
/// When it is not one, in words for whoever wrote it.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let refuse =
        || format!("{text:?} is not a duration; write a number with a unit, for example \"30s\", \"100ms\" or \"2m\"");
    let span: jiff::Span = text.parse().map_err(|_| refuse())?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| refuse())?;
    u64::try_from(duration.as_millis()).map_err(|_| refuse())
}

/// Read a size, in bytes.
///
/// # Errors
/// When it is not one, in words for whoever wrote it.
pub fn parse_size_bytes(text: &str) -> Result<u64, String> {
    let size: Result<ByteSize, String> = text.parse();
    size.map(|size| size.as_u64()).map_err(|_| {
        format!("{text:?} is not a size; write a number with a unit, for example \"64KiB\", \"64MiB\" or \"10GiB\"")
    })
}

/// A duration from `MIN` to `MAX` milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct DurationMs<const MIN: u64, const MAX: u64>(
    /// In milliseconds.
    pub u64,
);

/// A size from `MIN` to `MAX` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Size<const MIN: u64, const MAX: u64>(
    /// In bytes.
    pub u64,
);

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug)]
pub struct Count<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Count<MIN, MAX> {
    /// A default.
    ///
    /// # Panics
    /// When it is out of the range.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        assert!(MIN <= value && value <= MAX, "a default is out of its own range");
        Self(value)
    }

    /// As the type that the rest of the host uses; `MAX` is in its range.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn get<T: TryFrom<u64>>(self) -> T {
        T::try_from(self.0).ok().expect("the range of the setting is within that of its type")
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for DurationMs<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let check = |text: &str| match parse_duration_ms(text)? {
            ms if ms < MIN => Err(format!("{text:?} is too short; it must be at least {MIN} ms")),
            ms if ms > MAX => Err(format!("{text:?} is too long; it must be at most {} s", MAX / 1_000)),
            ms => Ok(Self(ms)),
        };
        text(deserializer, "a duration as text, for example \"30s\"", check)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Size<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let check = |text: &str| match parse_size_bytes(text)? {
            bytes if bytes < MIN => Err(format!("{text:?} is too small; it must be at least {}", ByteSize(MIN))),
            bytes if bytes > MAX => Err(format!("{text:?} is too large; it must be at most {}", ByteSize(MAX))),
            bytes => Ok(Self(bytes)),
        };
        text(deserializer, "a size as text, for example \"64MiB\"", check)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(CountVisitor::<MIN, MAX>)
    }
}

struct CountVisitor<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Visitor<'_> for CountVisitor<MIN, MAX> {
    type Value = Count<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, given: i64) -> Result<Self::Value, E> {
        match u64::try_from(given) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::custom(out_of_range::<MIN, MAX>(given))),
        }
    }

    fn visit_u64<E: Error>(self, given: u64) -> Result<Self::Value, E> {
        if given < MIN || given > MAX {
            return Err(E::custom(out_of_range::<MIN, MAX>(given)));
        }
        Ok(Count(given))
    }
}

fn out_of_range<const MIN: u64, const MAX: u64>(given: impl fmt::Display) -> String {
    if MAX >= i64::MAX as u64 {
        format!("{given} is out of range; it must be at least {MIN}")
    } else {
        format!("{given} is out of range; it must be from {MIN} to {MAX}")
    }
}

/// Read text, and check it.
///
/// # Errors
/// When it is no text, or what the check says.
pub fn text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expecting: &'static str,
    check: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(TextVisitor { expecting, check, made: PhantomData })
}

struct TextVisitor<T, F> {
    expecting: &'static str,
    check: F,
    made: PhantomData<T>,
}

impl<T, F: FnOnce(&str) -> Result<T, String>> Visitor<'_> for TextVisitor<T, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: Error>(self, given: &str) -> Result<T, E> {
        (self.check)(given).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_as_people_write_them() {
        for (text, ms) in
            [("30s", 30_000), ("100ms", 100), ("2m", 120_000), ("1h 30m", 5_400_000), ("7d", 604_800_000), ("0s", 0)]
        {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
        for text in ["", "30", "s", "30 parsecs", "-1s", "1 month"] {
            let refusal = parse_duration_ms(text).expect_err(text);
            assert!(refusal.contains("for example \"30s\""), "{refusal}");
        }
        for (text, bytes) in [("64MiB", 67_108_864), ("1.5 KiB", 1_536), ("10GB", 10_000_000_000), ("12", 12)] {
            assert_eq!(parse_size_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "64 potatoes", "-1MiB"] {
            let refusal = parse_size_bytes(text).expect_err(text);
            assert!(refusal.contains("for example \"64KiB\""), "{refusal}");
        }
    }
}

//! From frames of a body to lines, without copying but for the line that a frame's end cuts.

use bytes::Bytes;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum Line<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// It is longer than it may be and was passed over.
    TooLong,
}

/// See the module.
pub(in crate::http) struct Lines {
    frame: Bytes,
    /// How far the frame was read.
    at: usize,
    /// The beginning of a line whose end is in a later frame.
    begun: Vec<u8>,
    /// Whether the last line that was given out was `begun`.
    begun_is_given: bool,
    /// Whether the line under way is too long, so that its rest is passed over.
    passing_over: bool,
    /// Lines ended so far, blank ones among them.
    number: u64,
    line_bytes_max: usize,
}

impl Lines {
    /// What to feed when the body has ended: its last line may have no end of its own.
    pub(in crate::http) const END: Bytes = Bytes::from_static(b"\n");

    pub(in crate::http) const fn new(line_bytes_max: usize) -> Self {
        Self {
            frame: Bytes::new(),
            at: 0,
            begun: Vec::new(),
            begun_is_given: false,
            passing_over: false,
            number: 0,
            line_bytes_max,
        }
    }

    /// Go on with this frame. Everything of the one before must have been taken.
    pub(in crate::http) fn feed(&mut self, frame: Bytes) {
        debug_assert!(self.at == self.frame.len(), "lines of the frame before were not taken");
        self.frame = frame;
        self.at = 0;
    }

    /// The number of the line that comes next, from 1.
    pub(in crate::http) const fn next_number(&self) -> u64 {
        self.number + 1
    }

    /// The next line that is not blank, with its number from 1; none until there is another frame.
    pub(in crate::http) fn next(&mut self) -> Option<(u64, Line<'_>)> {
        loop {
            if std::mem::take(&mut self.begun_is_given) {
                self.begun.clear();
            }
            let from = self.at;
            let Some(length) = memchr::memchr(b'\n', &self.frame[from..]) else {
                self.begin_line(from);
                return None;
            };
            self.at = from + length + 1;
            self.number += 1;
            if self.end_line(from, length) {
                return Some((self.number, self.ended(from, length)));
            }
        }
    }

    /// The frame ends within a line.
    fn begin_line(&mut self, from: usize) {
        let rest = &self.frame[from..];
        self.at = self.frame.len();
        if self.passing_over || self.begun.len() + rest.len() > self.line_bytes_max {
            self.passing_over = true;
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(rest);
        }
    }

    /// Put the line together. Answers whether there is something in it.
    fn end_line(&mut self, from: usize, length: usize) -> bool {
        if self.passing_over || self.begun.len() + length > self.line_bytes_max {
            self.passing_over = true;
            return true;
        }
        if self.begun.is_empty() {
            return !self.frame[from..from + length].trim_ascii().is_empty();
        }
        self.begun.extend_from_slice(&self.frame[from..from + length]);
        self.begun_is_given = true;
        !self.begun.trim_ascii().is_empty()
    }

    fn ended(&mut self, from: usize, length: usize) -> Line<'_> {
        if std::mem::take(&mut self.passing_over) {
            self.begun = Vec::new();
            return Line::TooLong;
        }
        let line = if self.begun_is_given { &self.begun[..] } else { &self.frame[from..from + length] };
        Line::Whole(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(frames: &[&[u8]], line_bytes_max: usize) -> Vec<(u64, Option<String>)> {
        let mut lines = Lines::new(line_bytes_max);
        let mut found = Vec::new();
        let mut take = |lines: &mut Lines| {
            while let Some((number, line)) = lines.next() {
                found.push((
                    number,
                    match line {
                        Line::Whole(line) => Some(String::from_utf8(line.to_vec()).expect("text")),
                        Line::TooLong => None,
                    },
                ));
            }
        };
        for frame in frames {
            lines.feed(Bytes::copy_from_slice(frame));
            take(&mut lines);
        }
        lines.feed(Lines::END);
        take(&mut lines);
        found
    }

    #[test]
    fn lines_are_the_same_however_the_body_is_cut() {
        let body = b"one\n\ntwo\r\n  \nmuch too long\nthree\nlast";
        let text = |text: &str| Some(text.to_owned());
        let expected = [(1, text("one")), (3, text("two")), (5, None), (6, text("three")), (7, text("last"))];
        assert_eq!(lines_of(&[body], 8), expected);
        for size in 1..=body.len() {
            let frames: Vec<&[u8]> = body.chunks(size).collect();
            assert_eq!(lines_of(&frames, 8), expected, "frames of {size} bytes");
        }
        for cut in 0..=body.len() {
            let (first, second) = body.split_at(cut);
            assert_eq!(lines_of(&[first, second], 8), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_last_line_that_is_too_long_is_told() {
        assert_eq!(lines_of(&[b"12345", b"6789"], 8), [(1, None)]);
        assert_eq!(lines_of(&[b"1234", b"5678"], 8), [(1, Some("12345678".to_owned()))]);
        assert_eq!(lines_of(&[b"\n\n"], 8), []);
        assert_eq!(lines_of(&[], 8), []);
    }
}

//! Values that a handler may read and nobody else may see.
//!
//! A guest that prints one, or gives one as a reason, does so by mistake as a rule. What is kept or logged has
//! `[secret NAME]` in its place. Only the value as it is can be found: one that a guest encoded or cut in pieces cannot.

use std::{collections::BTreeMap, fmt};

use memchr::memmem::Finder;

/// The secrets of one handler, by name. Its values are shown by nothing, `Debug` included.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
    /// Longest first, so that one that holds another is replaced as a whole.
    sought: Vec<Sought>,
}

#[derive(Clone)]
struct Sought {
    finder: Finder<'static>,
    instead: String,
}

impl Secrets {
    /// With these values by name.
    #[must_use]
    pub fn new(values: BTreeMap<String, String>) -> Self {
        let mut sought: Vec<Sought> = values
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| Sought {
                finder: Finder::new(value).into_owned(),
                instead: format!("[secret {name}]"),
            })
            .collect();
        sought.sort_by_key(|sought| std::cmp::Reverse(sought.finder.needle().len()));
        Self { values, sought }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The longest of them, in bytes.
    pub(crate) fn bytes_longest(&self) -> usize {
        self.sought.first().map_or(0, |sought| sought.finder.needle().len())
    }

    /// The first `bytes_max` bytes of a text, without them. However long the text is, no more of it is looked at.
    pub(crate) fn hide(&self, text: String, bytes_max: usize) -> String {
        if self.sought.is_empty() {
            return text;
        }
        let mut bytes = text.into_bytes();
        bytes.truncate(bytes_max.saturating_add(self.bytes_longest()));
        match String::from_utf8(self.hide_before(bytes, bytes_max)) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }

    /// What begins before `end`, without them. One that begins before and ends behind it is replaced as a whole, so whoever
    /// cuts must have read as far beyond as the longest is long.
    ///
    /// Each of them is sought in each byte once, however often it is there.
    pub(crate) fn hide_before(&self, mut bytes: Vec<u8>, end: usize) -> Vec<u8> {
        let end = end.min(bytes.len());
        let mut shown = Vec::new();
        let mut from = 0;
        let mut places: Vec<Option<usize>> = self.sought.iter().map(|sought| sought.finder.find(&bytes)).collect();
        while let Some((at, sought)) = self.first(&places).filter(|(at, _)| *at < end) {
            shown.extend_from_slice(&bytes[from..at]);
            shown.extend_from_slice(sought.instead.as_bytes());
            from = at + sought.finder.needle().len();
            for (place, sought) in places.iter_mut().zip(&self.sought) {
                if place.is_some_and(|at| at < from) {
                    *place = sought.finder.find(&bytes[from..]).map(|at| from + at);
                }
            }
        }
        if from == 0 {
            bytes.truncate(end);
            return bytes;
        }
        shown.extend_from_slice(&bytes[from.min(end)..end]);
        shown
    }

    /// The next place where one of them is; of those at the same place the longest.
    fn first(&self, places: &[Option<usize>]) -> Option<(usize, &Sought)> {
        let found = places.iter().zip(&self.sought).filter_map(|(place, sought)| Some(((*place)?, sought)));
        found.min_by_key(|(at, _)| *at)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let values = [("KEY", "sk-12345"), ("LONG", "sk-12345-and-more"), ("OTHER", "hunter2")];
        Secrets::new(values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn each_is_replaced_by_its_name() {
        for (text, shown) in [
            ("nothing of it", "nothing of it"),
            ("", ""),
            ("sk-12345", "[secret KEY]"),
            ("a sk-12345 b sk-12345 c", "a [secret KEY] b [secret KEY] c"),
            ("sk-12345-and-more", "[secret LONG]"),
            ("hunter2sk-12345", "[secret OTHER][secret KEY]"),
            ("sk-1234", "sk-1234"),
        ] {
            assert_eq!(secrets().hide(text.to_owned(), 100), shown);
        }
        assert_eq!(Secrets::default().hide("sk-12345".to_owned(), 100), "sk-12345");
    }

    #[test]
    fn a_cut_leaves_no_part_of_one() {
        for end in 0..12 {
            let shown = secrets().hide_before(b"ab sk-12345 cd".to_vec(), end);
            let shown = String::from_utf8(shown).expect("text");
            assert!(!shown.contains("sk"), "{end}: {shown}");
            assert_eq!(shown.contains("[secret KEY]"), end > 3, "{end}: {shown}");
        }
        assert_eq!(secrets().hide_before(b"abcdef".to_vec(), 3), b"abc");
    }

    #[test]
    fn a_long_text_is_not_looked_at_beyond_its_limit() {
        let shown = secrets().hide("sk-12345 ".repeat(1_000_000), 18);
        assert_eq!(shown, "[secret KEY] [secret KEY] ");
        let started = std::time::Instant::now();
        let shown = secrets().hide("sk-12345 ".repeat(100_000), usize::MAX);
        assert_eq!(shown.matches("[secret KEY]").count(), 100_000);
        assert!(started.elapsed().as_secs() < 5, "it takes time by the square of its length");
    }

    #[test]
    fn nothing_shows_them() {
        let shown = format!("{:?}", secrets());
        assert!(shown.contains("KEY") && !shown.contains("12345") && !shown.contains("hunter2"), "{shown}");
    }
}

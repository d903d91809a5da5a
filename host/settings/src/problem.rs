//! What is wrong with a file of TOML, and where.

use std::{fmt, ops::Range, path::PathBuf};

use toml::de::{DeTable, DeValue};

/// One thing that is wrong in a file of TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The file.
    pub path: PathBuf,
    /// Line and column from 1, when the place is known.
    pub place: Option<(usize, usize)>,
    /// The whole key, for example `server.drain`.
    pub key: Option<String>,
    /// What is wrong and how to mend it.
    pub problem: String,
    /// The line as it stands there.
    line: String,
    /// How much of the line is meant, in characters.
    width: usize,
}

impl Wrong {
    /// What serde says of the text of a file, with its place.
    #[must_use]
    pub fn new(path: PathBuf, text: &str, error: &toml::de::Error) -> Self {
        let problem = in_our_words(error.message());
        let Some(span) = error.span() else {
            return Self { path, place: None, key: None, problem, line: String::new(), width: 0 };
        };
        let start = span.start.min(text.len());
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or_default().to_owned();
        let column = before[line_start..].chars().count();
        let meant = text.get(span.clone()).unwrap_or_default().lines().next().unwrap_or_default();
        Self {
            path,
            place: Some((before.matches('\n').count() + 1, column + 1)),
            key: key_at(text, &span),
            problem,
            line,
            width: meant.chars().count().max(1),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.problem)?;
        if let Some((line, column)) = self.place {
            let margin = " ".repeat(line.to_string().len());
            let before: String = self.line.chars().take(column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
            write!(f, "\n {line} | {}\n {margin} | {before}{}", self.line, "^".repeat(self.width))?;
        }
        Ok(())
    }
}

impl std::error::Error for Wrong {}

/// What serde says of unknown words, said with a suggestion.
fn in_our_words(message: &str) -> String {
    let unknown = [("unknown field ", "key"), ("unknown variant ", "value")];
    for (prefix, what) in unknown {
        let Some(rest) = message.strip_prefix(prefix) else { continue };
        let mut words = rest.split('`').skip(1).step_by(2);
        let given = words.next().unwrap_or_default();
        let known: Vec<&str> = words.collect();
        return match nearest(given, &known) {
            Some(near) => format!("unknown {what} `{given}`; did you mean `{near}`?"),
            None => format!("unknown {what} `{given}`; there are `{}`", known.join("`, `")),
        };
    }
    message.replace("invalid type: ", "wrong type: ")
}

/// The known word that somebody who wrote `given` most likely meant.
#[must_use]
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |word: &&str| strsim::damerau_levenshtein(given, word);
    let near = known.iter().min_by_key(|word| distance(word))?;
    (distance(near) <= (given.len() / 3).max(2)).then_some(*near)
}

/// The whole key of what stands at that place, by looking at everything that says where it stands.
fn key_at(text: &str, span: &Range<usize>) -> Option<String> {
    let document = DeTable::parse(text).ok()?;
    let mut found = None;
    look_in(document.get_ref(), span, &mut Vec::new(), &mut found);
    found
}

fn look_in<'t>(table: &'t DeTable<'_>, wanted: &Range<usize>, path: &mut Vec<&'t str>, found: &mut Option<String>) {
    for (key, value) in table {
        path.push(key.get_ref());
        if holds(&key.span(), wanted) || holds(&value.span(), wanted) {
            *found = Some(path.join("."));
        }
        if let DeValue::Table(inner) = value.get_ref() {
            look_in(inner, wanted, path, found);
        }
        path.pop();
    }
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

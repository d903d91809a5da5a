//! Messages to try a handler with: one JSON object in each line of a file.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;
use wasmill_runtime::Draft;

/// Samples of one file; more is a load, and `wasmill publish` is for that.
pub(crate) const SAMPLES_MAX: usize = 1_000;

/// A message to publish.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Sample {
    topic: String,
    key: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    content_type: Option<String>,
    json: Option<Box<RawValue>>,
    text: Option<String>,
}

/// The samples in a file.
///
/// # Errors
/// When it cannot be read, or a line is no sample.
pub(crate) fn read(path: &Path) -> Result<Vec<Sample>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

/// # Errors
/// When a line is no sample; the error says which.
pub(crate) fn parse(text: &str) -> Result<Vec<Sample>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let samples = lines.map(|(index, line)| sample(line).with_context(|| format!("line {}", index + 1)));
    let samples = samples.collect::<Result<Vec<_>>>()?;
    ensure!(samples.len() <= SAMPLES_MAX, "there are {} samples; at most {SAMPLES_MAX} are taken", samples.len());
    Ok(samples)
}

fn sample(line: &str) -> Result<Sample> {
    let sample: Sample = serde_json::from_str(line)?;
    if sample.json.is_some() && sample.text.is_some() {
        bail!("a sample has json or text, not both");
    }
    Ok(sample)
}

impl Sample {
    /// Where it goes.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Its data, as it is published.
    pub(crate) fn data(&self) -> &str {
        self.json.as_ref().map(|json| json.get()).or(self.text.as_deref()).unwrap_or_default()
    }

    /// What its data is.
    pub(crate) fn content_type(&self) -> Option<&str> {
        let by_kind = match (&self.json, &self.text) {
            (Some(_), _) => Some("application/json"),
            (None, Some(_)) => Some("text/plain"),
            (None, None) => None,
        };
        self.content_type.as_deref().or(by_kind)
    }

    /// What its message is ordered and shared out by.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Its headers, by name.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Ready to be published, as a new message each time.
    pub(crate) fn draft(&self) -> Draft {
        let data = self.data().as_bytes().to_vec();
        let draft = Draft::new(self.topic.as_str(), data);
        let content_type = self.content_type().map(str::to_owned);
        Draft { key: self.key.clone(), content_type, headers: self.headers(), ..draft }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message() {
        let text = "{\"topic\": \"quakes\", \"json\": {\"b\": 1.10, \"a\": 2}, \"headers\": {\"x\": \"y\"}}\n\n\
                    {\"topic\": \"t\", \"key\": \"k\", \"text\": \"not json\"}\n{\"topic\": \"empty\"}\n";
        let samples = parse(text).expect("three samples");
        let drafts: Vec<Draft> = samples.iter().map(Sample::draft).collect();
        assert_eq!(drafts[0].data, "{\"b\": 1.10, \"a\": 2}", "as it is written");
        assert_eq!(drafts[0].content_type.as_deref(), Some("application/json"));
        assert_eq!(drafts[0].headers, [("x".to_owned(), "y".to_owned())]);
        assert_eq!((drafts[1].key.as_deref(), &drafts[1].data[..]), (Some("k"), &b"not json"[..]));
        assert_eq!((drafts[2].content_type.as_deref(), drafts[2].data.len()), (None, 0));
    }

    #[test]
    fn mistakes_are_said_with_their_line() {
        let too_many = "{\"topic\": \"t\"}\n".repeat(SAMPLES_MAX + 1);
        for (text, words) in [
            ("{\"topic\": \"t\"}\n{\"topics\": 1}", "line 2: unknown field `topics`"),
            ("{}", "missing field `topic`"),
            ("{\"topic\": \"t\", \"json\": 1, \"text\": \"x\"}", "not both"),
            (too_many.as_str(), "at most 1000"),
        ] {
            let said = format!("{:#}", parse(text).expect_err(words));
            assert!(said.contains(words), "{said}");
        }
    }
}

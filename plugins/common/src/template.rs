//! Text with values of a message in braces, such as `orders.{$.region}` or `https://hooks.example.com/{topic}`.

use std::str::FromStr;

use wasmill::{Result, reject};

use crate::{Document, Pick, settings::is_topic};

/// Text with [`Pick`]s in braces.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Value(String, Pick),
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or("there is a { without its }")?;
            let pick = name.parse().map_err(|problem| format!("{{{name}}}: {problem}"))?;
            pieces.extend([Piece::Text(before.to_owned()), Piece::Value(name.to_owned(), pick)]);
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self { text: text.to_owned(), pieces })
    }
}

impl Template {
    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// With that in place of each value.
    #[must_use]
    pub fn with_each(&self, value: &str) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Value(..) => value.to_owned(),
        };
        self.pieces.iter().map(text).collect()
    }

    /// Whether that is the only value it has, if it has any.
    pub(crate) fn has_only(&self, pick: &Pick) -> bool {
        self.pieces
            .iter()
            .all(|piece| matches!(piece, Piece::Text(_)) || matches!(piece, Piece::Value(_, own) if own == pick))
    }

    /// The topic of what is made of many messages of a key: one of [`key_topic`](crate::key_topic).
    ///
    /// # Errors
    /// Rejects the delivery when that is no topic.
    pub fn topic_of_key(&self, key: &str) -> Result<String> {
        let topic = self.with_each(key);
        if is_topic(&topic) {
            Ok(topic)
        } else {
            Err(reject(format!("its key makes {topic:?} of {:?}, which is no topic", self.text)))
        }
    }

    /// With the values of a message, each written by `encode`.
    ///
    /// # Errors
    /// Rejects the delivery when the message has no such value, or an empty one.
    pub fn fill(&self, document: &Document<'_>, encode: impl Fn(&str) -> String) -> Result<String> {
        let mut filled = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Value(name, pick) => match document.text(pick)?.filter(|value| !value.is_empty()) {
                    Some(value) => filled.push_str(&encode(&value)),
                    None => return Err(reject(format!("the message has no {name}, which {:?} needs", self.text))),
                },
            }
        }
        Ok(filled)
    }

    /// A topic, with the values of a message as they are. Whether it is one, publishing tells.
    ///
    /// # Errors
    /// As [`Template::fill`].
    pub fn topic(&self, document: &Document<'_>) -> Result<String> {
        self.fill(document, str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use wasmill::{Delivery, Failure};

    use super::*;

    #[test]
    fn values_stand_where_the_braces_were() {
        let mut message = Delivery::for_test("orders.eu", r#"{"region": "eu/west"}"#).message;
        message.key = Some("k".to_owned());
        let document = Document::new(&message);
        let template: Template = "a.{topic}.{key}-{$.region}!".parse().expect("a template");
        assert_eq!(template.topic(&document), Ok("a.orders.eu.k-eu/west!".to_owned()));
        assert_eq!(
            template.fill(&document, |value| value.replace('/', "_")).expect("filled"),
            "a.orders.eu.k-eu_west!"
        );
        assert_eq!(template.with_each("x"), "a.x.x-x!");
        let plain: Template = "plain".parse().expect("a template");
        assert_eq!(plain.topic(&document), Ok("plain".to_owned()));
    }

    #[test]
    fn what_the_message_lacks_rejects_it_by_name() {
        let message = Delivery::for_test("t", "{}").message;
        let template: Template = "a.{key}".parse().expect("a template");
        let reason = "the message has no key, which \"a.{key}\" needs".to_owned();
        assert_eq!(template.topic(&Document::new(&message)), Err(Failure::Reject(reason)));
    }

    #[test]
    fn broken_templates_are_told() {
        for text in ["a.{key", "{}", "{$.[}"] {
            assert!(text.parse::<Template>().is_err(), "{text}");
        }
    }
}

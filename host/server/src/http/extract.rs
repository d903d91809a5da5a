//! Reading what a request says, with problems instead of axum's plain-text rejections.

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use super::{HttpLimits, body, problem::Problem};

/// The parts of the path that have names.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(params)) => Ok(Self(params)),
            Err(rejection) => Err(Problem::invalid("invalid-path", rejection.body_text())),
        }
    }
}

/// The query of the URL. A name that is not known is refused, with the nearest one that is.
pub(super) struct Search<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Search<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let text = rejection.body_text();
                let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Err(Problem::invalid("invalid-query", explain(text)))
            }
        }
    }
}

/// A JSON body that declares something. What its media type says is not looked at.
pub(super) struct Declared<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Declared<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let body = body::read(request.into_body(), HttpLimits::DECLARATION_BYTES_MAX).await?;
        from_json(&body).map(Self)
    }
}

/// Read JSON: what cannot be read is malformed (400), what says something impossible is invalid (422).
pub(super) fn from_json<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(json).map_err(|error| json_problem(&error))
}

/// What is wrong with JSON, and where.
pub(super) fn json_problem(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let place = match error.line() {
        0 => String::new(),
        1 => format!("at byte {}: ", error.column()),
        line => format!("at line {line}, byte {}: ", error.column()),
    };
    match error.classify() {
        serde_json::error::Category::Data => {
            let code = if text.starts_with("unknown field") { "unknown-field" } else { "invalid-value" };
            Problem::invalid(code, format!("{place}{}", explain(text)))
        }
        serde_json::error::Category::Syntax | serde_json::error::Category::Eof | serde_json::error::Category::Io => {
            Problem::malformed("invalid-json", format!("{place}{text}"))
        }
    }
}

/// How alike a name must be to be suggested; 1 is the same (Jaro and Winkler's measure).
const ALIKE_MIN: f64 = 0.75;

/// Serde names what it does not know and then all that it knows, each between backticks: suggest the nearest.
fn explain(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (Some(given), true) = (quoted.next(), message.contains("unknown ")) else { return message.to_owned() };
    let alike = |known: &&str| strsim::jaro_winkler(given, known);
    let nearest = quoted.max_by(|a, b| alike(a).total_cmp(&alike(b))).filter(|known| alike(known) >= ALIKE_MIN);
    match nearest {
        Some(known) => format!("{message}; did you mean `{known}`?"),
        None => message.to_owned(),
    }
}

/// How many entries a page has.
pub(super) const PAGE_DEFAULT: usize = 100;
/// How many entries a page can have at most.
pub(super) const PAGE_MAX: usize = 1_000;

/// The number of entries that were asked for.
pub(super) fn page_limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(PAGE_DEFAULT) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        limit => Err(Problem::invalid("out-of-range", format!("limit is {limit}; it must be from 1 to {PAGE_MAX}"))),
    }
}

/// Do something that waits for the disk where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static, E: Into<Problem> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) => Err(Problem::fault(format!("reading the store ended early: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Queue {
        #[serde(rename = "bindings")]
        _bindings: Vec<String>,
        #[serde(rename = "messages_max")]
        _messages_max: Option<u64>,
    }

    #[test]
    fn json_problems_say_where_and_what_was_meant() {
        for (json, status, code, words) in [
            (r#"{"bindings":[],"mesages_max":1}"#, 422, "unknown-field", "did you mean `messages_max`?"),
            (r#"{"bindings":[],"messages-max":1}"#, 422, "unknown-field", "did you mean `messages_max`?"),
            (r#"{"bindings":7}"#, 422, "invalid-value", "at byte 13: invalid type: integer"),
            (r#"{"bindings":[}"#, 400, "invalid-json", "at byte 14: expected value"),
            ("{}", 422, "invalid-value", "missing field `bindings`"),
            ("", 400, "invalid-json", "EOF"),
        ] {
            let problem = from_json::<Queue>(json.as_bytes()).expect_err("a bad queue");
            assert_eq!((problem.status.as_u16(), problem.code), (status, code), "{json}: {}", problem.detail);
            assert!(problem.detail.contains(words), "{json}: {}", problem.detail);
        }
        let far = from_json::<Queue>(br#"{"zzz":1}"#).expect_err("a bad queue").detail;
        assert!(!far.contains("did you mean") && far.contains("`bindings`"), "{far}");
    }

    #[test]
    fn pages_have_a_limit() {
        assert_eq!(page_limit(None).expect("the default"), PAGE_DEFAULT);
        assert_eq!(page_limit(Some(PAGE_MAX)).expect("the most"), PAGE_MAX);
        for bad in [0, PAGE_MAX + 1] {
            assert_eq!(page_limit(Some(bad)).expect_err("out of range").code, "out-of-range");
        }
    }
}

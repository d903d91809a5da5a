//! `Idempotency-Key` for publishing (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! A client that does not know whether its request was carried out sends it again with the same key, and gets the answer
//! of the first time with `Idempotent-Replayed: true`. The same key with another request is refused with 422; while the
//! first one is still being carried out, with 409. A request is the same when its method, path, query, body and the
//! headers that make the message (`Content-Type`, `ce-*`, `wasmill-*`) are; trace headers may differ.
//!
//! What survives what:
//!
//! | | client gone | host started again |
//! |---|---|---|
//! | one message without an id | answer replayed | found by its id: 200 with `"duplicate": true`, and no places |
//! | one message with an id of its own, or a CloudEvent | answer replayed | found by that id, likewise |
//! | many messages (NDJSON, batches) | answer replayed | entries with ids are found; those without are published again |
//!
//! - Answers are kept in memory for the dedup window ([`Host::dedup_window`]), at most [`KEYS_MAX`] of them and
//!   [`ANSWERS_BYTES_MAX`]; past that the oldest are forgotten before their time, as published ids are.
//! - Only a success is kept. What was refused as a whole changed nothing, so a repeat is tried anew. A host that stopped
//!   before it could answer does not know: a repeat is found by the id.
//! - A message without an id gets one that is made from the key alone. After a restart another body under the same key
//!   can therefore not be told apart: it is taken for the first one, and nothing is published.
//! - A request with a key is carried out to its end even when its client goes away. Its answer is not streamed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::{self as axum_body, Body},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use wasmill_runtime::Host;

use super::{
    HttpLimits, body,
    problem::Problem,
    publish::{ID_HEADER, Kind},
};

const KEY_HEADER: &str = "idempotency-key";
const REPLAYED_HEADER: HeaderName = HeaderName::from_static("idempotent-replayed");
/// A key, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// Keys that are remembered at once.
const KEYS_MAX: usize = 100_000;
/// Answers that are kept at once, in bytes. 64 MiB.
const ANSWERS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a key and its place in the table take beside the answer, in bytes, roughly.
const ENTRY_BYTES: usize = 256;
/// Lines of one request with a key: all their answers are kept.
const LINES_MAX: usize = 10_000;
/// Headers of an answer that are kept with it.
const KEPT_HEADERS: [HeaderName; 2] = [header::CONTENT_TYPE, header::LOCATION];

/// What requests with a key share.
#[derive(Clone)]
pub(super) struct Idempotency {
    host: Host,
    limits: HttpLimits,
    table: Arc<Mutex<Table>>,
}

impl Idempotency {
    pub(super) fn new(host: &Host, limits: HttpLimits) -> Self {
        let table =
            Table::new(TableLimits { keys_max: KEYS_MAX, bytes_max: ANSWERS_BYTES_MAX, window: host.dedup_window() });
        Self { host: host.clone(), limits, table: Arc::new(Mutex::new(table)) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a request is carried out as it comes.
pub(super) fn has_no_key(headers: &HeaderMap) -> bool {
    !headers.contains_key(KEY_HEADER)
}

/// Carry a request out once for its key; without a key, as ever.
pub(super) async fn once(State(shared): State<Idempotency>, request: Request, next: Next) -> Result<Response, Problem> {
    if request.method() != Method::POST || has_no_key(request.headers()) {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    let key = key_of(&parts.headers)?;
    let data = shared.read(&parts.headers, body).await?;
    let fingerprint = fingerprint(&parts, &data);
    let begun = shared.table().begin(&key, fingerprint, Instant::now());
    match begun {
        Begun::First => {}
        Begun::Done(answer) => return Ok(answer.response()),
        Begun::Running => {
            let detail =
                "a request with this Idempotency-Key is still being carried out; send it again when it is done";
            return Err(Problem::new(StatusCode::CONFLICT, "idempotency-key-in-use", detail));
        }
        Begun::Other => {
            let detail = "this Idempotency-Key was used for another request; give each request a key of its own";
            return Err(Problem::invalid("idempotency-key-reused", detail));
        }
        Begun::Full => {
            let detail = format!("{KEYS_MAX} requests with an Idempotency-Key are under way, which is the limit");
            return Err(Problem::too_many_requests(detail));
        }
    }
    let running = Running { shared, key: Some(key) };
    running.name_message(&mut parts.headers);
    let request = Request::from_parts(parts, Body::from(data));
    // Apart from the connection, so that a client that goes away does not leave half of it done.
    let done = tokio::spawn(async move {
        let response = next.run(request).await;
        running.done(response).await
    });
    done.await.unwrap_or_else(|error| Err(Problem::fault(format!("the request ended early: {error}"))))
}

impl Idempotency {
    /// All of the body, within the limits that it has without a key, and as many lines as may have one.
    async fn read(&self, headers: &HeaderMap, given: Body) -> Result<Bytes, Problem> {
        let kind = Kind::of(headers);
        let bytes_max = match kind {
            Kind::Lines | Kind::EventJson | Kind::EventBatch => self.limits.body_bytes_max,
            Kind::EventBinary | Kind::Plain => self.limits.body_bytes_max.min(self.host.data_bytes_max()),
        };
        let data = body::read(given, bytes_max).await?;
        if matches!(kind, Kind::Lines) && memchr::memchr_iter(b'\n', &data).count() > LINES_MAX {
            let detail = format!(
                "a request with an Idempotency-Key has at most {LINES_MAX} lines; send the rest apart, or give each \
                 line an id instead"
            );
            return Err(Problem::too_large(detail));
        }
        Ok(data)
    }
}

/// A request that is being carried out. Dropping it lets the key be used again.
struct Running {
    shared: Idempotency,
    key: Option<String>,
}

impl Running {
    /// A message without an id gets one by which a repeat is known even after a restart.
    fn name_message(&self, headers: &mut HeaderMap) {
        let key = self.key.as_deref().unwrap_or_default();
        if matches!(Kind::of(headers), Kind::Plain)
            && !headers.contains_key(ID_HEADER)
            && let Ok(id) = HeaderValue::from_str(&id_of(key))
        {
            headers.insert(ID_HEADER, id);
        }
    }

    /// Keep the answer when it is a success.
    async fn done(mut self, response: Response) -> Result<Response, Problem> {
        if !response.status().is_success() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let data = axum_body::to_bytes(body, ANSWERS_BYTES_MAX).await;
        let data = data.map_err(|error| Problem::fault(format!("the answer could not be kept: {error}")))?;
        let kept = |name| Some((HeaderName::clone(name), parts.headers.get(name)?.clone()));
        let headers = KEPT_HEADERS.iter().filter_map(kept).collect();
        let answer = Arc::new(Answer { status: parts.status, headers, body: data.clone() });
        if let Some(key) = self.key.take() {
            self.shared.table().done(key, answer, Instant::now());
        }
        Ok(Response::from_parts(parts, Body::from(data)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shared.table().forget_running(&key);
        }
    }
}

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Answer {
    fn response(&self) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers.iter().cloned());
        response.headers_mut().insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
        response
    }
}

/// The SHA-256 of what makes a request the same.
type Fingerprint = [u8; 32];

fn fingerprint(parts: &Parts, data: &Bytes) -> Fingerprint {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(parts.method.as_str().as_bytes());
    part(parts.uri.path_and_query().map_or("", |path| path.as_str()).as_bytes());
    let makes_message =
        |name: &str| name == header::CONTENT_TYPE.as_str() || name.starts_with("ce-") || name.starts_with("wasmill-");
    let mut headers: Vec<(&str, &[u8])> =
        parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    headers.retain(|(name, _)| makes_message(name));
    // In the order of their names; those of one name keep theirs, which means something.
    headers.sort_by_key(|(name, _)| *name);
    for (name, value) in headers {
        part(name.as_bytes());
        part(value);
    }
    part(data);
    hash.finalize().into()
}

/// The id of a message that has none of its own.
fn id_of(key: &str) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(key.as_bytes());
    digest.iter().take(16).fold("idempotency-".to_owned(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// The key: a string of RFC 8941 section 3.3.3. Without the quotes it is taken too, as many clients send it so.
fn key_of(headers: &HeaderMap) -> Result<String, Problem> {
    let refuse = |problem: &str| {
        let detail = format!("the Idempotency-Key {problem}; send a string in quotes, for example \"8e03978e-40d5\"");
        Err(Problem::malformed("invalid-idempotency-key", detail))
    };
    let mut values = headers.get_all(KEY_HEADER).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return refuse("is given more than once") };
    let Some(text) = value.to_str().ok().map(str::trim) else { return refuse("is not printable ASCII") };
    let key = match text.strip_prefix('"') {
        None => text.to_owned(),
        Some(quoted) => match unquote(quoted) {
            Some(key) => key,
            None => return refuse("is not a string (RFC 8941 section 3.3.3)"),
        },
    };
    match key.len() {
        0 => refuse("is empty"),
        1..=KEY_BYTES_MAX => Ok(key),
        length => refuse(&format!("is {length} bytes; at most {KEY_BYTES_MAX} are accepted")),
    }
}

/// What stands before the closing quote, which must be the last character.
fn unquote(quoted: &str) -> Option<String> {
    let mut key = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(key),
            '\\' => key.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            character => key.push(character),
        }
    }
}

/// What bounds the table.
#[derive(Clone, Copy, Debug)]
struct TableLimits {
    keys_max: usize,
    bytes_max: usize,
    /// How long an answer is kept.
    window: Duration,
}

/// Which keys were used lately, and what was answered.
#[derive(Debug)]
struct Table {
    limits: TableLimits,
    entries: HashMap<String, Entry>,
    /// What is done, and since when, longest first.
    done: VecDeque<(Instant, String)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    fingerprint: Fingerprint,
    /// None while it is being carried out.
    answer: Option<Arc<Answer>>,
}

/// What is to be done with a request.
#[derive(Debug, PartialEq, Eq)]
enum Begun {
    /// Carry it out.
    First,
    /// It was carried out, and this was the answer.
    Done(Arc<Answer>),
    /// It is being carried out.
    Running,
    /// Its key was used for another one.
    Other,
    /// There is no room to remember it.
    Full,
}

impl Table {
    fn new(limits: TableLimits) -> Self {
        Self { limits, entries: HashMap::new(), done: VecDeque::new(), bytes: 0 }
    }

    fn begin(&mut self, key: &str, fingerprint: Fingerprint, now: Instant) -> Begun {
        self.forget_old(now);
        match self.entries.get(key) {
            Some(entry) if entry.fingerprint != fingerprint => return Begun::Other,
            Some(Entry { answer: None, .. }) => return Begun::Running,
            Some(Entry { answer: Some(answer), .. }) => return Begun::Done(Arc::clone(answer)),
            None => {}
        }
        if self.entries.len() >= self.limits.keys_max && !self.forget_oldest() {
            return Begun::Full;
        }
        self.entries.insert(key.to_owned(), Entry { fingerprint, answer: None });
        Begun::First
    }

    fn done(&mut self, key: String, answer: Arc<Answer>, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        self.bytes += ENTRY_BYTES + answer.body.len();
        entry.answer = Some(answer);
        self.done.push_back((now, key));
        while self.bytes > self.limits.bytes_max && self.done.len() > 1 {
            self.forget_oldest();
        }
    }

    fn forget_running(&mut self, key: &str) {
        self.entries.remove(key);
    }

    fn forget_old(&mut self, now: Instant) {
        while self.done.front().is_some_and(|(at, _)| now.duration_since(*at) >= self.limits.window) {
            self.forget_oldest();
        }
    }

    /// Answers whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, key)) = self.done.pop_front() else { return false };
        if let Some(answer) = self.entries.remove(&key).and_then(|entry| entry.answer) {
            self.bytes -= ENTRY_BYTES + answer.body.len();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(120);

    fn table(keys_max: usize, bytes_max: usize) -> Table {
        Table::new(TableLimits { keys_max, bytes_max, window: WINDOW })
    }

    fn answer(bytes: usize) -> Arc<Answer> {
        Arc::new(Answer { status: StatusCode::CREATED, headers: Vec::new(), body: vec![b'x'; bytes].into() })
    }

    #[test]
    fn a_key_is_used_once_within_the_window() {
        let (mut table, start) = (table(10, 10_000), Instant::now());
        assert_eq!(table.begin("k", [1; 32], start), Begun::First);
        assert_eq!(table.begin("k", [1; 32], start), Begun::Running);
        assert_eq!(table.begin("k", [2; 32], start), Begun::Other);
        table.done("k".to_owned(), answer(3), start);
        assert_eq!(table.begin("k", [1; 32], start), Begun::Done(answer(3)));
        assert_eq!(table.begin("k", [2; 32], start), Begun::Other);
        assert_eq!(table.begin("k", [2; 32], start + WINDOW), Begun::First, "the window is over");
        table.forget_running("k");
        assert_eq!((table.entries.len(), table.bytes), (0, 0));
    }

    #[test]
    fn the_table_forgets_the_oldest_answers_first_and_never_what_is_under_way() {
        let now = Instant::now();
        let mut few = table(2, 10_000);
        for key in ["a", "b"] {
            assert_eq!(few.begin(key, [1; 32], now), Begun::First);
        }
        assert_eq!(few.begin("c", [1; 32], now), Begun::Full);
        few.done("b".to_owned(), answer(1), now);
        assert_eq!(few.begin("c", [1; 32], now), Begun::First);
        assert_eq!(few.begin("a", [1; 32], now), Begun::Running);

        let mut small = table(10, 3 * ENTRY_BYTES);
        for key in ["a", "b", "c"] {
            assert_eq!(small.begin(key, [1; 32], now), Begun::First);
            small.done(key.to_owned(), answer(ENTRY_BYTES / 2), now);
        }
        assert_eq!(small.begin("a", [1; 32], now), Begun::First, "the oldest made room");
        assert_eq!(small.begin("c", [1; 32], now), Begun::Done(answer(ENTRY_BYTES / 2)));
    }

    #[test]
    fn the_limits_are_reached_at_their_real_size() {
        let now = Instant::now();
        let mut most = table(KEYS_MAX, ANSWERS_BYTES_MAX);
        let key = |number: usize| format!("k{number}");
        for number in 0..KEYS_MAX {
            assert_eq!(most.begin(&key(number), [1; 32], now), Begun::First);
        }
        assert_eq!(most.begin("more", [1; 32], now), Begun::Full);
        for number in 0..KEYS_MAX {
            most.done(key(number), answer(1_024), now);
        }
        let fit = ANSWERS_BYTES_MAX / (1_024 + ENTRY_BYTES);
        assert!((fit - fit / 20..=fit).contains(&most.done.len()), "{} answers are kept, not {fit}", most.done.len());
        assert!(most.bytes <= ANSWERS_BYTES_MAX && most.begin(&key(0), [1; 32], now) == Begun::First);
    }

    #[test]
    fn keys_are_strings_with_or_without_quotes() {
        let of = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(KEY_HEADER, HeaderValue::from_bytes(value).expect("a header"));
            key_of(&headers)
        };
        for (given, key) in [("\"a-1\"", "a-1"), ("a-1", "a-1"), ("\"a\\\"b\\\\\"", "a\"b\\"), ("\" a\"", " a")] {
            assert_eq!(of(given.as_bytes()).expect(given), key);
        }
        assert_eq!(of("k".repeat(KEY_BYTES_MAX).as_bytes()).expect("the limit itself fits").len(), KEY_BYTES_MAX);
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for (bad, words) in
            [("", "empty"), ("\"\"", "empty"), ("\"a", "8941"), ("\"a\"b", "8941"), (&long, "256 bytes")]
        {
            let problem = of(bad.as_bytes()).expect_err(bad);
            assert_eq!((problem.status.as_u16(), problem.code), (400, "invalid-idempotency-key"));
            assert!(problem.detail.contains(words), "{bad}: {}", problem.detail);
        }
        let mut twice = HeaderMap::new();
        twice.append(KEY_HEADER, HeaderValue::from_static("a"));
        twice.append(KEY_HEADER, HeaderValue::from_static("b"));
        assert!(key_of(&twice).expect_err("two").detail.contains("more than once"));
    }
}

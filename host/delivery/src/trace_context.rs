//! The trace that a message belongs to, as W3C Trace Context carries it in the headers `traceparent` and `tracestate`
//! (<https://www.w3.org/TR/trace-context/>), with W3C Baggage beside it. A message keeps them as they came; what it causes
//! gets a child of them.

/// The header that names a trace.
pub const TRACEPARENT: &str = "traceparent";
/// What vendors add to it.
pub const TRACESTATE: &str = "tracestate";
/// What applications add to it.
pub const BAGGAGE: &str = "baggage";
/// The header, and the `CloudEvents` extension, that names the message that began a chain.
pub const CORRELATION_ID: &str = "correlationid";
/// The one that names the message whose delivery published this one.
pub const CAUSATION_ID: &str = "causationid";

/// The letters of a `traceparent` of version 00.
const LENGTH: usize = 55;
/// The flag that says that the caller may have recorded it.
const SAMPLED: u8 = 1;

type Headers = Vec<(String, String)>;

/// What a `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceParent {
    /// A span of a trace; none when a number is 0, which stands for nothing.
    #[must_use]
    pub const fn new(trace_id: u128, span_id: u64) -> Option<Self> {
        if trace_id == 0 || span_id == 0 { None } else { Some(Self { trace_id, span_id, flags: 0 }) }
    }

    /// Read one; none when it breaks the rules (section 3.2), so that a new trace must be started. Of a version that
    /// came later only the parts of version 00 are read.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let mut parts = known.split('-');
        let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = hex(version, 2)?;
        let ends_well = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
        if version == 0xff || !ends_well || parts.next().is_some() {
            return None;
        }
        let flags = u8::try_from(hex(flags, 2)?).ok()?;
        // What the flags of a later version mean is not known, but for the one that stays.
        let flags = if version == 0 { flags } else { flags & SAMPLED };
        let found = Self::new(hex(trace_id, 32)?, u64::try_from(hex(span_id, 16)?).ok()?)?;
        Some(Self { flags, ..found })
    }

    /// Another span of the same trace.
    #[must_use]
    pub const fn child(self, span_id: u64) -> Self {
        Self { span_id, ..self }
    }
}

impl std::fmt::Display for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// Lower case, of this length.
fn hex(text: &str, length: usize) -> Option<u128> {
    let well_formed = text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if well_formed { u128::from_str_radix(text, 16).ok() } else { None }
}

/// What the header of this name says; none when there is none, or several.
fn only<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let mut found = headers.iter().filter(|(given, _)| given == name);
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value.as_str())
}

/// Check the trace of a message from outside. A `traceparent` that breaks the rules, or comes twice, is replaced by the one
/// of a new trace, and its `tracestate` goes with it (section 4.3).
pub fn check(headers: &mut Headers, new_trace: impl FnOnce() -> Option<TraceParent>) {
    let given = headers.iter().any(|(name, _)| name == TRACEPARENT);
    if !given || only(headers, TRACEPARENT).is_some_and(|text| TraceParent::parse(text).is_some()) {
        return;
    }
    headers.retain(|(name, _)| name != TRACEPARENT && name != TRACESTATE);
    headers.extend(new_trace().map(|trace| (TRACEPARENT.to_owned(), trace.to_string())));
}

/// Give what a handler publishes the trace of the message that it handled, as a child with this span, which is asked for
/// only then, unless the handler gave it another one. A copy of the handled message's `traceparent` is not another one.
pub fn inherit(headers: &mut Headers, cause: &Headers, span_id: impl FnOnce() -> u64) {
    // Those are told from where the message comes from, which the host knows better.
    headers.retain(|(name, _)| name != CORRELATION_ID && name != CAUSATION_ID);
    let given = only(cause, TRACEPARENT);
    let is_copy = |text: &str| given == Some(text);
    headers.retain(|(name, value)| name != TRACEPARENT || !is_copy(value));
    let has = |headers: &Headers, wanted: &str| headers.iter().any(|(name, _)| name == wanted);
    let pass = |headers: &mut Headers, name: &str| {
        if !has(headers, name) {
            headers.extend(cause.iter().filter(|(given, _)| given == name).cloned().collect::<Headers>());
        }
    };
    pass(headers, BAGGAGE);
    if has(headers, TRACEPARENT) {
        return;
    }
    if let Some(parent) = given.and_then(TraceParent::parse) {
        headers.push((TRACEPARENT.to_owned(), parent.child(span_id()).to_string()));
        pass(headers, TRACESTATE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(given: &[(&str, &str)]) -> Headers {
        given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn traceparents_are_read_by_the_rules() {
        for good in [GOOD, "00-00000000000000000000000000000001-0000000000000001-00"] {
            assert_eq!(TraceParent::parse(good).map(|parent| parent.to_string()).as_deref(), Some(good));
        }
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-what-comes";
        assert_eq!(TraceParent::parse(later).map(|parent| parent.to_string()).as_deref(), Some(GOOD));
        for bad in [
            "",
            "00",
            "garbage",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e47é-00f067aa0ba902b7-01é",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bad_trace_is_replaced_and_its_state_goes() {
        let fresh = || TraceParent::new(7, 9);
        let new = "00-00000000000000000000000000000007-0000000000000009-00";
        for (given, expected) in [
            (headers(&[("a", "1"), (TRACESTATE, "x=1")]), headers(&[("a", "1"), (TRACESTATE, "x=1")])),
            (
                headers(&[(TRACEPARENT, GOOD), (TRACESTATE, "x=1")]),
                headers(&[(TRACEPARENT, GOOD), (TRACESTATE, "x=1")]),
            ),
            (
                headers(&[(TRACEPARENT, "bad"), (TRACESTATE, "x=1"), (BAGGAGE, "b=2")]),
                headers(&[(BAGGAGE, "b=2"), (TRACEPARENT, new)]),
            ),
            (headers(&[(TRACEPARENT, GOOD), (TRACEPARENT, GOOD)]), headers(&[(TRACEPARENT, new)])),
        ] {
            let mut checked = given.clone();
            check(&mut checked, fresh);
            assert_eq!(checked, expected, "{given:?}");
        }
    }

    #[test]
    fn what_is_caused_gets_a_child() {
        let cause = headers(&[(TRACEPARENT, GOOD), (TRACESTATE, "x=1"), (BAGGAGE, "b=2"), ("a", "1")]);
        let child = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000005-01";
        let other = "00-00000000000000000000000000000007-0000000000000009-00";
        for (given, expected) in [
            (headers(&[]), headers(&[(BAGGAGE, "b=2"), (TRACEPARENT, child), (TRACESTATE, "x=1")])),
            (headers(&[(TRACEPARENT, other)]), headers(&[(TRACEPARENT, other), (BAGGAGE, "b=2")])),
            (cause.clone(), headers(&[(TRACESTATE, "x=1"), (BAGGAGE, "b=2"), ("a", "1"), (TRACEPARENT, child)])),
            (
                headers(&[(CORRELATION_ID, "c"), (CAUSATION_ID, "d"), (BAGGAGE, "own=1")]),
                headers(&[(BAGGAGE, "own=1"), (TRACEPARENT, child), (TRACESTATE, "x=1")]),
            ),
        ] {
            let mut inherited = given.clone();
            inherit(&mut inherited, &cause, || 5);
            assert_eq!(inherited, expected, "{given:?}");
        }
        let mut none = headers(&[]);
        inherit(&mut none, &headers(&[(TRACESTATE, "x=1")]), || 5);
        assert_eq!(none, headers(&[]), "without a trace there is no state of one");
    }
}

use wasmill::Failure;
use wasmill_plugin_common::MISCONFIGURED_WAIT;

use super::*;

/// 1994-11-06T08:49:37Z, of which RFC 9110 has the three ways to write it.
const NOW_S: u64 = 784_111_777;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_S)
}

fn answered(config: &[(&str, &str)], status: u16, headers: &[(&str, &str)]) -> Result {
    let ctx = config.iter().fold(Context::for_test(), |ctx, (name, value)| ctx.with_config(*name, *value));
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    Judge::read(&ctx)?.outcome(Ok(Response { status, headers, body: b" no thanks\n".to_vec() }), now())
}

#[test]
fn each_status_has_its_outcome() {
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(answered(&[], status, &[]), Ok(()), "{status}");
    }
    for status in [408, 425, 429, 500, 502, 503, 504, 599] {
        let reason = format!("the receiver answered {status}: no thanks");
        assert_eq!(answered(&[], status, &[]), Err(retry(reason)));
    }
    for status in [300, 304, 400, 401, 403, 404, 409, 410, 413, 422] {
        let reason = format!("the receiver answered {status}: no thanks");
        assert_eq!(answered(&[], status, &[]), Err(reject(reason)));
    }
}

#[test]
fn redirects_are_told_and_not_followed() {
    let moved = answered(&[], 308, &[("location", "https://new.example/")]);
    let reason = "the receiver answered 308 to https://new.example/, which is not followed: no thanks";
    assert_eq!(moved, Err(reject(reason)));
}

#[test]
fn which_statuses_may_pass_is_configured() {
    let config = [("retry-statuses", "404, 409"), ("reject-statuses", "501,505")];
    for (status, passes) in
        [(404, true), (409, true), (500, true), (429, true), (501, false), (505, false), (400, false)]
    {
        let outcome = answered(&config, status, &[]);
        assert_eq!(matches!(outcome, Err(Failure::Retry { .. })), passes, "{status}");
        assert_eq!(matches!(outcome, Err(Failure::Reject(_))), !passes, "{status}");
    }
}

#[test]
fn a_busy_receiver_is_left_alone_for_as_long_as_it_says() {
    for (text, seconds) in [
        ("30", 30),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
        ("Sun Nov  6 08:50:37 1994", 60),
        ("0", 1),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 1),
        ("86400", 3_600),
    ] {
        for status in BUSY {
            let outcome = answered(&[], status, &[("retry-after", text)]);
            assert_eq!(outcome, Err(throttle(Duration::from_secs(seconds))), "{status} {text}");
        }
    }
    let longer = answered(&[("wait-max", "1d")], 429, &[("retry-after", "7200")]);
    assert_eq!(longer, Err(throttle(Duration::from_secs(7_200))));
    for text in ["soon", "-1", ""] {
        assert!(
            matches!(answered(&[], 503, &[("retry-after", text)]), Err(Failure::Retry { after: None, .. })),
            "{text}"
        );
    }
}

#[test]
fn waiting_can_cost_an_attempt() {
    let reason = |status| format!("the receiver answered {status}: no thanks");
    let headers = [("retry-after", "30")];
    let wait = Duration::from_secs(30);
    assert_eq!(answered(&[("busy", "retry")], 429, &headers), Err(retry_after(reason(429), wait)));
    assert_eq!(
        answered(&[], 500, &headers),
        Err(retry_after(reason(500), wait)),
        "of this message, not of the receiver"
    );
}

#[test]
fn no_answer_is_a_retry_and_what_the_operator_forbids_is_the_operators() {
    let judge = Judge::read(&Context::for_test()).expect("nothing is configured");
    for error in [Error::TimedOut, Error::Failed("refused".to_owned())] {
        assert_eq!(judge.outcome(Err(error.clone()), now()), Err(retry(error.to_string())));
    }
    for error in [Error::Denied, Error::Invalid("a header that cannot be sent")] {
        assert_eq!(judge.outcome(Err(error), now()), Err(throttle(MISCONFIGURED_WAIT)));
    }
    assert_eq!(judge.outcome(Err(Error::TooLarge), now()), Err(reject(Error::TooLarge.to_string())));
}

#[test]
fn a_long_body_is_cut() {
    let body = "é".repeat(1_000).into_bytes();
    let told = told(&Response { status: 400, headers: Vec::new(), body });
    assert_eq!(told.chars().filter(|c| *c == 'é').count(), TOLD_CHARS_MAX);
}

#[test]
fn a_broken_configuration_makes_everything_wait() {
    for config in [
        ("retry-statuses", "4xx"),
        ("reject-statuses", "200"),
        ("busy", "no"),
        ("wait-max", "long"),
        ("wait-max", "999ms"),
    ] {
        assert_eq!(answered(&[config], 200, &[]), Err(throttle(MISCONFIGURED_WAIT)), "{config:?}");
    }
}

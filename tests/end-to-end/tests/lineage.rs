//! Where a message comes from, as handlers are told it, and what became of it, as `wasmill why` tells it.

use anyhow::{Context, Result};
use end_to_end::{PATIENCE, TestHost};
use host_process::guest;
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// `first` to `second` to `third` to `last`: three handlers, each of which publishes the headers that it sees.
fn chain() -> Result<String> {
    let file = guest("guest-witness")?.display().to_string();
    let links = [("first", "second"), ("second", "third"), ("third", "last")];
    let handlers = links.map(|(name, to)| {
        format!(
            "[handler.{name}]\nfile = {file:?}\nconfig = {{ to = {to:?} }}\n[queue.{name}]\nbindings = [{name:?}]\n\
             retention = {{ messages = 100 }}\n[queue.{name}.consumer.{name}]\n"
        )
    });
    Ok(handlers.concat() + "[queue.last]\nbindings = [\"last\"]\n")
}

/// The only message of a queue, and its data: the headers that the handler before it saw.
fn message_seen(host: &TestHost, queue: &str) -> Result<(Value, Value)> {
    let page = host.client().get(&format!("/v1/queues/{queue}/messages"))?;
    let message = page["messages"][0].clone();
    let seen = message["data"].clone();
    Ok((message, seen))
}

/// The value of a header that is there once, in a list of pairs.
fn header<'a>(headers: &'a Value, name: &str) -> Option<&'a str> {
    let mut found = headers.as_array()?.iter().filter(|header| header[0] == name);
    let value = found.next()?[1].as_str();
    assert!(found.next().is_none(), "{name} is there twice: {headers}");
    value
}

#[test]
fn handlers_are_told_where_a_message_comes_from_and_why_prints_the_tree() -> Result<()> {
    let host = TestHost::start(&chain()?)?;
    let publish = host.client().request(reqwest::Method::POST, "/v1/topics/first/messages").body("x");
    let traced =
        publish.header("wasmill-id", "order-7").header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    traced.send()?.error_for_status()?;
    host.client().wait_until_settled(PATIENCE)?;

    let (_, seen_by_first) = message_seen(&host, "second")?;
    assert_eq!((header(&seen_by_first, "correlationid"), header(&seen_by_first, "causationid")), (None, None));
    let mut spans = vec![header(&seen_by_first, "traceparent").context("a trace")?.to_owned()];
    let mut cause = "order-7".to_owned();
    let mut ids = vec![cause.clone()];
    for (queue, next) in [("second", "third"), ("third", "last")] {
        let (handled, _) = message_seen(&host, queue)?;
        let (_, seen) = message_seen(&host, next)?;
        assert_eq!(header(&seen, "correlationid"), Some("order-7"), "{queue} saw {seen}");
        assert_eq!(header(&seen, "causationid"), Some(cause.as_str()), "{queue} saw {seen}");
        spans.push(header(&seen, "traceparent").context("a trace")?.to_owned());
        assert_eq!(handled["correlation"], json!("order-7"));
        cause = handled["id"].as_str().context("an id")?.to_owned();
        ids.push(cause.clone());
    }
    ids.push(message_seen(&host, "last")?.0["id"].as_str().context("an id")?.to_owned());
    assert!(spans.iter().all(|span| span.starts_with(&format!("00-{TRACE}-")) && span.ends_with("-01")), "{spans:?}");
    spans.sort();
    spans.dedup();
    assert_eq!(spans.len(), 3, "each is a span of its own: {spans:?}");

    for (asked, id) in ids.iter().enumerate() {
        let tree = host.shell(&format!("wasmill why {id}"))?;
        assert_tree(&tree, &ids, asked);
    }
    Ok(())
}

/// Each message of the chain has a line of its own below its cause, and the one that was asked for is marked.
fn assert_tree(tree: &str, ids: &[String], asked: usize) {
    let lines: Vec<&str> = tree.lines().filter(|line| ids.iter().any(|id| line.contains(id.as_str()))).collect();
    assert_eq!(lines.len(), ids.len(), "{tree}");
    for (level, (line, id)) in lines.iter().zip(ids).enumerate() {
        let branch = if level == 0 { String::new() } else { format!("{}└ ", "  ".repeat(level)) };
        assert!(line.starts_with(&format!("{branch}{id}  ")), "level {level}: {tree}");
        assert_eq!(line.ends_with("<- this one"), level == asked, "{tree}");
    }
    for state in ["first: settled", "second: settled", "third: settled", "in last at 1: no consumer"] {
        assert!(tree.contains(state), "{state} is missing: {tree}");
    }
}

//! Makes a message of each item of a JSON array or of NDJSON, with headers by which plugin `join` puts them together again.
//!
//! All of them are published by one commit: either every item is on its way, or none.

use serde_json::Value;
use wasmill::{Context, Message, Outgoing, Result, reject};
use wasmill_plugin_common::{Document, Pick, misconfigured, one_of, optional, or, required_topic};

/// As many as one attempt may publish unless its limit `published-max` says otherwise.
const ITEMS_MAX: usize = 1_000;

/// How items are written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Json,
    Ndjson,
}

#[wasmill::handler]
fn split(ctx: Context) -> Result {
    let to = required_topic(&ctx, "to")?;
    let path: Option<Pick> = optional(&ctx, "items")?;
    let key: Option<Pick> = optional(&ctx, "key")?;
    let items_max = or(&ctx, "items-max", ITEMS_MAX)?;
    let message = ctx.message();
    let is_lines = matches!(
        message.content_type.as_deref(),
        Some("application/x-ndjson" | "application/jsonl" | "application/ndjson")
    );
    let of_content_type = ("", if is_lines { Format::Ndjson } else { Format::Json });
    let format = one_of(&ctx, "format", &[of_content_type, ("json", Format::Json), ("ndjson", Format::Ndjson)])?;
    let items = match (format, path) {
        (Format::Json, path) => of_array(message, path.as_ref())?,
        (Format::Ndjson, None) => of_lines(message)?,
        (Format::Ndjson, Some(_)) => return Err(misconfigured("config items is a path, and ndjson has none")),
    };
    if items.len() > items_max {
        let advice = "raise config items-max, and limits published-max with it";
        wasmill::reject!("it has {} items; at most {items_max} are split: {advice}", items.len());
    }

    let id = format!("{}/{}", ctx.delivery().queue, ctx.delivery().sequence);
    let count = items.len().to_string();
    // What an item is seen as, made once: the message's own data may be large.
    let mut item = Message { data: Vec::new(), ..message.clone() };
    for (index, data) in items.into_iter().enumerate() {
        item.data = data;
        let document = Document::new(&item);
        let topic = to.topic(&document)?;
        let key = key.as_ref().map_or_else(|| Ok(message.key.clone()), |pick| document.text(pick))?;
        let mut outgoing = Outgoing::bytes(topic, std::mem::take(&mut item.data));
        outgoing.content_type = Some("application/json".to_owned());
        outgoing.key = key;
        let own = |name: &str| name.starts_with("split-");
        outgoing.headers.extend(message.headers.iter().filter(|(name, _)| !own(name)).cloned());
        if let Some(key) = &message.key {
            outgoing = outgoing.header("split-key", key);
        }
        let index = index.to_string();
        ctx.publish(outgoing.header("split-id", &id).header("split-index", index).header("split-count", &count))?;
    }
    Ok(())
}

fn of_array(message: &Message, path: Option<&Pick>) -> Result<Vec<Vec<u8>>> {
    let document = Document::new(message);
    let whole = "$".parse::<Pick>().map_err(misconfigured)?;
    let path = path.unwrap_or(&whole);
    match document.items(path)? {
        Some(items) => Ok(items.into_iter().map(String::into_bytes).collect()),
        None if document.value(path)?.is_some() => Err(reject("what is to be split is not a JSON array")),
        None => Err(reject("there is nothing where config items points to")),
    }
}

fn of_lines(message: &Message) -> Result<Vec<Vec<u8>>> {
    let lines = message.text()?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let item = |(at, line): (usize, &str)| match serde_json::from_str::<Value>(line) {
        Ok(_) => Ok(line.as_bytes().to_vec()),
        Err(problem) => Err(reject(format!("line {} is not JSON: {problem}", at + 1))),
    };
    lines.map(item).collect()
}

#[cfg(test)]
mod tests;

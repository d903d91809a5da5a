//! Passes on messages that meet a condition, in another shape.

mod shape;

use serde_json::Value;
use serde_json_path::JsonPath;
use wasmill::{Context, Result};
use wasmill_plugin_common::{Document, Pick, json, misconfigured, one_of, optional, pass_on, required_topic, topic};

use crate::shape::{Missing, fill};

#[wasmill::handler]
fn filter_map(ctx: Context) -> Result {
    let condition = condition(&ctx)?;
    let template: Option<Value> = json(&ctx, "template")?;
    let words = [("null", Missing::Null), ("omit", Missing::Omit), ("reject", Missing::Reject)];
    let missing = one_of(&ctx, "missing", &words)?;
    let key: Option<Pick> = optional(&ctx, "key")?;
    let to = required_topic(&ctx, "to")?;
    let else_to = topic(&ctx, "else-to")?;

    let document = Document::new(ctx.message());
    let data = document.json()?;
    // A filter looks at the members of an array, so the message is made the only one.
    let meets = |condition: &JsonPath| !condition.query(&Value::Array(vec![data.clone()])).is_empty();
    if !condition.as_ref().is_none_or(meets) {
        if let Some(topic) = else_to {
            ctx.publish(pass_on(ctx.message(), topic.topic(&document)?))?;
        }
        return Ok(());
    }
    let mut outgoing = pass_on(ctx.message(), to.topic(&document)?);
    if let Some(template) = template {
        outgoing.data = fill(&template, data, missing)?.to_string().into_bytes();
        outgoing.content_type = Some("application/json".to_owned());
    }
    if let Some(pick) = key {
        outgoing.key = document.text(&pick)?;
    }
    ctx.publish(outgoing)?;
    Ok(())
}

/// What stands behind the `?` of a filter of RFC 9535.
fn condition(ctx: &Context) -> Result<Option<JsonPath>> {
    let Some(condition) = optional::<String>(ctx, "where")? else { return Ok(None) };
    let path = JsonPath::parse(&format!("$[?{condition}]"));
    path.map(Some).map_err(|problem| misconfigured(format_args!("config where is {condition:?}: {problem}")))
}

#[cfg(test)]
mod tests;

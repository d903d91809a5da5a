//! Passes on messages that fit a JSON Schema; what does not is rejected, or goes elsewhere with the reason.

use std::cell::RefCell;

use boon::{Compiler, SchemaIndex, Schemas, ValidationError};
use serde_json::Value;
use wasmill::{Context, Failure, Result, reject};
use wasmill_plugin_common::{Document, misconfigured, or, pass_on, required, required_topic, topic};

/// How the compiler calls the schema. Nothing is fetched: what a `$ref` names must be in the schema itself.
const LOCATION: &str = "config:///schema";
/// How many faults of a message are told.
const FAULTS_MAX: usize = 5;
/// How much of the reason is put into a header.
const HEADER_CHARS_MAX: usize = 1_000;

thread_local! {
    /// The compiled schema and the text it was made of. Only a cache: it is checked against the config each time.
    static COMPILED: RefCell<Option<(String, Schemas, SchemaIndex)>> = const { RefCell::new(None) };
}

#[wasmill::handler]
fn schema_check(ctx: Context) -> Result {
    let schema: String = required(&ctx, "schema")?;
    let asserts_formats = or(&ctx, "formats", false)?;
    let to = required_topic(&ctx, "to")?;
    let invalid_to = topic(&ctx, "invalid-to")?;

    let document = Document::new(ctx.message());
    let faults = COMPILED.with_borrow_mut(|compiled| {
        let text = format!("{asserts_formats} {schema}");
        if compiled.as_ref().is_none_or(|(known, ..)| *known != text) {
            let (schemas, index) = compile(&schema, asserts_formats)?;
            *compiled = Some((text, schemas, index));
        }
        let Some((_, schemas, index)) = compiled.as_ref() else { return Ok(None) };
        match document.json() {
            Ok(json) => Ok(schemas.validate(json, *index).err().map(|error| faults(&error))),
            Err(Failure::Reject(reason)) => Ok(Some(reason)),
            Err(other) => Err(other),
        }
    })?;

    let outgoing = match (faults, invalid_to) {
        (None, _) => pass_on(ctx.message(), to.topic(&document)?),
        (Some(faults), None) => return Err(reject(faults)),
        (Some(faults), Some(topic)) => {
            let printable = |c: char| if c.is_control() { ' ' } else { c };
            let reason: String = faults.chars().take(HEADER_CHARS_MAX).map(printable).collect();
            pass_on(ctx.message(), topic.topic(&document)?).header("schema-error", reason)
        }
    };
    ctx.publish(outgoing)?;
    Ok(())
}

fn compile(schema: &str, asserts_formats: bool) -> Result<(Schemas, SchemaIndex)> {
    let broken = |problem: String| misconfigured(format_args!("config schema is no JSON Schema: {problem}"));
    let schema: Value = serde_json::from_str(schema).map_err(|problem| broken(problem.to_string()))?;
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    if asserts_formats {
        compiler.enable_format_assertions();
    }
    compiler.add_resource(LOCATION, schema).map_err(|problem| broken(problem.to_string()))?;
    let index = compiler.compile(LOCATION, &mut schemas).map_err(|problem| broken(format!("{problem:#}")))?;
    Ok((schemas, index))
}

/// Where in the message something is wrong, and what: as a JSON pointer (RFC 6901) and a reason.
fn faults(error: &ValidationError<'_, '_>) -> String {
    let mut leaves = Vec::new();
    collect_leaves(error, &mut leaves);
    let told = leaves.iter().take(FAULTS_MAX).map(|fault| {
        let pointer = fault.instance_location.to_string();
        let place = if pointer.is_empty() { "the message" } else { &pointer };
        format!("{place}: {}", fault.kind)
    });
    let mut told = told.collect::<Vec<_>>().join("; ");
    if let Some(more @ 1..) = leaves.len().checked_sub(FAULTS_MAX) {
        told.push_str(&format!("; and {more} more"));
    }
    told
}

fn collect_leaves<'e, 's, 'v>(error: &'e ValidationError<'s, 'v>, leaves: &mut Vec<&'e ValidationError<'s, 'v>>) {
    if error.causes.is_empty() {
        leaves.push(error);
    }
    for cause in &error.causes {
        collect_leaves(cause, leaves);
    }
}

#[cfg(test)]
mod tests;

//! The topics that are about state.

use serde::Deserialize;
use serde_json::{Value, json};
use wasmill::{Context, Result, State, StateError};

use crate::{answer, answer_json};

/// One step of `do.state`: its name, a key or prefix, and with some steps a third value.
pub(crate) type Step = Vec<Value>;

pub(crate) fn steps(ctx: &Context, steps: Vec<Step>) -> Result {
    let mut results = Vec::new();
    for step in steps {
        let [Value::String(name), Value::String(key), rest @ ..] = step.as_slice() else {
            wasmill::reject!("{step:?} is no step");
        };
        match run(ctx.state(), name, key, rest.first().unwrap_or(&Value::Null)) {
            Ok(result) => results.push(result),
            Err(error) => results.push(json!({"error": error_name(error)?})),
        }
    }
    answer_json(ctx, &Value::Array(results))
}

fn run(state: State<'_>, name: &str, key: &str, third: &Value) -> Result<Value, StateError> {
    let done = |()| Value::Null;
    match name {
        "get" => Ok(state.get(key)?.map_or(Value::Null, |value| String::from_utf8_lossy(&value).into())),
        "set" => state.set(key, third.as_str().unwrap_or_default().as_bytes()).map(done),
        "exists" => Ok(state.exists(key)?.into()),
        "increment" => state.increment(key, third.as_i64().unwrap_or_default()).map(done),
        "list" => {
            let page = state.list_keys(key, third.as_str())?;
            Ok(json!({"keys": page.keys, "next": page.next}))
        }
        _ => state.delete(key).map(done),
    }
}

#[derive(Deserialize)]
pub(crate) struct Size {
    key: String,
    bytes: usize,
}

pub(crate) fn size(ctx: &Context, size: &Size) -> Result {
    match ctx.state().set(&size.key, &vec![b'x'; size.bytes]) {
        Ok(()) => answer(ctx, "ok"),
        Err(error) => answer(ctx, &format!("error: {}", error_name(error)?)),
    }
}

/// An error that is the handler's; one of the host's goes on as the failure it is.
fn error_name(error: StateError) -> Result<&'static str> {
    match error {
        StateError::InvalidKey { .. } => Ok("invalid-key"),
        StateError::TooLarge { .. } => Ok("too-large"),
        StateError::NotAnInteger { .. } => Ok("not-an-integer"),
        error @ (StateError::NotJson { .. } | StateError::Unavailable { .. }) => Err(error.into()),
    }
}

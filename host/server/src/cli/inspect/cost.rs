//! What a component is measured with, and what that brought.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde_json::{Value, json};
use wasmill_delivery::{
    message::{Lineage, Message},
    name::{MessageId, MessageKey},
    record::HandlerLimits,
    time::Timestamp,
    topic::Topic,
};
use wasmill_runtime::{
    CompileBounds,
    inspect::{CallTimes, Measured, Measurer, Trial},
};

use super::{InspectArguments, time};
use crate::{
    cli::{
        compile_worker::compiler,
        dev::grouped,
        output::{facts, indent, size},
    },
    config::Config,
    project::Project,
    samples,
    serve::CONFIG_FILE,
};

/// What a delivery has when nobody names another.
const SAMPLE: &str = r#"{"id": "us7000abcd", "magnitude": 6.1, "place": "Hualien, Taiwan"}"#;
const TOPIC: &str = "quakes";
const JSON: &str = "application/json";

/// What it costs, and on which delivery.
pub(super) struct Cost {
    measured: Measured,
    sample: String,
}

impl Cost {
    /// Measure it with a folder of its own, so that nothing of it is compiled before.
    pub(super) fn of(wasm: &[u8], arguments: &InspectArguments, project: Option<&Project>) -> Result<Self> {
        let (message, sample) = message(arguments, project)?;
        let (mut config, limits) = settings(project)?;
        config.extend(arguments.config.iter().cloned());
        let folder = tempfile::tempdir().context("there is no place for compiled code")?;
        let measurer = Measurer::new(folder.path(), compiler(CompileBounds::default()));
        let measured = measurer.measure(wasm, Trial { message, config, limits })?;
        Ok(Self { measured, sample })
    }

    pub(super) fn succeeded(&self) -> bool {
        self.measured.failed.is_none()
    }

    pub(super) fn json(&self) -> Value {
        let Measured { compile, load_from_cache, fuel_used, memory_bytes_peak, fresh, warm, failed, log } =
            &self.measured;
        let calls = |times: &CallTimes| {
            json!({
                "median_us": times.median.as_secs_f64() * 1e6,
                "least_us": times.least.as_secs_f64() * 1e6,
                "calls": times.calls,
            })
        };
        json!({
            "sample": self.sample,
            "compile_ms": compile.as_secs_f64() * 1e3,
            "load_from_cache_ms": load_from_cache.as_secs_f64() * 1e3,
            "fuel_used": fuel_used,
            "memory_bytes_peak": memory_bytes_peak,
            "fresh": calls(fresh),
            "warm": warm.as_ref().map(calls),
            "outcome": failed.as_ref().map_or("success", |record| record.outcome.name()),
            "because": failed.as_ref().map(|record| record.outcome.describe()),
            "log": log,
        })
    }

    pub(super) fn text(&self) -> String {
        let Measured { compile, load_from_cache, fuel_used, memory_bytes_peak, fresh, warm, failed, log } =
            &self.measured;
        let calls = |times: &CallTimes| {
            format!("{} (least {}, {} calls)", time(times.median), time(times.least), grouped(times.calls as u64))
        };
        let never = "not measured, because only an instance that succeeds is used again";
        let mut lines = facts(&[
            ("delivery", self.sample.clone()),
            ("compile", time(*compile)),
            ("load from cache", time(*load_from_cache)),
            ("fresh instance", calls(fresh)),
            ("warm instance", warm.as_ref().map_or_else(|| never.to_owned(), calls)),
            ("fuel", format!("{} of the first call, which starts an instance", grouped(*fuel_used))),
            ("memory", size(*memory_bytes_peak)),
        ]);
        if let Some(record) = failed {
            lines += &format!(
                "\n\nit fails on this delivery: {}\nname one that it handles with --sample FILE, and what it reads with --config \
                 KEY=VALUE",
                record.outcome.describe()
            );
            if !log.trim().is_empty() {
                lines += &format!("\nit printed:\n{}", indent(log.trim_end(), "  "));
            }
        }
        lines
    }
}

/// The message of a delivery, and where it is from.
fn message(arguments: &InspectArguments, project: Option<&Project>) -> Result<(Message, String)> {
    if let Some(file) = &arguments.sample {
        let data = std::fs::read(file).with_context(|| format!("cannot read the sample {}", file.display()))?;
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&data).is_ok();
        return Ok((made(TOPIC, data.into(), is_json.then_some(JSON))?, file.display().to_string()));
    }
    if let Some(path) = project.and_then(|project| project.samples.as_ref())
        && let Some(first) = samples::read(path)?.first()
    {
        let data = Bytes::from(first.data().as_bytes().to_vec());
        let message = Message {
            key: first.key().map(MessageKey::new).transpose()?,
            headers: first.headers(),
            ..made(first.topic(), data, first.content_type())?
        };
        return Ok((message, format!("the first of {}", path.display())));
    }
    Ok((made(TOPIC, Bytes::from_static(SAMPLE.as_bytes()), Some(JSON))?, SAMPLE.to_owned()))
}

fn made(topic: &str, data: Bytes, content_type: Option<&str>) -> Result<Message> {
    Ok(Message {
        id: MessageId::new("01990000-0000-7000-8000-000000000000")?,
        topic: Topic::new(topic)?,
        key: None,
        content_type: content_type.map(str::to_owned),
        headers: Vec::new(),
        data,
        published_at: Timestamp(0),
        expires_at: None,
        lineage: Lineage::default(),
    })
}

/// What the project's configuration gives the handler; the defaults without a project.
fn settings(project: Option<&Project>) -> Result<(BTreeMap<String, String>, HandlerLimits)> {
    let Some(project) = project else { return Ok(Default::default()) };
    if !Path::new(CONFIG_FILE).exists() {
        return Ok(Default::default());
    }
    let config = Config::read(Path::new(CONFIG_FILE))?;
    let same = |file: &Path| file.components().eq(project.component.components());
    let declared = config.handlers.into_values().find(|handler| handler.file.as_deref().is_some_and(same));
    Ok(declared.map(|handler| (handler.settings.config, handler.settings.limits)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_is_delivered_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let samples = folder.path().join("samples.ndjson");
        std::fs::write(&samples, r#"{"topic": "in", "key": "k", "headers": {"a": "b"}, "text": "hi"}"#).expect("ours");
        let project =
            Project { build: String::new(), component: "h".into(), watch: Vec::new(), samples: Some(samples) };
        let arguments = InspectArguments { file: None, json: false, measure: true, sample: None, config: Vec::new() };
        let (message, _) = message(&arguments, Some(&project)).expect("a sample");
        assert_eq!((message.topic.as_str(), message.key.as_ref().map(MessageKey::as_str)), ("in", Some("k")));
        assert_eq!(message.headers, [("a".to_owned(), "b".to_owned())]);
        assert_eq!((message.content_type.as_deref(), &message.data[..]), (Some("text/plain"), &b"hi"[..]));
    }
}

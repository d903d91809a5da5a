//! What a replay brought, for people and programs.

use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use wasmill_runtime::{
    delivery::{
        input::{AttemptResult, Effects, StateWrite},
        outcome::Outcome,
        record::AttemptRecord,
    },
    replay::{CapsuleFile, Comparison, Replayed},
};

use crate::cli::output::{cut, facts, indent, size};

/// How much of a value is shown to people.
const VALUE_CHARS: usize = 100;

/// A replay and what it is compared with.
pub(super) struct Report {
    id: u64,
    meant: String,
    recorded: AttemptRecord,
    attempts_made: u32,
    same_component: bool,
    digest: String,
    comparison: Comparison,
    outcome: Outcome,
    fuel_used: u64,
    memory_bytes_peak: u64,
    log: String,
    backtrace: Vec<String>,
    effects: Option<Effects>,
    notes: Vec<String>,
}

impl Report {
    pub(super) fn new(file: &CapsuleFile, replayed: &Replayed) -> Result<Self> {
        let recorded = file.last_attempt()?.clone();
        let attempt = &replayed.attempt;
        let (effects, backtrace) = match &attempt.result {
            AttemptResult::Succeeded(effects) => (Some(effects.clone()), Vec::new()),
            AttemptResult::SucceededWithNext => (None, Vec::new()),
            AttemptResult::Failed(record) => (None, record.backtrace.clone()),
        };
        let record = &file.record;
        Ok(Self {
            id: record.id.0,
            meant: format!("{}, message {} of {}/{}", record.id, record.message.id, record.queue, record.consumer),
            comparison: replayed.compare(&recorded),
            recorded,
            attempts_made: record.attempts_made,
            same_component: replayed.same_component,
            digest: attempt.digest.to_string(),
            outcome: attempt.result.outcome().clone(),
            fuel_used: attempt.fuel_used,
            memory_bytes_peak: attempt.memory_bytes_peak,
            log: attempt.log.clone(),
            backtrace,
            effects,
            notes: replayed.notes.clone(),
        })
    }

    /// Whether the delivery would be settled now.
    pub(super) fn succeeds(&self) -> bool {
        self.outcome == Outcome::Success
    }

    /// Whether it is what one hopes for: the same failure of the same component, a success of a candidate.
    pub(super) fn is_good(&self) -> bool {
        if self.same_component { self.comparison.is_same() } else { self.succeeds() }
    }

    /// Outcome and fuel when it was recorded.
    pub(super) fn before(&self) -> [String; 2] {
        [self.recorded.outcome.name().to_owned(), self.recorded.fuel_used.to_string()]
    }

    /// Outcome and fuel now.
    pub(super) fn now(&self) -> [String; 2] {
        let why = if self.succeeds() { self.outcome.name().to_owned() } else { cut(&ended(&self.outcome), 60) };
        [why, self.fuel_used.to_string()]
    }

    pub(super) fn json(&self) -> Value {
        let Comparison { outcome, fuel, backtrace, fuel_counts } = self.comparison;
        let same = json!({ "outcome": outcome, "fuel": fuel, "backtrace": backtrace, "fuel_counts": fuel_counts });
        json!({
            "quarantine_id": self.id,
            "same_component": self.same_component,
            "digest": self.digest,
            "recorded": {
                "attempt": self.recorded.attempt,
                "outcome": self.recorded.outcome.name(),
                "detail": self.recorded.outcome.describe(),
                "fuel_used": self.recorded.fuel_used,
                "backtrace": self.recorded.backtrace,
            },
            "replayed": {
                "outcome": self.outcome.name(),
                "detail": self.outcome.describe(),
                "fuel_used": self.fuel_used,
                "memory_bytes_peak": self.memory_bytes_peak,
                "log": self.log,
                "backtrace": self.backtrace,
                "effects": self.effects.as_ref().map(effects_json),
            },
            "same": if self.same_component { same } else { Value::Null },
            "is_good": self.is_good(),
            "notes": self.notes,
        })
    }

    pub(super) fn text(&self) -> String {
        let recorded = format!(
            "{}, {} of fuel, attempt {} of {}",
            ended(&self.recorded.outcome),
            self.recorded.fuel_used,
            self.recorded.attempt,
            self.attempts_made
        );
        let replayed =
            format!("{}, {} of fuel, {} of memory", ended(&self.outcome), self.fuel_used, size(self.memory_bytes_peak));
        let mut blocks = vec![facts(&[
            ("quarantined", self.meant.clone()),
            ("recorded", recorded),
            ("replayed", replayed),
            ("version", self.version()),
            ("result", self.verdict()),
        ])];
        blocks.extend(self.notes.iter().map(|note| format!("note: {note}")));
        for (heading, text) in [("log", self.log.clone()), ("backtrace", self.backtrace.join("\n"))] {
            if !text.trim().is_empty() {
                blocks.push(format!("{heading}\n{}", indent(text.trim_matches('\n'), "    ")));
            }
        }
        if let Some(effects) = &self.effects {
            let lines = effects_lines(effects);
            if !lines.is_empty() {
                blocks.push(format!("would have\n{}", indent(&lines.join("\n"), "    ")));
            }
        }
        blocks.join("\n")
    }

    fn version(&self) -> String {
        format!("{} ({})", self.digest, if self.same_component { "the one that failed" } else { "a candidate" })
    }

    fn verdict(&self) -> String {
        if !self.same_component {
            let word = if self.succeeds() { "pass" } else { "fail" };
            return format!("{word}: the candidate {}", if self.succeeds() { "succeeds" } else { "does not succeed" });
        }
        let Comparison { outcome, fuel, backtrace, fuel_counts } = self.comparison;
        let mut differs = Vec::new();
        differs.extend((!outcome).then_some("outcome"));
        differs.extend((!backtrace).then_some("backtrace"));
        differs.extend((!fuel && fuel_counts).then_some("fuel"));
        if !differs.is_empty() {
            return format!("not the same: {} differs", differs.join(" and "));
        }
        if fuel { "the same outcome, fuel and backtrace" } else { "the same outcome and backtrace" }.to_owned()
    }
}

fn ended(outcome: &Outcome) -> String {
    let detail = outcome.describe();
    if detail.is_empty() { outcome.name().to_owned() } else { format!("{}: {detail}", outcome.name()) }
}

fn effects_json(effects: &Effects) -> Value {
    let published = effects.published.iter().map(|entry| {
        let message = &entry.message;
        json!({
            "topic": message.topic,
            "key": message.key,
            "content_type": message.content_type,
            "headers": message.headers,
            "data_base64": BASE64_STANDARD.encode(&message.data),
            "deliver_at_ms": entry.deliver_at,
        })
    });
    let stored = effects.state.writes.iter().map(|write| match write {
        StateWrite::Set { key, value } => json!({ "set": key, "value_base64": BASE64_STANDARD.encode(value) }),
        StateWrite::Delete { key } => json!({ "delete": key }),
        StateWrite::Add { key, delta } => json!({ "add": key, "delta": delta }),
    });
    json!({ "published": published.collect::<Vec<_>>(), "state": stored.collect::<Vec<_>>() })
}

fn effects_lines(effects: &Effects) -> Vec<String> {
    let published = effects.published.iter().map(|entry| {
        format!(
            "published to {}: {}",
            entry.message.topic,
            cut(&String::from_utf8_lossy(&entry.message.data), VALUE_CHARS)
        )
    });
    let stored = effects.state.writes.iter().map(|write| match write {
        StateWrite::Set { key, value } => {
            format!("set {key:?} to {}", cut(&String::from_utf8_lossy(value), VALUE_CHARS))
        }
        StateWrite::Delete { key } => format!("deleted {key:?}"),
        StateWrite::Add { key, delta } => format!("added {delta} to {key:?}"),
    });
    published.chain(stored).collect()
}

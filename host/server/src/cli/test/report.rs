//! What came of cases, for people and for programs.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};
use wasmill_testing::{Attempt, Case, CaseReport, Mismatch};

use crate::cli::output::{indent, say, say_json, size};

/// Attempts whose log is shown with a failure; the last ones.
const ATTEMPTS_SHOWN_MAX: usize = 10;

/// How a case ended.
pub(super) enum Ended {
    Report(CaseReport),
    /// It could not be run.
    Error(String),
}

/// Says one line for each case, and more for those that fail.
pub(super) struct Reporter {
    json: Option<Vec<Value>>,
    path: String,
    passed: u64,
    failed: u64,
    took: Duration,
}

impl Reporter {
    pub(super) fn new(json: bool) -> Self {
        let json = json.then(Vec::new);
        Self { json, path: String::new(), passed: 0, failed: 0, took: Duration::ZERO }
    }

    pub(super) fn file(&mut self, path: &Path) -> Result<()> {
        self.path = path.display().to_string();
        if self.json.is_none() { say(&self.path) } else { Ok(()) }
    }

    pub(super) fn case(&mut self, case: &Case, component: Option<&Path>, ended: &Ended, took: Duration) -> Result<()> {
        let passed = matches!(ended, Ended::Report(report) if report.has_passed());
        *(if passed { &mut self.passed } else { &mut self.failed }) += 1;
        self.took += took;
        if let Some(all) = &mut self.json {
            all.push(as_json(&self.path, case, component, ended, took));
            return Ok(());
        }
        let (mark, runs) = match ended {
            Ended::Report(report) if report.runs > 1 => (passed, format!(", {} runs", report.runs)),
            Ended::Report(_) | Ended::Error(_) => (passed, String::new()),
        };
        let mark = if mark { "ok  " } else { "FAIL" };
        say(format_args!("  {mark}  {} ({} ms{runs})", case.name, took.as_millis()))?;
        match ended {
            Ended::Error(error) => say(indent(error, "        ")),
            Ended::Report(report) => {
                if let Some(path) = &report.snapshot_written {
                    say(format_args!("        wrote {}", path.display()))?;
                }
                if report.has_passed() { Ok(()) } else { say(indent(&failure(report), "        ")) }
            }
        }
    }

    pub(super) fn end(self) -> Result<ExitCode> {
        let Self { json, passed, failed, took, .. } = self;
        match json {
            Some(cases) => say_json(&json!({ "passed": passed, "failed": failed, "cases": cases }))?,
            None => say(format_args!("{passed} passed, {failed} failed ({:.1} s)", took.as_secs_f64()))?,
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn failure(report: &CaseReport) -> String {
    let mut lines = Vec::new();
    if let Some(words) = &report.circumstances {
        lines.push(words.clone());
    }
    lines.extend(report.mismatches.iter().map(Mismatch::to_string));
    let skipped = report.attempts.len().saturating_sub(ATTEMPTS_SHOWN_MAX);
    if skipped > 0 {
        lines.push(format!("({skipped} attempts before these)"));
    }
    lines.extend(report.attempts.iter().skip(skipped).map(attempt));
    lines.join("\n")
}

fn attempt(attempt: &Attempt) -> String {
    let Attempt { message, attempt, outcome, fuel, memory_bytes, log, .. } = attempt;
    let how = outcome.describe();
    let head = format!(
        "attempt {attempt} of {} ({}): {}, {how}; fuel {fuel}, memory {}",
        message.id,
        message.topic,
        outcome.name(),
        size(*memory_bytes)
    );
    if log.is_empty() { head } else { format!("{head}\n{}", indent(log.trim_end(), "  | ")) }
}

fn as_json(path: &str, case: &Case, component: Option<&Path>, ended: &Ended, took: Duration) -> Value {
    let mut value = json!({
        "file": path,
        "case": case.name,
        "component": component.map(|component| component.display().to_string()),
        "ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    });
    let more = match ended {
        Ended::Error(error) => json!({ "passed": false, "error": error }),
        Ended::Report(report) => json!({
            "passed": report.has_passed(),
            "runs": report.runs,
            "circumstances": report.circumstances,
            "mismatches": report.mismatches.iter().map(|Mismatch { what, expected, seen }| {
                json!({ "what": what, "expected": expected, "seen": seen })
            }).collect::<Vec<Value>>(),
            "attempts": report.attempts.iter().map(|attempt| json!({
                "message": attempt.message.id.as_str(),
                "topic": attempt.message.topic.as_str(),
                "attempt": attempt.attempt,
                "outcome": attempt.outcome.name(),
                "fuel": attempt.fuel,
                "memory_bytes_peak": attempt.memory_bytes,
                "log": attempt.log,
            })).collect::<Vec<Value>>(),
        }),
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

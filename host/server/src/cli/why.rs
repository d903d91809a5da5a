//! `wasmill why`: what became of a message.

use anyhow::Result;

use super::{
    Remote,
    output::{say, say_json, time},
};
use crate::client::{
    model::{Why, WhyAttempt, WhyNode, WhyPlace, WhyStep},
    read,
};

/// Say what became of a message: what caused it, what it caused, and how far each consumer is
#[derive(Debug, clap::Args)]
pub(super) struct WhyArguments {
    #[command(flatten)]
    remote: Remote,
    /// The message's id
    id: String,
}

pub(super) async fn run(arguments: WhyArguments) -> Result<()> {
    let answer = arguments.remote.client()?.get(&["v1", "messages", &arguments.id, "why"]).await?;
    if arguments.remote.json { say_json(&answer) } else { say(show(&read(&answer)?)) }
}

fn show(why: &Why) -> String {
    let mut lines = Vec::new();
    for (level, node) in why.causes.iter().enumerate() {
        show_node(&mut lines, node, level, why);
    }
    show_tree(&mut lines, &why.message, why.causes.len(), why);
    if !why.complete {
        lines.push(String::new());
        lines.push("something may be missing:".to_owned());
        lines.extend(why.incomplete_because.iter().map(|reason| format!("- {reason}")));
    }
    lines.join("\n")
}

fn show_tree(lines: &mut Vec<String>, node: &WhyNode, level: usize, why: &Why) {
    show_node(lines, node, level, why);
    for caused in &node.caused {
        show_tree(lines, caused, level + 1, why);
    }
}

fn show_node(lines: &mut Vec<String>, node: &WhyNode, level: usize, why: &Why) {
    let (before, below) = ("  ".repeat(level), "  ".repeat(level + 1));
    let branch = if level == 0 { "" } else { "└ " };
    let asked = if node.id == why.id { "  <- this one" } else { "" };
    let redrive = node.redrive_of.map(|id| format!(", a redrive of quarantined {id}")).unwrap_or_default();
    let words = match (&node.topic, node.published_at_ms) {
        (Some(topic), Some(at_ms)) => format!("{topic}, {}", time(at_ms)),
        (_, _) if node.kept => "kept".to_owned(),
        (_, _) => "not kept any more".to_owned(),
    };
    lines.push(format!("{before}{branch}{}  {words}{redrive}{asked}", node.id));
    for place in &node.places {
        match place {
            WhyPlace::Delayed { due_at_ms } => lines.push(format!("{below}  delayed until {}", time(*due_at_ms))),
            WhyPlace::Queue { queue, sequence, consumers } => {
                let nobody = if consumers.is_empty() { ": no consumer" } else { "" };
                lines.push(format!("{below}  in {queue} at {sequence}{nobody}"));
                consumers.iter().for_each(|step| show_step(lines, step, &below));
            }
        }
    }
}

fn show_step(lines: &mut Vec<String>, step: &WhyStep, below: &str) {
    lines.push(format!("{below}    {}: {}", step.consumer, state(step)));
    let attempts = step.attempts.iter().map(|attempt| format!("{below}      {}", show_attempt(attempt)));
    lines.extend(attempts);
}

fn state(step: &WhyStep) -> String {
    let attempt = step.attempt.unwrap_or_default();
    match step.state.as_str() {
        "running" => format!("running, attempt {attempt}"),
        "retry" => format!("attempt {attempt} is due at {}", step.due_at_ms.map(time).unwrap_or_default()),
        "parked" => format!("parked behind {}", step.behind_sequence.unwrap_or_default()),
        "quarantined" => format!(
            "quarantined as {}: {}",
            step.quarantine_id.unwrap_or_default(),
            step.reason.as_deref().unwrap_or_default()
        ),
        other => other.to_owned(),
    }
}

fn show_attempt(attempt: &WhyAttempt) -> String {
    let duration_ms = attempt.duration_us as f64 / 1_000.0;
    format!("attempt {} at {}, {duration_ms} ms: {}", attempt.attempt, time(attempt.started_at_ms), attempt.detail)
}

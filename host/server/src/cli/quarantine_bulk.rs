//! `wasmill quarantine` for many deliveries at once: what is broken, redrives in the background, export and import.

use std::{
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::{
    filter::Filter,
    output::{ago, complain, cut, or_dash, say, say_bytes, say_json, table},
    quarantine::{FINGERPRINT_CHARS, and_more},
};
use crate::client::{Client, model, read};

/// Lines of an import are sent once they are so long together, in bytes.
const REQUEST_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum RedrivesCommand {
    /// Those that run, and those that ended lately
    List,
    /// Stop one; what it redrove stays redriven
    Cancel { id: u64 },
}

/// Read a rate: `50` or `50/s`.
pub(super) fn parse_rate(text: &str) -> Result<u32> {
    let number = text.strip_suffix("/s").unwrap_or(text).trim();
    number
        .parse()
        .with_context(|| format!("{text:?} is not a rate; write deliveries in a second, for example 50 or 50/s"))
}

pub(super) async fn summary(client: &Client, filter: &Filter, json: bool) -> Result<()> {
    let answer = client.json(filter.apply(client.request(Method::GET, &["v1", "quarantine", "summary"]))).await?;
    if json {
        return say_json(&answer);
    }
    let summary: model::QuarantineSummary = read(&answer)?;
    let rows = summary.groups.into_iter().map(|group| {
        vec![
            group.count.to_string(),
            or_dash(group.handler),
            group.reason,
            cut(&or_dash(group.fingerprint), FINGERPRINT_CHARS),
            ago(group.oldest_at_ms),
            ago(group.newest_at_ms),
            group.example.to_string(),
        ]
    });
    say(table(&["COUNT>", "HANDLER", "REASON", "FINGERPRINT", "OLDEST", "NEWEST", "EXAMPLE>"], rows))?;
    let others = match summary.ungrouped {
        0 => String::new(),
        others => format!("; {others} of them failed in still other ways"),
    };
    say(format!("{} in quarantine{others}", summary.quarantined))
}

pub(super) async fn redrive_at(client: &Client, filter: &Filter, rate: u32, json: bool) -> Result<()> {
    let mut body = serde_json::to_value(filter.all())?;
    body["rate_per_second"] = rate.into();
    let answer = client.json(client.request(Method::POST, &["v1", "quarantine", "redrive"]).json(&body)).await?;
    if json {
        return say_json(&answer);
    }
    let redrive: model::RedriveInBackground = read(&answer)?;
    say(format!(
        "redrive {} sends {} again, {} in a second{}; `wasmill quarantine redrives list` shows how far it is",
        redrive.id,
        redrive.total,
        redrive.rate_per_second,
        and_more(redrive.more)
    ))
}

pub(super) async fn redrives(client: &Client, command: &RedrivesCommand, json: bool) -> Result<()> {
    match command {
        RedrivesCommand::List => {
            let answer = client.get(&["v1", "quarantine", "redrives"]).await?;
            if json {
                return say_json(&answer);
            }
            let list: model::Redrives = read(&answer)?;
            let rows = list.redrives.into_iter().map(|redrive| {
                vec![
                    redrive.id.to_string(),
                    redrive.state,
                    redrive.total.to_string(),
                    redrive.redriven.to_string(),
                    redrive.skipped.to_string(),
                    redrive.refused.to_string(),
                    format!("{}/s", redrive.rate_per_second),
                    ago(redrive.started_at_ms),
                    redrive.meant,
                ]
            });
            let headings = ["ID>", "STATE", "TOTAL>", "REDRIVEN>", "SKIPPED>", "REFUSED>", "RATE>", "STARTED", "WHAT"];
            say(table(&headings, rows))?;
            say(list.note)
        }
        RedrivesCommand::Cancel { id } => {
            let request = client.request(Method::DELETE, &["v1", "quarantine", "redrives", &id.to_string()]);
            let answer = client.json(request).await?;
            if json {
                return say_json(&answer);
            }
            let redrive: model::RedriveInBackground = read(&answer)?;
            say(format!("redrive {id} is {}; {} of {} are redriven", redrive.state, redrive.redriven, redrive.total))
        }
    }
}

pub(super) async fn export(client: &Client, filter: &Filter, file: Option<&Path>) -> Result<()> {
    let request = filter.apply(client.request(Method::GET, &["v1", "quarantine", "export"]));
    let mut answer = client.send(request).await?;
    let mut into = match file {
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Some(std::io::BufWriter::new(file))
        }
        None => None,
    };
    let mut last = LastLine::default();
    while let Some(bytes) = answer.chunk().await.context("the export broke off; it is not complete")? {
        last.see(&bytes);
        match &mut into {
            Some(file) => file.write_all(&bytes).context("cannot write the export")?,
            None => say_bytes(&bytes)?,
        }
    }
    if let Some(mut file) = into {
        file.flush().context("cannot write the export")?;
    }
    if let Some(problem) = last.problem() {
        bail!("the export ends early: {problem}");
    }
    if let Some(path) = file {
        complain(&format!("{} exported to {}", last.lines, path.display()));
    }
    Ok(())
}

/// The beginning of the last line of an export, which says so when it ends early.
#[derive(Default)]
struct LastLine {
    lines: u64,
    begins: Vec<u8>,
    ended: bool,
}

impl LastLine {
    /// A problem is never longer.
    const BYTES_MAX: usize = 16 * 1024;

    fn see(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if std::mem::take(&mut self.ended) {
                self.begins.clear();
            }
            let room = Self::BYTES_MAX - self.begins.len();
            self.begins.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.lines += 1;
                self.ended = true;
            }
        }
    }

    fn problem(&self) -> Option<String> {
        let line: Value = serde_json::from_slice(&self.begins).ok()?;
        let problem: model::Problem = read(line.get("error")?).ok()?;
        Some(problem.words())
    }
}

#[derive(Default)]
struct Tally {
    imported: u64,
    duplicates: u64,
    refused: u64,
}

pub(super) async fn import(client: &Client, file: &Path, json: bool) -> Result<ExitCode> {
    let input: Box<dyn std::io::Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?)
    };
    let mut input = BufReader::new(input);
    let (mut tally, mut lines_before) = (Tally::default(), 0);
    loop {
        let (body, lines) = next_body(&mut input)?;
        if body.is_empty() {
            break;
        }
        let request =
            client.request(Method::POST, &["v1", "quarantine", "import"]).header(CONTENT_TYPE, "application/x-ndjson");
        let answers = client.send(request.body(body)).await?.text().await.context("the answer broke off")?;
        for answer in answers.lines() {
            tally.count(answer, lines_before, json)?;
        }
        lines_before += lines;
    }
    let Tally { imported, duplicates, refused } = tally;
    if !json {
        say(format!("{imported} imported, {duplicates} were there already, {refused} refused"))?;
    }
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lines for one request, and how many they are.
fn next_body(input: &mut impl BufRead) -> Result<(Vec<u8>, u64)> {
    let (mut body, mut lines) = (Vec::new(), 0);
    while body.len() < REQUEST_BYTES {
        if input.read_until(b'\n', &mut body).context("cannot read the lines")? == 0 {
            break;
        }
        lines += 1;
    }
    Ok((body, lines))
}

impl Tally {
    fn count(&mut self, answer: &str, lines_before: u64, json: bool) -> Result<()> {
        let mut answer: Value = serde_json::from_str(answer).context("the host answered a line that is not JSON")?;
        if let Some(line) = answer["line"].as_u64() {
            answer["line"] = json!(line + lines_before);
        }
        match read(&answer)? {
            model::ImportAnswer::Taken { duplicate: true } => self.duplicates += 1,
            model::ImportAnswer::Taken { duplicate: false } => self.imported += 1,
            model::ImportAnswer::Refused { line, error } => {
                self.refused += 1;
                complain(&format!("line {line}: {}", error.words()));
            }
        }
        if json { say(answer) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        assert_eq!((parse_rate("50").ok(), parse_rate("50/s").ok()), (Some(50), Some(50)));
        for bad in ["", "50/m", "-1", "fast"] {
            assert!(parse_rate(bad).is_err_and(|error| error.to_string().contains("for example 50 or 50/s")), "{bad}");
        }
    }

    #[test]
    fn the_last_line_says_whether_all_was_exported() {
        let mut last = LastLine::default();
        last.see(b"{\"id\":1}\n{\"err");
        last.see(b"or\":{\"title\":\"x\",\"detail\":\"damaged\",\"code\":\"damaged-store\"}}\n");
        assert_eq!((last.lines, last.problem().as_deref()), (2, Some("damaged (damaged-store)")));
        last.see(b"{\"id\":2}\n");
        assert_eq!((last.lines, last.problem()), (3, None));
    }
}

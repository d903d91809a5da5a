//! `wasmill quarantine replay`: what failed on a host fails again here, or does not.
//!
//! The replay runs in this process. From the host come the capsule and the component, and nothing goes back.

mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use wasmill_runtime::replay::{CapsuleFile, Program, Replayed, Replayer};

use self::report::Report;
use super::{
    Remote,
    filter::{Filter, Matching},
    output::{complain, or_dash, say, say_json, table},
};
use crate::client::{Client, model, read};

/// Deliveries that one request lists.
const PAGE: u32 = 1_000;
/// Deliveries that one request redrives.
const REDRIVEN_AT_ONCE: usize = 10_000;

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArguments {
    /// The quarantined delivery
    #[arg(required_unless_present_any = ["all", "file"])]
    id: Option<u64>,
    /// What `wasmill quarantine export ID --capsule FILE` wrote; no host is asked then
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "all"])]
    file: Option<PathBuf>,
    /// All that match: a table of those that pass, which is to succeed, and those that fail
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// Run this component instead: of one, the one that failed; of all, the version that is loaded now
    #[arg(long, value_name = "FILE", visible_alias = "candidate")]
    handler: Option<PathBuf>,
    /// Only those of this handler
    #[arg(long, value_name = "HANDLER", requires = "all")]
    of: Option<String>,
    #[command(flatten)]
    matching: Matching,
}

pub(super) async fn run(remote: &Remote, arguments: ReplayArguments) -> Result<ExitCode> {
    let ReplayArguments { id, file, all, handler, of, matching } = arguments;
    let bench = Bench::new()?;
    let candidate = candidate(&bench, handler.as_deref()).await?;
    if all {
        let filter = Filter::new(matching, of);
        let replays = Replays::run(&remote.client()?, &bench, &filter, candidate.as_ref()).await?;
        replays.show(remote.json)?;
        return Ok(replays.exit_code());
    }
    let mut file = match (id, &file) {
        (Some(id), _) => fetch(&remote.client()?, id).await?,
        (None, Some(path)) => open(path).await?,
        (None, None) => bail!("say which delivery, --all, or --file FILE"),
    };
    let program = match &candidate {
        Some(program) => Arc::clone(program),
        None => {
            if file.component.is_none() && id.is_some() {
                file.component = Some(component_of(&remote.client()?, &file).await?);
            }
            let nothing = || anyhow!("the file has no component; say which to run with --handler FILE");
            bench.load(file.component.clone().ok_or_else(nothing)?).await?
        }
    };
    let replayed = bench.replayer.run(&program, &file).await?;
    let report = Report::new(&file, &replayed)?;
    if remote.json {
        say_json(&report.json())?
    } else {
        say(report.text())?
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Write all that a replay of one delivery takes into a file.
pub(super) async fn export(client: &Client, id: u64, path: &Path) -> Result<()> {
    let mut file = fetch(client, id).await?;
    file.component = Some(component_of(client, &file).await?);
    let bytes = file.to_bytes();
    tokio::fs::write(path, &bytes).await.with_context(|| format!("cannot write {}", path.display()))?;
    say(format!("{id} is in {}; `wasmill quarantine replay --file {}` runs it again", path.display(), path.display()))
}

/// Replay all that match, and send those again that succeed.
pub(super) async fn redrive_passing(
    client: &Client,
    filter: &Filter,
    candidate_file: Option<&Path>,
    json: bool,
) -> Result<ExitCode> {
    let bench = Bench::new()?;
    let candidate = candidate(&bench, candidate_file).await?;
    let replays = Replays::run(client, &bench, filter, candidate.as_ref()).await?;
    if !json {
        replays.show(false)?;
    }
    if let Some(candidate) = &candidate {
        warn_unless_loaded(client, &replays, candidate).await?;
    }
    let passing = replays.passing();
    complain(&format!(
        "redriving the {} that pass; the {} others stay in quarantine",
        passing.len(),
        replays.rows.len() - passing.len()
    ));
    let (mut redriven, mut refused) = (Vec::new(), Vec::new());
    for ids in passing.chunks(REDRIVEN_AT_ONCE) {
        let request = client.request(Method::POST, &["v1", "quarantine", "redrive"]).json(&json!({ "ids": ids }));
        let answer = client.json(request).await?;
        let take = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
        redriven.extend(take("redriven"));
        refused.extend(take("refused"));
    }
    for problem in &refused {
        let words = read::<model::Problem>(&problem["error"]).map_or_else(|_| problem.to_string(), |it| it.words());
        complain(&format!("{} is not redriven: {words}", problem["quarantine_id"]));
    }
    if json {
        let mut shown = replays.json();
        shown["redriven"] = redriven.into();
        shown["refused"] = refused.clone().into();
        say_json(&shown)?;
    } else {
        say(format!("{} redriven", redriven.len()))?;
    }
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is redriven runs on the version that is loaded, whatever it was replayed on.
async fn warn_unless_loaded(client: &Client, replays: &Replays, candidate: &Program) -> Result<()> {
    for handler in &replays.handlers {
        let answer: model::Handler = read(&client.get(&["v1", "handlers", handler]).await?)?;
        if answer.digest != Some(candidate.digest().to_string()) {
            complain(&format!(
                "{handler} does not run this candidate now, but {}: what is redriven runs on that",
                or_dash(answer.digest)
            ));
        }
    }
    Ok(())
}

async fn candidate(bench: &Bench, path: Option<&Path>) -> Result<Option<Arc<Program>>> {
    let Some(path) = path else { return Ok(None) };
    let wasm = tokio::fs::read(path).await.with_context(|| format!("cannot read {}", path.display()))?;
    bench.load(wasm.into()).await.with_context(|| format!("{} cannot be run", path.display())).map(Some)
}

async fn open(path: &Path) -> Result<CapsuleFile> {
    let bytes = tokio::fs::read(path).await.with_context(|| format!("cannot read {}", path.display()))?;
    CapsuleFile::from_bytes(&bytes).with_context(|| path.display().to_string())
}

async fn fetch(client: &Client, id: u64) -> Result<CapsuleFile> {
    let request = client.request(Method::GET, &["v1", "quarantine", &id.to_string(), "capsule"]);
    let bytes = client.send(request).await?.bytes().await.context("the answer broke off")?;
    Ok(CapsuleFile::from_bytes(&bytes)?)
}

async fn component_of(client: &Client, file: &CapsuleFile) -> Result<Bytes> {
    component(client, &file.capsule()?.digest.to_string()).await
}

async fn component(client: &Client, digest: &str) -> Result<Bytes> {
    let request = client.request(Method::GET, &["v1", "components", digest]);
    client.send(request).await?.bytes().await.context("the answer broke off")
}

/// Where components are compiled and run.
struct Bench {
    replayer: Arc<Replayer>,
    _compiled: TempDir,
}

impl Bench {
    fn new() -> Result<Self> {
        let compiled = tempfile::tempdir().context("there is no place for compiled code")?;
        let replayer = Replayer::new(compiled.path()).context("components cannot be run here")?;
        Ok(Self { replayer: Arc::new(replayer), _compiled: compiled })
    }

    async fn load(&self, wasm: Bytes) -> Result<Arc<Program>> {
        let replayer = Arc::clone(&self.replayer);
        Ok(tokio::task::spawn_blocking(move || replayer.load(&wasm)).await.context("compiling ended early")??)
    }
}

/// One delivery of many.
struct Row {
    id: u64,
    handler: Option<String>,
    message: String,
    /// Or why there is none.
    report: Result<Report, String>,
}

impl Row {
    fn passes(&self) -> bool {
        self.report.as_ref().is_ok_and(Report::succeeds)
    }

    fn json(&self) -> Value {
        match &self.report {
            Ok(report) => {
                let mut value = report.json();
                value["passes"] = self.passes().into();
                value
            }
            Err(problem) => json!({ "quarantine_id": self.id, "passes": false, "problem": problem }),
        }
    }
}

/// Replays of many deliveries.
struct Replays {
    rows: Vec<Row>,
    handlers: BTreeSet<String>,
}

impl Replays {
    async fn run(client: &Client, bench: &Bench, filter: &Filter, candidate: Option<&Arc<Program>>) -> Result<Self> {
        let found = list(client, filter).await?;
        let handlers: BTreeSet<String> = found.iter().filter_map(|quarantined| quarantined.handler.clone()).collect();
        ensure!(
            candidate.is_none() || handlers.len() <= 1,
            "these deliveries are of more than one handler ({}); say which one the candidate is for",
            handlers.iter().cloned().collect::<Vec<_>>().join(", ")
        );
        let mut versions = Versions { loaded: BTreeMap::new() };
        let mut rows = Vec::with_capacity(found.len());
        for quarantined in found {
            let replayed = replay_one(client, bench, &mut versions, &quarantined, candidate).await;
            rows.push(Row {
                id: quarantined.id,
                handler: quarantined.handler,
                message: quarantined.message.id,
                report: replayed.map_err(|error| format!("{error:#}")),
            });
        }
        Ok(Self { rows, handlers })
    }

    fn passing(&self) -> Vec<u64> {
        self.rows.iter().filter(|row| row.passes()).map(|row| row.id).collect()
    }

    fn show(&self, json: bool) -> Result<()> {
        if json {
            return say_json(&self.json());
        }
        let rows = self.rows.iter().map(|row| {
            let verdict = if row.passes() { "pass" } else { "fail" }.to_owned();
            let (before, now) = match &row.report {
                Ok(report) => (report.before(), report.now()),
                Err(problem) => (["-".to_owned(), "-".to_owned()], [problem.clone(), "-".to_owned()]),
            };
            let [outcome_before, fuel_before] = before;
            let [outcome_now, fuel_now] = now;
            let handler = or_dash(row.handler.as_ref());
            vec![
                row.id.to_string(),
                handler,
                row.message.clone(),
                verdict,
                outcome_before,
                fuel_before,
                outcome_now,
                fuel_now,
            ]
        });
        say(table(&["ID>", "HANDLER", "MESSAGE", "RESULT", "FAILED AS", "FUEL>", "NOW", "FUEL NOW>"], rows))?;
        say(format!("{} of {} pass", self.passing().len(), self.rows.len()))
    }

    fn json(&self) -> Value {
        let replays: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({ "replays": replays, "passing": self.passing().len(), "all": self.rows.len() })
    }

    fn exit_code(&self) -> ExitCode {
        if self.rows.iter().all(Row::passes) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// What is loaded now, by handler.
struct Versions {
    loaded: BTreeMap<String, Arc<Program>>,
}

impl Versions {
    async fn of(&mut self, client: &Client, bench: &Bench, handler: &str) -> Result<Arc<Program>> {
        if let Some(program) = self.loaded.get(handler) {
            return Ok(Arc::clone(program));
        }
        let answer: model::Handler = read(&client.get(&["v1", "handlers", handler]).await?)?;
        let digest = answer.digest.with_context(|| format!("handler {handler} has no component now"))?;
        let program = bench.load(component(client, &digest).await?).await?;
        self.loaded.insert(handler.to_owned(), Arc::clone(&program));
        Ok(program)
    }
}

async fn replay_one(
    client: &Client,
    bench: &Bench,
    versions: &mut Versions,
    quarantined: &model::Quarantined,
    candidate: Option<&Arc<Program>>,
) -> Result<Report> {
    let file = fetch(client, quarantined.id).await?;
    let program = match (candidate, &quarantined.handler) {
        (Some(program), _) => Arc::clone(program),
        (None, Some(handler)) => versions.of(client, bench, handler).await?,
        (None, None) => bail!("no handler of this host ran it"),
    };
    let replayed: Replayed = bench.replayer.run(&program, &file).await?;
    Report::new(&file, &replayed)
}

async fn list(client: &Client, filter: &Filter) -> Result<Vec<model::Quarantined>> {
    let mut found = Vec::new();
    let mut cursor: Option<Value> = None;
    loop {
        let request = client.request(Method::GET, &["v1", "quarantine"]);
        let mut request = filter.apply(request).query(&[("limit", PAGE.to_string())]);
        if let Some(cursor) = &cursor {
            request = request.query(&[("cursor", super::quarantine::as_query(cursor))]);
        }
        let page: model::QuarantinePage = read(&client.json(request).await?)?;
        for one in &page.quarantined {
            found.push(read(one)?);
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

//! Cases: read from files, and turned into what a harness does.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize as _;
use toml::{Table, Value};
use wasmill_delivery::{name::ConsumerName, topic::TopicPattern};
use wasmill_runtime::{
    Draft,
    simulated::{PlannedAnswer, ReceivedAnswer, SimulatedFailure},
};
use wasmill_settings::{
    Wrong,
    consumer::RawConsumer,
    forms::{Headers, Time},
};

use crate::{
    data::OrNone,
    error::HarnessError,
    forms::{RawAnswer, RawCase, RawFailure, RawFile, RawMessage, RawSettings},
    http::Plan,
    settings::Settings,
};

/// Why a file of cases cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// It cannot be read.
    #[error("cannot read the cases {}: {problem}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        problem: std::io::Error,
    },
    /// Something in it is wrong.
    #[error(transparent)]
    Wrong(#[from] Box<Wrong>),
    /// Something in a case contradicts itself.
    #[error("{}: case {case:?}: {problem}", .path.display())]
    Case {
        /// The file.
        path: PathBuf,
        /// The case's name.
        case: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
}

/// A file of cases.
#[derive(Debug)]
pub struct Cases {
    /// Where it is.
    pub path: PathBuf,
    /// In their order.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The component that it is about, when the file says.
    pub component: Option<PathBuf>,
    pub(crate) folder: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) raw: RawCase,
}

impl Cases {
    /// Read a file.
    ///
    /// # Errors
    /// When it cannot be read, or something in it is wrong: with file, line and key.
    pub fn read(path: &Path) -> Result<Self, CasesError> {
        let text =
            std::fs::read_to_string(path).map_err(|problem| CasesError::Read { path: path.to_owned(), problem })?;
        Self::parse(&text, path)
    }

    /// Check the text of a file. Relative paths in it are relative to the folder of `path`.
    ///
    /// # Errors
    /// When something in it is wrong.
    pub fn parse(text: &str, path: &Path) -> Result<Self, CasesError> {
        let wrong = |error: toml::de::Error| Box::new(Wrong::new(path.to_owned(), text, &error));
        let raw: RawFile = toml::from_str(text).map_err(wrong)?;
        let whole: Table = toml::from_str(text).map_err(wrong)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let RawFile { component, settings, case } = raw;
        let each = whole.get("case").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut cases: Vec<Case> = Vec::with_capacity(case.len());
        for (case, whole_case) in case.into_iter().zip(&each) {
            let refuse = |problem| CasesError::Case { path: path.to_owned(), case: case.name.clone(), problem };
            if cases.iter().any(|other| other.name == case.name) {
                return Err(refuse("another case has the same name; give each its own".to_owned()));
            }
            let settings = merged(
                [&settings, &case.settings],
                [consumer_in(&whole), whole_case.as_table().and_then(consumer_in)],
                &case,
            )
            .map_err(refuse)?;
            let has_settings = whole_case.get("settings").is_some();
            check(&case, has_settings).map_err(refuse)?;
            let component = case.component.as_ref().or(component.as_ref()).map(|component| folder.join(component));
            cases.push(Case { name: case.name.clone(), component, folder: folder.clone(), settings, raw: case });
        }
        Ok(Self { path: path.to_owned(), cases })
    }
}

fn check(case: &RawCase, has_settings: bool) -> Result<(), String> {
    let given = [
        ("settings", has_settings),
        ("publish", !case.publish.is_empty()),
        ("state", !case.state.is_empty()),
        ("http", !case.http.is_empty()),
        ("faults", case.faults.is_some()),
        ("run-for", case.run_for.is_some()),
        ("seeds", case.seeds.is_some() || case.seed.is_some()),
        // Nothing is sent, and nothing is judged: expecting none would show nothing.
        ("expect.requests", case.expect.requests.is_some()),
        ("expect.quarantined", case.expect.quarantined.is_some()),
    ];
    if let (Some(_), Some((what, _))) = (&case.capsule, given.iter().find(|(_, given)| *given)) {
        return Err(format!("a capsule has its message, and all that the host answered; leave {what} out"));
    }
    if case.capsule.is_none() && case.publish.is_empty() {
        return Err("nothing is published; give publish = [{ topic = \"…\", json = { … } }], or a capsule".to_owned());
    }
    if case.seeds.is_some() && case.faults.is_some_and(|faults| faults.seeds.is_some()) {
        return Err("seeds is given twice; leave one out".to_owned());
    }
    Ok(())
}

fn consumer_in(table: &Table) -> Option<&Table> {
    table.get("settings")?.as_table()?.get("consumer")?.as_table()
}

/// What the case says, over what the file says, over the defaults.
fn merged(raw: [&RawSettings; 2], consumers: [Option<&Table>; 2], case: &RawCase) -> Result<Settings, String> {
    let mut settings = Settings::default();
    for raw in raw {
        settings.config.extend(raw.config.clone());
        settings.secrets.extend(raw.secrets.clone());
        settings.limits = raw.limits.over(settings.limits);
        if let Some(grants) = &raw.grants {
            grants.check().map_err(|error| error.to_string())?;
            settings.grants = grants.clone();
        }
        if let Some(Time(at)) = raw.starts_at {
            settings.starts_at = at;
        }
        if let Some(window) = raw.dedup_window {
            settings.dedup_window_ms = window.0;
        }
    }
    settings.seed = case.seed.unwrap_or(0);
    settings.reorder = case.faults.is_some_and(|faults| faults.reorder);
    settings.consumer = consumer(consumers)?;
    let given = |of: fn(&crate::forms::RawQueue) -> Option<&Vec<String>>| {
        raw.iter().rev().find_map(|raw| raw.queue.as_ref().and_then(of))
    };
    let published: Vec<String> = case.publish.iter().map(|message| message.topic.clone()).collect();
    settings.bindings = patterns(given(|queue| queue.bindings.as_ref()).unwrap_or(&published))?;
    if let Some(elsewhere) = given(|queue| queue.elsewhere.as_ref()) {
        settings.elsewhere = patterns(elsewhere)?;
    }
    Ok(settings)
}

fn patterns(topics: &[String]) -> Result<Vec<TopicPattern>, String> {
    let mut patterns: Vec<TopicPattern> = Vec::new();
    for topic in topics {
        let pattern = TopicPattern::new(topic.clone()).map_err(|error| error.to_string())?;
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    Ok(patterns)
}

fn consumer(over: [Option<&Table>; 2]) -> Result<wasmill_delivery::record::ConsumerConfig, String> {
    let mut table = Table::from_iter([("concurrency".to_owned(), Value::Integer(1))]);
    for over in over.into_iter().flatten() {
        table.extend(over.clone());
    }
    let raw = RawConsumer::deserialize(Value::Table(table)).map_err(|error| error.message().to_owned())?;
    Ok(raw.config(&ConsumerName::new("handler").expect("it follows the rules")))
}

/// Messages that are published at one time, so long after the start.
pub(crate) struct Given {
    pub(crate) at: Duration,
    pub(crate) drafts: Vec<Draft>,
}

impl Case {
    /// Whether it is a capsule, which may have the component that failed.
    #[must_use]
    pub const fn is_capsule(&self) -> bool {
        self.raw.capsule.is_some()
    }

    /// What is published, by time; messages of one time in the order of the case.
    pub(crate) fn given(&self, ids: impl Fn(u64) -> String) -> Result<Vec<Given>, HarnessError> {
        let mut given: Vec<Given> = Vec::new();
        let duplicates: usize = self.raw.faults.and_then(|faults| faults.duplicate).map_or(1, |times| times.get());
        let mut number = 0;
        for message in &self.raw.publish {
            let at = message.at.map_or(0, |at| at.0);
            let after = self.settings.starts_at.plus_ms(at);
            let draft = self.draft(message, after)?;
            let mut drafts = Vec::new();
            for _ in 0..message.times.map_or(1, |times| times.get()) {
                number += 1;
                let id = draft.id.clone().unwrap_or_else(|| ids(number));
                let named = Draft { id: Some(id), ..draft.clone() };
                drafts.extend(std::iter::repeat_n(named, duplicates));
            }
            let at = Duration::from_millis(at);
            match given.iter_mut().find(|given| given.at == at) {
                Some(given) => given.drafts.extend(drafts),
                None => given.push(Given { at, drafts }),
            }
        }
        given.sort_by_key(|given| given.at);
        Ok(given)
    }

    fn draft(
        &self,
        message: &RawMessage,
        published_at: wasmill_delivery::time::Timestamp,
    ) -> Result<Draft, HarnessError> {
        let data = message.written().data(&self.folder)?;
        let content_type = match &message.content_type {
            Some(OrNone(given)) => given.clone(),
            None => data.as_ref().and_then(|data| data.content_type()).map(ToOwned::to_owned),
        };
        Ok(Draft {
            topic: message.topic.clone(),
            id: message.id.clone(),
            key: message.key.clone(),
            content_type,
            headers: message.headers.clone().unwrap_or_default().0,
            data: data.map(|data| data.bytes()).unwrap_or_default(),
            deliver_at: message.delay.map(|delay| published_at.plus_ms(delay.0)),
            expires_at: message.expires_after.map(|after| published_at.plus_ms(after.0)),
            ..Draft::default()
        })
    }

    /// What comes of the handler's requests.
    pub(crate) fn plans(&self) -> Result<Vec<Plan>, HarnessError> {
        self.raw.http.iter().map(|answer| self.plan(answer)).collect()
    }

    fn plan(&self, answer: &RawAnswer) -> Result<Plan, HarnessError> {
        let data = answer.written().data(&self.folder)?;
        let after = Duration::from_millis(answer.after.map_or(0, |after| after.0));
        if answer.fails.is_some() && (answer.status.is_some() || data.is_some() || answer.headers.is_some()) {
            return Err(HarnessError::Setting(format!(
                "the answer to {} fails and has a status, headers or data; leave out one or the other",
                answer.url
            )));
        }
        let result = match answer.fails {
            Some(RawFailure::ConnectionRefused) => Err(SimulatedFailure::ConnectionRefused),
            Some(RawFailure::Timeout) => Err(SimulatedFailure::ConnectionTimeout),
            Some(RawFailure::ConnectionReset) => Err(SimulatedFailure::ConnectionReset),
            Some(RawFailure::Dns) => Err(SimulatedFailure::Dns),
            Some(RawFailure::TlsCertificate) => Err(SimulatedFailure::TlsCertificate),
            Some(RawFailure::NoAnswer) => Err(SimulatedFailure::NoAnswer),
            None => {
                let Headers(mut headers) = answer.headers.clone().unwrap_or_default();
                let says = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
                if let (false, Some(content_type)) = (says, data.as_ref().and_then(|data| data.content_type())) {
                    headers.push(("content-type".to_owned(), content_type.to_owned()));
                }
                let body = data.map(|data| data.bytes()).unwrap_or_default();
                Ok(ReceivedAnswer { status: answer.status.map_or(200, |status| status.get()), headers, body })
            }
        };
        Ok(Plan {
            method: answer.method.clone(),
            url: answer.url.clone(),
            answer: PlannedAnswer { after, result },
            times: answer.times.map_or(Some(1), |times| times.0),
        })
    }
}

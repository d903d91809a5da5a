//! A sandbox in a temporary folder, and deliveries for it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tempfile::TempDir;
use wasmill_delivery::{
    input::{AttemptResult, Effects, Revision},
    message::{Lineage, Message},
    name::{HandlerName, MessageId, MessageKey, Sequence},
    outcome::Outcome,
    record::{AttemptRecord, Grants, HandlerLimits},
    time::Timestamp,
    topic::Topic,
};
use wasmill_sandbox::{
    Attempt, Delivery, HandlerContext, Program, Sandbox, SandboxOptions, Secrets, Session, StagedState, StateReader,
};

use super::guest::Guest;

/// A sandbox and what its handlers see.
pub struct Host {
    pub sandbox: Sandbox,
    pub state: Arc<FakeState>,
    pub limits: HandlerLimits,
    pub config: BTreeMap<String, String>,
    pub grants: Grants,
    pub secrets: BTreeMap<String, String>,
    pub folder: TempDir,
}

impl Host {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let options = SandboxOptions { instances_max: 8, ..SandboxOptions::new(folder.path()) };
        Self {
            sandbox: Sandbox::new(options).expect("a sandbox"),
            state: Arc::default(),
            limits: HandlerLimits::default(),
            config: BTreeMap::new(),
            grants: Grants::default(),
            secrets: BTreeMap::new(),
            folder,
        }
    }

    pub fn load(&self, guest: &Guest) -> Arc<Program> {
        self.sandbox.load(&guest.build()).expect("a handler that fits")
    }

    pub fn session(&self, guest: &Guest) -> Session {
        Session::new(self.load(guest), Arc::new(self.context()))
    }

    pub fn context(&self) -> HandlerContext {
        HandlerContext {
            handler: HandlerName::new("tested").unwrap(),
            limits: self.limits,
            config: self.config.clone(),
            grants: Arc::new(self.grants.clone()),
            secrets: Secrets::new(self.secrets.clone()),
            data_bytes_max: 1_000,
            state: self.state.clone(),
            simulation: None,
        }
    }

    /// Run one delivery on a fresh session.
    pub async fn run(&self, guest: &Guest) -> Attempt {
        self.session(guest).run(&delivery(1, 1), &mut StagedState::default()).await
    }

    /// Run one delivery, which must fail.
    pub async fn fail(&self, guest: &Guest) -> AttemptRecord {
        failed(self.run(guest).await)
    }
}

/// The n-th message, in this attempt.
pub fn delivery(sequence: u64, attempt: u32) -> Delivery {
    Delivery {
        message: Arc::new(message(format!("message-{sequence}").as_str())),
        queue: "orders".parse().unwrap(),
        consumer: "totals".parse().unwrap(),
        sequence: Sequence(sequence),
        attempt,
        attempts_max: 5,
    }
}

fn message(id: &str) -> Message {
    Message {
        id: MessageId::new(id).unwrap(),
        topic: Topic::new("orders.created").unwrap(),
        key: Some(MessageKey::new("customer-7").unwrap()),
        content_type: Some("text/plain".to_owned()),
        headers: vec![("trace".to_owned(), "abc".to_owned()), ("lang".to_owned(), "de".to_owned())],
        data: Bytes::from_static(b"twelve bytes"),
        published_at: Timestamp(1_700_000_000_123),
        expires_at: None,
        lineage: Lineage { hops: 3, ..Lineage::default() },
    }
}

pub fn succeeded(attempt: Attempt) -> Effects {
    match attempt.result {
        AttemptResult::Succeeded(effects) => effects,
        AttemptResult::SucceededWithNext => panic!("no run of one delivery is settled with another"),
        AttemptResult::Failed(record) => panic!("it failed: {record:?}"),
    }
}

pub fn failed(attempt: Attempt) -> AttemptRecord {
    match attempt.result {
        AttemptResult::Succeeded(effects) => panic!("it succeeded: {effects:?}"),
        AttemptResult::SucceededWithNext => panic!("it succeeded"),
        AttemptResult::Failed(record) => record,
    }
}

/// The words of a rejection, which is how test guests say what they saw.
pub fn rejected(attempt: Attempt) -> String {
    let outcome = failed(attempt).outcome;
    let Outcome::Reject { reason } = outcome else { panic!("no rejection: {outcome:?}") };
    reason
}

/// State in memory that can be told to be broken.
#[derive(Default)]
pub struct FakeState {
    pub values: Mutex<BTreeMap<String, Bytes>>,
    pub revision: AtomicU64,
    pub broken: Mutex<Option<String>>,
}

impl FakeState {
    pub fn put(&self, key: &str, value: &str) {
        self.values.lock().unwrap().insert(key.to_owned(), Bytes::from(value.to_owned()));
    }

    pub fn break_it(&self, how: &str) {
        *self.broken.lock().unwrap() = Some(how.to_owned());
    }

    fn check(&self) -> Result<(), String> {
        self.broken.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl StateReader for FakeState {
    fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Relaxed))
    }

    fn get(&self, _: &HandlerName, key: &str) -> Result<Option<Bytes>, String> {
        self.check()?;
        Ok(self.values.lock().unwrap().get(key).cloned())
    }

    fn list_keys(
        &self,
        _: &HandlerName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, String> {
        self.check()?;
        let values = self.values.lock().unwrap();
        let wanted =
            values.keys().filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        Ok(wanted.take(limit).cloned().collect())
    }
}

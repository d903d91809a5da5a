//! Quarantined deliveries that come from another host, or from an earlier time of this one.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedMutexGuard;
use wasmill_delivery::{
    effect::OrderReceipt,
    input::Order,
    message::{check_content_type, check_headers},
    name::QuarantineId,
    record::QuarantineRecord,
};

use crate::{
    draft::check_size,
    error::{HostError, PublishError},
    host::Host,
};

/// Records that are read from the store at once: they hold whole messages.
const READ_RECORDS: usize = 32;

/// What became of a record that was to be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is in quarantine under this number.
    As(QuarantineId),
    /// It was in quarantine before, or came twice: the same message, of the same place, for the consumer of the same
    /// name. Nothing was added.
    Already,
}

/// Imports records, one host's imports after the other: while one is under way, others wait.
pub struct Import {
    host: Host,
    /// Hashes of what is in quarantine, 16 bytes for each: at most the limit of the quarantine.
    known: HashSet<[u8; 16]>,
    _alone: OwnedMutexGuard<()>,
}

impl Host {
    /// Begin to import. Reads all of the quarantine, so that what is there already is known. Waits until no other
    /// import is under way.
    ///
    /// # Errors
    /// When the store is damaged.
    pub async fn begin_import(&self) -> Result<Import, HostError> {
        let alone = self.inner.importing.clone().lock_owned().await;
        let host = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut known = HashSet::new();
            let mut after = None;
            loop {
                let page = host.quarantine_page(after, READ_RECORDS)?;
                let Some(last) = page.last() else { break };
                after = Some(last.id);
                known.extend(page.iter().map(identity));
            }
            Ok(Import { host, known, _alone: alone })
        });
        reading.await.map_err(|error| HostError::Stopped { reason: Some(error.to_string()) })?
    }
}

impl Import {
    /// Put records into quarantine, in one commit when they are few. Each is taken or refused for itself; the answers
    /// are in the order of the records.
    pub async fn take(&mut self, records: Vec<QuarantineRecord>) -> Vec<Result<Imported, PublishError>> {
        let waiting: Vec<_> = records.into_iter().map(|record| self.begin_one(record)).collect();
        let mut answers = Vec::with_capacity(waiting.len());
        for waits in futures::future::join_all(waiting.into_iter().map(Self::end_one)).await {
            if let Err((_, Some(identity))) = &waits {
                self.known.remove(identity);
            }
            answers.push(waits.map_err(|(error, _)| error));
        }
        answers
    }

    /// What is to be done about one: nothing, or an order that waits for its commit.
    fn begin_one(&mut self, mut record: QuarantineRecord) -> Result<Option<(Host, QuarantineRecord)>, PublishError> {
        self.check(&mut record)?;
        if !self.known.insert(identity(&record)) {
            return Ok(None);
        }
        Ok(Some((self.host.clone(), record)))
    }

    async fn end_one(
        begun: Result<Option<(Host, QuarantineRecord)>, PublishError>,
    ) -> Result<Imported, (PublishError, Option<[u8; 16]>)> {
        let Some((host, record)) = begun.map_err(|error| (error, None))? else { return Ok(Imported::Already) };
        let identity = identity(&record);
        match host.order(Order::ImportQuarantine { record: Box::new(record) }).await {
            Ok(OrderReceipt::Imported { id }) => Ok(Imported::As(id)),
            Ok(
                OrderReceipt::Done
                | OrderReceipt::Queue { .. }
                | OrderReceipt::Consumer { .. }
                | OrderReceipt::Purged { .. }
                | OrderReceipt::Schedule { .. }
                | OrderReceipt::Job { .. }
                | OrderReceipt::Fired { .. },
            ) => Ok(Imported::Already),
            Err(error) => Err((error.into(), Some(identity))),
        }
    }

    /// The rules that every message of this host keeps.
    fn check(&self, record: &mut QuarantineRecord) -> Result<(), PublishError> {
        let message = std::sync::Arc::make_mut(&mut record.message);
        check_size(&message.data, self.host.inner.options.data_bytes_max)?;
        check_headers(&mut message.headers)?;
        message.content_type.as_deref().map(check_content_type).transpose()?;
        let evidence_max = wasmill_delivery::limits::EVIDENCE_ATTEMPTS_MAX;
        let too_many = record.attempts.len().saturating_sub(evidence_max);
        record.attempts.drain(..too_many);
        Ok(())
    }
}

/// What makes a quarantined delivery the same in every host: its queue's and consumer's names, its place in the log
/// that it comes from, and its message's id.
fn identity(record: &QuarantineRecord) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in [record.queue.as_str(), record.consumer.as_str(), record.message.id.as_str()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(record.sequence.original().0.to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    first
}

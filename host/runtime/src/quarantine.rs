//! The quarantine: look at what is in it, send it again, or forget it.

use std::sync::Arc;

use bytes::Bytes;
use wasmill_delivery::{
    effect::{OrderReceipt, OrderRefusal},
    input::Order,
    message::{Lineage, Message},
    name::{Digest, MessageId, QuarantineId},
    outcome::Outcome,
    record::{CapsuleKept, QuarantineRecord},
};

use wasmill_sandbox::CapsuleFile;

use crate::{
    draft::{check_size, new_id, now},
    error::{HostError, PublishError},
    host::Host,
};

impl Host {
    /// Quarantined deliveries after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the store is damaged there.
    pub fn quarantine_page(
        &self,
        after: Option<QuarantineId>,
        limit: usize,
    ) -> Result<Vec<QuarantineRecord>, HostError> {
        Ok(self.inner.reader.quarantine_page(after, limit)?)
    }

    /// One quarantined delivery with its evidence.
    ///
    /// # Errors
    /// When there is none of that number, or the store is damaged there.
    pub fn quarantined(&self, id: QuarantineId) -> Result<QuarantineRecord, HostError> {
        let record = self.inner.reader.quarantine(id)?;
        record.ok_or(HostError::Refused(OrderRefusal::UnknownQuarantine { id }))
    }

    /// A quarantined delivery with the inputs of its last attempt: all that a replay needs but the component, which
    /// [`Host::component`] gives.
    ///
    /// # Errors
    /// When there is none of that number, its inputs are not kept, or the store is damaged there.
    pub fn capsule_file(&self, id: QuarantineId) -> Result<CapsuleFile, HostError> {
        let record = self.quarantined(id)?;
        match self.inner.reader.capsule(id)? {
            Some(capsule) => Ok(CapsuleFile { record, capsule, component: None }),
            None => Err(HostError::NoCapsule { id, why: why_no_capsule(&record) }),
        }
    }

    /// A component that was loaded, now or earlier.
    ///
    /// # Errors
    /// When there is none of that digest, or it cannot be read.
    pub fn component(&self, digest: Digest) -> Result<Bytes, HostError> {
        let component = self.inner.components.get(digest)?;
        component.map(Bytes::from).ok_or(HostError::UnknownComponent { digest })
    }

    /// Give a quarantined delivery back to the consumer that gave it up, as a new message that names the old one; with
    /// other data if there is some. Its attempts begin anew. Answers with the id of the new message.
    ///
    /// # Errors
    /// When there is none of that number, its consumer is gone, or the new data is too large.
    pub async fn redrive(&self, id: QuarantineId, data: Option<Bytes>) -> Result<MessageId, PublishError> {
        let record = self.quarantined(id)?;
        if let Some(data) = &data {
            check_size(data, self.inner.options.data_bytes_max)?;
        }
        let old = &record.message;
        // What the new message causes belongs to the chain of the old one.
        let lineage = Lineage {
            redrive_of: Some((old.id.clone(), id)),
            correlation: Some(old.lineage.correlation.as_ref().unwrap_or(&old.id).clone()),
            ..old.lineage.clone()
        };
        let message = Message {
            id: new_id()?,
            data: data.unwrap_or_else(|| old.data.clone()),
            published_at: now(),
            // Whoever redrives it wants it run.
            expires_at: None,
            lineage,
            ..Message::clone(old)
        };
        let new = message.id.clone();
        self.order(Order::Redrive { record: Box::new(record), message: Arc::new(message) }).await?;
        Ok(new)
    }

    /// Forget quarantined deliveries. Answers how many there were.
    ///
    /// # Errors
    /// When the host has stopped.
    pub async fn purge_quarantine(&self, ids: Vec<QuarantineId>) -> Result<u64, HostError> {
        match self.order(Order::PurgeQuarantine { ids }).await? {
            OrderReceipt::Purged { count } => Ok(count),
            OrderReceipt::Done
            | OrderReceipt::Queue { .. }
            | OrderReceipt::Consumer { .. }
            | OrderReceipt::Schedule { .. }
            | OrderReceipt::Fired { .. }
            | OrderReceipt::Job { .. }
            | OrderReceipt::Imported { .. } => Ok(0),
        }
    }
}

fn why_no_capsule(record: &QuarantineRecord) -> String {
    let last = record.attempts.last();
    match (&record.handler, last) {
        (_, _) if record.capsule == CapsuleKept::NoRoom => {
            "capsules took all the room that there is for them (capsules-bytes-max) when it was given up".to_owned()
        }
        (_, _) if record.sequence.is_imported() => {
            "it was imported, and what `wasmill quarantine export` writes as lines has none; ask the host that it comes \
             from"
                .to_owned()
        }
        (None, _) => {
            format!("consumer {} is pulled by a program outside, so nothing of this host ran it", record.consumer)
        }
        (Some(_), None) => "it was given up before anything ran".to_owned(),
        (Some(_), Some(last)) if last.outcome == Outcome::HostCrash => {
            "the host stopped while it ran, and with it went what it was given".to_owned()
        }
        (Some(_), Some(last)) if last.digest.is_none() => {
            format!("its last attempt ended outside of the sandbox ({})", last.outcome.name())
        }
        (Some(_), Some(_)) => "the version of the host that gave it up kept none".to_owned(),
    }
}

//! Publishing by frames.

use wasmill_delivery::time::Timestamp;
use wasmill_runtime::{Draft, Host, Published, Publishing};
use wasmill_wire::{Exception, HostFrame, Outgoing, Receipt};

use super::{failed, refusal_of_publish};

/// What the frame says for messages that do not say it themselves.
pub(super) struct Defaults {
    pub(super) topic: Option<String>,
    pub(super) content_type: Option<String>,
}

/// What a frame publishes.
pub(super) struct Publish {
    pub(super) request: u64,
    pub(super) defaults: Defaults,
    pub(super) messages: Vec<Outgoing>,
    pub(super) receipts: bool,
}

/// What the host was handed of it.
pub(super) struct Handed {
    request: u64,
    wants_receipts: bool,
    publishing: Publishing,
}

impl Publish {
    /// Hand all of it to the host, in one commit, once the host has room.
    pub(super) async fn hand_over(self, host: &Host, now: Timestamp) -> Handed {
        let Self { request, defaults, messages, receipts: wants_receipts } = self;
        let drafts = messages.into_iter().map(|message| draft(message, &defaults, now)).collect();
        let publishing = host.hand_over(drafts).await;
        let publishing = if wants_receipts { publishing } else { publishing.without_places() };
        Handed { request, wants_receipts, publishing }
    }
}

impl Handed {
    /// Wait until it is durable.
    pub(super) async fn answer(self) -> HostFrame {
        let Self { request, wants_receipts, publishing } = self;
        let answers = match publishing.answer().await {
            Ok(answers) => answers,
            Err(error) => return failed(request, error),
        };
        let (mut exceptions, mut receipts) = (Vec::new(), Vec::new());
        for (index, answer) in (0..).zip(answers) {
            match answer {
                Err(error) => {
                    exceptions.push((index, Exception::Refused(refusal_of_publish(error))));
                    receipts.extend(wants_receipts.then(Receipt::default));
                }
                Ok(published) => {
                    exceptions.extend(published.duplicate.then_some((index, Exception::Duplicate)));
                    receipts.extend(wants_receipts.then(|| receipt(&published)));
                }
            }
        }
        HostFrame::Published { request, exceptions, receipts }
    }
}

fn draft(message: Outgoing, defaults: &Defaults, now: Timestamp) -> Draft {
    let Outgoing { topic, queue, id, source, key, content_type, headers, data, delay_ms, expires_after_ms } = message;
    // A message to a queue has that queue's name as its topic, as everywhere.
    let topic = topic.or_else(|| queue.clone()).or_else(|| defaults.topic.clone());
    Draft {
        topic: topic.unwrap_or_default(),
        queue,
        id,
        source,
        key,
        content_type: content_type.or_else(|| defaults.content_type.clone()),
        headers,
        data,
        deliver_at: delay_ms.map(|delay| now.plus_ms(delay)),
        expires_at: expires_after_ms.map(|after| now.plus_ms(after)),
    }
}

fn receipt(published: &Published) -> Receipt {
    let places = published.places.iter().map(|(queue, at)| (queue.to_string(), at.0));
    Receipt { id: published.id.as_str().to_owned(), places: places.collect() }
}

//! Requests: publish a message and wait for the reply to it.
//!
//! A request is a message like any other; its `reply-to` header names a topic of its own under `$reply`, and whoever
//! handles it publishes the reply there. The reply leaves when the delivery that made it is durable. It goes to whoever
//! waits in this process; when nobody does any more, it is dropped.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;
use uuid::Uuid;
use wasmill_delivery::{message::Message, topic::REPLY_WORD};

use crate::{
    draft::Draft,
    error::{HostError, PublishError},
    host::Host,
    publish::Published,
};

/// The header that names where the reply goes.
pub const REPLY_TO_HEADER: &str = "reply-to";
/// Requests of one host that wait for a reply at once.
pub const REQUESTS_WAITING_MAX: usize = 10_000;

/// A request was published, and perhaps answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The request.
    pub published: Published,
    /// The reply; none when there was none in time. The request is handled all the same.
    pub reply: Option<Arc<Message>>,
}

/// Who waits for replies, by the topic of each.
#[derive(Default)]
pub(crate) struct Replies {
    waiting: Mutex<HashMap<String, oneshot::Sender<Arc<Message>>>>,
}

impl Replies {
    /// Hand the reply to whoever waits for it.
    pub(crate) fn give(&self, message: Arc<Message>) {
        let waits = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(message.topic.as_str());
        if let Some(waits) = waits {
            let _ = waits.send(message);
        }
    }

    fn wait(self: &Arc<Self>, topic: String) -> Option<Wait> {
        let (sender, reply) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= REQUESTS_WAITING_MAX {
            return None;
        }
        waiting.insert(topic.clone(), sender);
        Some(Wait { replies: Arc::clone(self), topic, reply })
    }
}

/// Somebody waits; dropping it ends that.
struct Wait {
    replies: Arc<Replies>,
    topic: String,
    reply: oneshot::Receiver<Arc<Message>>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.replies.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.topic);
    }
}

impl Host {
    /// Publish a message and wait up to `timeout` for the reply to it. For a duplicate, nobody waits.
    ///
    /// # Errors
    /// When the message cannot be published, or [`REQUESTS_WAITING_MAX`] requests wait already.
    pub async fn request(&self, draft: Draft, timeout: Duration) -> Result<Answered, PublishError> {
        let topic = format!("{REPLY_WORD}.{}", Uuid::now_v7());
        let mut wait = self.replies().wait(topic.clone()).ok_or(HostError::TooManyRequests)?;
        let mut draft = draft;
        draft.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(REPLY_TO_HEADER));
        draft.headers.push((REPLY_TO_HEADER.to_owned(), topic));
        let published = self.publish(draft).await?;
        if published.duplicate {
            // Its reply is for whoever asked first.
            return Ok(Answered { published, reply: None });
        }
        let reply = tokio::time::timeout(timeout, &mut wait.reply).await;
        Ok(Answered { published, reply: reply.ok().and_then(Result::ok) })
    }
}

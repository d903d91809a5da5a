//! Jobs: messages whose deliveries are followed, so that whoever submitted one can ask what became of it.
//!
//! A job is one message. Its deliveries are those to the consumers that its queues have when it is published. Where each
//! stands is kept beside what the deliveries do, in the same commits, and never says more than they did.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    limits::JOB_ID_BYTES_MAX,
    message::Message,
    name::{
        ConsumerId, ConsumerName, MessageId, NameError, QuarantineId, QueueName, Sequence, check_name, checked_text,
    },
    record::DelayedKey,
    time::Timestamp,
    topic::{REPLY_WORD, Topic},
};

/// The queue that takes the callbacks of jobs. The host declares it.
pub const CALLBACK_QUEUE: &str = "wasmill-callbacks";
/// The topic of their messages.
pub const CALLBACK_TOPIC: &str = "$sys.job-ended";
/// The header of such a message that says where the callback goes.
pub const CALLBACK_URL_HEADER: &str = "callback-url";
/// The header of such a message that names the job.
pub const CALLBACK_JOB_HEADER: &str = "job-id";
/// The word after [`REPLY_WORD`] in the topics that take results of jobs.
const JOB_WORD: &str = "job";

fn check_job_id(what: &'static str, given: &str) -> Result<(), NameError> {
    check_name(what, given)?;
    if given.len() > JOB_ID_BYTES_MAX || given.contains('.') {
        return Err(NameError::new(what, given, "is longer than 64 bytes or holds a dot; the host makes these ids"));
    }
    Ok(())
}

checked_text!(
    /// What a job is called. The host makes it.
    JobId, "job id", check_job_id
);

impl JobId {
    /// Where a handler publishes the result of the job: the topic that its message names in `reply-to`.
    #[must_use]
    pub fn reply_topic(&self) -> String {
        format!("{REPLY_WORD}.{JOB_WORD}.{self}")
    }

    /// Whether that topic takes the result of this job.
    #[must_use]
    pub fn is_replied_by(&self, topic: &Topic) -> bool {
        let mut words = topic.words();
        words.next() == Some(REPLY_WORD) && words.next() == Some(JOB_WORD) && words.eq([self.as_str()])
    }
}

/// How far a job, or one delivery of it, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It waits: for its time, or for its first attempt.
    Queued,
    /// An attempt is under way.
    Running,
    /// An attempt was made, and another one comes.
    Retrying,
    /// It succeeded.
    Done,
    /// Policy gave it up.
    Quarantined,
    /// It was not handled before it expired.
    Expired,
    /// Somebody did not want it any more. Nothing that it did after that counts.
    Cancelled,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Running, Self::Retrying, Self::Done, Self::Quarantined, Self::Expired, Self::Cancelled];

    /// The word that metrics, logs and the API use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Done => "done",
            Self::Quarantined => "quarantined",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more comes, unless somebody redrives.
    #[must_use]
    pub const fn is_end(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Retrying => false,
            Self::Done | Self::Quarantined | Self::Expired | Self::Cancelled => true,
        }
    }

    /// Which of several deliveries tells for the job: those that are not over first, then the worst end.
    const fn weight(self) -> u8 {
        match self {
            Self::Running => 6,
            Self::Retrying => 5,
            Self::Queued => 4,
            Self::Quarantined => 3,
            Self::Expired => 2,
            Self::Cancelled => 1,
            Self::Done => 0,
        }
    }
}

impl FromStr for JobState {
    type Err = NameError;
    fn from_str(given: &str) -> Result<Self, NameError> {
        let problem = "is none of queued, running, retrying, done, quarantined, expired, cancelled";
        let found = Self::ALL.into_iter().find(|state| state.name() == given);
        found.ok_or_else(|| NameError::new("job state", given, problem))
    }
}

/// A job that is to be submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// What it is to be called. When there is one of that name, that is the answer, and nothing is published.
    pub id: JobId,
    /// What to call when it has ended. It was checked by whoever calls it.
    pub callback: Option<String>,
}

/// A job as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// What it is called.
    pub id: JobId,
    /// Its message.
    pub message: MessageId,
    /// Where that was published to.
    pub topic: Topic,
    /// What to call when it has ended.
    pub callback: Option<String>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// Where its message waits for its time.
    pub delayed: Option<DelayedKey>,
    /// Its deliveries; none while it waits for its time.
    pub deliveries: Vec<JobDelivery>,
    /// When it was cancelled.
    pub cancelled_at: Option<Timestamp>,
    /// When it ended; none again when a quarantined delivery of it is redriven.
    pub ended_at: Option<Timestamp>,
    /// How often it ended.
    pub ends: u32,
    /// Whether its callback waits for room in its queue.
    pub callback_owed: bool,
    /// What is known of its result, which rests beside it.
    pub result: Option<JobResultHead>,
}

/// One delivery of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDelivery {
    /// The consumer's number.
    pub consumer: ConsumerId,
    /// Its queue's name.
    pub queue: QueueName,
    /// Its name.
    pub name: ConsumerName,
    /// The message's place in the queue.
    pub sequence: Sequence,
    /// How far it is. Kept is never [`JobState::Running`]: that ends with the host.
    pub state: JobState,
    /// Attempts that count.
    pub attempts: u32,
    /// When it may run again.
    pub due: Option<Timestamp>,
    /// How its last attempt that failed ended, see [`crate::outcome::Outcome::describe`]; or why it was taken away.
    pub last_outcome: Option<String>,
    /// Where it rests or rested in quarantine.
    pub quarantine: Option<QuarantineId>,
    /// Whether it was cancelled and its consumer has not come to it yet.
    pub void: bool,
}

/// What is known of a result without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResultHead {
    /// The media type of the data.
    pub content_type: Option<String>,
    /// The size of the data.
    pub bytes: u64,
}

/// What a handler answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// The media type of the data.
    pub content_type: Option<String>,
    /// The data.
    pub data: Bytes,
}

impl JobResult {
    /// The result that a message carries.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        Self { content_type: message.content_type.clone(), data: message.data.clone() }
    }

    /// What is known of it without reading it.
    #[must_use]
    pub fn head(&self) -> JobResultHead {
        JobResultHead { content_type: self.content_type.clone(), bytes: self.data.len() as u64 }
    }
}

impl JobDelivery {
    /// Which delivery it is.
    #[must_use]
    pub const fn place(&self) -> (ConsumerId, Sequence) {
        (self.consumer, self.sequence)
    }
}

impl JobRecord {
    /// How far it is by what is kept. A cancelled one is cancelled. Otherwise it goes on while a delivery does; then the
    /// worst end tells: quarantined, expired, cancelled, done.
    #[must_use]
    pub fn state(&self) -> JobState {
        if self.cancelled_at.is_some() {
            return JobState::Cancelled;
        }
        let states = self.deliveries.iter().map(|delivery| delivery.state);
        states.max_by_key(|state| state.weight()).unwrap_or(JobState::Queued)
    }

    /// The status as the API and callbacks tell it, without the data of the result. Times are in milliseconds.
    #[must_use]
    pub fn status(&self) -> Value {
        let delivery = |delivery: &JobDelivery| {
            json!({
                "queue": delivery.queue,
                "consumer": delivery.name,
                "sequence": delivery.sequence,
                "state": delivery.state,
                "attempts": delivery.attempts,
                "due_ms": delivery.due,
                "last_outcome": delivery.last_outcome,
                "quarantine": delivery.quarantine,
            })
        };
        json!({
            "id": self.id,
            "state": self.state(),
            "message": self.message,
            "topic": self.topic,
            "submitted_at_ms": self.submitted_at,
            "delayed_until_ms": self.delayed.map(|key| key.due),
            "cancelled_at_ms": self.cancelled_at,
            "ended_at_ms": self.ended_at,
            "attempts": self.deliveries.iter().map(|delivery| delivery.attempts).max().unwrap_or_default(),
            "deliveries": self.deliveries.iter().map(delivery).collect::<Vec<_>>(),
            "callback": self.callback,
            "result": self.result.as_ref().map(|result| {
                json!({ "content_type": result.content_type, "bytes": result.bytes })
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_one_word_of_a_topic() {
        assert!(JobId::new("0199-a_b").is_ok());
        assert!(JobId::new("a".repeat(JOB_ID_BYTES_MAX)).is_ok());
        for bad in ["", "a.b", "$x", &"a".repeat(JOB_ID_BYTES_MAX + 1)] {
            assert!(JobId::new(bad).is_err(), "{bad}");
        }
        let id = JobId::new("j1").expect("an id");
        assert!(id.is_replied_by(&Topic::new(id.reply_topic()).expect("a topic")));
        for other in ["$reply.job.j2", "$reply.j1", "$reply.job.j1.x", "job.j1"] {
            assert!(!id.is_replied_by(&Topic::new(other).expect("a topic")), "{other}");
        }
    }

    #[test]
    fn the_worst_delivery_tells() {
        use JobState::{Cancelled, Done, Expired, Quarantined, Queued, Retrying, Running};
        let cases: [(&[JobState], JobState); 8] = [
            (&[], Queued),
            (&[Done, Done], Done),
            (&[Done, Queued], Queued),
            (&[Retrying, Queued, Quarantined], Retrying),
            (&[Retrying, Running], Running),
            (&[Done, Quarantined, Expired], Quarantined),
            (&[Done, Expired], Expired),
            (&[Done, Cancelled], Cancelled),
        ];
        for (states, expected) in cases {
            let deliveries = states.iter().map(|state| JobDelivery {
                consumer: ConsumerId(1),
                queue: QueueName::new("q").expect("a name"),
                name: ConsumerName::new("c").expect("a name"),
                sequence: Sequence(1),
                state: *state,
                attempts: 0,
                due: None,
                last_outcome: None,
                quarantine: None,
                void: false,
            });
            let mut record = JobRecord {
                id: JobId::new("j").expect("an id"),
                message: MessageId::new("m").expect("an id"),
                topic: Topic::new("t").expect("a topic"),
                callback: None,
                submitted_at: Timestamp(1),
                delayed: None,
                deliveries: deliveries.collect(),
                cancelled_at: None,
                ended_at: None,
                ends: 0,
                callback_owed: false,
                result: None,
            };
            assert_eq!(record.state(), expected, "{states:?}");
            record.cancelled_at = Some(Timestamp(2));
            assert_eq!(record.state(), Cancelled);
        }
        for state in JobState::ALL {
            assert_eq!(state.name().parse::<JobState>().as_ref(), Ok(&state));
        }
        assert!("finished".parse::<JobState>().is_err());
    }
}

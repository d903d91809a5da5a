//! An engine with a queue and a consumer, and what it says of jobs.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use wasmill_delivery::{
    effect::{Effect, OrderReceipt, OrderRefusal, SettleAnswer},
    engine::{Engine, EngineLimits, Recovery},
    input::{AttemptResult, Effects, Input, Lease, Order, PublishEntry, Settlement, Ticket},
    job::{JobDelivery, JobId, JobRecord, JobState, NewJob},
    message::{Lineage, Message},
    name::{ConsumerId, ConsumerName, MessageId, QueueName},
    outcome::Outcome,
    record::{AttemptRecord, ConsumerConfig, QuarantineRecord, QueueConfig},
    time::Timestamp,
    topic::Topic,
    write::Write,
};

pub(crate) const DONE: AttemptResult = AttemptResult::Succeeded(Effects { published: Vec::new(), state: NO_STATE });
pub(crate) const NO_STATE: wasmill_delivery::input::StateAccess = wasmill_delivery::input::StateAccess {
    revision: wasmill_delivery::input::Revision(0),
    reads: Vec::new(),
    listed: false,
    writes: Vec::new(),
};

/// An engine, what it wrote last, and what it kept of jobs.
pub(crate) struct World {
    pub(crate) engine: Option<Engine>,
    pub(crate) now: u64,
    pub(crate) writes: Vec<Write>,
    all: Vec<Write>,
    pub(crate) effects: Vec<Effect>,
    messages: u64,
    pub(crate) quarantined: Vec<QuarantineRecord>,
}

impl World {
    /// With queue `q`, which binds `t`, and its pulled consumer `c`.
    pub(crate) fn new(limits: EngineLimits) -> Self {
        let mut world = Self {
            engine: Some(Recovery::new(limits).finish()),
            now: 1_000,
            writes: Vec::new(),
            all: Vec::new(),
            effects: Vec::new(),
            messages: 0,
            quarantined: Vec::new(),
        };
        let bindings = vec!["t".parse::<wasmill_delivery::topic::TopicPattern>().expect("a pattern").into()];
        world.queue("q", QueueConfig { bindings, ..QueueConfig::default() });
        world.consumer("q", "c");
        world
    }

    pub(crate) fn queue(&mut self, name: &str, config: QueueConfig) {
        self.order(Order::PutQueue { name: queue(name), config }).expect("a queue");
    }

    pub(crate) fn consumer(&mut self, on: &str, name: &str) -> ConsumerId {
        let name = ConsumerName::new(name).expect("a name");
        let config = ConsumerConfig { attempts_max: 2, ..ConsumerConfig::pulled() };
        match self.order(Order::PutConsumer { queue: queue(on), name, config, from: None }).expect("a consumer") {
            OrderReceipt::Consumer { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn step(&mut self, input: Option<Input>) {
        let engine = self.engine.take().expect("an engine");
        self.writes.clear();
        let keep = |writes: &[Write]| {
            self.writes = writes.to_vec();
            Ok::<(), Infallible>(())
        };
        let Ok((engine, effects)) = engine.tick(Timestamp(self.now), input.into_iter().collect(), keep);
        self.engine = Some(engine);
        self.effects = effects;
        self.all.extend(self.writes.iter().cloned());
        for write in &self.writes {
            if let Write::PutQuarantine { record } = write {
                self.quarantined.push((**record).clone());
            }
        }
    }

    pub(crate) fn order(&mut self, order: Order) -> Result<OrderReceipt, OrderRefusal> {
        self.step(Some(Input::Order { ticket: Ticket(1), order }));
        let answer = self.effects.iter().find_map(|effect| match effect {
            Effect::Ordered { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        answer.expect("an answer")
    }

    pub(crate) fn message(&mut self, topic: &str) -> Message {
        self.messages += 1;
        Message {
            id: MessageId::new(format!("m{}", self.messages)).expect("an id"),
            topic: Topic::new(topic).expect("a topic"),
            key: None,
            content_type: None,
            headers: Vec::new(),
            data: Bytes::from_static(b"x"),
            published_at: Timestamp(self.now),
            expires_at: None,
            lineage: Lineage::default(),
        }
    }

    pub(crate) fn submit(&mut self, name: &str) -> Result<OrderReceipt, OrderRefusal> {
        self.submit_with(name, None, None)
    }

    pub(crate) fn submit_with(
        &mut self,
        name: &str,
        callback: Option<&str>,
        deliver_at: Option<u64>,
    ) -> Result<OrderReceipt, OrderRefusal> {
        let entry = PublishEntry::new(Arc::new(self.message("t")));
        let entry = PublishEntry { deliver_at: deliver_at.map(Timestamp), ..entry };
        let job = Box::new(NewJob { id: id(name), callback: callback.map(str::to_owned) });
        self.order(Order::SubmitJob { job, entry })
    }

    pub(crate) fn cancel(&mut self, name: &str) -> Result<OrderReceipt, OrderRefusal> {
        self.order(Order::CancelJob { id: id(name) })
    }

    pub(crate) fn leases(&mut self, consumer: u32, most: u32) -> Vec<Lease> {
        let consumer = ConsumerId(consumer);
        self.step(Some(Input::Lease { ticket: Ticket(9), consumer, deliveries_max: most }));
        let leases = self.effects.iter().find_map(|effect| match effect {
            Effect::Leased { leases, .. } => Some(leases.clone()),
            _ => None,
        });
        if leases.is_none() {
            let effects = std::mem::take(&mut self.effects);
            let writes = std::mem::take(&mut self.writes);
            self.step(Some(Input::CancelLease { ticket: Ticket(9), consumer }));
            (self.effects, self.writes) = (effects, writes);
        }
        leases.unwrap_or_default()
    }

    pub(crate) fn lease(&mut self, consumer: u32) -> Lease {
        self.leases(consumer, 1).pop().expect("a lease")
    }

    pub(crate) fn settle(&mut self, consumer: u32, lease: Lease, result: AttemptResult) -> SettleAnswer {
        let message = Arc::new(self.message("t"));
        let settlements = vec![Settlement { lease, message, earlier: Vec::new(), result }];
        self.step(Some(Input::Settle { ticket: Ticket(3), consumer: ConsumerId(consumer), settlements }));
        let answers = self.effects.iter().find_map(|effect| match effect {
            Effect::Settled { answers, .. } => answers.first().cloned(),
            _ => None,
        });
        answers.expect("an answer")
    }

    pub(crate) fn job(&self, name: &str) -> JobRecord {
        self.engine.as_ref().expect("an engine").job(&id(name)).unwrap_or_else(|| panic!("job {name} is not known"))
    }

    pub(crate) fn states(&self, name: &str) -> Vec<JobState> {
        let record = self.job(name);
        std::iter::once(record.state()).chain(record.deliveries.iter().map(|d| d.state)).collect()
    }

    pub(crate) fn delivery(&self, name: &str) -> JobDelivery {
        self.job(name).deliveries.remove(0)
    }

    /// What is on the disk of a job is what the engine shows, when nothing runs.
    pub(crate) fn kept(&self, name: &str) -> Option<JobRecord> {
        let mut kept = None;
        for write in &self.all {
            match write {
                Write::PutJob { record } if record.id == id(name) => kept = Some((**record).clone()),
                Write::DeleteJob { id: gone } if *gone == id(name) => kept = None,
                _ => {}
            }
        }
        kept
    }

    pub(crate) fn appended(&self) -> Vec<Arc<Message>> {
        let appended = self.writes.iter().filter_map(|write| match write {
            Write::Append { messages, .. } => Some(messages.clone()),
            _ => None,
        });
        appended.flatten().collect()
    }

    pub(crate) fn ended(&self) -> Vec<(String, JobState)> {
        let ended = self.effects.iter().filter_map(|effect| match effect {
            Effect::JobEnded { id, state } => Some((id.to_string(), *state)),
            _ => None,
        });
        ended.collect()
    }
}

pub(crate) fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a name")
}

pub(crate) fn id(name: &str) -> JobId {
    JobId::new(name).expect("an id")
}

pub(crate) fn failed(attempt: u32, outcome: Outcome) -> AttemptResult {
    AttemptResult::Failed(AttemptRecord::without_sandbox(attempt, Timestamp(0), outcome))
}

pub(crate) fn retry(attempt: u32) -> AttemptResult {
    failed(attempt, Outcome::Retry { reason: "not yet".to_owned(), after_ms: Some(10) })
}

pub(crate) fn reply(world: &mut World, name: &str, data: &'static [u8]) -> AttemptResult {
    let mut message = world.message(&id(name).reply_topic());
    message.data = Bytes::from_static(data);
    message.content_type = Some("x/y".to_owned());
    let published = vec![PublishEntry::new(Arc::new(message))];
    AttemptResult::Succeeded(Effects { published, ..Effects::default() })
}

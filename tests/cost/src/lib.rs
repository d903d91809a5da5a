//! The plain path without threads and without a handler: publish, commit, lease, read, settle, commit, as the pump does it, in
//! batches of a fixed size. So what it costs in allocations, instructions and commits is the same each time and on each machine.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use wasmill_delivery::{
    effect::Effect,
    engine::{Engine, EngineLimits, Recovery},
    input::{AttemptResult, Effects, Input, Lease, Order, PublishEntry, Settlement, Ticket},
    message::{Lineage, Message},
    name::{ConsumerId, ConsumerName, MessageId, QueueId, QueueName, Sequence},
    record::{ConsumerConfig, QueueConfig},
    time::Timestamp,
    topic::{Topic, TopicPattern},
};
use wasmill_store::{Store, StoreOptions};

/// Messages of one commit.
pub const BATCH: u32 = 100;
const TICKET: Ticket = Ticket(1);

/// A pump without a thread.
pub struct Pump {
    /// None only while it steps.
    engine: Option<Engine>,
    store: Store,
    queue: QueueId,
    consumer: ConsumerId,
    published: u64,
    commits: u64,
}

impl Pump {
    /// On a new store in that folder, with one queue and one consumer.
    ///
    /// # Errors
    /// When the store cannot be opened, or does not take what is declared.
    pub fn open(folder: &Path) -> Result<Self> {
        let store = Store::open(folder, StoreOptions::default())?;
        let engine = Some(Recovery::new(EngineLimits::default()).finish());
        let (queue, consumer) = (QueueId(0), ConsumerId(0));
        let mut pump = Self { engine, store, queue, consumer, published: 0, commits: 0 };
        let name = QueueName::new("orders")?;
        let bindings = vec![TopicPattern::new("orders.*")?.into()];
        let config = QueueConfig { bindings, ..QueueConfig::default() };
        let orders = [
            Order::PutQueue { name: name.clone(), config },
            Order::PutConsumer {
                queue: name,
                name: ConsumerName::new("consumer")?,
                config: ConsumerConfig::pulled(),
                from: None,
            },
        ];
        pump.step(orders.into_iter().map(|order| Input::Order { ticket: TICKET, order }).collect())?;
        let view = pump.engine.as_ref().and_then(|engine| engine.consumers().next()).context("no consumer")?;
        (pump.queue, pump.consumer) = (view.record.queue, view.record.id);
        Ok(pump)
    }

    /// Commits so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// Publish, lease, read and settle [`BATCH`] messages of 256 bytes.
    ///
    /// # Errors
    /// When anything does not go as it should.
    pub fn batch(&mut self) -> Result<()> {
        let publishes = (0..BATCH).map(|_| self.publish()).collect::<Result<Vec<_>>>()?;
        let effects = self.step(publishes)?;
        let receipts = effects.iter().filter(|effect| matches!(effect, Effect::Published { .. })).count();
        ensure!(receipts == BATCH as usize, "{receipts} of {BATCH} were answered");
        let lease = Input::Lease { ticket: TICKET, consumer: self.consumer, deliveries_max: BATCH };
        let effects = self.step(vec![lease])?;
        let leases = effects.into_iter().find_map(|effect| {
            let Effect::Leased { leases, .. } = effect else { return None };
            Some(leases)
        });
        let leases = leases.context("nothing was leased")?;
        ensure!(leases.len() == BATCH as usize, "{} of {BATCH} were leased", leases.len());
        let sequences: Vec<Sequence> = leases.iter().map(|lease| lease.sequence).collect();
        let messages = self.store.reader().messages(self.queue, &sequences)?;
        let settlements = leases.into_iter().zip(messages).map(settlement).collect::<Result<Vec<_>>>()?;
        self.step(vec![Input::Settle { ticket: TICKET, consumer: self.consumer, settlements }])?;
        Ok(())
    }

    fn publish(&mut self) -> Result<Input> {
        self.published += 1;
        let message = Arc::new(Message {
            id: MessageId::new(format!("01890a5d-ac96-774b-bcce-{:012}", self.published))?,
            topic: Topic::new("orders.created")?,
            key: None,
            content_type: Some("application/json".to_owned()),
            headers: Vec::new(),
            data: Bytes::from_static(&[b'x'; 256]),
            published_at: Timestamp(self.published),
            expires_at: None,
            lineage: Lineage::default(),
        });
        Ok(Input::Publish { ticket: TICKET, entries: vec![PublishEntry::new(message)] })
    }

    fn step(&mut self, inputs: Vec<Input>) -> Result<Vec<Effect>> {
        let engine = self.engine.take().context("the store failed before")?;
        let (store, commits) = (&mut self.store, &mut self.commits);
        let (engine, effects) = engine.tick(Timestamp(self.published), inputs, |writes| {
            *commits += 1;
            store.commit(writes)
        })?;
        self.engine = Some(engine);
        Ok(effects)
    }
}

fn settlement((lease, message): (Lease, Option<Arc<Message>>)) -> Result<Settlement> {
    let result = AttemptResult::Succeeded(Effects::default());
    let message = message.context("a message that was leased is not there")?;
    Ok(Settlement { lease, message, earlier: Vec::new(), result, capsule: None })
}

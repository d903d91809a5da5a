//! Quarantined deliveries that come from another host, or from an earlier time of this one.

use super::{Engine, Quarantined, tick::Tick};
use crate::{
    effect::{OrderReceipt, OrderRefusal},
    record::{CapsuleKept, QuarantineRecord},
    write::Write,
};

impl Engine {
    /// Put a record into quarantine under a number of this host. Its place is marked as one of another log
    /// ([`crate::name::Sequence::imported`]): that keeps it apart from the live deliveries of its consumer, also after a
    /// restart and once it is redriven, and out of every order, so that it holds nothing back.
    pub(super) fn import_quarantined(
        &mut self,
        tick: &mut Tick,
        record: QuarantineRecord,
    ) -> Result<OrderReceipt, OrderRefusal> {
        let consumer_id = self.consumer_id(&record.queue, &record.consumer)?;
        if self.quarantined.len() as u64 >= self.limits.quarantine_max {
            return Err(OrderRefusal::TooMany { what: "quarantined deliveries", max: self.limits.quarantine_max });
        }
        let id = self.next_quarantine_id(tick);
        let sequence = record.sequence.imported();
        let capsule = CapsuleKept::None;
        let record = Box::new(QuarantineRecord { id, consumer_id, sequence, capsule, ..record });
        self.quarantined.insert(id, Quarantined { consumer: consumer_id, sequence, hash: None, capsule_bytes: 0 });
        tick.writes.push(Write::PutQuarantine { record, capsule: None });
        Ok(OrderReceipt::Imported { id })
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use crate::{
        effect::{Effect, OrderReceipt, OrderRefusal},
        engine::{DeliveryState, Engine, EngineLimits, Recovery},
        input::{Input, Lease, Order, Ticket},
        message::{Lineage, Message},
        name::{ConsumerId, ConsumerName, MessageId, MessageKey, QuarantineId, QueueName, Sequence},
        record::{CapsuleKept, ConsumerConfig, DeliveryOrder, QuarantineReason, QuarantineRecord, QueueConfig},
        time::Timestamp,
        topic::Topic,
        write::Write,
    };

    fn queue() -> QueueName {
        QueueName::new("q").expect("a name")
    }

    fn consumer() -> ConsumerName {
        ConsumerName::new("c").expect("a name")
    }

    fn message(id: &str) -> Message {
        Message {
            id: MessageId::new(id).expect("an id"),
            topic: Topic::new("t").expect("a topic"),
            key: Some(MessageKey::new("k").expect("a key")),
            content_type: None,
            headers: Vec::new(),
            data: "x".into(),
            published_at: Timestamp(1),
            expires_at: None,
            lineage: Lineage::default(),
        }
    }

    fn record(id: &str, sequence: u64) -> Box<QuarantineRecord> {
        Box::new(QuarantineRecord {
            id: QuarantineId(700),
            queue: queue(),
            consumer_id: ConsumerId(700),
            consumer: consumer(),
            handler: None,
            sequence: Sequence(sequence),
            message: Arc::new(message(id)),
            reason: QuarantineReason::Rejected,
            attempts: Vec::new(),
            attempts_made: 1,
            quarantined_at: Timestamp(5),
            capsule: CapsuleKept::None,
        })
    }

    /// An engine with a consumer that keeps the order of keys.
    fn engine(quarantine_max: u64) -> Engine {
        let limits = EngineLimits { quarantine_max, ..EngineLimits::default() };
        let engine = Recovery::new(limits).finish();
        let (engine, _) = order(engine, Order::PutQueue { name: queue(), config: QueueConfig::default() });
        let config = ConsumerConfig { order: DeliveryOrder::Key, ..ConsumerConfig::pulled() };
        let put = Order::PutConsumer { queue: queue(), name: consumer(), config, from: None };
        order(engine, put).0
    }

    fn step(engine: Engine, input: Input) -> (Engine, Vec<Effect>, Vec<Write>) {
        let mut written = Vec::new();
        let keep = |writes: &[Write]| {
            written = writes.to_vec();
            Ok::<(), Infallible>(())
        };
        let Ok((engine, effects)) = engine.tick(Timestamp(10), vec![input], keep);
        (engine, effects, written)
    }

    fn order(engine: Engine, order: Order) -> (Engine, Result<OrderReceipt, OrderRefusal>) {
        let (engine, effects, _) = step(engine, Input::Order { ticket: Ticket(1), order });
        let answer = effects.into_iter().find_map(|effect| match effect {
            Effect::Ordered { answer, .. } => Some(answer),
            Effect::Published { .. }
            | Effect::Leased { .. }
            | Effect::LeaseEnded { .. }
            | Effect::Settled { .. }
            | Effect::Paused { .. }
            | Effect::Resumed { .. }
            | Effect::Crashed { .. }
            | Effect::Read { .. }
            | Effect::ReadDelayed { .. }
            | Effect::JobEnded { .. }
            | Effect::Reply { .. } => None,
        });
        (engine, answer.expect("an answer"))
    }

    fn import(engine: Engine, record: Box<QuarantineRecord>) -> (Engine, Result<OrderReceipt, OrderRefusal>) {
        order(engine, Order::ImportQuarantine { record })
    }

    #[test]
    fn imports_get_numbers_of_this_host_up_to_the_limit() {
        let (engine, first) = import(engine(2), record("m1", 1));
        assert_eq!(first, Ok(OrderReceipt::Imported { id: QuarantineId(1) }));
        let (engine, second) = import(engine, record("m2", 1));
        assert_eq!(second, Ok(OrderReceipt::Imported { id: QuarantineId(2) }));
        let (engine, third) = import(engine, record("m3", 1));
        assert_eq!(third, Err(OrderRefusal::TooMany { what: "quarantined deliveries", max: 2 }));
        let other = QuarantineRecord { consumer: ConsumerName::new("other").expect("a name"), ..*record("m", 1) };
        assert!(matches!(import(engine, Box::new(other)).1, Err(OrderRefusal::UnknownConsumer { .. })));
    }

    #[test]
    fn a_redriven_import_runs_beside_live_deliveries_of_its_place_and_key() {
        let (engine, _) = import(engine(10), record("m1", 1));
        let (engine, _) = import(engine, record("m2", 1));
        let stored = |id: u64, name: &str| {
            let sequence = Sequence(1).imported();
            Box::new(QuarantineRecord {
                id: QuarantineId(id),
                consumer_id: ConsumerId(1),
                sequence,
                ..*record(name, 1)
            })
        };
        let redrive =
            |id: u64, name: &str| Order::Redrive { record: stored(id, name), message: Arc::new(message("new")) };
        let (engine, first) = order(engine, redrive(1, "m1"));
        assert_eq!(first, Ok(OrderReceipt::Done));
        let (engine, second) = order(engine, redrive(2, "m2"));
        assert_eq!(second, Err(OrderRefusal::PlaceTaken { id: QuarantineId(2), sequence: 1 }));
        assert!(engine.is_quarantined(QuarantineId(2)), "a refused redrive changes nothing");
        let place = (ConsumerId(1), Sequence(1).imported());
        assert!(matches!(engine.trace(&[place])[..], [Some(DeliveryState::Retry { attempts_made: 0, .. })]));
        let lease = Input::Lease { ticket: Ticket(2), consumer: ConsumerId(1), deliveries_max: 5 };
        let (_, effects, _) = step(engine, lease);
        let leased: Vec<Lease> = effects
            .into_iter()
            .filter_map(|effect| if let Effect::Leased { leases, .. } = effect { Some(leases) } else { None })
            .flatten()
            .collect();
        assert_eq!(leased.iter().map(|lease| lease.sequence).collect::<Vec<_>>(), [Sequence(1).imported()]);
    }
}

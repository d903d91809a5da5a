//! The end of a simulation: the faults stop, every handler succeeds, and all that was accepted must settle.

use std::mem;

use wasmill_delivery::{
    input::Order,
    name::ConsumerId,
    record::{HandlerRecord, QuarantineRecord, QueueConfig},
};

use super::Simulation;
use crate::violation::{Checked, violated};

/// Rounds in which everything must be settled; each settles at least one delivery of a consumer.
const ROUNDS_MAX: u32 = 3_000;

impl Simulation {
    pub(super) fn drain(&mut self) -> Checked {
        self.say("the faults stop; drain");
        let committed = self.auditor.counts.get("committed").copied().unwrap_or_default();
        self.auditor.counts.insert("committed before the drain", committed);
        for run in mem::take(&mut self.runs) {
            self.settle(run);
        }
        self.tick(self.mailbox.len())?;
        self.lift_limits()?;
        // What rests in quarantine may hold what is behind it.
        self.redrive_everything()?;
        self.settle_everything()?;
        self.redrive_everything()?;
        self.settle_everything()
    }

    fn lift_limits(&mut self) -> Checked {
        let queues: Vec<_> = self.disk.queues.values().map(|queue| queue.record.clone()).collect();
        for record in queues {
            let QueueConfig { bindings, priorities, .. } = record.config;
            let config = QueueConfig { bindings, priorities, ..QueueConfig::default() };
            self.send_order(Order::PutQueue { name: record.name, config });
        }
        let handlers: Vec<HandlerRecord> = self.disk.handlers.values().cloned().collect();
        for record in handlers {
            self.send_order(Order::PutHandler { record: Box::new(record) });
        }
        let consumers: Vec<ConsumerId> = self.disk.consumers.keys().copied().collect();
        for consumer in consumers {
            self.send_order(Order::Resume { consumer });
        }
        self.tick(self.mailbox.len())
    }

    fn redrive_everything(&mut self) -> Checked {
        let records: Vec<QuarantineRecord> = self.disk.quarantine.values().cloned().collect();
        for record in records {
            let order = self.redrive_of(&record);
            self.send_order(order);
        }
        self.tick(self.mailbox.len())
    }

    fn settle_everything(&mut self) -> Checked {
        for _ in 0..ROUNDS_MAX {
            if self.auditor.is_drained() && self.runs.is_empty() {
                return Ok(());
            }
            self.round()?;
        }
        violated!("after {ROUNDS_MAX} rounds there is still {}", self.auditor.leftovers())
    }

    /// Everybody leases, runs and settles once; then time passes until something is due.
    fn round(&mut self) -> Checked {
        let consumers: Vec<ConsumerId> = self.disk.consumers.keys().copied().collect();
        for consumer in consumers {
            if !self.requests.values().any(|waiting| *waiting == consumer) {
                let most = self.random.small(1, 6);
                self.request(consumer, most);
            }
        }
        self.tick(self.mailbox.len())?;
        if self.runs.is_empty()
            && let Some(due) = self.engine().next_due()
        {
            // A message that nobody takes is looked at each minute; the longest delay is a week.
            self.clock = self.clock.max(due).plus_ms(600_000);
        }
        for mut run in mem::take(&mut self.runs) {
            while !run.is_through() && self.go_on(&mut run, 100, true)? {}
            self.settle(run);
        }
        self.tick(self.mailbox.len())
    }
}

//! Pull consumers: programs outside take deliveries and settle them, as slots do for handlers.
//!
//! A consumer without a handler is pulled. [`Host::pull`] leases deliveries of it and keeps each lease, with its message,
//! in a table until it is settled. Whoever pulled says how it went with the sequence and the fence of the lease; what is
//! not settled within the consumer's `lease_ms` is settled by the host as [`Outcome::LeaseExpired`], which burns an
//! attempt. Whichever comes first takes the lease out of the table; the other one gets [`SettleAnswer::StaleFence`].
//!
//! - Leases are kept in memory. When the host stops, also in good order, those that are out are void: their deliveries
//!   come again after the start, without a burned attempt, and as fences never repeat an old one settles nothing.
//! - With an order, one pull may hand out several deliveries of one key, oldest first. They must be settled in that
//!   order, in one request or in several: settling a later one first answers [`SettleAnswer::OutOfOrder`], and so does
//!   settling anything behind one that is to be tried again. Such a lease is void, and the delivery comes again in its
//!   turn without a burned attempt.
//! - A message that expired before it is handed out is settled as [`Outcome::Expired`] and not handed out.
//!
//! What bounds it: the consumer's `in-flight-max`, and for the whole host [`PULLED_MAX`], [`PULLED_BYTES_MAX`] and
//! [`PULLS_WAITING_MAX`].

mod gather;
mod leave;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};
use wasmill_delivery::{
    effect::{OrderRefusal, SettleAnswer},
    engine::ConsumerView,
    input::{AttemptResult, Effects, Lease},
    limits::{HANDLER_DELAY_MS_MAX, LEASE_MS_MAX},
    message::Message,
    name::{ConsumerId, ConsumerName, Fence, HandlerName, QueueName, Sequence},
    outcome::{Outcome, cut_reason},
    time::Timestamp,
};

use self::table::{Claim, Held, Table, TableLimits};
use crate::{
    broker::{Broker as _, Settled},
    draft::now,
    embedded::EmbeddedBroker,
    error::HostError,
    host::Host,
    observer::{Observer, SettleSeen},
};

/// Deliveries of one pull, and settlements of one request.
pub const PULL_DELIVERIES_MAX: u32 = 1_000;
/// A pull ends when its messages reach so many bytes. 16 MiB.
pub const PULL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The longest that one pull waits.
pub const PULL_WAIT_MAX: Duration = Duration::from_secs(60);
/// Pulls of one host that wait at once.
pub const PULLS_WAITING_MAX: usize = 10_000;
/// Leases of one host that programs outside hold at once.
pub const PULLED_MAX: usize = 100_000;
/// Messages of these leases, in bytes; the host keeps them in memory until they are settled. 256 MiB.
pub const PULLED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// One delivery that a program outside holds.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The message's place in the queue.
    pub sequence: Sequence,
    /// What it is settled with.
    pub fence: Fence,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Until when it is held unless it is extended.
    pub lease_until: Timestamp,
    /// The message.
    pub message: Arc<Message>,
}

/// How it went with a delivery that was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledSettlement {
    /// Its place in the queue.
    pub sequence: Sequence,
    /// The fence of its lease.
    pub fence: Fence,
    /// What is to be done with it.
    pub outcome: PulledOutcome,
}

/// What is to be done with a delivery that was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PulledOutcome {
    /// It is done.
    Ack,
    /// It failed: try again. Burns an attempt.
    Nack {
        /// After so many milliseconds, at most [`HANDLER_DELAY_MS_MAX`]; none takes the consumer's backoff.
        after_ms: Option<u64>,
        /// In the program's words; what is longer than [`wasmill_delivery::limits::REASON_BYTES_MAX`] is cut.
        reason: String,
    },
    /// Not now. Burns no attempt.
    Defer {
        /// Again after so many milliseconds, at most [`HANDLER_DELAY_MS_MAX`].
        after_ms: u64,
    },
    /// It can never succeed: to quarantine.
    Reject {
        /// In the program's words; what is longer than [`wasmill_delivery::limits::REASON_BYTES_MAX`] is cut.
        reason: String,
    },
}

impl PulledOutcome {
    fn check(&self) -> Result<(), HostError> {
        let after_ms = match self {
            Self::Nack { after_ms, .. } => after_ms.unwrap_or_default(),
            Self::Defer { after_ms } => *after_ms,
            Self::Ack | Self::Reject { .. } => 0,
        };
        Ok(OrderRefusal::check_range("after_ms", after_ms, 0, HANDLER_DELAY_MS_MAX)?)
    }

    fn result(self, held: &Held) -> AttemptResult {
        let outcome = match self {
            Self::Ack => return AttemptResult::Succeeded(Effects::default()),
            Self::Nack { after_ms, reason } => Outcome::Retry { reason: cut_reason(reason), after_ms },
            Self::Defer { after_ms } => Outcome::Defer { after_ms },
            Self::Reject { reason } => Outcome::Reject { reason: cut_reason(reason) },
        };
        AttemptResult::Failed(held.record(outcome))
    }
}

/// What the host keeps for programs that pull.
pub(crate) struct Pulls {
    broker: EmbeddedBroker,
    observer: Arc<dyn Observer>,
    table: Mutex<Table>,
    /// The next lease that ends is another one than it was.
    sooner: Notify,
    waiting: Semaphore,
    /// All consumers, by where they are.
    consumers: Mutex<BTreeMap<Place, Known>>,
}

/// Where a consumer is: its queue's name and its own.
type Place = (QueueName, ConsumerName);

/// What must be known of a consumer before it is pulled.
#[derive(Clone)]
struct Known {
    id: ConsumerId,
    /// Its queue's name and its own.
    place: Arc<Place>,
    handler: Option<HandlerName>,
    lease_ms: u64,
}

impl Pulls {
    pub(crate) fn new(broker: EmbeddedBroker, observer: Arc<dyn Observer>) -> Self {
        let limits = TableLimits { leases_max: PULLED_MAX, bytes_max: PULLED_BYTES_MAX };
        Self {
            broker,
            observer,
            table: Mutex::new(Table::new(limits)),
            sooner: Notify::new(),
            waiting: Semaphore::new(PULLS_WAITING_MAX),
            consumers: Mutex::new(BTreeMap::new()),
        }
    }

    /// These are the consumers there are.
    pub(crate) fn reconcile(&self, consumers: &[ConsumerView]) {
        let known = consumers.iter().map(|view| {
            let config = &view.record.config;
            let place = (view.queue.clone(), view.record.name.clone());
            let known = Known {
                id: view.record.id,
                place: Arc::new(place.clone()),
                handler: config.handler.clone(),
                lease_ms: config.lease_ms,
            };
            (place, known)
        });
        let known: BTreeMap<_, _> = known.collect();
        let pulled = known.values().filter(|known| known.handler.is_none());
        let ids: BTreeSet<ConsumerId> = pulled.map(|known| known.id).collect();
        *self.consumers.lock().unwrap_or_else(PoisonError::into_inner) = known;
        self.table().forget(|consumer| !ids.contains(&consumer));
    }

    /// Settle what nobody settled in time, until the host stops.
    pub(crate) async fn end_late_leases(self: Arc<Self>) {
        loop {
            let next = self.table().next_deadline();
            let ends = async {
                match next {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ends => {}
                () = self.sooner.notified() => continue,
            }
            let late = self.table().take_late(Instant::now());
            if self.settle_late(late).await.is_err() {
                // The host has stopped, and all leases are void.
                return;
            }
        }
    }

    async fn settle_late(&self, late: Vec<Held>) -> Result<(), HostError> {
        let mut by_consumer: BTreeMap<ConsumerId, (Arc<Place>, Vec<Settled<Lease>>)> = BTreeMap::new();
        for held in late {
            let lease_ms = ms(held.deadline.saturating_duration_since(held.since));
            let result = AttemptResult::Failed(held.record(Outcome::LeaseExpired { lease_ms }));
            let of_consumer = by_consumer.entry(held.consumer);
            let (_, settled) = of_consumer.or_insert_with(|| (Arc::clone(&held.place), Vec::new()));
            settled.push(held.settled(result));
        }
        for (consumer, (place, settled)) in by_consumer {
            tracing::debug!(consumer = consumer.0, leases = settled.len(), "leases were not settled in time");
            self.settle(consumer, place, settled).await?;
        }
        Ok(())
    }

    /// Leave what is settled with the broker. The future answers what became of it, and counts it.
    fn settle(
        &self,
        consumer: ConsumerId,
        place: Arc<Place>,
        settled: Vec<Settled<Lease>>,
    ) -> impl Future<Output = Result<Vec<SettleAnswer>, HostError>> + Send + 'static {
        let outcome = |settled: &Settled<Lease>| (settled.sequence, settled.result.outcome().name());
        let outcomes: Vec<(Sequence, &'static str)> = settled.iter().map(outcome).collect();
        let judged = self.broker.settle(consumer, settled);
        let observer = Arc::clone(&self.observer);
        async move {
            let answers = judged.await?;
            let (queue, consumer) = &*place;
            for ((sequence, outcome), answer) in outcomes.into_iter().zip(&answers) {
                observer.settled(&SettleSeen { queue, consumer, sequence, handler: None, outcome, answer });
            }
            Ok(answers)
        }
    }

    fn find(&self, queue: &QueueName, consumer: &ConsumerName) -> Option<Known> {
        let place = (queue.clone(), consumer.clone());
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner).get(&place).cloned()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each change of the table is made before anything can panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take out what is settled and leave it with the broker. Answers the places of what was out, and what becomes of it.
    fn hand_in(
        &self,
        known: &Known,
        settlements: Vec<PulledSettlement>,
    ) -> (Vec<usize>, Option<impl Future<Output = Result<Vec<SettleAnswer>, HostError>> + Send>) {
        let (mut places, mut settled) = (Vec::new(), Vec::new());
        let consumer = known.id;
        let mut table = self.table();
        for (place, PulledSettlement { sequence, fence, outcome }) in settlements.into_iter().enumerate() {
            if let Some(held) = table.take(Claim { consumer, sequence, fence }) {
                let result = outcome.result(&held);
                settled.push(held.settled(result));
                places.push(place);
            }
        }
        // Left there before anybody else can settle: the order of requests is the order of settling.
        let judged = (!settled.is_empty()).then(|| self.settle(consumer, Arc::clone(&known.place), settled));
        drop(table);
        (places, judged)
    }
}

impl Host {
    /// Lease up to `deliveries_max` deliveries of a consumer without a handler. While there are none it waits, at most
    /// `wait`; none when there were none until then. Fewer than there are come when their messages reach
    /// [`PULL_BYTES_MAX`]. Dropping the future leaves everything as it was.
    ///
    /// # Errors
    /// When there is no such consumer or it has a handler, `deliveries_max` is not from 1 to [`PULL_DELIVERIES_MAX`],
    /// `wait` is longer than [`PULL_WAIT_MAX`], [`PULLS_WAITING_MAX`] pulls wait, [`PULLED_MAX`] leases or
    /// [`PULLED_BYTES_MAX`] bytes are out, a message cannot be read, or the host has stopped.
    pub async fn pull(
        &self,
        queue: &QueueName,
        consumer: &ConsumerName,
        deliveries_max: u32,
        wait: Duration,
    ) -> Result<Vec<Pulled>, HostError> {
        let known = self.pulled(queue, consumer).await?;
        OrderRefusal::check_range("max", deliveries_max.into(), 1, PULL_DELIVERIES_MAX.into())?;
        OrderRefusal::check_range("wait in ms", ms(wait), 0, ms(PULL_WAIT_MAX))?;
        let pulls = &self.inner.pulls;
        let _waits = pulls.waiting.try_acquire().map_err(|_| HostError::TooManyPulls)?;
        if !pulls.table().has_room() {
            return Err(HostError::TooManyPulled);
        }
        let until = Instant::now() + wait;
        let gathered = pulls.gather(&known, deliveries_max, until).await?;
        // From here on nothing waits: what is in the table was handed out.
        let was_there_any = !gathered.deliveries.is_empty();
        let pulled = pulls.hand_out(gathered);
        if was_there_any && pulled.is_empty() { Err(HostError::TooManyPulled) } else { Ok(pulled) }
    }

    /// Settle deliveries that were pulled, in the order given, in one commit. The answers come in the same order, and
    /// only once they are durable. One whose lease is over, or was never given, answers [`SettleAnswer::StaleFence`].
    ///
    /// # Errors
    /// When there is no such consumer, there are more than [`PULL_DELIVERIES_MAX`], or a delay is longer than
    /// [`HANDLER_DELAY_MS_MAX`]; nothing is settled then. When the host stops meanwhile, whether they were settled is
    /// not known.
    pub async fn settle_pulled(
        &self,
        queue: &QueueName,
        consumer: &ConsumerName,
        settlements: Vec<PulledSettlement>,
    ) -> Result<Vec<SettleAnswer>, HostError> {
        let known = self.pulled(queue, consumer).await?;
        OrderRefusal::check_range("settlements", settlements.len() as u64, 0, PULL_DELIVERIES_MAX.into())?;
        settlements.iter().try_for_each(|settlement| settlement.outcome.check())?;
        let mut answers = vec![SettleAnswer::StaleFence; settlements.len()];
        let (places, judged) = self.inner.pulls.hand_in(&known, settlements);
        if let Some(judged) = judged {
            for (place, answer) in places.into_iter().zip(judged.await?) {
                answers[place] = answer;
            }
        }
        Ok(answers)
    }

    /// Hold a delivery that was pulled for `lease_ms` from now on, or for the consumer's own time when there is none.
    /// Answers until when; none when the lease is over, or was never given.
    ///
    /// # Errors
    /// When there is no such consumer, or `lease_ms` is not from 1 to [`LEASE_MS_MAX`].
    pub async fn extend_pulled(
        &self,
        queue: &QueueName,
        consumer: &ConsumerName,
        (sequence, fence): (Sequence, Fence),
        lease_ms: Option<u64>,
    ) -> Result<Option<Timestamp>, HostError> {
        let known = self.pulled(queue, consumer).await?;
        let lease_ms = lease_ms.unwrap_or(known.lease_ms);
        OrderRefusal::check_range("lease_ms", lease_ms, 1, LEASE_MS_MAX)?;
        let claim = Claim { consumer: known.id, sequence, fence };
        let deadline = Instant::now() + Duration::from_millis(lease_ms);
        let is_held = self.inner.pulls.table().extend(claim, deadline);
        if is_held {
            self.inner.pulls.sooner.notify_one();
        }
        Ok(is_held.then(|| now().plus_ms(lease_ms)))
    }

    /// A consumer that may be pulled.
    async fn pulled(&self, queue: &QueueName, consumer: &ConsumerName) -> Result<Known, HostError> {
        match self.inner.pulls.find(queue, consumer) {
            Some(Known { handler: Some(handler), .. }) => {
                Err(HostError::NotPulled { queue: queue.clone(), consumer: consumer.clone(), handler })
            }
            Some(known) => Ok(known),
            None => {
                let (queue, consumer) = (queue.clone(), consumer.clone());
                let name = queue.clone();
                let is_there = self.inner.broker.query(move |engine| engine.queue_id(&name).is_some()).await?;
                Err(HostError::Refused(match is_there {
                    true => OrderRefusal::UnknownConsumer { queue, consumer },
                    false => OrderRefusal::UnknownQueue { queue },
                }))
            }
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

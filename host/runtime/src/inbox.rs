//! Where everybody leaves what the pump shall do. The pump takes all of it at once, which is what makes one commit
//! out of many requests.
//!
//! It is bounded by what is put in: publishes hold permits of a byte budget, everything else is bounded by what is in
//! flight.

use std::{
    future::poll_fn,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use tokio::sync::oneshot;
use wasmill_delivery::{
    effect::{OrderReceipt, OrderRefusal, PublishRefusal, Receipt, SettleAnswer},
    engine::Engine,
    input::{Lease, Order, PublishEntry, Settlement, Ticket},
    name::{ConsumerId, QueueId},
};

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<T>;
/// Leases of one run, with the queue they are of; none when the consumer is gone.
pub(crate) type LeaseAnswer = Option<LeasesHeld>;

/// A look at the engine.
pub(crate) type Query = Box<dyn FnOnce(&Engine) + Send>;

/// One thing for the pump to do.
pub(crate) enum Command {
    Publish {
        entries: Vec<PublishEntry>,
        reply: Reply<Vec<Result<Receipt, PublishRefusal>>>,
    },
    Lease {
        ticket: Ticket,
        consumer: ConsumerId,
        deliveries_max: u32,
        reply: Reply<LeaseAnswer>,
    },
    CancelLease {
        ticket: Ticket,
        consumer: ConsumerId,
    },
    Settle {
        consumer: ConsumerId,
        settlements: Vec<Settlement>,
        reply: Reply<Vec<SettleAnswer>>,
    },
    Return {
        consumer: ConsumerId,
        leases: Vec<Lease>,
    },
    Order {
        order: Order,
        reply: Reply<Result<OrderReceipt, OrderRefusal>>,
    },
    /// Look at the engine between two ticks.
    Query(Query),
    /// Stop once everything before this is durable.
    Stop,
}

/// Leases that are given back when they are dropped unused.
pub(crate) struct LeasesHeld {
    pub(crate) inbox: std::sync::Arc<Inbox>,
    pub(crate) consumer: ConsumerId,
    pub(crate) queue: QueueId,
    pub(crate) leases: Vec<Lease>,
}

impl Drop for LeasesHeld {
    fn drop(&mut self) {
        let leases = std::mem::take(&mut self.leases);
        if !leases.is_empty() {
            // When the pump is gone, so are all leases.
            self.inbox.put(Command::Return { consumer: self.consumer, leases });
        }
    }
}

#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    commands: Vec<Command>,
    closed: bool,
    /// Of a pump that is a task, while it waits.
    waker: Option<Waker>,
}

impl Inbox {
    /// Leave something for the pump. Answers whether the pump is there; when not, what was left is dropped, and
    /// with it whoever waits for its answer is told.
    pub(crate) fn put(&self, command: Command) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.commands.push(command);
        let waker = state.waker.take();
        drop(state);
        self.news.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Take everything that was left, or nothing when `wait` is over first.
    pub(crate) fn take(&self, wait: Option<Duration>) -> Vec<Command> {
        let state = self.lock();
        let empty = |state: &mut State| state.commands.is_empty();
        let mut state = match wait {
            None => self.news.wait_while(state, empty).unwrap_or_else(PoisonError::into_inner),
            Some(wait) => self.news.wait_timeout_while(state, wait, empty).unwrap_or_else(PoisonError::into_inner).0,
        };
        std::mem::take(&mut state.commands)
    }

    /// Take everything that was left, once there is something, without holding the thread.
    pub(crate) async fn taken(&self) -> Vec<Command> {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.commands.is_empty() {
                state.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(std::mem::take(&mut state.commands))
        })
        .await
    }

    /// Take nothing more. Answers what was left and will not be done.
    pub(crate) fn close(&self) -> Vec<Command> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.commands)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the list of commands as it was before or after a push: usable either way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Where everybody leaves what the pump shall do. The pump takes what waits at once, up to [`COMMIT_MAX`], which is what makes one
//! commit out of many requests.
//!
//! **Handlers come first**: what they bring and ask for does not wait behind messages that were published before. Otherwise publishers
//! that are quicker than the pump have each commit full of messages, handlers wait for their next run meanwhile, and a backlog grows
//! that costs twice what handling it at once would have. Orders do not wait behind messages either, and queries wait for nothing.
//! Publishers that get less than half of a commit go first in the next.
//!
//! It is bounded by what is put in: publishes hold permits of a byte budget, everything else is bounded by what is in
//! flight or by how many ask.

mod load;

use std::{
    collections::VecDeque,
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

use load::{COMMIT_MAX, Load};

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

impl Command {
    fn load(&self) -> Load {
        match self {
            Self::Publish { entries, .. } => Load::sum(entries.iter().map(|entry| Load::of(&entry.message))),
            Self::Settle { settlements, .. } => Load::sum(settlements.iter().map(Load::of_settlement)),
            Self::Order { order, .. } => Load::of_order(order),
            Self::Lease { .. } | Self::CancelLease { .. } | Self::Return { .. } | Self::Query(_) | Self::Stop => {
                Load::default()
            }
        }
    }

    /// Whether it comes behind all that was left before it.
    const fn is_last(&self) -> bool {
        matches!(self, Self::Stop | Self::Order { order: Order::Rest, .. })
    }
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
    /// They bring nothing, so all that there are have room.
    queries: Line,
    /// Of handlers and of operators.
    work: Line,
    /// What publishes, and what comes last.
    publishes: Line,
    /// They got less than half of the last commit and have more, so they go first.
    is_turn_of_publishes: bool,
    closed: bool,
    /// Of a pump that is a task, while it waits.
    waker: Option<Waker>,
}

/// Commands in their order, each with what it brings.
#[derive(Default)]
struct Line(VecDeque<(Command, Load)>);

impl Line {
    /// What has room in a commit beside what it has already, and what that brings.
    fn take(&mut self, beside: Load, may_be_last: bool) -> (Vec<Command>, Load) {
        let (mut taken, mut brought) = (Vec::new(), Load::default());
        while let Some((command, brings)) = self.0.pop_front() {
            if !beside.plus(brought).has_room(brings) || (command.is_last() && !may_be_last) {
                self.0.push_front((command, brings));
                return (taken, brought);
            }
            taken.push(command);
            brought = brought.plus(brings);
        }
        self.0.shrink_to(COMMIT_MAX.messages);
        (taken, brought)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl State {
    fn put(&mut self, command: Command, load: Load) {
        let line = match command {
            Command::Query(_) => &mut self.queries,
            Command::Publish { .. } | Command::Stop => &mut self.publishes,
            Command::Order { .. } if !load.is_nothing() || command.is_last() => &mut self.publishes,
            Command::Order { .. }
            | Command::Lease { .. }
            | Command::CancelLease { .. }
            | Command::Settle { .. }
            | Command::Return { .. } => &mut self.work,
        };
        line.0.push_back((command, load));
    }

    fn is_empty(&self) -> bool {
        self.queries.is_empty() && self.work.is_empty() && self.publishes.is_empty()
    }

    /// What goes into the next commit.
    fn take(&mut self) -> Vec<Command> {
        let turn = self.is_turn_of_publishes.then(|| self.publishes.take(Load::default(), false));
        let (first, first_brings) = turn.unwrap_or_default();
        let (mut taken, work_brings) = self.work.take(first_brings, true);
        let (more, more_brings) = self.publishes.take(first_brings.plus(work_brings), self.work.is_empty());
        let published = first_brings.plus(more_brings);
        let had_room = work_brings.is_nothing() || !published.plus(published).fits();
        self.is_turn_of_publishes = !self.publishes.is_empty() && !had_room;
        taken.extend(first);
        taken.extend(more);
        taken.extend(self.queries.take(Load::default(), true).0);
        taken
    }
}

impl Inbox {
    /// Leave something for the pump. Answers whether the pump is there; when not, what was left is dropped, and
    /// with it whoever waits for its answer is told.
    pub(crate) fn put(&self, command: Command) -> bool {
        let load = command.load();
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.put(command, load);
        let waker = state.waker.take();
        drop(state);
        self.news.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Take what goes into the next commit, or nothing when `wait` is over before there is something.
    pub(crate) fn take(&self, wait: Option<Duration>) -> Vec<Command> {
        let state = self.lock();
        let empty = |state: &mut State| state.is_empty();
        let mut state = match wait {
            None => self.news.wait_while(state, empty).unwrap_or_else(PoisonError::into_inner),
            Some(wait) => self.news.wait_timeout_while(state, wait, empty).unwrap_or_else(PoisonError::into_inner).0,
        };
        state.take()
    }

    /// As [`Self::take`], for as long as it takes and without holding the thread.
    pub(crate) async fn taken(&self) -> Vec<Command> {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.is_empty() {
                state.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(state.take())
        })
        .await
    }

    /// Take nothing more. Answers what was left and will not be done.
    pub(crate) fn close(&self) -> Vec<Command> {
        let mut state = self.lock();
        state.closed = true;
        let State { queries, work, publishes, .. } = &mut *state;
        let left = [queries, work, publishes].map(std::mem::take);
        left.into_iter().flat_map(|line| line.0).map(|(command, _)| command).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the list of commands as it was before or after a push: usable either way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmill_delivery::{
        input::{AttemptResult, Effects, StateAccess, StateWrite},
        job::JobId,
        name::{Fence, Sequence},
        outcome::Outcome,
        record::{AttemptRecord, PauseReason},
        time::Timestamp,
    };

    use super::*;
    use crate::draft::Draft;

    fn entries(messages: usize, bytes: usize) -> Vec<PublishEntry> {
        let draft = Draft::new("t", vec![b'x'; bytes]);
        let entry = draft.into_entry(bytes).expect("good");
        vec![entry; messages]
    }

    fn publish(messages: usize) -> Command {
        publish_of(messages, 1)
    }

    fn publish_of(messages: usize, bytes: usize) -> Command {
        Command::Publish { entries: entries(messages, bytes), reply: oneshot::channel().0 }
    }

    /// Of one delivery, whose message has 100 bytes.
    fn settlement(result: AttemptResult) -> Settlement {
        let lease = Lease { sequence: Sequence(1), attempt: 1, fence: Fence(1), pending_due: None };
        let message = Arc::clone(&entries(1, 100)[0].message);
        Settlement { lease, message, earlier: Vec::new(), result, capsule: None }
    }

    fn settle_as(settlement: Settlement) -> Command {
        Command::Settle { consumer: ConsumerId(1), settlements: vec![settlement], reply: oneshot::channel().0 }
    }

    /// Of a delivery whose handler published so many.
    fn settle(messages: usize) -> Command {
        let effects = Effects { published: entries(messages, 1), ..Effects::default() };
        settle_as(settlement(AttemptResult::Succeeded(effects)))
    }

    fn order(order: Order) -> Command {
        Command::Order { order, reply: oneshot::channel().0 }
    }

    fn pause() -> Order {
        Order::Pause { consumer: ConsumerId(1), reason: PauseReason::Operator }
    }

    fn returned() -> Command {
        Command::Return { consumer: ConsumerId(1), leases: Vec::new() }
    }

    fn inbox(commands: impl IntoIterator<Item = Command>) -> Inbox {
        let inbox = Inbox::default();
        commands.into_iter().for_each(|command| assert!(inbox.put(command)));
        inbox
    }

    /// What the next commit takes, each with how many messages it brings.
    fn take(inbox: &Inbox) -> Vec<String> {
        inbox.take(Some(Duration::ZERO)).iter().map(name).collect()
    }

    fn name(command: &Command) -> String {
        let messages = command.load().messages;
        match command {
            Command::Publish { .. } => format!("publish {messages}"),
            Command::Settle { .. } => format!("settle {messages}"),
            Command::Return { .. } => "return".to_owned(),
            Command::Lease { .. } => "lease".to_owned(),
            Command::CancelLease { .. } => "cancel".to_owned(),
            Command::Query(_) => "query".to_owned(),
            Command::Stop => "stop".to_owned(),
            Command::Order { order: Order::Rest, .. } => "rest".to_owned(),
            Command::Order { .. } => format!("order {messages}"),
        }
    }

    fn bytes(bytes: u64) -> usize {
        usize::try_from(bytes).expect("it fits")
    }

    #[test]
    fn a_commit_has_so_many_messages_and_bytes_and_the_rest_waits() {
        let inbox_of = |messages, bytes| inbox((0..3).map(|_| publish_of(messages, bytes)));
        let half = COMMIT_MAX.messages / 2;
        assert_eq!(take(&inbox_of(half, 1)).len(), 2);
        assert_eq!(take(&inbox_of(half + 1, 1)).len(), 1);
        let half = bytes(COMMIT_MAX.bytes / 2 - publish_of(1, 0).load().bytes);
        let waiting = inbox_of(1, half);
        assert_eq!(take(&waiting).len(), 2);
        assert_eq!(take(&waiting).len(), 1);
        assert!(take(&waiting).is_empty());
        assert_eq!(take(&inbox_of(1, half + 1)).len(), 1);
    }

    #[test]
    fn what_is_left_in_one_piece_is_one_and_what_brings_nothing_goes_with_it() {
        let waiting = inbox([publish(1_000), publish(1), returned()]);
        assert_eq!(take(&waiting), ["return", "publish 1000"]);
        assert_eq!(take(&waiting), ["publish 1"]);
        assert_eq!(take(&inbox([publish(1_000), Command::Stop])), ["publish 1000", "stop"]);
    }

    #[test]
    fn handlers_and_operators_do_not_wait_behind_messages() {
        let query = Command::Query(Box::new(|_| ()));
        let (ticket, consumer) = (Ticket(1), ConsumerId(1));
        let lease = Command::Lease { ticket, consumer, deliveries_max: 1, reply: oneshot::channel().0 };
        let cancel = Command::CancelLease { ticket, consumer };
        let waiting = inbox([publish(500), publish(400), settle(0), lease, publish(300), cancel, returned(), query]);
        assert!(waiting.put(order(pause())));
        assert_eq!(take(&waiting), ["settle 0", "lease", "cancel", "return", "order 0", "publish 500", "query"]);
        assert!(waiting.put(settle(0)));
        assert_eq!(take(&waiting), ["settle 0", "publish 400"]);
        assert_eq!(take(&waiting), ["publish 300"]);
    }

    #[test]
    fn queries_wait_for_nothing() {
        let query = || Command::Query(Box::new(|_| ()));
        let waiting = inbox([settle(500), settle(500), query(), query()]);
        assert_eq!(take(&waiting), ["settle 500", "query", "query"]);
        assert_eq!(take(&waiting), ["settle 500"]);
        assert_eq!(inbox([query()]).take(None).len(), 1);
        assert_eq!(inbox([query(), publish(1)]).close().len(), 2);
    }

    #[test]
    fn orders_that_publish_wait_as_messages_do() {
        let entry = entries(1, 1).remove(0);
        let name = "s".parse().expect("good");
        let fire = Order::FireSchedule { name, planned: Timestamp(1), next: None, entry };
        let waiting =
            inbox([publish(512), order(fire), order(Order::CancelJob { id: JobId::new("j").expect("good") })]);
        assert_eq!(take(&waiting), ["order 0", "publish 512"]);
        assert_eq!(take(&waiting), ["order 1"]);
    }

    #[test]
    fn publishers_with_less_than_half_go_first_in_the_next_commit() {
        let waiting = inbox([publish(500), publish(400), returned()]);
        (0..3).for_each(|_| assert!(waiting.put(settle(510))));
        assert_eq!(take(&waiting), ["return", "settle 510"]);
        assert!(waiting.put(returned()));
        assert_eq!(take(&waiting), ["publish 500"], "what handlers bring waits then, and what is behind it");
        assert_eq!(take(&waiting), ["settle 510"]);
        assert_eq!(take(&waiting), ["publish 400"]);
        assert_eq!(take(&waiting), ["settle 510", "return"]);

        // A few beside what handlers bring are not enough.
        let waiting = inbox([settle(500), settle(500), publish(10), publish(10)]);
        assert_eq!(take(&waiting), ["settle 500", "publish 10"]);
        assert!(waiting.put(publish(200)));
        assert!(waiting.put(returned()));
        assert_eq!(take(&waiting), ["publish 10", "publish 200"]);
        assert_eq!(take(&waiting), ["settle 500", "return"]);
        // Half is.
        let waiting = inbox([settle(200), publish(300), settle(300), publish(300)]);
        assert_eq!(take(&waiting), ["settle 200", "settle 300"]);
        assert_eq!(take(&waiting), ["publish 300"]);
        let waiting = inbox([settle(200), publish(300), publish(300)]);
        assert_eq!(take(&waiting), ["settle 200", "publish 300"]);
        assert!(waiting.put(settle(300)));
        assert_eq!(take(&waiting), ["settle 300"]);
    }

    #[test]
    fn what_comes_last_comes_behind_all_that_was_left_before() {
        let waiting = inbox([publish(500), publish(400), order(Order::Rest), Command::Stop, settle(0), settle(510)]);
        assert!(waiting.put(returned()));
        assert_eq!(take(&waiting), ["settle 0", "settle 510", "return"]);
        assert_eq!(take(&waiting), ["publish 500"]);
        assert!(waiting.put(settle(500)));
        assert!(waiting.put(settle(500)));
        assert_eq!(take(&waiting), ["settle 500"]);
        assert_eq!(take(&waiting), ["publish 400"]);
        assert_eq!(take(&waiting), ["settle 500", "rest", "stop"]);
        assert_eq!(take(&inbox([settle(500), settle(500), Command::Stop])), ["settle 500"]);
    }

    #[test]
    fn state_evidence_and_messages_that_are_kept_count() {
        let of = |result| Load::of_settlement(&settlement(result)).bytes;
        let write = StateWrite::Set { key: "key".to_owned(), value: "value".into() };
        let delete = StateWrite::Delete { key: "key".to_owned() };
        let add = StateWrite::Add { key: "key".to_owned(), delta: 1 };
        let state = StateAccess { writes: vec![write, delete, add], ..StateAccess::default() };
        assert_eq!(of(AttemptResult::Succeeded(Effects { published: Vec::new(), state })), 8 + 3 + 11);
        assert_eq!(of(AttemptResult::SucceededWithNext), 0);
        let failed = || AttemptResult::Failed(AttemptRecord::without_sandbox(1, Timestamp(1), Outcome::HostCrash));
        let message = entries(1, 100)[0].message.size_bytes();
        assert_eq!(of(failed()), message);
        let capsule = Settlement { capsule: Some("capsule".into()), ..settlement(failed()) };
        assert_eq!(settle_as(capsule).load(), Load { messages: 1, bytes: message + 7 });
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_either_line_and_by_what_was_left() {
        for command in [returned as fn() -> Command, || publish(1)] {
            assert_eq!(inbox([command()]).take(None).len(), 1);
            assert_eq!(inbox([command()]).taken().await.len(), 1);
        }
        let waiting = inbox([publish(500), publish(400), publish(300)]);
        assert_eq!(waiting.take(None).len(), 1);
        assert_eq!(waiting.taken().await.len(), 1);
        assert_eq!(waiting.take(None).len(), 1);
    }

    #[test]
    fn what_is_left_when_it_closes_is_given_back() {
        let waiting = inbox([publish(500), publish(400), settle(0)]);
        assert_eq!(waiting.close().len(), 3);
        assert!(!waiting.put(returned()));
    }
}

//! One subscription: a task that pulls while there is credit, and what is out.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, task::JoinHandle};
use wasmill_delivery::{
    name::{ConsumerName, Fence, QueueName, Sequence},
    time::Timestamp,
};
use wasmill_runtime::{Host, HostError, PULL_DELIVERIES_MAX, PULL_WAIT_MAX, Pulled};
use wasmill_wire::{Delivery, HostFrame, encode};

use super::{
    refusal_of_host,
    writer::{Outlet, Written},
};
use crate::http::timing::now_ms;

/// How long a subscription rests when the host has no room for more leases, which is not its own doing.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(100);

/// What a subscription has out, shared with those who settle.
pub(super) struct Taken {
    queue: QueueName,
    consumer: ConsumerName,
    credit: u32,
    /// Each with its place and when its lease is over.
    out: Mutex<BTreeMap<Fence, (Sequence, Timestamp)>>,
    room: Notify,
    /// The host has ended it; nothing goes out any more.
    ended: AtomicBool,
}

impl Taken {
    pub(super) fn queue(&self) -> &QueueName {
        &self.queue
    }

    pub(super) fn consumer(&self) -> &ConsumerName {
        &self.consumer
    }

    /// These are settled, or their leases are over.
    pub(super) fn are_back(&self, fences: impl IntoIterator<Item = Fence>) {
        let mut out = self.out();
        for fence in fences {
            out.remove(&fence);
        }
        drop(out);
        self.room.notify_one();
    }

    /// The lease was extended.
    pub(super) fn is_held_until(&self, fence: Fence, until: Timestamp) {
        if let Some((_, lease_until)) = self.out().get_mut(&fence) {
            *lease_until = until;
        }
    }

    /// How many more may go out; or when to look again, as the host takes back what is not settled in time.
    fn free(&self, now: Timestamp) -> Result<u32, Option<u64>> {
        let mut out = self.out();
        let used = u32::try_from(out.len()).unwrap_or(u32::MAX);
        if used < self.credit {
            return Ok(self.credit - used);
        }
        out.retain(|_, (_, until)| *until > now);
        match self.credit.saturating_sub(u32::try_from(out.len()).unwrap_or(u32::MAX)) {
            0 => Err(out.values().map(|(_, until)| until.ms_since(now)).min()),
            free => Ok(free),
        }
    }

    fn is_out(&self, pulled: &[Pulled]) {
        self.out().extend(pulled.iter().map(|pulled| (pulled.fence, (pulled.sequence, pulled.lease_until))));
    }

    fn take_all(&self) -> Vec<(Sequence, Fence)> {
        std::mem::take(&mut *self.out()).into_iter().map(|(fence, (sequence, _))| (sequence, fence)).collect()
    }

    fn out(&self) -> MutexGuard<'_, BTreeMap<Fence, (Sequence, Timestamp)>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(super) struct Subscription {
    host: Host,
    taken: Arc<Taken>,
    pulling: JoinHandle<()>,
}

impl Subscription {
    pub(super) fn start(
        host: &Host,
        outlet: Outlet,
        subscription: u64,
        (queue, consumer): (QueueName, ConsumerName),
        credit: u32,
    ) -> Self {
        let taken = Arc::new(Taken {
            queue,
            consumer,
            credit,
            out: Mutex::default(),
            room: Notify::new(),
            ended: AtomicBool::new(false),
        });
        let pulling = tokio::spawn(pull(host.clone(), Arc::clone(&taken), outlet, subscription));
        Self { host: host.clone(), taken, pulling }
    }

    pub(super) fn taken(&self) -> Arc<Taken> {
        Arc::clone(&self.taken)
    }

    /// Whether the host has ended it, and the client has nothing of it to settle.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.taken.ended.load(Ordering::Acquire) && self.taken.out().values().all(|(_, until)| *until <= now)
    }

    /// Send no more.
    pub(super) fn stop(&self) {
        self.pulling.abort();
    }

    /// The client goes in good order: what it holds goes back and burns no attempt.
    pub(super) async fn release(self) -> Result<(), HostError> {
        let (host, taken) = self.stopped().await;
        host.give_back_pulled(taken.queue(), taken.consumer(), &taken.take_all()).await
    }

    /// The client is gone: the leases of what it holds are over.
    pub(super) async fn expire(self) -> Result<(), HostError> {
        let (host, taken) = self.stopped().await;
        host.expire_pulled(taken.queue(), taken.consumer(), &taken.take_all()).await
    }

    /// Once nothing more goes out.
    async fn stopped(self) -> (Host, Arc<Taken>) {
        self.pulling.abort();
        let _ = self.pulling.await;
        (self.host, self.taken)
    }
}

async fn pull(host: Host, taken: Arc<Taken>, outlet: Outlet, subscription: u64) {
    loop {
        let free = match taken.free(Timestamp(now_ms())) {
            Ok(free) => free,
            Err(next_ms) => {
                let look_again = Duration::from_millis(next_ms.unwrap_or(u64::MAX >> 16).max(1));
                let _ = tokio::time::timeout(look_again, taken.room.notified()).await;
                continue;
            }
        };
        let frame = match host.pull(&taken.queue, &taken.consumer, free.min(PULL_DELIVERIES_MAX), PULL_WAIT_MAX).await {
            Ok(pulled) if pulled.is_empty() => continue,
            Ok(pulled) => {
                taken.is_out(&pulled);
                HostFrame::Deliveries { subscription, deliveries: pulled.iter().map(delivery).collect() }
            }
            Err(HostError::TooManyPulled | HostError::TooManyPulls) => {
                tokio::time::sleep(NO_ROOM_PAUSE).await;
                continue;
            }
            Err(error) => {
                taken.ended.store(true, Ordering::Release);
                let ended = HostFrame::Ended { subscription, refusal: refusal_of_host(error) };
                let _ = outlet.send(Written::Frame(encode(&ended))).await;
                return;
            }
        };
        if outlet.send(Written::Frame(encode(&frame))).await.is_err() {
            return;
        }
    }
}

fn delivery(pulled: &Pulled) -> Delivery {
    let message = &pulled.message;
    Delivery {
        sequence: pulled.sequence.0,
        fence: pulled.fence.0,
        attempt: pulled.attempt,
        lease_until_ms: pulled.lease_until.0,
        id: message.id.as_str().to_owned(),
        topic: message.topic.as_str().to_owned(),
        key: message.key.as_ref().map(|key| key.as_str().to_owned()),
        content_type: message.content_type.clone(),
        headers: message.headers.clone(),
        published_at_ms: message.published_at.0,
        data: message.data.clone(),
    }
}

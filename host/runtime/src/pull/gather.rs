//! Gathering deliveries for one pull. What is gathered and not handed out goes back by itself.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio::time::Instant;
use wasmill_delivery::{
    effect::OrderRefusal,
    input::{AttemptResult, Lease},
    name::ConsumerId,
    outcome::Outcome,
    record::{AttemptRecord, PauseReason},
};

use super::{Known, PULL_BYTES_MAX, Pulled, Pulls, table::Held};
use crate::{
    broker::{Broker as _, Leased, Settled},
    draft::now,
    embedded::EmbeddedRun,
    error::HostError,
};

/// Deliveries that are leased at once. Each run waits for a commit.
const RUN_DELIVERIES_MAX: u32 = 512;
/// A pull that does not wait looks so often: for a consumer with an order, the engine reads the log in one step and
/// leases in the next.
const LOOKS: usize = 2;

/// Deliveries that were leased and not handed out yet. They are given back when this is dropped.
pub(super) struct Gathered<'a> {
    pulls: &'a Pulls,
    consumer: &'a Known,
    bytes: u64,
    pub(super) deliveries: Vec<Leased<Lease>>,
}

impl Pulls {
    /// Lease up to `deliveries_max`; none when there are none until `until`.
    async fn lease(
        &self,
        consumer: ConsumerId,
        deliveries_max: u32,
        until: Instant,
    ) -> Result<Option<EmbeddedRun>, HostError> {
        let mut lease = pin!(self.broker.lease(consumer, deliveries_max));
        let mut answer = tokio::select! {
            biased;
            answer = &mut lease => Some(answer),
            () = tokio::time::sleep_until(until) => None,
        };
        for _ in 0..LOOKS {
            if answer.is_none() {
                // The pump answers what was asked before, and only then this.
                self.broker.query(|_| ()).await?;
                answer = (&mut lease).now_or_never();
            }
        }
        match answer {
            None => Ok(None),
            Some(Ok(Some(run))) => Ok(Some(run)),
            Some(Ok(None)) => Err(OrderRefusal::ConsumerGone.into()),
            Some(Err(HostError::Store(error))) => {
                // A message is damaged. Handing out others first would hide it.
                let detail = error.to_string();
                tracing::error!(consumer = consumer.0, %error, "paused: a message cannot be read");
                self.broker.pause(consumer, PauseReason::Store { detail }).await?;
                Err(HostError::Store(error))
            }
            Some(Err(error)) => Err(error),
        }
    }

    /// Lease until there is something, `until` is over, or the pull has all it may have.
    pub(super) async fn gather<'a>(
        &'a self,
        consumer: &'a Known,
        deliveries_max: u32,
        until: Instant,
    ) -> Result<Gathered<'a>, HostError> {
        let mut gathered = Gathered { pulls: self, consumer, bytes: 0, deliveries: Vec::new() };
        loop {
            let missing = (deliveries_max as usize).saturating_sub(gathered.deliveries.len());
            let asked = u32::try_from(missing).unwrap_or(u32::MAX).min(RUN_DELIVERIES_MAX);
            if asked == 0 || gathered.is_heavy() {
                return Ok(gathered);
            }
            let until = if gathered.deliveries.is_empty() { until } else { Instant::now() };
            let Some(run) = self.lease(consumer.id, asked, until).await? else { return Ok(gathered) };
            let (leased, held_before) = (run.size_hint().0, gathered.deliveries.len());
            gathered.take(run);
            let all_there_was = leased < asked as usize;
            if all_there_was && gathered.deliveries.len() > held_before {
                return Ok(gathered);
            }
        }
    }

    /// Put what was gathered into the table, as far as there is room. What is left goes back.
    pub(super) fn hand_out(&self, mut gathered: Gathered<'_>) -> Vec<Pulled> {
        let Known { id: consumer, lease_ms, .. } = *gathered.consumer;
        let (since, started_at) = (Instant::now(), now());
        let deadline = since + Duration::from_millis(lease_ms);
        let lease_until = started_at.plus_ms(lease_ms);
        let mut pulled = Vec::with_capacity(gathered.deliveries.len());
        let mut table = self.table();
        let before = table.next_deadline();
        let mut leased = std::mem::take(&mut gathered.deliveries).into_iter();
        while table.has_room()
            && let Some(Leased { token: lease, message, sequence, attempt, earlier }) = leased.next()
        {
            pulled.push(Pulled { sequence, fence: lease.fence, attempt, lease_until, message: Arc::clone(&message) });
            let place = Arc::clone(&gathered.consumer.place);
            table.put(Held { consumer, place, lease, message, earlier, started_at, since, deadline });
        }
        let is_sooner = table.next_deadline() != before;
        drop(table);
        if is_sooner {
            self.sooner.notify_one();
        }
        gathered.deliveries = leased.collect();
        pulled
    }
}

impl Gathered<'_> {
    fn is_heavy(&self) -> bool {
        self.bytes >= PULL_BYTES_MAX
    }

    /// Take what is not expired and not too much; the rest of the run goes back by itself.
    fn take(&mut self, mut run: EmbeddedRun) {
        let mut expired = Vec::new();
        while !self.is_heavy()
            && let Some(leased) = run.next()
        {
            if leased.message.expires_at.is_some() && leased.message.is_expired(now()) {
                let Leased { token, message, sequence, attempt, earlier } = leased;
                let record = AttemptRecord::without_sandbox(attempt, now(), Outcome::Expired);
                let result = AttemptResult::Failed(record);
                let sequence = sequence.original();
                expired.push(Settled { token, message, sequence, earlier, result, capsule: None });
            } else {
                self.bytes += leased.message.size_bytes();
                self.deliveries.push(leased);
            }
        }
        if !expired.is_empty() {
            // Whoever pulls need not wait for that.
            let Known { id, place, .. } = self.consumer;
            tokio::spawn(self.pulls.settle(*id, Arc::clone(place), expired));
        }
    }
}

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        let unused = self.deliveries.drain(..).map(|delivery| delivery.token).collect();
        self.pulls.broker.give_back(self.consumer.id, unused);
    }
}

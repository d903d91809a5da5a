//! The seam between dispatch and whatever keeps the messages.
//!
//! Dispatch leases runs of deliveries, has them tried, and settles them. It does not know whether an engine on an
//! embedded store or a replicated log on other machines is behind it.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use wasmill_delivery::{
    effect::SettleAnswer,
    input::AttemptResult,
    message::Message,
    name::{ConsumerId, Sequence},
    record::{AttemptRecord, PauseReason},
};

use crate::error::HostError;

/// Where deliveries come from and go back to.
pub trait Broker: Send + Sync + 'static {
    /// What a delivery is settled or given back with.
    type Token: Send + 'static;
    /// A run of deliveries. Those that are not taken out of it are given back when it is dropped.
    type Run: Iterator<Item = Leased<Self::Token>> + Send + 'static;

    /// Wait for deliveries, at most `deliveries_max` of them; none when the consumer is gone.
    fn lease(
        &self,
        consumer: ConsumerId,
        deliveries_max: u32,
    ) -> impl Future<Output = Result<Option<Self::Run>, HostError>> + Send + 'static;

    /// Settle what was tried, in the order it ran, in one commit. The answers come in the same order, and only
    /// once they are durable. The settling goes on when the future is dropped.
    fn settle(
        &self,
        consumer: ConsumerId,
        settled: Vec<Settled<Self::Token>>,
    ) -> impl Future<Output = Result<Vec<SettleAnswer>, HostError>> + Send + 'static;

    /// Give back deliveries that were not tried. No attempt is burned.
    fn give_back(&self, consumer: ConsumerId, tokens: Vec<Self::Token>);

    /// Stop giving out deliveries of this consumer until somebody resumes it.
    fn pause(&self, consumer: ConsumerId, reason: PauseReason) -> impl Future<Output = Result<(), HostError>> + Send;
}

/// One delivery, leased for one attempt.
#[derive(Debug)]
pub struct Leased<T> {
    /// What it is settled or given back with.
    pub token: T,
    /// The message.
    pub message: Arc<Message>,
    /// Its place in the queue.
    pub sequence: Sequence,
    /// Which run it is, from 1.
    pub attempt: u32,
    /// Earlier attempts that did not succeed.
    pub earlier: Vec<AttemptRecord>,
}

/// One delivery that was tried.
#[derive(Debug)]
pub struct Settled<T> {
    /// What came with the lease.
    pub token: T,
    /// The message.
    pub message: Arc<Message>,
    /// Its place in the queue.
    pub sequence: Sequence,
    /// Earlier attempts, as they came with the lease.
    pub earlier: Vec<AttemptRecord>,
    /// What came of it.
    pub result: AttemptResult,
    /// The inputs of an attempt that failed, kept if it is the last one.
    pub capsule: Option<Bytes>,
}

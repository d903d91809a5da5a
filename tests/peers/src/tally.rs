//! Which messages were handled, how often, and acknowledged.

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

/// Counts of one measurement.
pub struct Tally {
    messages: u64,
    /// How often each consumer handled each message.
    seen: Vec<AtomicU8>,
    handled: AtomicU64,
    acknowledged: AtomicU64,
    strange: AtomicU64,
    /// What is waited for: to be woken for each message would cost more than the message.
    wanted: AtomicU64,
    moved: Notify,
}

impl Tally {
    pub fn new(messages: u64, consumers: u32) -> Self {
        let seen = (0..messages * u64::from(consumers)).map(|_| AtomicU8::new(0)).collect();
        let zero = || AtomicU64::new(0);
        Self {
            messages,
            seen,
            handled: zero(),
            acknowledged: zero(),
            strange: zero(),
            wanted: AtomicU64::new(u64::MAX),
            moved: Notify::new(),
        }
    }

    /// A consumer has handled a message.
    pub fn handled(&self, consumer: u32, number: Option<u64>) {
        match number.filter(|number| *number < self.messages) {
            Some(number) => {
                let seen = &self.seen[(u64::from(consumer) * self.messages + number) as usize];
                if seen.fetch_add(1, Ordering::Relaxed) == u8::MAX {
                    seen.store(u8::MAX, Ordering::Relaxed);
                }
            }
            None => drop(self.strange.fetch_add(1, Ordering::Relaxed)),
        }
        let handled = self.handled.fetch_add(1, Ordering::Release) + 1;
        self.wake(handled);
    }

    pub fn acknowledged(&self, messages: u64) {
        let acknowledged = self.acknowledged.fetch_add(messages, Ordering::Release) + messages;
        self.wake(acknowledged);
    }

    fn wake(&self, count: u64) {
        if count >= self.wanted.load(Ordering::Relaxed) {
            self.moved.notify_waiters();
        }
    }

    /// Wait until so many were handled.
    pub async fn wait_handled(&self, count: u64) {
        self.wait(&self.handled, count).await;
    }

    /// Wait until so many were acknowledged.
    pub async fn wait_acknowledged(&self, count: u64) {
        self.wait(&self.acknowledged, count).await;
    }

    async fn wait(&self, counter: &AtomicU64, count: u64) {
        self.wanted.store(count, Ordering::Relaxed);
        loop {
            let moved = self.moved.notified();
            if counter.load(Ordering::Acquire) >= count {
                return;
            }
            // The timeout is for a message that was counted before the count was known to be wanted.
            let _ = tokio::time::timeout(Duration::from_millis(1), moved).await;
        }
    }

    /// Messages that some consumer did not handle, and such that it handled more than once.
    pub fn lost_and_doubled(&self) -> (u64, u64) {
        let count = |wanted: fn(u8) -> bool| {
            self.seen.iter().filter(|seen| wanted(seen.load(Ordering::Relaxed))).count() as u64
        };
        (count(|seen| seen == 0), count(|seen| seen > 1) + self.strange.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loss_and_doubles_are_told() {
        let tally = Tally::new(3, 2);
        for (consumer, number) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 0)] {
            tally.handled(consumer, Some(number));
        }
        tally.wait_handled(5).await;
        assert_eq!(tally.lost_and_doubled(), (2, 1));
        tally.handled(0, None);
        assert_eq!(tally.lost_and_doubled(), (2, 2));
    }
}

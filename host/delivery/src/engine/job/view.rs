//! What an operator may see of jobs.

use std::{collections::BTreeMap, ops::Bound};

use crate::{
    engine::Engine,
    input::Lease,
    job::{JobDelivery, JobId, JobRecord, JobState},
};

impl Engine {
    /// How many jobs are known.
    #[must_use]
    pub fn jobs_len(&self) -> u64 {
        self.jobs.records.len() as u64
    }

    /// A job as it is now: deliveries that a lease is out for are running.
    #[must_use]
    pub fn job(&self, id: &JobId) -> Option<JobRecord> {
        self.jobs.records.get(id).map(|record| self.as_it_is(record))
    }

    /// Jobs in the order of their ids, those after `after`, at most `limit`; with a state, those in it.
    #[must_use]
    pub fn jobs(&self, after: Option<&JobId>, state: Option<JobState>, limit: usize) -> Vec<JobRecord> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.jobs.records.range((from, Bound::Unbounded)).map(|(_, record)| record);
        let wanted = later.filter(|record| state.is_none_or(|state| self.job_state(record) == state));
        wanted.take(limit).map(|record| self.as_it_is(record)).collect()
    }

    /// How many jobs are in which state.
    #[must_use]
    pub fn jobs_by_state(&self) -> BTreeMap<JobState, u64> {
        let mut counts = BTreeMap::new();
        for record in self.jobs.records.values() {
            *counts.entry(self.job_state(record)).or_default() += 1;
        }
        counts
    }

    fn lease_of(&self, delivery: &JobDelivery) -> Option<&Lease> {
        let consumer = self.consumers.get(&delivery.consumer).filter(|_| !delivery.state.is_end())?;
        consumer.in_flight.get(&delivery.sequence).map(|in_flight| &in_flight.lease)
    }

    fn job_state(&self, record: &JobRecord) -> JobState {
        let state = record.state();
        let runs = !state.is_end() && record.deliveries.iter().any(|delivery| self.lease_of(delivery).is_some());
        if runs { JobState::Running } else { state }
    }

    fn as_it_is(&self, record: &JobRecord) -> JobRecord {
        let mut record = record.clone();
        for delivery in &mut record.deliveries {
            if let Some(lease) = self.lease_of(delivery) {
                delivery.attempts = lease.attempt;
                delivery.state = JobState::Running;
                delivery.due = None;
            }
        }
        record
    }
}

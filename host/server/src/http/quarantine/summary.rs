//! What is broken, in one look: quarantined deliveries by what they have in common.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::Serialize;
use wasmill_delivery::{
    name::{HandlerName, QuarantineId},
    record::{QuarantineReason, QuarantineRecord},
};
use wasmill_runtime::HostError;

use super::filter::{FilterQuery, fingerprint};
use crate::http::{
    App,
    extract::{Search, blocking},
    problem::Problem,
};

/// Groups of one summary. Deliveries of further groups are counted together.
const GROUPS_MAX: usize = 1_000;

/// All that match, counted.
#[derive(Serialize)]
pub(super) struct Summary {
    quarantined: u64,
    /// Those of most deliveries first.
    groups: Vec<Group>,
    /// Deliveries of groups beyond the limit.
    ungrouped: u64,
}

/// Deliveries that failed in one way.
#[derive(Serialize)]
struct Group {
    handler: Option<HandlerName>,
    reason: &'static str,
    fingerprint: Option<String>,
    count: u64,
    oldest_at_ms: u64,
    newest_at_ms: u64,
    /// The newest, to look at.
    example: QuarantineId,
    detail: Option<String>,
}

type Kind = (Option<HandlerName>, QuarantineReason, Option<String>);

#[derive(Default)]
struct Count {
    groups: BTreeMap<Kind, Group>,
    quarantined: u64,
    ungrouped: u64,
}

pub(super) async fn show(State(app): State<App>, Search(query): Search<FilterQuery>) -> Result<Json<Summary>, Problem> {
    let summary = blocking(move || {
        let mut count = Count::default();
        query.filter().each(&app.host, |record| {
            count.add(&record);
            true
        })?;
        Ok::<_, HostError>(count.finish())
    });
    summary.await.map(Json)
}

impl Count {
    fn add(&mut self, record: &QuarantineRecord) {
        self.quarantined += 1;
        let at_ms = record.quarantined_at.0;
        let kind = (record.handler.clone(), record.reason, fingerprint(record));
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&kind) {
            self.ungrouped += 1;
            return;
        }
        let group = self.groups.entry(kind).or_insert_with_key(|(handler, reason, fingerprint)| Group {
            handler: handler.clone(),
            reason: reason.name(),
            fingerprint: fingerprint.clone(),
            count: 0,
            oldest_at_ms: at_ms,
            newest_at_ms: at_ms,
            example: record.id,
            detail: None,
        });
        group.count += 1;
        group.oldest_at_ms = group.oldest_at_ms.min(at_ms);
        if at_ms >= group.newest_at_ms {
            group.newest_at_ms = at_ms;
            group.example = record.id;
            group.detail = record.attempts.last().map(|attempt| attempt.outcome.describe());
        }
    }

    fn finish(self) -> Summary {
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        Summary { quarantined: self.quarantined, groups, ungrouped: self.ungrouped }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmill_delivery::{
        message::{Lineage, Message},
        name::{ConsumerId, ConsumerName, MessageId, QueueName, Sequence},
        time::Timestamp,
        topic::Topic,
    };

    use super::*;

    #[test]
    fn groups_have_a_limit_and_nothing_is_left_out_of_the_count() {
        let mut count = Count::default();
        for n in 0..GROUPS_MAX as u64 + 5 {
            let message = Message {
                id: MessageId::new("m").expect("an id"),
                topic: Topic::new("t").expect("a topic"),
                key: None,
                content_type: None,
                headers: Vec::new(),
                data: "".into(),
                published_at: Timestamp(1),
                expires_at: None,
                lineage: Lineage::default(),
            };
            count.add(&QuarantineRecord {
                id: QuarantineId(n),
                queue: QueueName::new("q").expect("a name"),
                consumer_id: ConsumerId(1),
                consumer: ConsumerName::new("c").expect("a name"),
                handler: Some(HandlerName::new(format!("h{n}")).expect("a name")),
                sequence: Sequence(n),
                message: Arc::new(message),
                reason: QuarantineReason::Rejected,
                attempts: Vec::new(),
                attempts_made: 1,
                quarantined_at: Timestamp(n),
                capsule: wasmill_delivery::record::CapsuleKept::None,
            });
        }
        let summary = count.finish();
        assert_eq!(summary.groups.len(), GROUPS_MAX);
        assert_eq!((summary.quarantined, summary.ungrouped), (GROUPS_MAX as u64 + 5, 5));
    }
}

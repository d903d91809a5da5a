//! Settling by frames.

use std::sync::Arc;

use wasmill_delivery::name::{Fence, Sequence};
use wasmill_runtime::{Host, PulledOutcome, PulledSettlement};
use wasmill_wire::{Exception, Failure, HostFrame, Settlement};

use super::{failed, subscription::Taken};
use crate::http::{problem::Problem, pull::Answer};

/// Settle in the order given, in one commit. The first poll hands it to the host.
pub(super) async fn settle(host: Host, taken: Arc<Taken>, request: u64, settlements: Vec<Settlement>) -> HostFrame {
    let leases: Vec<_> =
        settlements.iter().map(|Settlement(sequence, fence, _)| (Sequence(*sequence), Fence(*fence))).collect();
    let settlements = settlements.into_iter().map(|Settlement(sequence, fence, failure)| PulledSettlement {
        sequence: Sequence(sequence),
        fence: Fence(fence),
        outcome: outcome(failure),
    });
    let answers = match host.settle_pulled(taken.queue(), taken.consumer(), settlements.collect()).await {
        Ok(answers) => answers,
        Err(error) => return failed(request, error),
    };
    // Whatever became of them, they are not out any more.
    taken.are_back(leases.iter().map(|(_, fence)| *fence));
    let judged = (0..).zip(leases).zip(answers).filter_map(|((index, (sequence, _)), answer)| {
        let exception = match Answer::new(sequence, &answer) {
            Ok(Answer::Quarantined { quarantine_id, .. }) => Exception::Quarantined { id: quarantine_id.0 },
            Ok(_) => return None,
            Err(problem) => Exception::Refused(problem.into()),
        };
        Some((index, exception))
    });
    HostFrame::Settled { request, exceptions: judged.collect() }
}

fn outcome(failure: Option<Failure>) -> PulledOutcome {
    match failure {
        None => PulledOutcome::Ack,
        Some(Failure::Nack { after_ms, reason }) => PulledOutcome::Nack { after_ms, reason },
        Some(Failure::Defer { after_ms }) => PulledOutcome::Defer { after_ms },
        Some(Failure::Reject { reason }) => PulledOutcome::Reject { reason },
    }
}

/// Hold deliveries for longer.
pub(super) async fn extend(
    host: Host,
    taken: Arc<Taken>,
    request: u64,
    leases: Vec<(u64, u64)>,
    lease_ms: Option<u64>,
) -> HostFrame {
    let mut exceptions = Vec::new();
    for (index, (sequence, fence)) in (0..).zip(leases) {
        let lease = (Sequence(sequence), Fence(fence));
        match host.extend_pulled(taken.queue(), taken.consumer(), lease, lease_ms).await {
            Ok(Some(until)) => taken.is_held_until(lease.1, until),
            Ok(None) => {
                taken.are_back([lease.1]);
                let detail = format!("the lease of delivery {sequence} with that fence is over");
                let problem = Problem::new(axum::http::StatusCode::CONFLICT, "stale-fence", detail);
                exceptions.push((index, Exception::Refused(problem.into())));
            }
            Err(error) => return failed(request, error),
        }
    }
    HostFrame::Settled { request, exceptions }
}

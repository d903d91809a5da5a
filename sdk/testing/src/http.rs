//! Answers to what a handler sends, and what it sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmill_delivery::name::Sequence;
use wasmill_runtime::simulated::{PlannedAnswer, SentRequest, SimulatedFailure, SimulatedHttp};

/// What comes of requests of one method to one URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `GET` and so on; none for any.
    pub method: Option<String>,
    /// The whole URL.
    pub url: String,
    /// What comes of it, and when.
    pub answer: PlannedAnswer,
    /// For how many requests; none for all that come.
    pub times: Option<u64>,
}

/// The plans of one test, used up in their order. What an attempt used that a crash undid is given back: which attempt used it
/// is known by when that ended, so for certain only while one runs at a time.
#[derive(Clone, Default)]
pub(crate) struct PlannedHttp(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    plans: Vec<Plan>,
    requests: Vec<SentRequest>,
    /// Answers that were used and not yet for good: of which plan, and by which delivery once its attempt has ended.
    uses: Vec<(usize, Option<Sequence>)>,
}

impl PlannedHttp {
    pub(crate) fn add(&self, plan: Plan) {
        self.inner().plans.push(plan);
    }

    pub(crate) fn requests(&self) -> Vec<SentRequest> {
        self.inner().requests.clone()
    }

    /// An attempt of this delivery has ended: what was used until now was used by it.
    pub(crate) fn ended(&self, sequence: Sequence) {
        for (_, by) in &mut self.inner().uses {
            by.get_or_insert(sequence);
        }
    }

    /// What this delivery used is used for good.
    pub(crate) fn settled(&self, sequence: Sequence) {
        self.inner().uses.retain(|(_, by)| *by != Some(sequence));
    }

    /// The host has died, and all attempts that are not settled will be made again.
    pub(crate) fn give_back(&self) {
        let mut inner = self.inner();
        for (plan, _) in std::mem::take(&mut inner.uses) {
            let plan = &mut inner.plans[plan];
            plan.times = plan.times.map(|times| times + 1);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimulatedHttp for PlannedHttp {
    fn answer(&self, request: SentRequest) -> PlannedAnswer {
        let mut inner = self.inner();
        let fits = |plan: &Plan| {
            plan.url == request.url
                && plan.method.as_ref().is_none_or(|method| *method == request.method)
                && plan.times != Some(0)
        };
        let answer = inner.plans.iter().position(fits).map(|number| {
            inner.uses.push((number, None));
            let plan = &mut inner.plans[number];
            plan.times = plan.times.map(|times| times - 1);
            plan.answer.clone()
        });
        let problem = format!("the test has no answer (left) to {} {}", request.method, request.url);
        inner.requests.push(request);
        let unplanned =
            || PlannedAnswer { after: std::time::Duration::ZERO, result: Err(SimulatedFailure::Unplanned(problem)) };
        answer.unwrap_or_else(unplanned)
    }
}

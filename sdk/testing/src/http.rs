//! Answers to what a handler sends, and what it sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// The plans of one test, used up in their order.
#[derive(Clone, Default)]
pub(crate) struct PlannedHttp(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    plans: Vec<Plan>,
    requests: Vec<SentRequest>,
}

impl PlannedHttp {
    pub(crate) fn add(&self, plan: Plan) {
        self.inner().plans.push(plan);
    }

    pub(crate) fn requests(&self) -> Vec<SentRequest> {
        self.inner().requests.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimulatedHttp for PlannedHttp {
    fn answer(&self, request: SentRequest) -> PlannedAnswer {
        let mut inner = self.inner();
        let fits = |plan: &&mut Plan| {
            plan.url == request.url
                && plan.method.as_ref().is_none_or(|method| *method == request.method)
                && plan.times != Some(0)
        };
        let answer = inner.plans.iter_mut().find(fits).map(|plan| {
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

//! Making the fault store fail, go away, and stop a process at a request.
//!
//! Does not own: what a plan or a point does. A change holds for every request that is read from then on.

use std::time::Duration;

use super::{
    handle::FaultyS3,
    log::LoggedRequest,
    plan::{Active, Plan},
    point::{Point, When},
};
use crate::deadline::wait_until;

impl FaultyS3 {
    /// Has these faults from now on, instead of earlier ones; ends their stalls.
    pub fn set_faults(&self, plan: Plan) {
        self.shared.change(|state| {
            state.plan = Active::new(plan);
            state.plans += 1;
        });
    }

    /// Has no faults and no outage from now on.
    pub fn clear_faults(&self) {
        self.set_faults(Plan::default());
        self.end_outage();
    }

    /// Knows no ranges any more: a request for one is answered with the whole object.
    pub fn forget_ranges(&self) {
        self.shared.change(|state| state.bucket.whole_only = true);
    }

    /// Resets all connections, and new ones at once, until the outage is ended.
    pub fn begin_outage(&self) {
        self.shared.change(|state| state.outage = true);
    }

    /// Answers again.
    pub fn end_outage(&self) {
        self.shared.change(|state| state.outage = false);
    }

    /// Stops at the request of this number, counted from now.
    pub fn stop_at(&self, number: u64, when: When) {
        self.stop_at_where(number, when, |_| true);
    }

    /// Stops at the request of this number among those of one process.
    pub fn stop_at_of(&self, who: &str, number: u64, when: When) {
        let who = who.to_owned();
        self.stop_at_where(number, when, move |request| request.who == who);
    }

    /// Stops at the request of this number among those that the filter names. It and all later ones that the filter
    /// names are held until `release`; others go on.
    pub fn stop_at_where(
        &self,
        number: u64,
        when: When,
        filter: impl Fn(&LoggedRequest) -> bool + Send + 'static,
    ) {
        assert!(number > 0, "requests count from 1");
        self.shared.change(|state| {
            state.releases += 1;
            state.point = Some(Point::new(number, when, Box::new(filter)));
        });
    }

    /// The request that is held, when the point was reached.
    pub fn held(&self) -> Option<LoggedRequest> {
        self.shared.lock().point.as_ref()?.held.clone()
    }

    /// Waits until the point is reached.
    #[track_caller]
    pub fn wait_until_held(&self, limit: Duration) -> LoggedRequest {
        wait_until("a held request", limit, || {
            self.held().ok_or_else(|| format!("after {} requests", self.requests()))
        })
    }

    /// Removes the point; held requests are dropped without an answer.
    pub fn release(&self) {
        self.shared.change(|state| {
            state.releases += 1;
            state.point = None;
        });
    }
}

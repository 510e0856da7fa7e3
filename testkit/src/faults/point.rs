//! Points: the request at which a process is stopped, so that a test can kill it there.
//!
//! Does not own: which requests there are (`log`) or killing anybody. From the held request on, whatever else the point
//! counts is held too, so the store stays exactly as it was at that point; others go on.

use super::log::LoggedRequest;

/// On which side of its effect a request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before it has any.
    Before,
    /// When it is done, and nobody was told.
    AfterApply,
}

/// Which requests a point counts.
pub(super) type Filter = Box<dyn Fn(&LoggedRequest) -> bool + Send>;

/// A point that was set.
pub(super) struct Point {
    left: u64,
    when: When,
    filter: Filter,
    pub held: Option<LoggedRequest>,
}

impl Point {
    pub fn new(number: u64, when: When, filter: Filter) -> Self {
        Self { left: number, when, filter, held: None }
    }

    /// Whether this request is to be held.
    pub fn meets(&mut self, request: &LoggedRequest) -> Option<When> {
        if !(self.filter)(request) {
            return None;
        }
        self.left = self.left.saturating_sub(1);
        match (self.left, &self.held) {
            (0, None) => {
                self.held = Some(request.clone());
                Some(self.when)
            }
            (0, Some(_)) => Some(When::Before),
            _ => None,
        }
    }
}

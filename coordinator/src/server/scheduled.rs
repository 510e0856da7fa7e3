//! Runs that the coordinator starts by itself.
//!
//! Does not own: when. They are tasks like those of operators.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Shared, schedules::Last};
use crate::{run::RunRequest, schedule::StartRun};

impl StartRun for Arc<Shared> {
    fn start(&self, schedule: &str, request: RunRequest) {
        let task = self.start_run(self.options(), request);
        self.lasts().insert(schedule.to_owned(), Last::Started(task));
    }

    fn left_out(&self, schedule: &str, due: Timestamp, state: &'static str, reason: String) {
        self.lasts().insert(schedule.to_owned(), Last::NotStarted { due, state, reason });
    }

    fn busy(&self) -> Option<String> {
        self.tasks.any().map(|name| format!("run {name}"))
    }
}

//! Runs that the coordinator starts by itself.
//!
//! Does not own: when. They are tasks like those of operators.

use std::sync::Arc;

use jiff::Timestamp;
use packhorse_model::{ErrorKind, Problem, Subject};

use super::{Shared, schedules::Last};
use crate::{
    run::RunRequest,
    schedule::{StartRun, Started},
};

impl StartRun for Arc<Shared> {
    fn start(&self, schedule: &str, request: RunRequest) -> Started {
        let task = self.start_run(self.options(), request);
        self.lasts().insert(schedule.to_owned(), Last::Started(Arc::clone(&task)));
        Box::pin(async move {
            let json = task.board.wait().await?;
            serde_json::from_str(&json).map_err(|e| {
                Problem::new(ErrorKind::Internal, Subject::Coordinator, "read summary").answered(e)
            })
        })
    }

    fn left_out(&self, schedule: &str, due: Timestamp, state: &'static str, reason: String) {
        self.lasts().insert(schedule.to_owned(), Last::NotStarted { due, state, reason });
    }

    fn busy(&self) -> Option<String> {
        self.tasks.any().map(|name| format!("run {name}"))
    }
}

//! Runs that the coordinator starts by itself.
//!
//! Does not own: when. They are tasks like those of operators.

use std::sync::Arc;

use packhorse_model::{ErrorKind, Problem, Subject};

use super::Shared;
use crate::{
    run::RunRequest,
    schedule::{StartRun, Started},
};

impl StartRun for Arc<Shared> {
    fn start(&self, request: RunRequest) -> Started {
        let task = self.start_run(self.options(), request);
        Box::pin(async move {
            let json = task.board.wait().await?;
            serde_json::from_str(&json).map_err(|e| {
                Problem::new(ErrorKind::Internal, Subject::Coordinator, "read summary").answered(e)
            })
        })
    }

    fn busy(&self) -> Option<String> {
        self.tasks.any().map(|name| format!("run {name}"))
    }
}

//! Runs that the coordinator starts by itself.
//!
//! Does not own: when. They are tasks like those of operators, and nobody reads their progress.

use std::sync::Arc;

use packhorse_model::{ErrorKind, Problem, Subject};
use packhorse_proto::problem_of_status;

use super::{Shared, json};
use crate::{
    run::{self, RunRequest},
    schedule::{StartRun, Started},
};

impl StartRun for Arc<Shared> {
    fn start(&self, request: RunRequest) -> Started {
        let (shared, options) = (Arc::clone(self), self.options.now());
        let work = |run, board, cancel| async move {
            json(&run::create(&shared.vault, &options, request, run, &board, &cancel).await?)
        };
        let (_name, mut events) = self.tasks.start(|_| None, Some, work);
        Box::pin(async move {
            let unread = |answer: String| {
                Problem::new(ErrorKind::Internal, Subject::Coordinator, "read summary").answered(answer)
            };
            while let Some(event) = events.recv().await {
                match event {
                    Ok(None) => {}
                    Ok(Some(json)) => return serde_json::from_str(&json).map_err(|e| unread(e.to_string())),
                    Err(status) => {
                        return Err(problem_of_status(&status, Subject::Coordinator, "this process"));
                    }
                }
            }
            Err(unread("the run ended without a result".to_owned()))
        })
    }

    fn busy(&self) -> Option<String> {
        self.tasks.any().map(|name| format!("run {name}"))
    }
}

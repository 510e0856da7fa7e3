//! `backupctl cancel`.

use packhorse_model::{Exit, Problem};
use packhorse_proto::v1::{CancelRequest, CancelResponse};
use serde_json::json;

use crate::{
    args::{CancelArgs, Common},
    render,
    session::Session,
};

/// Stops a run or restore and says what was kept; exits with 1 when it had ended before.
pub async fn run(common: &Common, args: &CancelArgs) -> Result<Exit, Problem> {
    let session = Session::open(common, &[]).await?;
    let request = CancelRequest { run: args.run.clone().unwrap_or_default() };
    let answer = session.answer(session.client().cancel(request)).await;
    let exit = answer.map(|answer| show(common, answer.into_inner()));
    session.close(exit).await
}

fn show(common: &Common, answer: CancelResponse) -> Exit {
    let end = answer.end.map(Problem::from);
    let was_stopped = end.as_ref().is_some_and(|end| end.kind == packhorse_model::ErrorKind::Cancelled);
    if common.json {
        render::json(&json!({ "run": answer.run, "cancelled": was_stopped, "end": end }));
    } else {
        match &end {
            Some(end) if was_stopped => {
                let state = end.state.as_deref().unwrap_or("it was stopped");
                render::text(&format!("{} was cancelled: {state}", answer.run));
            }
            Some(end) => render::text(&format!("{} had ended: {end}", answer.run)),
            None => {
                let run = answer.run.clone();
                render::text(&format!("{run} had ended before; see `backupctl show {run}`"));
            }
        }
    }
    let exit = if was_stopped { Exit::Complete } else { Exit::Failed };
    render::settled(exit, || format!("{} has ended all the same", answer.run))
}

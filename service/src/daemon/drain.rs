//! The end of a daemon's work: let it end, then cancel it.
//!
//! Does not own: what the work does about it. Calls are still answered meanwhile, so that whoever waits hears the end.

use std::time::Duration;

use super::Stages;
use crate::process;

/// Lets the work at hand end by itself within `grace`, then cancels it and waits for that, too.
pub async fn drain(stages: &Stages, grace: Duration) {
    let Stages { shutdown, tracker, .. } = stages;
    tracing::info!(
        tasks = tracker.len(),
        "the process is stopping within {}s; another signal ends it at once",
        grace.as_secs_f64()
    );
    tracker.close();
    if tokio::time::timeout(grace, tracker.wait()).await.is_err() {
        tracing::warn!(
            tasks = tracker.len(),
            "work is not done after {}s and is cancelled",
            grace.as_secs_f64()
        );
    }
    shutdown.cancel();
    process::drain(tracker).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_ends_is_waited_for_and_not_cancelled() {
        let stages = Stages::default();
        let (stopping, shutdown) = (stages.stopping.clone(), stages.shutdown.clone());
        let work = stages.tracker.spawn(async move {
            stopping.cancelled().await;
            tokio::task::yield_now().await;
            shutdown.is_cancelled()
        });
        stages.stopping.cancel();
        drain(&stages, Duration::from_secs(3600)).await;
        assert!(!work.await.expect("the work ended"), "it was cancelled");
        assert!(stages.shutdown.is_cancelled(), "nothing starts afterwards");
    }

    #[tokio::test]
    async fn work_that_goes_on_is_cancelled_when_its_time_is_over() {
        let stages = Stages::default();
        let shutdown = stages.shutdown.clone();
        let work = stages.tracker.spawn(async move { shutdown.cancelled().await });
        drain(&stages, Duration::from_millis(20)).await;
        assert!(work.is_finished());
    }
}

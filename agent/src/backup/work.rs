//! Takes what the walk hands out: readers look at every repository and settle what needs nothing, the rest waits in the
//! `queue` and is packed, the largest first, as many at once as there are slots.
//!
//! Does not own: what is done to a repository (`repository`). A reader that hangs on one gives it up by name, is left
//! behind, and another takes its place, so one dead disk does not hold the storage; the thread that is left behind holds
//! nothing that anybody waits for.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
};

use packhorse_model::Outcome;
use packhorse_vault::CatalogueEntry;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::{JoinSet, spawn_blocking},
};
use tokio_util::task::TaskTracker;

use super::{
    Run, Slots, adopt,
    bases::Origin,
    collate::Line,
    discover::Candidate,
    pack_proof, planner,
    queue::{Queue, Slot, Waiting},
    repository,
    scan::{Item, Sight},
    snapshot::{self, Snapshot, SnapshotError},
    watch::{Patience, Watch},
};

/// What readers and packers of one storage share.
struct Floor {
    run: Arc<Run>,
    batches: tokio::sync::Mutex<mpsc::Receiver<Vec<Item>>>,
    items: Mutex<VecDeque<Item>>,
    queue: Queue,
    /// Those that are planned, where the vault is far away.
    ready: Queue,
    /// Weak, because a reader that is left behind must not keep the catalogue waiting.
    lines: mpsc::WeakSender<Line>,
}

/// Takes batches until the walk ends, and every repository through the pipeline.
pub async fn work_off(
    run: Arc<Run>,
    batches: mpsc::Receiver<Vec<Item>>,
    lines: mpsc::Sender<Line>,
    slots: &Slots,
) {
    let floor = Arc::new(Floor {
        run,
        batches: tokio::sync::Mutex::new(batches),
        items: Mutex::default(),
        queue: Queue::new(),
        ready: Queue::new(),
        lines: lines.downgrade(),
    });
    let reading = TaskTracker::new();
    // Reading refs is quick but waits for the disk: a few readers, whatever the number of jobs.
    for _ in 0..slots.own.size().clamp(2, 16) {
        reading.spawn(keep_reading(Arc::clone(&floor)));
    }
    reading.close();
    let reading = async {
        reading.wait().await;
        floor.queue.close();
    };
    let jobs = TaskTracker::new();
    if floor.run.is_far_away() {
        tokio::join!(reading, plan_ahead(&floor, slots), start_jobs(&floor, &floor.ready, slots, &jobs));
    } else {
        tokio::join!(reading, start_jobs(&floor, &floor.queue, slots, &jobs));
    }
    jobs.close();
    jobs.wait().await;
    drop(lines);
}

/// Has a reader at work until there is nothing more to read.
async fn keep_reading(floor: Arc<Floor>) {
    let patience = Patience { whole: std::time::Duration::MAX, ..floor.run.patience };
    loop {
        let place = Arc::new(Place { watch: Watch::new(&floor.run.cancel), item: Mutex::default() });
        let reader = {
            let (floor, place) = (Arc::clone(&floor), Arc::clone(&place));
            spawn_blocking(move || read_all(&floor, &place))
        };
        let (item, problem) = match given_up(&place, reader, patience).await {
            Given::Up(item, said) => {
                floor.run.leave_behind(&place.watch);
                (item, GivenUp::Hangs(said))
            }
            Given::Defect(Some(item), panic) => (item, GivenUp::Defect(panic)),
            // A defect beside an item is one that the catalogue notices by the number of its lines.
            Given::Defect(None, _) | Given::Done => return,
        };
        let Item { number, found: Sight::Repository(candidate), base, permit, .. } = item else { continue };
        let problem = match problem {
            GivenUp::Hangs(said) => repository::hangs(&candidate.path, &candidate.dir, &said),
            GivenUp::Defect(panic) => repository::defect(&candidate.path, &panic),
        };
        let entry = repository::failed(&candidate, adopt::last(&floor.run, base).await, problem);
        floor.push(number, entry, Some(permit)).await;
    }
}

/// How a reader ended.
enum Given {
    /// There is nothing more to read.
    Done,
    /// It hangs on an item, which was taken from it.
    Up(Item, String),
    /// By a panic, with what it was at.
    Defect(Option<Item>, String),
}

/// Why a repository was not read.
enum GivenUp {
    Hangs(String),
    Defect(String),
}

/// Waits for a reader's end, or until it hangs on an item.
async fn given_up(place: &Place, mut reader: tokio::task::JoinHandle<()>, patience: Patience) -> Given {
    loop {
        let said = tokio::select! {
            ended = &mut reader => return match ended {
                Ok(()) => Given::Done,
                Err(panic) => Given::Defect(place.take(), panic.to_string()),
            },
            said = place.watch.hangs(patience) => said,
        };
        // Between two items it waits for others, or has just gone on: it stays the reader.
        if let Some(item) = place.take() {
            return Given::Up(item, said);
        }
    }
}

/// Where a reader keeps what it reads: whoever takes it tells what became of it.
struct Place {
    watch: Arc<Watch>,
    item: Mutex<Option<Item>>,
}

impl Place {
    fn take(&self) -> Option<Item> {
        self.item.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn settles(&self, run: &Run, snapshot: &Snapshot) -> bool {
        let item = self.item.lock().unwrap_or_else(PoisonError::into_inner);
        item.as_ref().is_none_or(|item| settles(run, snapshot, item).is_some())
    }

    fn put(&self, item: Item) {
        *self.item.lock().unwrap_or_else(PoisonError::into_inner) = Some(item);
    }
}

/// Snapshots repository after repository. Blocking.
fn read_all(floor: &Floor, place: &Place) {
    let (run, watch) = (&floor.run, &place.watch);
    watch.this_thread();
    while let Some(item) = watch.waiting(|| floor.next_item()) {
        if run.begins_nothing() {
            return;
        }
        watch.moved(1);
        run.progress.found(1);
        let candidate = match item.found {
            Sight::Repository(ref candidate) => candidate.clone(),
            Sight::Unusable(ref path, ref problem) => {
                let (path, problem) = (path.clone(), problem.clone());
                watch.waiting(|| floor.pass_by(item, |last| repository::failed_entry(&path, last, problem)));
                continue;
            }
            Sight::Gone(ref path) => {
                let path = path.clone();
                watch.waiting(|| floor.pass_by(item, |last| repository::gone(&path, last)));
                continue;
            }
        };
        place.put(item);
        let looked = snapshot::take(&candidate, &run.git, &watch.cancel).map(|snapshot| {
            let size =
                if place.settles(run, &snapshot) { 0 } else { pack_proof::size_on_disk(&candidate.dir) };
            (snapshot, size)
        });
        let Some(item) = place.take() else {
            run.came_back(watch);
            return;
        };
        watch.moved(1);
        watch.waiting(|| floor.settle(item, candidate, looked));
    }
}

fn settles(run: &Run, snapshot: &Snapshot, item: &Item) -> Option<CatalogueEntry> {
    let Sight::Repository(candidate) = &item.found else { return None };
    // The vault is asked for what is of an unfinished run, by the planner.
    let base = item.base.as_ref().filter(|base| base.origin == Origin::Committed);
    let entry = repository::settled(run, (snapshot, &candidate.dir), base)?;
    // With a manifest for every run there is something to write, even so.
    (!run.manifests.in_every_run() || run.dry_run).then_some(entry)
}

impl Floor {
    fn next_item(&self) -> Option<Item> {
        loop {
            if let Some(item) = self.items.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                return Some(item);
            }
            let batch = Handle::current().block_on(async { self.batches.lock().await.recv().await })?;
            self.items.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        }
    }

    /// Tells what needs no work, and lets the rest wait for its turn.
    fn settle(&self, item: Item, candidate: Candidate, looked: Result<(Snapshot, u64), SnapshotError>) {
        let (snapshot, size) = match looked {
            Ok(looked) => looked,
            Err(error) => return self.pass_by(item, |last| repository::without(&candidate, last, error)),
        };
        // One of which nothing is whole has failed, and is named as such.
        if item.had_refs && snapshot.refs.is_empty() && !snapshot.is_nothing_whole() {
            self.run.emptied.add(&candidate.path);
        }
        if let Some(entry) = settles(&self.run, &snapshot, &item) {
            return self.push_blocking(item.number, entry, item.permit);
        }
        let Some(room) = Handle::current().block_on(self.queue.room()) else { return };
        self.queue.push(size, (item.number, candidate, item.base, item.permit), snapshot, room);
    }

    /// Tells what becomes of a repository that is not backed up now, by the newest line of it. Blocking.
    fn pass_by(&self, item: Item, line: impl FnOnce(Option<CatalogueEntry>) -> CatalogueEntry) {
        let last = Handle::current().block_on(adopt::last(&self.run, item.base));
        self.push_blocking(item.number, line(last), item.permit);
    }

    fn push_blocking(&self, number: u64, entry: CatalogueEntry, permit: OwnedSemaphorePermit) {
        Handle::current().block_on(self.push(number, entry, Some(permit)));
    }

    /// Tells what became of a repository that needed something.
    async fn finish(&self, number: u64, mut entry: CatalogueEntry, permit: Option<OwnedSemaphorePermit>) {
        let run = &self.run;
        let carried = matches!(entry.outcome, Outcome::Unchanged | Outcome::Empty | Outcome::Damaged);
        let settled = carried && entry.bytes_new == 0;
        if run.manifests.in_every_run() && !run.dry_run && settled {
            let _room = run.commits.acquire().await;
            entry = repository::carry_over(run, entry).await;
        }
        run.progress.end(&entry.path);
        if let Some(problem) = &entry.error {
            run.give_up_if_vault_is_lost(problem);
        }
        self.push(number, entry, permit).await;
    }

    async fn push(&self, number: u64, entry: CatalogueEntry, permit: Option<OwnedSemaphorePermit>) {
        if matches!(entry.outcome, Outcome::Gone | Outcome::Missing) {
            self.run.gone.fetch_add(1, Relaxed);
        }
        self.run.progress.done(entry.outcome.is_failure());
        // The receiver is gone only when the catalogue cannot be written, which ends the storage anyway.
        if let Some(lines) = self.lines.upgrade() {
            let _ = lines.send(Line { number, entry, permit }).await;
        }
    }
}

/// Plans repositories, the largest first, some ahead of those that are packed.
async fn plan_ahead(floor: &Arc<Floor>, slots: &Slots) {
    let ahead = Arc::new(Semaphore::new(planner::AHEAD.max(slots.own.size())));
    let room = || Arc::clone(&ahead).acquire_owned();
    let planning = TaskTracker::new();
    while let Some((mut waiting, room)) = largest(&floor.run, &floor.queue, room).await {
        waiting.ahead = room.ok();
        planning.spawn(plan(Arc::clone(floor), waiting));
    }
    planning.close();
    planning.wait().await;
    floor.ready.close();
}

/// The largest repository that waits, when there is room for it; none when no more come.
async fn largest<R, F: Future<Output = R>>(
    run: &Run,
    queue: &Queue,
    room: impl Fn() -> F,
) -> Option<(Waiting, R)> {
    // Room is only taken when there is something to do with it: other storages may want it, too.
    while queue.is_filled().await {
        tokio::select! {
            biased;
            // Makes room in the queue, so that no reader waits for it.
            () = run.ends() => drop(queue.pop()),
            room = room() => {
                if let Some(waiting) = queue.pop() {
                    return Some((waiting, room));
                }
            }
        }
    }
    None
}

async fn plan(floor: Arc<Floor>, mut waiting: Waiting) {
    let (number, candidate, known) = (waiting.number, waiting.candidate.clone(), waiting.planner.known());
    let run = Arc::clone(&floor.run);
    let planning = guarded(async move {
        let entry = waiting.plan(&run).await;
        (waiting, entry)
    });
    let planned = tokio::select! {
        biased;
        () = floor.run.ends() => return,
        planned = planning => planned,
    };
    match planned {
        Ok((waiting, None)) => floor.ready.put(waiting),
        Ok((waiting, Some(entry))) => {
            // Its room ahead stays taken until it is done.
            let Waiting { permit, .. } = waiting;
            floor.finish(number, entry, Some(permit)).await;
        }
        Err(panic) => {
            let problem = repository::defect(&candidate.path, &panic);
            floor.finish(number, repository::failed(&candidate, known, problem), None).await;
        }
    }
}

/// Does something to its end; a defect that panics is told. Dropping it ends it.
async fn guarded<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, String> {
    let mut one = JoinSet::new();
    one.spawn(work);
    match one.join_next().await {
        Some(done) => done.map_err(|panic| panic.to_string()),
        None => Err("the task is gone".to_owned()),
    }
}

/// Starts work on the largest repository that waits in a queue whenever there is a slot.
async fn start_jobs(floor: &Arc<Floor>, queue: &Queue, slots: &Slots, jobs: &TaskTracker) {
    let slot = || async { (slots.own.take().await, slots.agent.take().await) };
    while let Some((waiting, slot)) = largest(&floor.run, queue, slot).await {
        jobs.spawn(work_on(Arc::clone(floor), waiting, slot));
    }
}

async fn work_on(floor: Arc<Floor>, mut waiting: Waiting, slot: Slot) {
    drop(waiting.ahead.take());
    let Waiting { number, candidate, planner, plan, permit, seen, .. } = waiting;
    let (wanted, known) = (candidate.clone(), planner.known());
    floor.run.progress.start(&candidate.path);
    let run = Arc::clone(&floor.run);
    let backing_up = async move { repository::back_up(&run, wanted, (planner, plan), seen, slot).await };
    let entry = guarded(backing_up).await.unwrap_or_else(|panic| {
        repository::failed(&candidate, known, repository::defect(&candidate.path, &panic))
    });
    floor.finish(number, entry, Some(permit)).await;
}

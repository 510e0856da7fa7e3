//! Paths that lead elsewhere, in every field of every request that carries a path or a name.
//!
//! Does not own: parsing them (`model`). Each is refused before anything is done, and the log says who sent it.

use packhorse_proto::v1::{
    BackupJob, BackupStorageRequest, CancelJobRequest, CancelRequest, CreateRequest, FollowRequest, Go,
    ObjectDigest, RepositoryFilter, RestoreJob, RestoreRequest, RestoreStorageRequest, ShowRequest,
    agent_service_client::AgentServiceClient, backup_storage_request,
    coordinator_service_client::CoordinatorServiceClient, restore_storage_request,
};
use packhorse_testkit::TreeState;
use tonic::{Code, Status, transport::Channel};

use super::{Secured, assert_counted, assert_refused_once};

/// Names that lead out of where they belong.
const PATHS: [&str; 7] = ["../x", "..", "/etc/passwd", "a/../../x", "default/../../etc", "x\0y", "../*"];

#[track_caller]
fn assert_invalid<T>(answer: Result<T, Status>, field: &str, path: &str) {
    let Err(status) = answer else { panic!("{field} {path:?} was accepted") };
    assert_eq!(status.code(), Code::InvalidArgument, "{field} {path:?}: {status}");
    // Refused for what it is, and not for something else that is wrong with the request.
    let shown = path.split('\0').next().unwrap_or_default();
    assert!(status.message().contains(shown), "{field} {path:?}: {}", status.message());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_takes_no_path_that_leads_elsewhere() {
    let secured = Secured::start();
    secured.ctl("ops.internal", ["create", "--backup-id", "0001"]).run().expect_success();
    let before = TreeState::of(secured.site.path("vault"));
    let channel = secured.channel(&secured.address, "ops.internal").await;
    let mut client = CoordinatorServiceClient::new(channel);
    for path in PATHS {
        let (one, none) = (|| vec![path.to_owned()], CreateRequest::default);
        let include = Some(RepositoryFilter { include: one(), exclude: vec![] });
        let exclude = Some(RepositoryFilter { include: vec![], exclude: one() });
        for (field, request) in [
            ("backup_id", CreateRequest { backup_id: Some(path.to_owned()), ..none() }),
            ("storages", CreateRequest { storages: one(), ..none() }),
            ("include", CreateRequest { filter: include.clone(), ..none() }),
            ("exclude", CreateRequest { filter: exclude.clone(), ..none() }),
            ("only", CreateRequest { only: one(), ..none() }),
            ("skip", CreateRequest { skip: one(), ..none() }),
        ] {
            assert_invalid(client.create(request).await, field, path);
        }
        let none = || RestoreRequest { backup: "0001".into(), ..RestoreRequest::default() };
        let pair = |from: &str, to: &str| [(from.to_owned(), to.to_owned())].into();
        for (field, request) in [
            ("backup", RestoreRequest { backup: path.to_owned(), ..none() }),
            ("storages", RestoreRequest { storages: one(), ..none() }),
            ("include", RestoreRequest { filter: include.clone(), ..none() }),
            ("exclude", RestoreRequest { filter: exclude.clone(), ..none() }),
            ("to_storage", RestoreRequest { to_storage: pair(path, "default"), ..none() }),
            ("to_storage", RestoreRequest { to_storage: pair("default", path), ..none() }),
            ("only", RestoreRequest { only: one(), ..none() }),
            ("skip", RestoreRequest { skip: one(), ..none() }),
        ] {
            assert_invalid(client.restore(request).await, field, path);
        }
        let show = |backup: &str, repositories_of| ShowRequest {
            backup: backup.to_owned(),
            repositories_of,
            failed_only: false,
            partial: false,
        };
        assert_invalid(client.show(show(path, vec![])).await, "show backup", path);
        assert_invalid(client.show(show("0001", one())).await, "repositories_of", path);
    }
    for method in ["Create", "Restore", "Show"] {
        let what = format!("/packhorse.v1.CoordinatorService/{method}\"");
        assert_refused_once(&secured.coordinator, &["ops.internal", &what, "request"]);
    }
    TreeState::assert_same(&before, &TreeState::of(secured.site.path("vault")));
    let [coordinator, _] = secured.stop();
    assert_counted(&coordinator, [("request", 16 * PATHS.len() as u64)]);
}

async fn back_up(client: &mut AgentServiceClient<Channel>, job: BackupJob) -> Result<(), Status> {
    stream_backup(client, job, None).await
}

async fn stream_backup(
    client: &mut AgentServiceClient<Channel>,
    job: BackupJob,
    filter: Option<RepositoryFilter>,
) -> Result<(), Status> {
    use backup_storage_request::Request;
    let parts = [Some(Request::Job(job)), filter.map(Request::Filter), Some(Request::Go(Go {}))];
    let requests = parts.into_iter().flatten().map(|request| BackupStorageRequest { request: Some(request) });
    client.backup_storage(tokio_stream::iter(requests.collect::<Vec<_>>())).await.map(drop)
}

async fn restore(client: &mut AgentServiceClient<Channel>, job: RestoreJob) -> Result<(), Status> {
    stream_restore(client, job, None).await
}

async fn stream_restore(
    client: &mut AgentServiceClient<Channel>,
    job: RestoreJob,
    filter: Option<RepositoryFilter>,
) -> Result<(), Status> {
    use restore_storage_request::Request;
    let parts = [Some(Request::Job(job)), filter.map(Request::Filter), Some(Request::Go(Go {}))];
    let requests =
        parts.into_iter().flatten().map(|request| RestoreStorageRequest { request: Some(request) });
    client.restore_storage(tokio_stream::iter(requests.collect::<Vec<_>>())).await.map(drop)
}

/// Objects that exist, or might, and are no catalogue of the storage.
const OBJECTS: [&str; 5] = [
    "backups/0001/report.json",
    "backups/0001/repositories/other.jsonl.zst",
    "backups/../repositories/default.jsonl.zst",
    "packhorse/format.json",
    "default/app.git/0001/001.bundle",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_takes_no_path_that_leads_elsewhere() {
    let secured = Secured::start();
    secured.ctl("ops.internal", ["create", "--backup-id", "0001"]).run().expect_success();
    let before = ["vault", "default"].map(|folder| TreeState::of(secured.site.path(folder)));
    let channel = secured.channel(&secured.agent_address, "coordinator.internal").await;
    let mut client = AgentServiceClient::new(channel);
    let catalogue = |path: &str| Some(ObjectDigest { path: path.into(), size: 1, sha256: "0".repeat(64) });
    let backup = || BackupJob { backup_id: "0002".into(), storage: "default".into(), ..BackupJob::default() };
    let good = "backups/0001/repositories/default.jsonl.zst";
    let back = || RestoreJob {
        backup_id: "0001".into(),
        source_storage: "default".into(),
        target_storage: "default".into(),
        catalogue: catalogue(good),
        ..RestoreJob::default()
    };
    for path in PATHS.into_iter().chain(OBJECTS) {
        let name = || path.to_owned();
        for (field, job) in [
            ("backup_id", BackupJob { backup_id: name(), ..backup() }),
            ("storage", BackupJob { storage: name(), ..backup() }),
            ("base", BackupJob { base: catalogue(path), ..backup() }),
            ("attempt", BackupJob { attempt: name(), ..backup() }),
            ("unfinished", BackupJob { unfinished_runs: vec![name()], ..backup() }),
        ] {
            assert_invalid(back_up(&mut client, job).await, field, path);
        }
        let part = |include, exclude| Some(RepositoryFilter { include, exclude });
        for (field, part) in
            [("include", part(vec![name()], vec![])), ("exclude", part(vec![], vec![name()]))]
        {
            let backed_up = stream_backup(&mut client, backup(), part.clone()).await;
            let restored = stream_restore(&mut client, back(), part).await;
            // A file that exists is a fine pattern; it matches nothing here.
            if PATHS.contains(&path) {
                assert_invalid(backed_up, field, path);
                assert_invalid(restored, field, path);
            }
        }
        for (field, job) in [
            ("backup_id", RestoreJob { backup_id: name(), ..back() }),
            ("source_storage", RestoreJob { source_storage: name(), ..back() }),
            ("target_storage", RestoreJob { target_storage: name(), ..back() }),
            ("catalogue", RestoreJob { catalogue: catalogue(path), ..back() }),
        ] {
            assert_invalid(restore(&mut client, job).await, field, path);
        }
    }
    for method in ["BackupStorage", "RestoreStorage"] {
        let what = format!("/packhorse.v1.AgentService/{method}");
        assert_refused_once(&secured.agent, &["coordinator.internal", &what, "request"]);
    }
    for (folder, before) in ["vault", "default"].into_iter().zip(&before) {
        TreeState::assert_same(before, &TreeState::of(secured.site.path(folder)));
    }
    secured.stop();
}

/// Names of runs and of the vault are only compared with those that are known: such ones lead nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_only_compared_leads_nowhere() {
    let secured = Secured::start();
    secured.ctl("ops.internal", ["create", "--backup-id", "0001"]).run().expect_success();
    let before = ["vault", "default"].map(|folder| TreeState::of(secured.site.path(folder)));
    let channel = secured.channel(&secured.address, "ops.internal").await;
    let mut coordinator = CoordinatorServiceClient::new(channel);
    let channel = secured.channel(&secured.agent_address, "coordinator.internal").await;
    let mut agent = AgentServiceClient::new(channel);
    for path in PATHS.into_iter().chain(OBJECTS) {
        let run = || path.to_owned();
        let followed = coordinator.follow(FollowRequest { run: run() }).await.expect_err("no such run");
        assert_eq!(followed.code(), Code::NotFound, "follow {path:?}: {followed}");
        let cancelled = coordinator.cancel(CancelRequest { run: run() }).await.expect_err("no such run");
        assert_eq!(cancelled.code(), Code::NotFound, "cancel {path:?}: {cancelled}");
        for request in [
            CancelJobRequest { run: run(), storage: "default".into() },
            CancelJobRequest { run: "0001".into(), storage: run() },
        ] {
            let found = agent.cancel_job(request).await.map(|answer| answer.into_inner().found);
            assert!(!matches!(found, Ok(true)), "cancel job {path:?}: {found:?}");
        }
        let job = BackupJob {
            backup_id: "0002".into(),
            storage: "default".into(),
            vault_id: run(),
            run: run(),
            ..BackupJob::default()
        };
        let refused = back_up(&mut agent, job).await.expect_err("it is another vault");
        assert_eq!(refused.code(), Code::InvalidArgument, "{path:?}: {refused}");
    }
    for (folder, before) in ["vault", "default"].into_iter().zip(&before) {
        TreeState::assert_same(before, &TreeState::of(secured.site.path(folder)));
    }
    secured.stop();
}

//! One folder into the vault: `tar`, compressed, uploaded as it comes.
//!
//! Does not own: what tar's lines mean (`report`), or what the archive holds (`outline`). The format is POSIX (pax)
//! with sparse files in GNU's version 1.0: long names, large ids, sizes and fractions of seconds all fit, and GNU tar
//! and libarchive read it. Members are `./…`, sorted by name. The object gets its name only when tar ended with 0 or 1,
//! said nothing that is not understood, and wrote the archive's end mark, and the folder is still the one at its path;
//! every other way out leaves nothing in the vault. Many files that went away before they were read are a failure
//! beside the archive.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::Path,
    process::ExitStatus,
};

use packhorse_model::{Component, DirectorySummary, ErrorKind, ItemFailure, Problem, Subject};
use packhorse_vault::{ObjectKey, PartSize, RunAttempt, Vault};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{
    Directory,
    claim::{Claim, Use},
    exclude::anchored,
    leftover,
    outline::Outline,
    report::Report,
    survey::Survey,
};
use crate::pipe::{Child, compress, in_all, joined};

const WHAT: &str = "archive directory";
/// What failed where the item is a path in the directory: the archive lacks it, or a part of it.
pub const UNREAD: &str = "read file";
const NOTHING_STORED: &str = "nothing of this archive is in the vault";

/// Archives the folder as it is read.
pub(super) async fn archive(
    vault: &Vault,
    run: &RunAttempt,
    directory: &Directory,
    cancel: &CancellationToken,
    progress: impl Fn(u64) + Send + Sync + 'static,
) -> Result<(DirectorySummary, Vec<ItemFailure>), Problem> {
    let stopped = || Problem::cancelled(WHAT).on(directory.path.display()).leaving(NOTHING_STORED);
    let claim = Claim::take(&directory.path, Use::Reading, directory.patience, cancel).await;
    let claim = match claim.map_err(|problem| problem.leaving(NOTHING_STORED)) {
        _ if cancel.is_cancelled() => return Err(stopped()),
        claimed => claimed?.ok_or_else(|| unreadable(&directory.path, rustix::io::Errno::NOENT.into()))?,
    };
    let survey = look(directory).await?;
    let mut child = Child::start(&directory.tar, arguments(directory), &environment(&directory.search_path))?;
    drop(child.stdin()?);
    let stderr = child.stderr(Report::default(), Report::push)?;
    let size = PartSize::for_expected(survey.bytes);
    let writer = vault.writer(ObjectKey::directory(run, &directory.name), size).telling(in_all(progress));
    let (status, stored) =
        compress(&mut child, writer, cancel, Outline::default(), |outline, bytes| outline.push(bytes))
            .await?;
    let report = stderr.await.unwrap_or_default();
    if cancel.is_cancelled() {
        return Err(stopped());
    }
    let compressed = stored.map_err(|problem| problem.leaving(NOTHING_STORED))?;
    check(directory, status, &report, &compressed.seen)?;
    if !claim.is_there() {
        return Err(replaced(directory));
    }
    let (bytes_plain, files) = (compressed.plain, compressed.seen.files);
    let object = compressed.finish().await?;
    let fewer_files = fewer(survey.files, files, &report);
    let failures = failures(directory, &report, too_many(fewer_files, survey.files));
    let summary = DirectorySummary {
        name: directory.name.clone(),
        object,
        bytes_plain,
        empty: is_empty(&directory.path),
        emptied_unconfirmed: false,
        files: Some(files),
        changed_while_read: report.changed,
        removed_while_read: report.removed,
        fewer_files,
        exclude: directory.exclude.clone(),
    };
    Ok((summary, failures))
}

/// Looks at the folder before tar does.
async fn look(directory: &Directory) -> Result<Survey, Problem> {
    let (path, exclude) = (directory.path.clone(), directory.exclude.clone());
    let found = spawn_blocking(move || {
        let failed = |error| unreadable(&path, error);
        let left = leftover::part_of(&path).map_err(failed)?;
        left.map_or(Ok(()), |left| Err(half_restored(&path, &left)))?;
        Survey::of(&path, &exclude).map_err(failed)
    });
    joined(found.await)
}

fn half_restored(path: &Path, left: &Path) -> Problem {
    Problem::new(ErrorKind::Unavailable, Subject::Directory, WHAT)
        .on(path.display())
        .answered(format!("a restore of it died half way, and {} holds what belongs into it", left.display()))
        .leaving(NOTHING_STORED)
        .next("restore it again with --force, then run again")
}

/// Proves that tar did all of its work, and said nothing else.
fn check(
    directory: &Directory,
    status: ExitStatus,
    report: &Report,
    outline: &Outline,
) -> Result<(), Problem> {
    let problem = Problem::new(ErrorKind::Unavailable, Subject::Directory, WHAT)
        .on(directory.path.display())
        .leaving(NOTHING_STORED);
    let unknown = report.unknown.text(None);
    if !matches!(status.code(), Some(0 | 1)) || !unknown.is_empty() {
        return Err(problem
            .answered(report.unknown.text(Some(status)))
            .next("see what tar says about the folder, then run again"));
    }
    if !outline.is_whole() {
        return Err(problem
            .answered(format!("tar ended with {status}, but its output has no end mark"))
            .next("check the tar in PATH, then run again"));
    }
    Ok(())
}

fn replaced(directory: &Directory) -> Problem {
    Problem::new(ErrorKind::Unavailable, Subject::Directory, WHAT)
        .on(directory.path.display())
        .answered("its folder was replaced or removed while it was read")
        .leaving(NOTHING_STORED)
        .next("see that the folder is in place, and its file system mounted, then run again")
}

fn unreadable(path: &Path, error: io::Error) -> Problem {
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    };
    Problem::new(kind, Subject::Directory, WHAT)
        .on(path.display())
        .answered(error)
        .leaving(NOTHING_STORED)
        .next("correct the directory's path, or mount it, then run again")
}

/// Files that may be missing from an archive, however small the directory is.
const FEW: u64 = 10;

/// How many files were there and are not in the archive. What cannot be read is told by itself.
fn fewer(before: u64, stored: u64, report: &Report) -> u64 {
    let unread = report.unreadable.len() as u64 + report.unreadable_more;
    before.saturating_sub(stored).saturating_sub(unread)
}

/// Whether those are too many for a folder that is in use: the measure is that of repositories which are gone.
fn too_many(fewer: u64, before: u64) -> Option<(u64, u64)> {
    (fewer >= FEW && fewer > before / 4).then_some((fewer, before))
}

/// Whether the folder holds nothing, as a mount point does without its file system; none when nobody can tell.
fn is_empty(folder: &Path) -> Option<bool> {
    let mut entries = std::fs::read_dir(folder).ok()?;
    Some(entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "lost+found")))
}

fn arguments(directory: &Directory) -> Vec<OsString> {
    let fixed = [
        "--create",
        "--file=-",
        "--format=posix",
        "--pax-option=delete=atime,delete=ctime",
        "--sparse",
        "--sparse-version=1.0",
        "--acls",
        "--xattrs",
        "--xattrs-include=*",
        // Labels are the host's to give, and hashes of attributes are only good in place.
        "--xattrs-exclude=security.selinux",
        "--xattrs-exclude=security.evm",
        "--sort=name",
        "--ignore-failed-read",
        "--quoting-style=escape",
        // Every pattern is anchored and has a wildcard: tar takes a time that grows with the square of the depth for others.
        "--anchored",
        "--exclude=*/lost+found",
        // What a restore into a mount point leaves when it dies.
        "--exclude=[.]/.packhorse-restore-*",
    ];
    let mut arguments: Vec<OsString> = fixed.iter().map(OsString::from).collect();
    for pattern in &directory.exclude {
        let pattern = anchored(pattern);
        arguments.push(format!("--exclude=[.]/{pattern}").into());
    }
    let mut folder = OsString::from("--directory=");
    folder.push(&directory.path);
    arguments.extend([folder, ".".into()]);
    arguments
}

fn environment(search_path: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned()), ("PATH".to_owned(), search_path.to_owned())])
}

fn failures(directory: &Directory, report: &Report, lost: Option<(u64, u64)>) -> Vec<ItemFailure> {
    let failure = |item: String, reason: &str| ItemFailure {
        component: Component::Directory(directory.name.clone()),
        storage: None,
        problem: Problem::new(ErrorKind::Unavailable, Subject::Directory, UNREAD)
            .on(directory.path.join(OsStr::new(&item)).display())
            .answered(reason)
            .leaving(if is_about_attributes(reason) {
                "the archive is in the backup with the file's contents, but not with its attributes"
            } else {
                "the archive is in the backup without this file's contents"
            })
            .next("make the file readable, then run again"),
        item,
    };
    let mut failures: Vec<_> =
        report.unreadable.iter().map(|(name, reason)| failure(name.clone(), reason)).collect();
    if report.unreadable_more > 0 {
        failures.push(failure(".".into(), &format!("{} more files cannot be read", report.unreadable_more)));
    }
    failures.extend(lost.map(|(lost, before)| vanished(directory, lost, before)));
    failures
}

fn vanished(directory: &Directory, lost: u64, before: u64) -> ItemFailure {
    let problem = Problem::new(ErrorKind::NotFound, Subject::Directory, WHAT)
        .on(directory.path.display())
        .answered(format!("{lost} of {before} files went away before they were read"))
        .leaving("the archive is in the backup without these files")
        .next("see that the folder and its file systems are in place, then run again");
    ItemFailure {
        component: Component::Directory(directory.name.clone()),
        storage: None,
        item: directory.name.clone(),
        problem,
    }
}

/// Whether tar says that it could not read what a file has beside its contents.
fn is_about_attributes(reason: &str) -> bool {
    ["xattr", "acl", "ACL", "XATTR"].iter().any(|word| reason.contains(word))
}

//! One folder into the vault: `tar`, compressed, uploaded as it comes.
//!
//! Does not own: what tar's lines mean (`report`). The format is POSIX (pax) with sparse files in GNU's version 1.0:
//! long names, large ids, sizes and fractions of seconds all fit, and GNU tar and libarchive read it. Members are
//! `./…`, sorted by name. The object gets its name only when tar ended with 0 or 1, said nothing that is not
//! understood, and wrote the archive's end mark; every other way out leaves nothing in the vault.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
};

use packhorse_model::{Component, DirectorySummary, ErrorKind, ItemFailure, Problem, Subject};
use packhorse_vault::{ObjectKey, PartSize, RunAttempt, Vault};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{Directory, end_mark::EndMark, exclude::anchored, report::Report};
use crate::pipe::{Child, compress, in_all, joined};

const WHAT: &str = "archive directory";
const NOTHING_STORED: &str = "nothing of this archive is in the vault";

/// Archives the folder as it is read.
pub(super) async fn archive(
    vault: &Vault,
    run: &RunAttempt,
    directory: &Directory,
    cancel: &CancellationToken,
    progress: impl Fn(u64) + Send + Sync + 'static,
) -> Result<(DirectorySummary, Vec<ItemFailure>), Problem> {
    let path = directory.path.clone();
    let size = joined(spawn_blocking(move || estimate(&path)).await)?;
    let mut child = Child::start(&directory.tar, arguments(directory), &environment(&directory.search_path))?;
    drop(child.stdin()?);
    let stderr = child.stderr(Report::default(), Report::push)?;
    let writer = vault.writer(ObjectKey::directory(run, &directory.name), PartSize::for_expected(size));
    let writer = writer.telling(in_all(progress));
    let (status, stored) =
        compress(&mut child, writer, cancel, EndMark::default(), |end, bytes| end.push(bytes)).await?;
    let report = stderr.await.unwrap_or_default();
    let problem = |kind| {
        Problem::new(kind, Subject::Directory, WHAT).on(directory.path.display()).leaving(NOTHING_STORED)
    };
    if cancel.is_cancelled() {
        return Err(Problem::cancelled(WHAT).on(directory.path.display()).leaving(NOTHING_STORED));
    }
    let compressed = stored.map_err(|problem| problem.leaving(NOTHING_STORED))?;
    let unknown = report.unknown.text(None);
    if !matches!(status.code(), Some(0 | 1)) || !unknown.is_empty() {
        return Err(problem(ErrorKind::Unavailable)
            .answered(report.unknown.text(Some(status)))
            .next("see what tar says about the folder, then run again"));
    }
    if !compressed.seen.is_reached() {
        return Err(problem(ErrorKind::Unavailable)
            .answered(format!("tar ended with {status}, but its output has no end mark"))
            .next("check the tar in PATH, then run again"));
    }
    let bytes_plain = compressed.plain;
    let object = compressed.finish().await?;
    let failures = failures(directory, &report);
    let (name, exclude) = (directory.name.clone(), directory.exclude.clone());
    let changed_while_read = report.changed;
    let summary = DirectorySummary {
        name,
        object,
        bytes_plain,
        empty: is_empty(&directory.path),
        emptied_unconfirmed: false,
        changed_while_read,
        exclude,
    };
    Ok((summary, failures))
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

/// About how large the archive will be, for the size of its parts; walks the folder only when it may be huge.
fn estimate(path: &Path) -> Result<u64, Problem> {
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Unavailable,
        };
        Problem::new(kind, Subject::Directory, WHAT)
            .on(path.display())
            .answered(error)
            .leaving(NOTHING_STORED)
            .next("correct the directory's path, or mount it, then run again")
    };
    fs::read_dir(path).map_err(failed)?;
    let disk = rustix::fs::statvfs(path).map_err(|error| failed(error.into()))?;
    let used = disk.f_blocks.saturating_sub(disk.f_bfree).saturating_mul(disk.f_frsize);
    if PartSize::for_expected(used) == PartSize::SMALLEST {
        return Ok(used);
    }
    Ok(walk(path))
}

/// Bytes that the folder's files take, and what tar writes around them. What cannot be read is tar's to report.
fn walk(path: &Path) -> u64 {
    let mut total = 0u64;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            total = total.saturating_add(metadata.blocks().saturating_mul(512)).saturating_add(2048);
        }
    }
    total
}

fn failures(directory: &Directory, report: &Report) -> Vec<ItemFailure> {
    let failure = |item: String, reason: &str| ItemFailure {
        component: Component::Directory(directory.name.clone()),
        storage: None,
        problem: Problem::new(ErrorKind::Unavailable, Subject::Directory, "read file")
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
    failures
}

/// Whether tar says that it could not read what a file has beside its contents.
fn is_about_attributes(reason: &str) -> bool {
    ["xattr", "acl", "ACL", "XATTR"].iter().any(|word| reason.contains(word))
}

//! What a crash has left in the store.
//!
//! Does not own: what is made of it. It is read by somebody who knows the stored format and none of our code: a manifest
//! is durable when it is there, and so is what it names; a run that goes on also has its finished dumps and archives.
//! Uploads that were open stay open, because a process that is
//! killed cannot abort them; the store's lifecycle rule removes them.

use std::collections::BTreeMap;

use bytes::Bytes;
use packhorse_testkit::FaultyS3;

use super::{ground::sent_since, point::Then};

/// The store at the moment of a kill.
pub struct Aftermath {
    /// Bytes of what nobody has to send again: manifests with what this run sent of that which they name, and where the
    /// run goes on, dumps and archives that it has noted as finished.
    pub durable: u64,
    /// How keys of such things begin.
    finished: Vec<String>,
    /// Whether the run had its ID.
    pub claimed: bool,
    /// The backups that are committed, newest first.
    pub committed: Vec<String>,
    /// Uploads that nobody will complete.
    pub uploads: Vec<String>,
    requests: usize,
}

impl Aftermath {
    /// What the run of this ID has left to what comes then.
    pub fn of(server: &FaultyS3, id: &str, then: Then) -> Self {
        // In this order, so that what others store meanwhile counts as sent later, never as both.
        let objects = server.objects();
        let requests = server.log().len();
        let mut uploads = server.open_uploads();
        uploads.sort();
        Self {
            durable: durable(&objects, id, then),
            finished: finished(&objects, id),
            claimed: objects.contains_key(&format!("v/packhorse/runs/{id}/run.json")),
            committed: committed(&objects),
            uploads,
            requests,
        }
    }

    /// Bytes that were sent since.
    pub fn sent_since(&self, server: &FaultyS3) -> u64 {
        sent_since(server, self.requests)
    }

    /// Panics when a bundle was sent again of a repository that was durable and has not moved on since, or a dump or
    /// archive that was finished.
    #[track_caller]
    pub fn assert_nothing_again(&self, server: &FaultyS3, moved: &[&str]) {
        let log = server.log();
        let is_large = |key: &str| [".bundle", ".sql.gz", ".tar.gz"].iter().any(|kind| key.contains(kind));
        let has_moved = |key: &str| moved.iter().any(|path| key.starts_with(&format!("v/{path}/")));
        let sent = log[self.requests..].iter().filter(|r| r.operation.writes() && is_large(&r.key));
        let sent = sent.filter(|request| !has_moved(&request.key));
        for request in sent {
            let again = self.finished.iter().any(|start| request.key.starts_with(start));
            assert!(!again, "sent although it was finished: {request}");
        }
    }

    /// Whether a process has written anything since.
    pub fn has_written_since(&self, server: &FaultyS3, who: &str) -> bool {
        let log = server.log();
        log[self.requests..].iter().any(|request| request.who == who && request.operation.writes())
    }

    /// Panics when there are uploads that were not there at the kill.
    #[track_caller]
    pub fn assert_no_more_uploads(&self, server: &FaultyS3) {
        let mut left = self.uploads.clone();
        for upload in server.open_uploads() {
            let found = left.iter().position(|other| *other == upload);
            let at = found.unwrap_or_else(|| panic!("the upload of {upload} was left by whom nobody killed"));
            left.swap_remove(at);
        }
    }
}

fn committed(objects: &BTreeMap<String, Bytes>) -> Vec<String> {
    let id = |key: &String| {
        let id = key.strip_prefix("v/backups/")?.strip_suffix("/backup_information.json")?;
        Some(id.to_owned())
    };
    objects.keys().rev().filter_map(id).collect()
}

/// The repositories of which a run has a manifest, with it.
fn manifests<'a>(
    objects: &'a BTreeMap<String, Bytes>,
    id: &str,
) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
    let name = format!("/{id}.toml");
    objects.iter().filter_map(move |(key, manifest)| {
        Some((key.strip_prefix("v/manifests/")?.strip_suffix(&name)?, manifest))
    })
}

/// What a run has noted as finished beside its repositories: each name with the note.
fn parts<'a>(objects: &'a BTreeMap<String, Bytes>, id: &str) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
    let folder = format!("v/packhorse/runs/{id}/parts/");
    objects
        .iter()
        .filter_map(move |(key, note)| Some((key.strip_prefix(&folder)?.strip_suffix(".json")?, note)))
}

/// How keys of what is finished begin. Another run has its own dumps and archives under an ID of its own.
fn finished(objects: &BTreeMap<String, Bytes>, id: &str) -> Vec<String> {
    let repositories = manifests(objects, id).map(|(repository, _)| format!("v/{repository}/"));
    let others = parts(objects, id).map(|(part, _)| match part.strip_prefix("directory-") {
        Some(directory) => format!("v/backups/{id}/{directory}"),
        None => format!("v/backups/{id}/db/"),
    });
    repositories.chain(others).collect()
}

fn durable(objects: &BTreeMap<String, Bytes>, id: &str, then: Then) -> u64 {
    let folder = format!("/{id}/");
    let bytes_of = |note: &Bytes| {
        let text = String::from_utf8_lossy(note).into_owned();
        let is_named = |key: &str| key.contains(&folder) && text.contains(key.trim_start_matches("v/"));
        let named = objects.iter().filter(|(key, _)| is_named(key));
        (note.len() + named.map(|(_, object)| object.len()).sum::<usize>()) as u64
    };
    let manifests: u64 = manifests(objects, id).map(|(_, manifest)| bytes_of(manifest)).sum();
    match then {
        Then::Restart => manifests + parts(objects, id).map(|(_, note)| bytes_of(note)).sum::<u64>(),
        Then::Next | Then::Moved => manifests,
    }
}

/// Panics unless what other tools take for the newest manifest of each repository is it.
#[track_caller]
pub fn assert_latest_is_newest(server: &FaultyS3) {
    let objects = server.objects();
    let manifests = objects.iter().filter(|(key, _)| key.starts_with("v/manifests/"));
    let mut newest = BTreeMap::new();
    for (key, manifest) in manifests {
        let (folder, name) = key.rsplit_once('/').expect("manifests lie in folders");
        if name != "+latest.toml" {
            newest.insert(folder, manifest);
        }
    }
    for (folder, manifest) in newest {
        let latest = objects.get(&format!("{folder}/+latest.toml"));
        assert_eq!(latest, Some(manifest), "{folder}");
    }
}

//! Which request of a process is meant: one by its number, or one by what it is for.
//!
//! Does not own: who is killed there (`point`). A number counts all requests of a process. A kind and a number say the
//! same in every run, although storages are worked on beside each other.

use packhorse_testkit::{LoggedRequest, Operation};

use super::point::Victim;

/// Which requests a spot counts.
type Filter = Box<dyn Fn(&LoggedRequest) -> bool + Send>;

/// Which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    Number(u64),
    Kind(String, u64),
}

impl Spot {
    /// Its number, and which requests are counted for it.
    pub fn filter(&self, victim: Victim) -> (u64, Filter) {
        let ours = move |request: &LoggedRequest| request.who == victim.who();
        match self.clone() {
            Self::Number(number) => (number, Box::new(ours)),
            Self::Kind(kind, number) => {
                (number, Box::new(move |request| ours(request) && kind_of(request) == kind))
            }
        }
    }
}

/// What a request is for.
fn kind_of(request: &LoggedRequest) -> &'static str {
    /// What objects are created for, by the ends of their keys.
    const ENDS: [(&str, &str); 14] = [
        ("packhorse/format.json", "format"),
        ("/run.json", "claim"),
        ("/end.json", "end"),
        ("/report.json", "report"),
        ("/backup_information.json", "record"),
        ("/parts/databases.json", "databases"),
        ("/parts/directory-blobs.json", "directory"),
        (".toml", "manifest"),
        (".bundle", "bundle"),
        (".refs", "refs"),
        (".custom_hooks.tar", "hooks"),
        (".jsonl.zst", "catalogue"),
        (".tar.gz", "archive"),
        (".sql.gz", "dump"),
    ];
    match request.operation {
        Operation::BeginUpload => "begin",
        Operation::PutPart => "part",
        Operation::CompleteUpload => "complete",
        Operation::Put => "latest",
        Operation::Create if request.key.contains("/segments/") => "segment",
        Operation::Create => {
            let found = ENDS.iter().find(|(end, _)| request.key.ends_with(end));
            found.map_or("marker", |(_, kind)| kind)
        }
        operation if operation.writes() => "removal",
        _ => "read",
    }
}

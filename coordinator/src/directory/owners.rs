//! Who is who on this host: users and groups by name.
//!
//! Does not own: whether files are given away. The local files are read, once for a restore; a name that they do not
//! have keeps its number.

use std::{collections::HashMap, fs};

/// The users and groups of this host.
#[derive(Debug, Default)]
pub(super) struct Owners {
    users: HashMap<Vec<u8>, u32>,
    groups: HashMap<Vec<u8>, u32>,
}

impl Owners {
    /// Those of this host, or none, so that numbers count.
    pub(super) fn read(numeric: bool) -> Self {
        if numeric {
            return Self::default();
        }
        Self { users: ids("/etc/passwd"), groups: ids("/etc/group") }
    }

    /// The user's id here; the archive's when nobody has the name.
    pub(super) fn user(&self, name: &[u8], id: u64) -> u64 {
        self.users.get(name).map_or(id, |id| u64::from(*id))
    }

    /// The same for a group.
    pub(super) fn group(&self, name: &[u8], id: u64) -> u64 {
        self.groups.get(name).map_or(id, |id| u64::from(*id))
    }

    /// The id that an access control list means: of a name that is known here, or the number itself.
    pub(super) fn in_list(&self, is_group: bool, name: &[u8]) -> Option<u32> {
        let known = if is_group { &self.groups } else { &self.users };
        known.get(name).copied().or_else(|| std::str::from_utf8(name).ok()?.parse().ok())
    }
}

fn ids(file: &str) -> HashMap<Vec<u8>, u32> {
    let text = fs::read(file).unwrap_or_default();
    let mut known = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(id)) = (fields.next(), fields.nth(1)) else { continue };
        let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
        if let Some(id) = id.filter(|_| !name.is_empty()) {
            // As everywhere, the first line of a name counts.
            known.entry(name.to_owned()).or_insert(id);
        }
    }
    known
}

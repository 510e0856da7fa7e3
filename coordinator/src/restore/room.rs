//! Whether there is room for all that a restore writes.
//!
//! Does not own: how much each part needs, or how much is free; agents and directories say so. Parts that write to one
//! file system share its room, so their needs are added up. A need is the least that will be written: what is refused
//! here would not have fitted.

use std::collections::BTreeMap;

use packhorse_model::{Component, ErrorKind, ItemFailure, Problem, Subject};

/// What one part needs on one file system.
pub struct Need {
    /// The host: its kernel, or another name of its own.
    pub host: String,
    /// The file system on that host.
    pub device: String,
    /// Bytes that may still be written there.
    pub available: u64,
    /// Bytes that the part writes, at least.
    pub bytes: u64,
    /// The part's component.
    pub component: Component,
    /// The storage, of repositories.
    pub storage: Option<String>,
    /// The part's name.
    pub item: String,
}

/// The parts for which there is no room.
pub fn lacking(needs: Vec<Need>) -> Vec<ItemFailure> {
    let mut systems: BTreeMap<(String, String), Vec<Need>> = BTreeMap::new();
    // What writes nothing is in nobody's way, however full its file system is.
    for need in needs.into_iter().filter(|need| need.bytes > 0) {
        systems.entry((need.host.clone(), need.device.clone())).or_default().push(need);
    }
    let mut lacking = Vec::new();
    for needs in systems.into_values() {
        let wanted = needs.iter().fold(0_u64, |sum, need| sum.saturating_add(need.bytes));
        // Others write there, too: the last look is the one that counts.
        let available = needs.iter().map(|need| need.available).min().unwrap_or(u64::MAX);
        if wanted > available {
            let others = needs.len() - 1;
            lacking.extend(needs.into_iter().map(|need| failure(need, wanted, available, others)));
        }
    }
    lacking
}

fn failure(need: Need, wanted: u64, available: u64, others: usize) -> ItemFailure {
    let size = |bytes| bytesize::ByteSize::b(bytes).display().iec();
    let with = match others {
        0 => String::new(),
        _ => format!(", and with all that goes to the same file system {}", size(wanted)),
    };
    let subject = match need.component {
        Component::Directory(_) => Subject::Directory,
        _ => Subject::Host,
    };
    let problem = Problem::new(ErrorKind::Unavailable, subject, "look for room")
        .on(need.storage.as_ref().unwrap_or(&need.item))
        .answered(format!(
            "it takes at least {}{with}; its file system has room for {}",
            size(need.bytes),
            size(available)
        ))
        .next("free space there, restore less, or restore to another place");
    ItemFailure { component: need.component, storage: need.storage, item: need.item, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(host: &str, device: &str, bytes: u64) -> Need {
        Need {
            host: host.into(),
            device: device.into(),
            available: 100,
            bytes,
            component: Component::Repositories,
            storage: Some(format!("{host}-{bytes}")),
            item: "x".into(),
        }
    }

    fn names(needs: Vec<Need>) -> Vec<String> {
        lacking(needs).into_iter().filter_map(|failure| failure.storage).collect()
    }

    #[test]
    fn what_goes_to_one_file_system_shares_its_room() {
        assert!(names(vec![need("a", "8:1", 100), need("a", "8:2", 100), need("b", "8:1", 100)]).is_empty());
        assert_eq!(names(vec![need("a", "8:1", 60), need("a", "8:1", 50)]), ["a-60", "a-50"]);
        let full = |bytes| Need { available: 0, ..need("a", "8:1", bytes) };
        assert!(names(vec![full(0)]).is_empty());
        assert_eq!(names(vec![full(0), full(1)]), ["a-1"]);
        let told = &lacking(vec![need("a", "8:1", 101)])[0].problem;
        assert!(told.to_string().contains("101 B") && told.to_string().contains("room for 100 B"), "{told}");
    }
}

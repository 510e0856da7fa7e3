//! All objects × all harms, on as many threads as there are processors.
//!
//! Does not own: what counts as seen (`damage`).

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{Harm, ID, Original};

/// Objects without which, or with which damaged, a restore of the second backup must fail.
fn is_needed(key: &str) -> bool {
    let step = key.starts_with("default/") && (key.contains("/0002/") || key.ends_with(".bundle"));
    let manifest = key.starts_with("manifests/") && key.ends_with("/0002.toml");
    step || manifest || key.starts_with("backups/0002/")
}

/// Harms of needed objects that cannot matter: fields of the commit record that no restore uses.
fn may_pass(key: &str, harm: Harm) -> bool {
    key.ends_with("backup_information.json") && harm == Harm::FlipMiddle
}

#[test]
fn no_damaged_object_is_restored_from_silently_with_a_database_and_a_directory() {
    let original = Original::new();
    let cases: Vec<(&str, Harm)> = original
        .objects
        .keys()
        .flat_map(|key| Harm::ALL.map(|harm| (key.as_str(), harm)))
        .filter(|(key, harm)| harm.changes(&original.objects, key))
        .collect();
    assert!(cases.len() > 150, "{} cases", cases.len());
    let (next, complaints, seen) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(0));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some((key, harm)) = cases.get(number) else { return };
            let complaint = match original.restore(number, *harm, key, ID) {
                Err(complaint) => complaint,
                Ok(true) => {
                    seen.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Ok(false) if is_needed(key) && !may_pass(key, *harm) => "was not seen".to_owned(),
                Ok(false) => continue,
            };
            complaints.lock().expect("no holder panics").push(format!("{key}, {harm:?}: {complaint}"));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from).clamp(2, 8) {
            scope.spawn(work);
        }
    });
    let complaints = complaints.into_inner().expect("no holder panics");
    assert!(
        complaints.is_empty(),
        "{} of {} cases:\n{}",
        complaints.len(),
        cases.len(),
        complaints.join("\n")
    );
    assert!(seen.into_inner() > 80, "hardly any damage was seen");
}

#[test]
fn latest_is_never_quietly_an_older_backup_with_a_database() {
    let original = Original::new();
    let record = format!("backups/{ID}/backup_information.json");
    for (number, harm) in
        [Harm::FlipFirst, Harm::FlipLast, Harm::Truncate, Harm::Empty, Harm::Swap].into_iter().enumerate()
    {
        let seen = original.restore(number, harm, &record, "latest");
        assert_eq!(seen, Ok(true), "{harm:?}");
    }
}

//! What a restore would do, as text.
//!
//! Does not own: the plan; the same value is printed as JSON and decides the exit code.

use packhorse_model::{
    DatabaseWay, PlannedDatabase, PlannedDirectory, PlannedRestore, PlannedStorage, RestoreOrder, RunState,
    visible,
};

use super::{
    bytes, count, counted, failures,
    summary::{order, remarks, vault},
};

/// What a restore would do, and what stands in its way.
pub fn restore(plan: &PlannedRestore) -> String {
    let end = match (plan.problems.is_empty(), plan.state) {
        (false, _) => "REFUSED: it would touch nothing",
        (true, RunState::Incomplete) => "would be INCOMPLETE",
        (true, _) => "would be complete",
    };
    let mut lines = vec![format!("Dry run of restore of {}  {end}", plan.backup_id)];
    vault(&mut lines, plan.vault.as_deref());
    // Where each part goes is said below, with what becomes of it.
    let asked = plan.order.as_ref().map(|asked| RestoreOrder { targets: Vec::new(), ..asked.clone() });
    lines.extend(asked.iter().flat_map(order));
    lines.extend(plan.storages.iter().map(storage));
    lines.extend(plan.databases.iter().map(database));
    lines.extend(plan.directories.iter().map(directory));
    remarks(&mut lines, &plan.remarks);
    failures::append_as("REFUSED", &mut lines, &plan.problems, plan.problems.len() as u64);
    failures::append_as("WOULD FAIL", &mut lines, &plan.failures, plan.failures_total);
    lines.join("\n")
}

fn free(room: Option<u64>) -> String {
    room.map(|room| format!(", {} free", bytes(room))).unwrap_or_default()
}

fn storage(storage: &PlannedStorage) -> String {
    let PlannedStorage { storage: name, target, path, new, replaced, already, refused, .. } = storage;
    let numbers = [
        (*new, "new"),
        (*replaced, "replaced"),
        (*already, "there already"),
        (*refused, "refused, because something is there"),
    ];
    let told = numbers.iter().filter(|(number, _)| *number > 0);
    let told: Vec<String> = told.map(|(number, word)| format!("{} {word}", count(*number))).collect();
    let told = if told.is_empty() { "nothing".to_owned() } else { told.join(", ") };
    let path = path.as_ref().map(|path| format!(" at {}", visible(path))).unwrap_or_default();
    let way = format!("{name} to {target}{path}");
    let all = counted(new + replaced + already + refused, "repository", "repositories");
    let room = free(storage.room);
    format!("  storage       {way}: {all}: {told}; {} to read{room}", bytes(storage.bytes))
}

fn database(database: &PlannedDatabase) -> String {
    let what = match (database.way, database.exists) {
        (DatabaseWay::Beside, true) => "filled beside, then swapped in",
        (DatabaseWay::Beside, false) => "new",
        (DatabaseWay::InPlace, _) => "replaced in place, in one transaction",
    };
    format!(
        "  database      {} to {}: {}{what}; {} to read",
        database.name,
        database.target,
        if database.replaces { "a live database that holds something IS REPLACED; " } else { "" },
        bytes(database.bytes)
    )
}

fn directory(directory: &PlannedDirectory) -> String {
    let what = if directory.exists { "unpacked beside, then swapped in" } else { "new" };
    let (plain, room) = (bytes(directory.bytes_plain), free(directory.room));
    format!(
        "  directory     {} to {}: {}{what}; {} to read, {plain} to write{room}",
        directory.name,
        directory.target,
        if directory.replaces { "it is not empty and IS REPLACED; " } else { "" },
        bytes(directory.bytes)
    )
}

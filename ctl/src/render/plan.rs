//! What a restore would do, as text.
//!
//! Does not own: the plan; the same value is printed as JSON and decides the exit code.

use packhorse_model::{
    DatabaseWay, PlannedDatabase, PlannedDirectory, PlannedRestore, PlannedStorage, RestoreOrder, RunState,
    StorageName, visible,
};

use super::{
    bytes, count, counted, failures,
    summary::{order, remarks, vault},
};

/// What a restore would do, and what stands in its way.
pub fn restore(plan: &PlannedRestore) -> String {
    let nothing = plan.problems.is_empty() && plan.refusal().is_some();
    let end = match (plan.problems.is_empty(), plan.state) {
        (false, _) => "REFUSED: it would touch nothing",
        (true, _) if nothing => "would FAIL: it would restore nothing",
        (true, RunState::Incomplete) => "would be INCOMPLETE",
        (true, _) => "would be complete",
    };
    let mut lines = vec![format!("Dry run of restore of {}  {end}", plan.backup_id)];
    vault(&mut lines, plan.vault.as_deref());
    // Where each part goes is said below, with what becomes of it.
    let asked = plan.order.as_ref().map(|asked| RestoreOrder { targets: Vec::new(), ..asked.clone() });
    lines.extend(asked.iter().flat_map(order));
    let is_refused = |target: &StorageName| {
        plan.problems.iter().any(|problem| problem.storage.as_deref() == Some(target.as_str()))
    };
    lines.extend(plan.storages.iter().map(|one| storage(one, is_refused(&one.target))));
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

fn storage(storage: &PlannedStorage, is_refused: bool) -> String {
    let PlannedStorage { storage: name, target, path, new, replaced, already, refused, .. } = storage;
    let numbers = [
        (*new, "new"),
        (*replaced, "replaced"),
        (*already, "there already"),
        (*refused, "refused, because something is there"),
    ];
    let told = numbers.iter().filter(|(number, _)| *number > 0);
    let told: Vec<String> = told.map(|(number, word)| format!("{} {word}", count(*number))).collect();
    let path = path.as_ref().map(|path| format!(" at {}", visible(path))).unwrap_or_default();
    let way = if name == target { format!("{name}{path}") } else { format!("{name} to {target}{path}") };
    let room = free(storage.room);
    if told.is_empty() {
        let why = if is_refused { "refused, for the reason below" } else { "no repository is selected" };
        return format!("  storage       {way}: {why}{room}");
    }
    let all = counted(new + replaced + already + refused, "repository", "repositories");
    let told = told.join(", ");
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

#[cfg(test)]
mod tests {
    use packhorse_model::{Component, ErrorKind, Exit, ItemFailure, Problem, Subject};

    use super::*;

    fn told_of(target: &str, kind: ErrorKind) -> ItemFailure {
        let problem = Problem::new(kind, Subject::Host, "open storage").answered("not writable");
        let (component, storage) = (Component::Repositories, Some(target.to_owned()));
        ItemFailure { component, storage, item: "(whole storage)".into(), problem }
    }

    fn plan(problems: Vec<ItemFailure>, failures: Vec<ItemFailure>) -> PlannedRestore {
        let storage: StorageName = "default".parse().expect("valid");
        let storage = PlannedStorage {
            target: storage.clone(),
            storage,
            path: None,
            new: 0,
            replaced: 0,
            already: 0,
            refused: 0,
            bytes: 0,
            room: None,
        };
        let state = match problems.is_empty() && failures.is_empty() {
            true => RunState::Complete,
            false => RunState::Incomplete,
        };
        PlannedRestore {
            vault: None,
            vault_id: None,
            dry_run: true,
            backup_id: "b".parse().expect("valid"),
            state,
            backup_state: RunState::Complete,
            backup_partial: false,
            storages: vec![storage],
            databases: Vec::new(),
            directories: Vec::new(),
            problems,
            failures_total: failures.len() as u64,
            failures,
            remarks: Vec::new(),
            order: None,
        }
    }

    #[test]
    fn what_is_said_of_a_dry_run_is_what_its_code_says() {
        let refused = plan(vec![told_of("default", ErrorKind::Denied)], Vec::new());
        let text = restore(&refused);
        assert!(text.contains("REFUSED: it would touch nothing"), "{text}");
        assert!(text.contains("storage       default: refused, for the reason below"), "{text}");
        assert!(!text.contains("nothing; ") && !text.contains(": nothing"), "{text}");

        let nothing = plan(Vec::new(), vec![told_of("default", ErrorKind::AlreadyExists)]);
        let text = restore(&nothing);
        assert_eq!(nothing.exit(), Exit::Failed);
        assert!(text.contains("would FAIL: it would restore nothing"), "{text}");
        assert!(!text.contains("INCOMPLETE"), "{text}");

        let empty = restore(&plan(Vec::new(), Vec::new()));
        assert!(
            empty.contains("would be complete") && empty.contains("no repository is selected"),
            "{empty}"
        );

        let mut some = plan(Vec::new(), vec![told_of("default", ErrorKind::AlreadyExists)]);
        some.storages[0].new = 1;
        assert!(restore(&some).contains("would be INCOMPLETE"), "{}", restore(&some));
    }
}

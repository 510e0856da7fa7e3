//! Failures grouped by their reason, with one next step for each group.
//!
//! Does not own: the failures; JSON has them one by one. A reason is what a problem says without the item's own name, so
//! that the same mishap of many repositories is told once, and each path is named once.

use packhorse_model::{Component, ItemFailure, visible};

use super::count;

/// Groups that are printed, and names in each.
const GROUPS: usize = 20;
const NAMES: usize = 10;

/// Where the text of a line begins.
const INDENT: &str = "                ";

struct Group<'a> {
    place: String,
    reason: String,
    failures: Vec<&'a ItemFailure>,
}

/// Appends the failures to the lines of a summary. `total` counts those, too, that the list has no room for.
pub fn append(lines: &mut Vec<String>, failures: &[ItemFailure], total: u64) {
    append_as("FAILED", lines, failures, total);
}

/// The same under another label.
pub fn append_as(label: &str, lines: &mut Vec<String>, failures: &[ItemFailure], total: u64) {
    let groups = groups(failures);
    let mut shown = 0;
    for group in groups.iter().take(GROUPS) {
        shown += group.failures.len() as u64;
        tell(label, lines, group);
    }
    let more = total.saturating_sub(shown);
    if more > 0 {
        lines
            .push(format!("  {label:<13} … and {} more: --json, or backupctl show ID --failed", count(more)));
    }
}

fn groups(failures: &[ItemFailure]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for failure in failures {
        let (place, reason) = (place(failure), reason(failure));
        match groups.iter_mut().find(|group| group.place == place && group.reason == reason) {
            Some(group) => group.failures.push(failure),
            None => groups.push(Group { place, reason, failures: vec![failure] }),
        }
    }
    groups
}

/// One failure in a line, each name once.
pub(super) fn line(failure: &ItemFailure) -> String {
    let place = place(failure);
    let item = visible(&failure.item);
    let named = if *item == *place { String::new() } else { format!("  {item}") };
    format!("{place}{named}  {}", reason(failure))
}

fn tell(label: &str, lines: &mut Vec<String>, group: &Group<'_>) {
    let (first, place) = (group.failures[0], &group.place);
    let reason = group.reason.replace('\n', &format!("\n{INDENT}"));
    if let [failure] = group.failures[..] {
        let told = line(failure).replace('\n', &format!("\n{INDENT}"));
        lines.push(format!("  {label:<13} {told}"));
    } else {
        let many = count(group.failures.len() as u64);
        lines.push(format!("  {label:<13} {place}  {many} of them: {reason}"));
        for failure in group.failures.iter().take(NAMES) {
            lines.push(format!("{INDENT}{}", visible(&failure.item)));
        }
        let more = group.failures.len().saturating_sub(NAMES);
        if more > 0 {
            lines.push(format!("{INDENT}… and {} more: --json", count(more as u64)));
        }
    }
    if let Some(next) = &first.problem.next {
        lines.push(format!("{INDENT}next: {}", next.replace('\n', &format!("\n{INDENT}"))));
    }
}

fn place(failure: &ItemFailure) -> String {
    failure.storage.clone().unwrap_or_else(|| failure.component.to_string())
}

/// Whether the failure is about a database or directory as a whole: then the path or address in it is more than its name.
fn is_whole_part(failure: &ItemFailure) -> bool {
    match &failure.component {
        Component::Repositories => false,
        Component::Databases => true,
        Component::Directory(name) => *name == failure.item,
    }
}

/// What the problem says without the item's name.
pub(super) fn reason(failure: &ItemFailure) -> String {
    let problem = &failure.problem;
    let mut reason = problem.what.clone();
    for part in [&problem.object, &problem.answer].into_iter().flatten() {
        reason.push_str(": ");
        reason.push_str(part);
    }
    if is_whole_part(failure) {
        return reason.split(": ").filter(|part| *part != failure.item).collect::<Vec<_>>().join(": ");
    }
    // The longest first: the object's path ends with the item's.
    if let Some(object) = problem.object.as_deref().filter(|object| object.ends_with(failure.item.as_str())) {
        reason = without_whole(&reason.replace(&format!(": {object}"), ""), object);
    }
    let item = failure.item.as_str();
    // Only whole parts: a path that ends with the name is the same name, and one that goes on after it is another.
    let is_item = |part: &&str| {
        *part == item
            || part.starts_with('/') && part.strip_suffix(item).is_some_and(|above| above.ends_with('/'))
    };
    reason.split(": ").filter(|part| !is_item(part)).collect::<Vec<_>>().join(": ")
}

/// The text with "it" for a name, where the name stands by itself and is not part of a word or of a longer path.
fn without_whole(text: &str, name: &str) -> String {
    let belongs = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '@' | '+');
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let alone =
            !before.ends_with(belongs) && !out_ends(&out, before, belongs) && !after.starts_with(belongs);
        out.push_str(before);
        out.push_str(if alone { "it" } else { name });
        rest = after;
    }
    out + rest
}

/// Whether what comes right before the rest, which is empty, belongs to the name.
fn out_ends(out: &str, before: &str, belongs: impl Fn(char) -> bool) -> bool {
    before.is_empty() && out.ends_with(belongs)
}

#[cfg(test)]
mod tests {
    use packhorse_model::{ErrorKind, Problem, Subject};

    use super::*;

    #[test]
    fn a_name_is_taken_out_of_a_reason_only_where_it_stands_by_itself() {
        let cases = [
            ("d: d is away, find directory", "d", "it: it is away, find directory"),
            ("/srv/git/undir/x.git: denied", "undir/x.git", "/srv/git/undir/x.git: denied"),
            ("look at a.git, a.git", "a.git", "look at it, it"),
            ("aa", "a", "aa"),
        ];
        for (text, name, expected) in cases {
            assert_eq!(without_whole(text, name), expected);
        }
    }

    fn failure(item: &str, what: &str, answer: &str) -> ItemFailure {
        let problem = Problem::new(ErrorKind::AlreadyExists, Subject::Repository, what)
            .on(format!("/srv/git/{item}"))
            .answered(answer)
            .next(format!("look at /srv/git/{item}"));
        ItemFailure {
            component: Component::Repositories,
            storage: Some("default".into()),
            item: item.into(),
            problem,
        }
    }

    #[test]
    fn a_path_that_ends_with_the_name_is_taken_out_as_a_whole() {
        let cases = [
            (
                "open repository",
                "x.git",
                "/srv/git/x.git: Permission denied",
                "open repository: Permission denied",
            ),
            (
                "open repository",
                "x.git",
                "/srv/git/x.git/HEAD: denied",
                "open repository: /srv/git/x.git/HEAD: denied",
            ),
            (
                "find in backup",
                "x.git",
                "its run failed on it: open repository: /srv/git/x.git: has no HEAD",
                "find in backup: its run failed on it: open repository: has no HEAD",
            ),
            ("open", "x.git", "/srv/git/ax.git: denied", "open: /srv/git/ax.git: denied"),
        ];
        for (what, item, answer, expected) in cases {
            let problem = Problem { object: Some(item.into()), ..failure(item, what, answer).problem };
            assert_eq!(reason(&ItemFailure { problem, ..failure(item, what, answer) }), expected);
        }
    }

    #[test]
    fn a_directory_keeps_its_folder_and_a_database_its_address() {
        let of = |component: &str, item: &str, object: &str| {
            let problem =
                Problem { object: Some(object.into()), ..failure("", "look at it", "denied").problem };
            let component = component.parse().expect("a component");
            reason(&ItemFailure { component, storage: None, item: item.into(), problem })
        };
        assert_eq!(of("uploads", "uploads", "/srv/uploads"), "look at it: /srv/uploads: denied");
        assert_eq!(of("uploads", "uploads", "uploads"), "look at it: denied");
        assert_eq!(of("uploads", "a/file", "/srv/uploads/a/file"), "look at it: denied");
        assert_eq!(
            of("db", "main", "database main at h:1/main"),
            "look at it: database main at h:1/main: denied"
        );
    }

    fn text(failures: &[ItemFailure], total: u64) -> String {
        let mut lines = Vec::new();
        append(&mut lines, failures, total);
        lines.join("\n")
    }

    #[test]
    fn the_same_reason_is_told_once_with_one_next_step_and_each_path_once() {
        let mut failures: Vec<ItemFailure> = (0..12)
            .map(|n| failure(&format!("team/{n:02}.git"), "restore repository", "something is already there"))
            .collect();
        failures.push(failure("x/broken.git", "open repository", "has no HEAD"));
        assert_eq!(
            text(&failures, 15),
            "  FAILED        default  12 of them: restore repository: something is already there
                team/00.git
                team/01.git
                team/02.git
                team/03.git
                team/04.git
                team/05.git
                team/06.git
                team/07.git
                team/08.git
                team/09.git
                … and 2 more: --json
                next: look at /srv/git/team/00.git
  FAILED        default  x/broken.git  open repository: has no HEAD
                next: look at /srv/git/x/broken.git
  FAILED        … and 2 more: --json, or backupctl show ID --failed"
        );
    }

    #[test]
    fn a_line_names_a_directory_or_database_once() {
        let problem = Problem::new(ErrorKind::NotFound, Subject::Directory, "archive directory")
            .on("uploads")
            .answered("No such file or directory");
        let component = Component::Directory("uploads".into());
        let told = ItemFailure { component, storage: None, item: "uploads".into(), problem };
        assert_eq!(line(&told), "uploads  archive directory: No such file or directory");
        let problem = Problem { object: Some("/srv/uploads".into()), ..told.problem.clone() };
        assert_eq!(
            line(&ItemFailure { problem, ..told.clone() }),
            "uploads  archive directory: /srv/uploads: No such file or directory"
        );
        let main = ItemFailure { component: Component::Databases, item: "main".into(), ..told };
        let problem = Problem { object: Some("main".into()), ..main.problem.clone() };
        assert_eq!(
            line(&ItemFailure { problem, ..main }),
            "db  main  archive directory: No such file or directory"
        );
    }

    #[test]
    fn a_name_steers_nothing_and_is_one_line() {
        let text = text(&[failure("x\x1b[31m\ny.git", "open repository", "has no HEAD")], 1);
        assert!(text.contains("x\\x1b[31m\\ny.git  open repository: has no HEAD"), "{text}");
        assert_eq!(
            text.lines().count(),
            3,
            "the next step names the path as it is, and is escaped on its way out"
        );
    }
}

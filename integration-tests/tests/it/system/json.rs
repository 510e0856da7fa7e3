//! The keys of JSON are those that docs/json.md has: none more, and none less but those that it calls optional.
//!
//! Does not own: values. Each section of the document has an example made by the program, and the keys that are only
//! there sometimes.

use std::{collections::BTreeSet, fs, path::Path};

use packhorse_testkit::CliOutput;
use serde_json::Value;

use super::site::{Site, json};

/// The paths of all keys, such as `storages[].counts.failed`.
fn keys(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                keys(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, &format!("{at}[]"), found)),
        _ => {}
    }
}

/// What the document says of a command.
struct Section {
    keys: BTreeSet<String>,
    optional: BTreeSet<String>,
}

fn section(command: &str) -> Section {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
    let document = fs::read_to_string(path).expect("docs/json.md");
    let (_, rest) =
        document.split_once(&format!("\n## {command}\n")).unwrap_or_else(|| panic!("no section {command}"));
    let section = rest.split("\n## ").next().unwrap_or(rest);
    let mut all = BTreeSet::new();
    for block in section.split("```json\n").skip(1) {
        let example = block.split("```").next().expect("the end of an example");
        keys(&serde_json::from_str(example).unwrap_or_else(|e| panic!("{command}: {e}")), "", &mut all);
    }
    let optional = section.lines().filter_map(|line| line.strip_prefix("Optional: "));
    let optional = optional.flat_map(|line| line.split('`').skip(1).step_by(2)).map(str::to_owned).collect();
    Section { keys: all, optional }
}

#[track_caller]
pub fn assert_documented(command: &str, outputs: &[CliOutput]) {
    let mut real = BTreeSet::new();
    outputs.iter().for_each(|output| keys(&json(output), "", &mut real));
    let Section { keys, optional } = section(command);
    let undocumented: Vec<&String> = real.difference(&keys).collect();
    assert!(undocumented.is_empty(), "{command}: not in docs/json.md: {undocumented:?}");
    let is_optional = |key: &&String| {
        optional
            .iter()
            .any(|o| *key == o || key.starts_with(&format!("{o}.")) || key.starts_with(&format!("{o}[]")))
    };
    let gone: Vec<&String> = keys.difference(&real).filter(|key| !is_optional(key)).collect();
    assert!(gone.is_empty(), "{command}: in docs/json.md, but not in the program's output: {gone:?}");
}

#[test]
fn the_document_has_every_key_of_every_command() {
    let site = Site::new();
    let files = site.folder("uploads");
    fs::write(files.join("file"), "content").expect("write file");
    let config = format!(
        "[vault]\nurl = '{}'\n{}[[directory]]\nname = 'uploads'\npath = '{}'\n",
        site.vault_url(),
        site.storage_section("default", "storage"),
        files.display()
    );
    site.write("packhorse.toml", &config);
    site.repo("storage/team/app.git").fill("main", 3);
    fs::create_dir_all(site.path("storage/team/broken.git/objects")).expect("a broken repository");
    let ctl = |args: &[&str]| site.ctl("packhorse.toml", ["--json"]).args(args).run();

    let created = ctl(&["create", "--backup-id", "nightly-1"]).expect_code(3);
    let again = ctl(&["create", "--backup-id", "nightly-2"]).expect_code(3);
    assert_documented("create", &[created, again]);
    assert_documented("list", &[ctl(&["list"]).expect_success()]);
    let shown = ctl(&["show", "nightly-2", "--storage", "default"]).expect_success();
    assert_documented("show", &[shown]);
    assert_documented("find", &[ctl(&["find", "app.git"]).expect_success()]);
    assert_documented("agents", &[ctl(&["agents"]).expect_success()]);
    let spare = format!("--storage=spare={}", site.folder("spare").display());
    let place = ["restore", "nightly-2", "--to-storage=default=spare", "--only=repositories", &spare];
    assert_documented("restore", &[ctl(&place).expect_code(3)]);
    let records = fs::read_dir(site.path("vault/packhorse/restores")).expect("records of restores");
    let names = records.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let id = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).next();
    let shown = ctl(&["show", &id.expect("a record")]).expect_success();
    assert_documented("show of a restore", &[shown]);
    // An error, with what failed before it.
    assert_documented("errors", &[ctl(&["restore", "nightly-1", "--only=repositories"]).expect_code(1)]);
}

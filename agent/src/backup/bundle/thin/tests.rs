//! Thin packs are read by git, which must find everything that it needs and little else.

use std::{collections::BTreeSet, fmt::Write as _, fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use packhorse_testkit::{GitRepo, run_with_input};
use tempfile::TempDir;

use super::{write::DEPTH, *};
use crate::backup::prerequisites;

struct Case {
    folder: TempDir,
    repo: GitRepo,
    format: ObjectFormat,
}

impl Case {
    fn new(format: ObjectFormat) -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        let option = format!("--object-format={}", format.as_str());
        let repo = GitRepo::init_with(folder.path().join("r.git"), &[&option]);
        Self { folder, repo, format }
    }

    fn oid(hex: &str) -> Oid {
        Oid::from_hex(hex.as_bytes()).expect("an object id")
    }

    fn pack(&self, tips: &[&str], known: &[&str]) -> Result<Vec<u8>, Unsuited> {
        let mut objects = Objects::open(self.repo.path(), self.format).expect("open");
        let oids = |list: &[&str]| list.iter().map(|hex| Self::oid(hex)).collect::<Vec<_>>();
        let edge = prerequisites::of(&mut objects, &oids(tips), &oids(known));
        let new: Vec<&str> = tips.iter().copied().filter(|tip| !known.contains(tip)).collect();
        let pack = pack(&mut objects, self.format, (&oids(&new), &edge), &CancellationToken::new())?;
        Ok(pack.bytes)
    }

    fn pack_of_git(&self, tips: &[&str], known: &[&str], thin: bool) -> Vec<u8> {
        let mut command = self.repo.command();
        command.args(["pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q"]);
        if thin {
            command.arg("--thin");
        }
        let known = known.iter().map(|oid| format!("^{oid}\n"));
        let input: String = tips.iter().map(|oid| format!("{oid}\n")).chain(known).collect();
        run_with_input(&mut command, input.as_bytes()).stdout
    }

    /// Gives a repository that has what is known the pack, and has git look whether the tips are whole there. Gives the
    /// objects that came.
    fn read(&self, pack: &[u8], tips: &[&str], known: &[&str]) -> BTreeSet<String> {
        let reader: PathBuf = self.folder.path().join("reader.git");
        let _ = fs::remove_dir_all(&reader);
        let option = format!("--object-format={}", self.format.as_str());
        let reader = GitRepo::init_with(&reader, &[&option]);
        let take = |pack: &[u8]| {
            if pack[8..12] != [0; 4] {
                reader.run_with_input(&["index-pack", "--strict", "--fix-thin", "--stdin"], pack);
            }
        };
        take(&self.pack_of_git(known, &[], false));
        let objects = || {
            let all = reader.run(&["cat-file", "--batch-check=%(objectname)", "--batch-all-objects"]);
            all.lines().map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let before = objects();
        take(pack);
        reader.run(&[&["rev-list", "--objects", "--quiet"], tips].concat());
        &objects() - &before
    }
}

/// Some text; versions of it are alike.
fn text(name: &str, version: usize) -> String {
    let line = |number: usize| {
        let version = if number % 17 == version % 17 { version } else { 0 };
        format!("{name} {} {}\n", number * 7919, version.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    };
    (0..40 + version % 60).map(line).collect()
}

/// A history of forks and merges in which files change, move, turn into folders and back, and go.
fn history(repo: &GitRepo, commits: usize) -> Vec<String> {
    let mut stream = String::new();
    let put = |stream: &mut String, mode: &str, path: &str, content: &str| {
        writeln!(stream, "M {mode} inline {path}\ndata {}\n{content}", content.len()).expect("to a string");
    };
    for number in 0..commits {
        let branch = if number * 5 % 7 < 2 { "side" } else { "main" };
        let message = format!("commit {number}");
        write!(
            stream,
            "commit refs/heads/{branch}\nmark :{}\ncommitter A <a@packhorse.invalid> {} +0000\ndata {}\n{message}\n",
            number + 1,
            1_700_000_000 + number * 60,
            message.len(),
        )
        .expect("to a string");
        if number > 2 {
            writeln!(stream, "from :{}", number - number * 3 % 4 % number).expect("to a string");
        }
        if number % 5 == 4 {
            writeln!(stream, "merge :{}", number / 2 + 1).expect("to a string");
        }
        put(&mut stream, "100644", "a", &text("a", number / 2));
        put(&mut stream, "100644", "deep/er/file", &text("file", number));
        match number % 8 {
            1 => put(&mut stream, "100755", "a", &text("a", number / 2)),
            2 => put(&mut stream, "120000", "link", &format!("a{number}")),
            3 => stream.push_str("M 160000 1234567890123456789012345678901234567890 module\n"),
            4 => stream.push_str("R deep moved\n"),
            5 => stream.push_str("C deep again\nD a\n"),
            // A file where there was a folder, and the other way round.
            6 => put(&mut stream, "100644", "deep", &text("deep", number)),
            7 => put(&mut stream, "100644", "a/b", &text("b", number)),
            _ => {}
        }
        // A repack keeps what refs reach.
        write!(stream, "\nreset refs/keep/{number}\nfrom :{}\n\n", number + 1).expect("to a string");
    }
    let marks = repo.path().join("marks");
    let export = format!("--export-marks={}", marks.display());
    repo.run_with_input(
        &["fast-import", "--quiet", "--force", "--date-format=raw", &export],
        stream.as_bytes(),
    );
    let marks = fs::read_to_string(marks).expect("read marks");
    let mut marks: Vec<(usize, String)> = marks
        .lines()
        .filter_map(|line| line.strip_prefix(':')?.split_once(' '))
        .map(|(mark, oid)| (mark.parse().expect("a number"), oid.to_owned()))
        .collect();
    marks.sort();
    marks.into_iter().map(|(_, oid)| oid).collect()
}

#[test]
fn git_finds_everything_in_it_whatever_the_history() {
    let case = Case::new(ObjectFormat::Sha1);
    let commits = history(&case.repo, 64);
    let (mut ours, mut gits, mut packed, mut known_before) = (0, 0, 0, 0);
    for round in 0_usize..36 {
        let pick = |salt: usize| commits[(round * 13 + salt * 29) % commits.len()].as_str();
        let tips: Vec<&str> = (0..1 + round % 3).map(|salt| pick(salt + 1)).collect();
        // Mostly close to the tips, as after a night.
        let near = |tip: &str| {
            let at = commits.iter().position(|commit| commit == tip).unwrap_or(0);
            commits[at.saturating_sub(1 + round % 4)].as_str()
        };
        let known: Vec<&str> =
            if round % 4 == 0 { vec![pick(7)] } else { tips.iter().map(|tip| near(tip)).collect() };
        if round % 6 == 5 {
            case.repo.repack();
        }
        let pack = match case.pack(&tips, &known) {
            Ok(pack) => pack,
            Err(reason) => panic!("round {round}: {reason}"),
        };
        let came = case.read(&pack, &tips, &known);
        // What moved from one folder to another may come once more.
        known_before += pack_count(&pack) - came.len();
        (ours, gits, packed) =
            (ours + pack.len(), gits + case.pack_of_git(&tips, &known, true).len(), packed + came.len());
    }
    assert!(packed > 200, "{packed} objects prove nothing");
    assert!(known_before * 20 < packed, "{known_before} of {packed} were there");
    assert!(ours <= gits, "{ours} bytes, git {gits}");
}

fn pack_count(pack: &[u8]) -> usize {
    u32::from_be_bytes([pack[8], pack[9], pack[10], pack[11]]) as usize
}

#[test]
fn only_what_is_new_is_packed() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let case = Case::new(format);
        let repo = &case.repo;
        let old = repo.commit("main", &[("a", text("a", 0)), ("d/b", text("b", 0)), ("d/e/c", text("c", 0))]);
        let new = repo.commit("main", &[("d/e/c", text("c", 1))]);
        let pack = case.pack(&[&new], &[&old]).expect("it is little");
        // A commit, the trees of three folders, and a file, which is a delta.
        assert_eq!(case.read(&pack, &[&new], &[&old]).len(), 5);
        assert_eq!(pack_count(&pack), 5);
        assert!(pack.len() < 700, "{} bytes", pack.len());
        // Of what has other names, only the folders are new.
        let tree = repo.run(&["rev-parse", &format!("{new}:d")]);
        let inner = repo.run(&["rev-parse", &format!("{new}:d/e")]);
        let moved = format!("040000 tree {tree}\tmoved\n040000 tree {inner}\td\n");
        let root = repo.run_with_input(&["mktree"], moved.as_bytes());
        let moved = repo.run(&["commit-tree", &root, "-p", &new, "-m", "moved"]);
        assert_eq!(pack_count(&case.pack(&[&moved], &[&new]).expect("little")), 2);
        // A tag of a tag, on what is known: two tags.
        let tag = repo.tag_annotated("inner", &old);
        let outer = repo.tag_annotated("outer", &tag);
        let pack = case.pack(&[&outer], &[&old]).expect("little");
        assert_eq!(case.read(&pack, &[&outer], &[&old]), BTreeSet::from([tag.clone(), outer.clone()]));
        // What is known is nothing new.
        for tips in [&[old.as_str()][..], &[]] {
            assert_eq!(pack_count(&case.pack(tips, &[&new]).expect("nothing")), 0);
        }
        // A history of its own.
        let root = repo.commit_on(None, &[("z", "z")]);
        let pack = case.pack(&[&root], &[&new]).expect("little");
        assert_eq!(case.read(&pack, &[&root], &[&new]).len(), 3);
    }
}

#[test]
fn deltas_do_not_pile_up_without_end() {
    let case = Case::new(ObjectFormat::Sha1);
    let old = case.repo.commit("main", &[("a", text("a", 0))]);
    let mut tip = old.clone();
    for version in 1..COMMITS {
        tip = case.repo.commit_on(Some(&tip), &[("a", text("a", version))]);
    }
    let pack = case.pack(&[&tip], &[&old]).expect("few enough");
    case.read(&pack, &[&tip], &[&old]);
    let reader = GitRepo::open(case.folder.path().join("reader.git"));
    let folder = reader.path().join("objects/pack");
    let packs = fs::read_dir(folder).expect("read packs").flatten().map(|entry| entry.path());
    for index in packs.filter(|path| path.extension().is_some_and(|found| found == "idx")) {
        let shown = reader.run(&["verify-pack", "-v", index.to_str().expect("UTF-8")]);
        // The sixth column of a delta is its depth.
        let depths = shown.lines().filter_map(|line| line.split_whitespace().nth(5)?.parse::<u32>().ok());
        let deepest = depths.max().unwrap_or(0);
        assert!(deepest <= DEPTH + 1, "{deepest} deltas on top of each other");
    }
    let next = case.repo.commit_on(Some(&tip), &[("a", "once more")]);
    let next = case.repo.commit_on(Some(&next), &[("a", "and again")]);
    assert!(case.pack(&[&next], &[&old]).expect_err("many").to_string().contains("many new commits"));
}

/// Overwrites a loose object, if there is something to write, or takes it away.
fn spoil(repo: &GitRepo, oid: &str, content: Option<&[u8]>) {
    let path = repo.path().join("objects").join(&oid[..2]).join(&oid[2..]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is loose");
    match content {
        Some(content) => fs::write(path, content).expect("write"),
        None => fs::remove_file(path).expect("remove"),
    }
}

/// An object, and what is written in its place, if anything.
type Spoilt = (String, Option<Vec<u8>>);

#[test]
fn what_is_not_there_or_not_right_is_left_to_git() {
    let refused = |spoilt: &dyn Fn(&Case) -> Spoilt| {
        let case = Case::new(ObjectFormat::Sha1);
        let repo = &case.repo;
        let root = repo.commit("main", &[("r", "r")]);
        let old = repo.commit("main", &[("a", text("a", 0)), ("d/b", "b".into())]);
        let new = repo.commit("main", &[("a", text("a", 1))]);
        case.pack(&[&new], &[&old]).expect("it is whole so far");
        let (oid, content) = spoilt(&case);
        spoil(repo, &oid, content.as_deref());
        let known = if oid == old { &root } else { &old };
        case.pack(&[&new], &[known]).expect_err(&oid).to_string()
    };
    let rev = |case: &Case, name: &str| case.repo.run(&["rev-parse", name]);
    let bytes = |case: &Case, oid: &str| {
        fs::read(case.repo.path().join("objects").join(&oid[..2]).join(&oid[2..])).expect("read")
    };
    for name in ["main:a", "main^{tree}", "main~1:a", "main~1^{tree}"] {
        assert!(refused(&|case| (rev(case, name), None)).contains("is not there"), "{name}");
        // Something else under that name, whole in itself, or of another kind.
        let other = if name.ends_with("tree}") { "main~2^{tree}" } else { "main~2:r" };
        let finding = refused(&|case| (rev(case, name), Some(bytes(case, &rev(case, other)))));
        assert!(finding.contains("another name"), "{name}: {finding}");
        assert!(refused(&|case| (rev(case, name), Some(b"x".to_vec()))).contains("cannot be read"), "{name}");
    }
    // History that was cut off.
    let finding = refused(&|case| (rev(case, "main~1"), None));
    assert!(finding.contains("is not there"), "{finding}");
}

/// What goes away and comes back is no delta on what it is the base of: git would find a circle.
#[test]
fn what_comes_back_is_not_packed_again() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let case = Case::new(format);
        let repo = &case.repo;
        let names = ["a", "b", "c", "d", "e", "f/a", "f/b", "f/c"];
        let files: Vec<(&str, String)> = names.iter().map(|name| (*name, text(name, 0))).collect();
        let first = repo.commit_on(None, &files);
        let second = repo.commit_on(Some(&first), &[("f/a", text("f/a", 1)), ("a", text("a", 1))]);
        let tree = |commit: &str| repo.run(&["rev-parse", &format!("{commit}^{{tree}}")]);
        let again = |tree: &str, parent: &str| repo.run(&["commit-tree", tree, "-p", parent, "-m", "again"]);
        let third = again(&tree(&first), &second);
        let fourth = again(&tree(&second), &third);
        let fifth = again(&tree(&first), &fourth);
        for (tip, known, new) in [
            (&third, &first, 2 + 4),
            (&fourth, &first, 3 + 4),
            (&fifth, &first, 4 + 4),
            (&third, &second, 1 + 4),
            (&fourth, &second, 2 + 4),
            (&fifth, &third, 2 + 4),
        ] {
            let pack = case.pack(&[tip], &[known]).expect("it is little");
            case.read(&pack, &[tip], &[known]);
            assert!(pack_count(&pack) <= new, "{} of {new}", pack_count(&pack));
        }
    }
}

/// A tree with entries that git's own commands would not write.
fn odd_tree(repo: &GitRepo, entries: &[(&str, &str, &str)]) -> String {
    let mut tree = Vec::new();
    for (mode, name, oid) in entries {
        tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        tree.extend_from_slice(Case::oid(oid).as_bytes());
    }
    let args = ["hash-object", "-w", "-t", "tree", "--literally", "--stdin"];
    repo.run_with_input(&args, &tree).trim().to_owned()
}

#[test]
fn odd_trees_are_left_to_git_and_hide_nothing() {
    let case = Case::new(ObjectFormat::Sha1);
    let repo = &case.repo;
    let folder = repo.tree(None, &[("file", "content")]);
    let commit = |tree: &str, parents: &[&str]| {
        let parents: Vec<&str> = parents.iter().flat_map(|parent| ["-p", parent]).collect();
        repo.run(&[&["commit-tree", tree, "-m", "odd"], parents.as_slice()].concat())
    };
    // A mode that is a submodule to git and a folder to others.
    let old = commit(&odd_tree(repo, &[("140000", "sub", &folder)]), &[]);
    let new = commit(&odd_tree(repo, &[("40000", "sub", &folder)]), &[&old]);
    assert!(case.pack(&[&new], &[&old]).expect_err("odd").to_string().contains("odd entries"));
    // A folder that was named as a file before: the reader has it, but nothing says that it has what is in it.
    let old = commit(&odd_tree(repo, &[("100644", "x", &folder)]), &[]);
    let new = commit(&odd_tree(repo, &[("40000", "x", &folder)]), &[&old]);
    let pack = case.pack(&[&new], &[&old]).expect("two trees, a file and a commit");
    assert_eq!(pack_count(&pack), 4);
    // The same with a commit, which is new.
    let parent = commit(&folder, &[]);
    let named = commit(&repo.tree(Some(&parent), &[("more", "files")]), &[&parent]);
    let old = commit(&odd_tree(repo, &[("100644", "x", &named)]), &[&parent]);
    let new = commit(&odd_tree(repo, &[("160000", "y", &named)]), &[&old]);
    let pack = case.pack(&[&new, &named], &[&old]).expect("little");
    assert_eq!(pack_count(&pack), 2 + 3);
}

#[test]
fn what_would_take_long_is_left_to_git() {
    let case = Case::new(ObjectFormat::Sha1);
    let repo = &case.repo;
    let many: Vec<String> =
        (0..PARENTS + 1).map(|number| repo.commit_on(None, &[("a", number.to_string())])).collect();
    let join = |parents: &[String]| {
        let tree = repo.tree(None, &[("a", "joined")]);
        let parents: Vec<&str> = parents.iter().flat_map(|parent| ["-p", parent.as_str()]).collect();
        repo.run(&[&["commit-tree", &tree, "-m", "join"], parents.as_slice()].concat())
    };
    let known: Vec<&str> = many.iter().map(String::as_str).collect();
    let tip = join(&many[1..]);
    case.read(&case.pack(&[&tip], &known).expect("not too many"), &[&tip], &known);
    let tip = join(&many);
    assert!(case.pack(&[&tip], &known).expect_err("many").to_string().contains("joins many trees"));
    // Folders within folders.
    let old = repo.commit("main", &[("a", "a")]);
    for (depth, can) in [(DEEP, true), (DEEP + 1, false), (900, false)] {
        let path = "d/".repeat(depth) + "file";
        let new = repo.commit_on(Some(&old), &[(path.as_str(), "deep")]);
        match case.pack(&[&new], &[&old]) {
            Ok(pack) => assert_eq!((can, pack_count(&pack)), (true, depth + 3)),
            Err(reason) => assert!(!can && reason.to_string().contains("deep"), "{depth}: {reason}"),
        }
    }
    // Stopped in between.
    let new = repo.commit("main", &[("b", "b")]);
    let mut objects = Objects::open(repo.path(), case.format).expect("open");
    let edge = prerequisites::of(&mut objects, &[Case::oid(&new)], &[Case::oid(&old)]);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let stopped = pack(&mut objects, case.format, (&[Case::oid(&new)], &edge), &cancel);
    assert!(stopped.is_err_and(|reason| reason.to_string().contains("asked to stop")));
}

#[test]
fn what_is_large_or_much_is_left_to_git() {
    let case = Case::new(ObjectFormat::Sha1);
    let repo = &case.repo;
    let old = repo.commit("main", &[("a", "a")]);
    let large = "x".repeat(OBJECT_BYTES as usize + 1);
    let new = repo.commit_on(Some(&old), &[("a", &large)]);
    assert!(case.pack(&[&new], &[&old]).expect_err("large").to_string().contains("is large"));
    let large = &large[1..];
    let new = repo.commit_on(Some(&old), &[("a", large)]);
    case.read(&case.pack(&[&new], &[&old]).expect("not too large"), &[&new], &[&old]);
    let files: Vec<(String, String)> =
        (0..30).map(|n| (n.to_string(), format!("{n}{}", &large[10..]))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let new = repo.commit_on(Some(&old), &files);
    assert!(case.pack(&[&new], &[&old]).expect_err("much").to_string().contains("much that is new"));
    let files: Vec<String> = (0..OBJECTS).map(|number| number.to_string()).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let new = repo.commit_on(Some(&old), &files);
    assert!(case.pack(&[&new], &[&old]).expect_err("many").to_string().contains("much that is new"));
    let new = repo.commit_on(Some(&old), &files[2..]);
    assert_eq!(pack_count(&case.pack(&[&new], &[&old]).expect("as many as may be")), OBJECTS);
    // Nothing is put together that does not fit into memory, whatever somebody asks for.
    let huge = repo.blob(vec![0; 5 << 20]);
    let mut objects = Objects::open(repo.path(), case.format).expect("open");
    for packed in [false, true] {
        if packed {
            repo.update_ref("refs/heads/huge", &repo.commit_on(Some(&new), &[("huge", vec![0; 5 << 20])]));
            repo.repack();
        }
        let read = objects.read(&to_gix(Case::oid(&huge)), u64::MAX).map(|(_, data)| data.len());
        assert!(read.is_err_and(|finding| finding.contains("cannot be read")), "packed: {packed}");
    }
    // What has no history.
    let tree = repo.run(&["rev-parse", &format!("{new}^{{tree}}")]);
    let tag = repo.tag_annotated("tree", &tree);
    assert!(case.pack(&[&tag], &[&old]).expect_err("a tree").to_string().contains("neither"));
}

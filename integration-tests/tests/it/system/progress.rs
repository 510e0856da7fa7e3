//! What an operator sees while a run goes on: a live line on a terminal, plain lines in a pipe; and its summary.
//!
//! Does not own: how a line is put together (`ctl`).

use std::time::Duration;

use packhorse_testkit::{Backupctl, GitRepo};

use super::{gate::Gate, site::Site};

/// A site with a backup and a repository that has changed since, whose pack a closed gate holds after some bytes.
fn held() -> (Site, Gate) {
    let site = Site::new();
    let gate = Gate::new(&site.path("gate"), 4096);
    let config = format!(
        "[vault]\nurl = '{}'\n{}[agent_service]\ngit = '{}'\n",
        site.vault_url(),
        site.storage_section("default", "storage"),
        gate.git().display()
    );
    site.write("packhorse.toml", &config);
    for name in ["storage/a.git", "storage/group/b.git"] {
        site.repo(name).fill("main", 5);
    }
    site.ctl("packhorse.toml", ["create", "--backup-id=0001"]).run().expect_success();
    GitRepo::open(site.path("storage/group/b.git"))
        .commit("main", &[("noise", super::site::noise(1, 1_000_000))]);
    (site, gate)
}

/// A held run on a terminal of this many columns, when it has shown this text.
fn screen(columns: u16, flags: &[&str], variables: &[(&str, &str)], text: &str) -> String {
    let (site, gate) = held();
    gate.close();
    let call = Backupctl::new().arg("--config").arg(site.path("packhorse.toml")).env("TERM", "xterm");
    let call = call.args(["create", "--backup-id=0002"]).args(flags).envs(variables.iter().copied());
    let mut terminal = call.on_terminal(columns);
    gate.wait_until_reached();
    terminal.wait_for(text, Duration::from_secs(60));
    gate.open();
    assert_eq!(terminal.wait(), 0, "{}", terminal.written());
    terminal.written()
}

/// The lines of a screen without what moves its cursor or has colour.
fn lines(screen: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = screen.chars();
    while let Some(next) = rest.next() {
        match next {
            '\x1b' => drop(rest.by_ref().skip(1).find(char::is_ascii_alphabetic)),
            '\r' => plain.push('\n'),
            other => plain.push(other),
        }
    }
    plain.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn a_terminal_shows_what_is_being_worked_on() {
    // The other one is settled before this one begins.
    let screen = screen(200, &[], &[], "group/b.git");
    // What git has written so far has not arrived anywhere.
    let whole = lines(&screen).into_iter().find(|line| line.contains("group/b.git"));
    let whole = whole.unwrap_or_else(|| panic!("{screen}"));
    assert!(["1/2 repositories", "50%", " 0 B"].iter().all(|part| whole.contains(part)), "{whole}");
    assert!(screen.contains("\x1b[32m█"), "in colour: {screen:?}");
}

#[test]
fn a_narrow_terminal_cuts_the_line() {
    let screen = screen(40, &[], &[], "1/2");
    let long = lines(&screen).into_iter().find(|line| line.chars().count() > 40 && line.contains("1/2"));
    assert_eq!(long, None, "{screen:?}");
}

#[test]
fn no_color_and_dumb_terminals_are_kept() {
    let plain = screen(200, &[], &[("NO_COLOR", "1")], "1/2 repositories");
    assert!(plain.contains("██") && !plain.contains("\x1b[32m") && !plain.contains("\x1b[31m"), "{plain:?}");
    let dumb = screen(200, &[], &[("TERM", "dumb")], "0002 on 0001");
    assert!(!dumb.contains('\x1b'), "{dumb:?}");
}

#[test]
fn verbose_shows_a_line_for_each_storage() {
    const HALF: &str = "\x1b[32m██████████\x1b[0m░░░░░░░░░░  50%  1/2 repositories";
    let screen = screen(200, &["-v"], &[], &format!("  default       {HALF}"));
    assert!(screen.contains(&format!("] {HALF}")), "the whole has a line of its own: {screen:?}");
}

#[test]
fn a_pipe_gets_plain_lines_and_the_summary_says_everything() {
    let (site, _gate) = held();
    let output = Backupctl::new()
        .arg("--config")
        .arg(site.path("packhorse.toml"))
        .args(["create", "--backup-id", "0002"])
        .run()
        .expect_success();
    assert!(output.stderr.contains("0002 on 0001, storages: default"), "{output:#?}");
    assert!(!output.stderr.contains(['\x1b', '\r']), "{output:#?}");
    let first = output.stdout.lines().next().expect("a first line");
    assert!(first.starts_with("Backup 0002  complete  in ") && first.ends_with('s'), "{output:#?}");
    for line in ["built on      0001", "2: 1 backed up, 1 unchanged, 0 failed", " KiB new, ", " KiB in total"]
    {
        assert!(output.stdout.contains(line), "{line}: {output:#?}");
    }
    let listing = site.ctl("packhorse.toml", ["list"]).run().expect_success().stdout;
    let rows: Vec<&str> = listing.lines().filter(|line| line.contains("000")).collect();
    assert!(rows.len() == 2 && rows[0].contains("0002") && rows[0].contains("complete"), "{listing}");
    let shown = site.ctl("packhorse.toml", ["show", "0002", "--storage", "default"]).run().expect_success();
    for named in ["0002", "complete", "0001", "default", "a.git", "group/b.git", "unchanged", "backed_up"] {
        assert!(shown.stdout.contains(named), "{named}: {}", shown.stdout);
    }
}

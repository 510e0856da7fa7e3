//! Daemons are played by small shell scripts.

use super::*;

const SOON: Duration = Duration::from_secs(10);

fn script(text: &str) -> Daemon {
    let mut command = crate::hermetic_command("sh");
    command.args(["-c", text]);
    Daemon::spawn_command(command)
}

#[test]
fn lines_are_seen_and_a_polite_stop_gives_the_code() {
    let mut daemon =
        script("trap 'echo bye >&2; exit 7' TERM; echo listening on 1 >&2; while :; do sleep 0.05; done");
    assert_eq!(daemon.wait_for_line("listening", SOON), "listening on 1");
    assert_eq!(daemon.terminate(), 7);
    assert_eq!(daemon.wait_for_line("bye", SOON), "bye");
}

#[test]
fn kill_cannot_be_refused() {
    let mut daemon = script("trap '' TERM; echo ready; exec tail -f /dev/null");
    daemon.wait_for_stdout("ready", SOON);
    daemon.kill();
    assert_eq!(daemon.wait(SOON), 137);
}

#[test]
#[should_panic(expected = "the process ended")]
fn an_early_end_is_told_with_the_output() {
    script("echo some reason >&2; exit 1").wait_for_line("listening", SOON);
}

#[test]
#[should_panic(expected = "unlisted complaint: ERROR disk on fire")]
fn only_listed_complaints_pass() {
    let mut daemon = script("echo WARN a little slow >&2; echo ERROR disk on fire >&2");
    daemon.wait(SOON);
    daemon.wait_for_line("ERROR", SOON);
    daemon.assert_no_complaints(&["a little slow"]);
}

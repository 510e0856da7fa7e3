//! Child processes with a known environment, and failures that show everything.
//!
//! Does not own: which program is run, or processes that outlive a call (`processes`, `watchdog`). The environment is
//! cleared, so neither the developer's git configuration nor cloud credentials can leak into a test.

use std::{
    ffi::OsStr,
    io::Write,
    process::{Command, Output, Stdio},
    thread,
};

/// A command that inherits nothing but `PATH` and the temporary folder, with git cut off from every configuration.
pub fn hermetic_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for kept in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0");
    command
}

/// Runs a command to its end and panics with its output unless it succeeds.
pub fn run_checked(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    checked(command, output)
}

/// Runs a command with these bytes on its standard input and panics with its output unless it succeeds.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin was just piped");
    let output = thread::scope(|scope| {
        // A child that ends early closes the pipe; its exit status then says why.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output()
    });
    let output = output.unwrap_or_else(|error| panic!("wait for {command:?}: {error}"));
    checked(command, output)
}

/// The standard output of a finished command as text, without the last line's end.
pub(crate) fn stdout_text(output: Output) -> String {
    let mut text = String::from_utf8(output.stdout).expect("the command prints UTF-8");
    text.truncate(text.trim_end_matches('\n').len());
    text
}

fn checked(command: &Command, output: Output) -> Output {
    assert!(
        output.status.success(),
        "{command:?}: {}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_larger_than_a_pipe_comes_back() {
        let input = vec![b'x'; 1 << 20];
        assert_eq!(run_with_input(&mut hermetic_command("cat"), &input).stdout, input);
    }

    #[test]
    fn the_environment_does_not_leak() {
        let output = run_checked(hermetic_command("env").env("ADDED", "yes"));
        let text = stdout_text(output);
        assert!(text.contains("ADDED=yes") && text.contains("HOME=/nonexistent"), "{text}");
        assert!(!text.contains("CARGO_"), "{text}");
    }

    #[test]
    #[should_panic(expected = "some reason")]
    fn a_failure_shows_what_the_command_said() {
        run_checked(hermetic_command("sh").args(["-c", "echo some reason >&2; exit 3"]));
    }
}

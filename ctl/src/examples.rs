//! The examples at the end of each command's help.
//!
//! Does not own: the flags. A test parses every line, so that an example is one that works.

/// Of `vault`.
pub const VAULT: &str = "\
Examples:
  backupctl vault init
  backupctl vault init --vault file:///srv/vault --group git";

/// Of `create`.
pub const CREATE: &str = "\
Examples:
  backupctl create
  backupctl create --full --storage default
  backupctl create --repository 'team/*' --skip-repository team/old.git
  backupctl create --only repositories --dry-run --json
  backupctl create --vault file:///srv/vault --storage default=/srv/git";

/// Of `restore`.
pub const RESTORE: &str = "\
Examples:
  backupctl restore latest
  backupctl restore latest --dry-run
  backupctl restore latest~1 --repository team/app.git --force
  backupctl restore latest --storage spare=/srv/restore-test --to-storage default=spare
  backupctl restore 1795177711_2026_11_20 --only db
  backupctl restore latest --to-database main=postgresql://git@spare.internal/restore_test";

/// Of `list`.
pub const LIST: &str = "\
Examples:
  backupctl list
  backupctl list --json";

/// Of `show`.
pub const SHOW: &str = "\
Examples:
  backupctl show latest
  backupctl show latest~1 --storage default
  backupctl show latest --failed
  backupctl show restore-1795177711-1f3a9c2e";

/// Of `find`.
pub const FIND: &str = "\
Examples:
  backupctl find app.git
  backupctl find 'team/**'
  backupctl find uploads --json";

/// Of `status`.
pub const STATUS: &str = "\
Examples:
  backupctl status
  backupctl status --all
  backupctl status --follow
  backupctl status 1795177711_2026_11_20_0.0.0 --follow --json";

/// Of `cancel`.
pub const CANCEL: &str = "\
Examples:
  backupctl cancel
  backupctl cancel 1795177711_2026_11_20_0.0.0";

/// Of `agents`.
pub const AGENTS: &str = "\
Examples:
  backupctl agents
  backupctl agents --coordinator unix:///run/packhorse/coordinator.sock";

/// Of `certs`.
pub const CERTS: &str = "\
Examples:
  backupctl certs init --dir authority
  backupctl certs issue --dir authority --role agent --san gitaly-1.internal
  backupctl certs issue --dir authority --role operator --san spiffe://example.org/ops --days 90";

/// Of `completions`.
pub const COMPLETIONS: &str = "\
Examples:
  backupctl completions bash
  backupctl completions zsh";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use crate::args::Args;

    /// The words of a line, quotes taken off.
    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect()
    }

    #[test]
    fn every_command_has_examples_that_parse() {
        for command in Args::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = help.lines().filter(|line| line.starts_with("  backupctl ")).collect();
            assert!(lines.len() >= 2, "{}: {help}", command.get_name());
            for line in lines {
                let words = words(line);
                assert_eq!(words[1], command.get_name(), "{line}");
                if let Err(error) = Args::try_parse_from(&words) {
                    panic!("{line}: {error}");
                }
            }
        }
    }

    #[test]
    fn global_flags_stand_in_a_group_of_their_own() {
        for mut command in Args::command().get_subcommands().cloned() {
            command = command.term_width(100);
            let help = Args::command()
                .try_get_matches_from(["backupctl", command.get_name(), "--help"])
                .expect_err("help")
                .to_string();
            let (own, global) = help.split_once("Global options:").unwrap_or_else(|| panic!("{help}"));
            assert!(global.contains("--coordinator") && !own.contains("--coordinator"), "{help}");
        }
    }
}

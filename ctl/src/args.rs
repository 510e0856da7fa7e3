//! The command line: every command and flag, with its help.
//!
//! Does not own: what commands do. Names and patterns are parsed here, so a typing error ends the program before
//! anything is asked of anybody.

use std::path::PathBuf;

use clap::{
    ArgAction, Args as ClapArgs, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    parser::ValueSource,
};
use packhorse_model::{BackupId, BackupSelector, Component, InvalidInput, RepoPattern, StorageName};

use crate::examples;

const EXIT_CODES: &str = "\
Exit codes:
  0  all of it                       10  no such backup or storage
  1  failed, nothing committed       12  credentials or key rejected
  2  usage or configuration          13  vault unusable
  3  committed but incomplete: the   14  agents or coordinator unreachable
     missing items are named         130, 143  stopped by a signal
  4  damage found                    any other code: treat as failure
  5  done, but its result could not be written to stdout; stderr has it";

/// Backs up and restores Git storage, databases and directories.
#[derive(Parser)]
#[command(name = "backupctl", version, after_help = EXIT_CODES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags of every command.
    #[command(flatten, next_help_heading = "Global options")]
    pub common: Common,
}

/// Flags of every command.
#[derive(ClapArgs)]
pub struct Common {
    /// Where the coordinator is: unix:///PATH, https://HOST:PORT or http://LOOPBACK:PORT
    #[arg(long, global = true, value_name = "URL", env = "PACKHORSE_COORDINATOR")]
    pub coordinator: Option<String>,
    /// Do the work in this process, without daemons; the default when no coordinator is given, and beats one that is
    #[arg(long, global = true)]
    pub embedded: bool,
    /// Configuration file (embedded mode; of a coordinator at https://, only its [tls] section); without it and without
    /// --vault, /etc/packhorse/packhorse.toml if that exists
    #[arg(long, global = true, value_name = "FILE", env = "PACKHORSE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The daemons' file, which is read when no other is named; empty for none.
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "FILE",
        env = "PACKHORSE_SYSTEM_CONFIG",
        default_value = "/etc/packhorse/packhorse.toml"
    )]
    pub system_config: std::ffi::OsString,
    /// Where backups are kept (embedded mode): file:///…, s3://bucket/prefix, gs://…, az://…
    #[arg(long, global = true, value_name = "URL", env = "PACKHORSE_VAULT")]
    pub vault: Option<String>,
    /// PEM file with our certificate, for a coordinator at https://
    #[arg(long, global = true, value_name = "FILE", env = "PACKHORSE_TLS_CERT", requires_all = ["tls_key", "tls_ca"])]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, global = true, value_name = "FILE", env = "PACKHORSE_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// PEM file with the authority that signed the coordinator's certificate
    #[arg(long, global = true, value_name = "FILE", env = "PACKHORSE_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log to stderr, and show progress of each storage; twice or three times for more of the log
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Show no progress
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Git executable (embedded mode)
    #[arg(long, global = true, value_name = "FILE", env = "PACKHORSE_GIT")]
    pub git: Option<PathBuf>,
    /// Repositories worked on at once (embedded mode); 0 means one for each CPU
    #[arg(long, global = true, value_name = "N")]
    pub jobs: Option<usize>,
    /// Which of the flags above were typed, and not taken from the environment.
    #[arg(skip)]
    pub typed: Vec<String>,
}

impl Args {
    /// The command line, and which of its flags were typed.
    pub fn read() -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches()?;
        let mut args = Self::from_arg_matches(&matches)?;
        let mut innermost = &matches;
        while let Some((_, inner)) = innermost.subcommand() {
            innermost = inner;
        }
        args.common.forget_empty();
        let typed = |id: &&str| innermost.value_source(id) == Some(ValueSource::CommandLine);
        args.common.typed = LOCAL
            .iter()
            .filter(|id| innermost.try_contains_id(id).is_ok())
            .copied()
            .filter(|id| typed(id))
            .map(str::to_owned)
            .collect();
        Ok(args)
    }
}

/// Flags that say how our own coordinator and agent work.
const LOCAL: [&str; 4] = ["coordinator", "vault", "config", "git"];

impl Common {
    /// A variable that is set to nothing is not set.
    fn forget_empty(&mut self) {
        for text in [&mut self.coordinator, &mut self.vault] {
            *text = text.take().filter(|text| !text.is_empty());
        }
        let paths =
            [&mut self.config, &mut self.git, &mut self.tls_cert, &mut self.tls_key, &mut self.tls_ca];
        for path in paths {
            *path = path.take().filter(|path| !path.as_os_str().is_empty());
        }
    }

    /// The coordinator that is in force, if it is not our own.
    pub fn coordinator_in_force(&self) -> Option<&String> {
        self.coordinator.as_ref().filter(|_| !self.embedded)
    }

    /// Whether a flag was typed, and not taken from the environment.
    pub fn is_typed(&self, flag: &str) -> bool {
        self.typed.iter().any(|typed| typed == flag)
    }
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Make a backup: incremental where there is one to build on
    #[command(after_help = examples::CREATE)]
    Create(CreateArgs),
    /// Restore a backup, or parts of it
    #[command(after_help = examples::RESTORE)]
    Restore(RestoreArgs),
    /// List the backups, newest first
    #[command(after_help = examples::LIST)]
    List(ListArgs),
    /// Show one backup or restore
    #[command(after_help = examples::SHOW)]
    Show(ShowArgs),
    /// Say in which backups a repository, database or directory is
    #[command(after_help = examples::FIND)]
    Find(FindArgs),
    /// Show what is under way and ended lately, runs that committed nothing of late, and what is scheduled
    #[command(after_help = examples::STATUS)]
    Status(StatusArgs),
    /// Stop a run or restore, and say what is kept of it
    #[command(after_help = examples::CANCEL)]
    Cancel(CancelArgs),
    /// Show the agents and whether they answer
    #[command(after_help = examples::AGENTS)]
    Agents(AgentsArgs),
    /// Make a vault
    #[command(after_help = examples::VAULT)]
    Vault(VaultArgs),
    /// Make certificates for those who have no authority of their own
    #[command(after_help = examples::CERTS)]
    Certs(CertsArgs),
    /// Print a completion script for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `NAME`, which selects a storage, or `NAME=PATH`, which also says where it lies.
#[derive(Clone, Debug)]
pub struct StorageArg {
    /// The storage.
    pub name: StorageName,
    /// Its folder.
    pub path: Option<PathBuf>,
}

fn storage_arg(text: &str) -> Result<StorageArg, InvalidInput> {
    match text.split_once('=') {
        None => Ok(StorageArg { name: text.parse()?, path: None }),
        Some((_, "")) => Err(InvalidInput::new("storage", text, "names no path after =")),
        Some((name, path)) => Ok(StorageArg { name: name.parse()?, path: Some(path.into()) }),
    }
}

fn storage_pair(text: &str) -> Result<(StorageName, StorageName), String> {
    let parse = |name: &str| name.parse().map_err(|e: InvalidInput| e.to_string());
    let (from, to) = text.split_once('=').ok_or_else(|| format!("storage pair {text:?}: must be FROM=TO"))?;
    if to.contains('/') {
        return Err(format!(
            "{to:?} is a folder, and a storage is named here: say --storage spare={to} --to-storage {from}=spare \
             (embedded mode)"
        ));
    }
    Ok((parse(from)?, parse(to)?))
}

fn directory_pair(text: &str) -> Result<(String, PathBuf), InvalidInput> {
    let (name, path) = text
        .split_once('=')
        .filter(|(_, path)| !path.is_empty())
        .ok_or_else(|| InvalidInput::new("directory", text, "must be NAME=PATH"))?;
    match name.parse()? {
        Component::Directory(name) => Ok((name, path.into())),
        _ => Err(InvalidInput::new("directory", text, "must be the name of a directory and a path")),
    }
}

/// Stands for all that is gone.
pub const ALL_GONE: &str = "*";

/// When it is proven that a backup holds everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Prove {
    /// While it is made
    Now,
    /// Not in this run: it is left to verify, and the backup is listed as unproven
    Later,
}

/// Flags of `create`.
#[derive(ClapArgs)]
pub struct CreateArgs {
    /// Start new chains for all repositories
    #[arg(long, conflicts_with = "incremental")]
    pub full: bool,
    /// Refuse to run when there is no backup to build on
    #[arg(long)]
    pub incremental: bool,
    /// When to prove that full steps hold everything that the refs reach
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Prove::Now)]
    pub prove: Prove,
    /// ID of the backup; default <unix time>_<date>_<version>
    #[arg(long, value_name = "ID")]
    pub backup_id: Option<BackupId>,
    /// Only this storage; NAME=PATH also says where it lies (embedded mode); may be repeated
    #[arg(long, value_name = "NAME[=PATH]", value_parser = storage_arg)]
    pub storage: Vec<StorageArg>,
    /// Only repositories with this path, below this folder, or matching this glob; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub repository: Vec<RepoPattern>,
    /// Not these repositories; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub skip_repository: Vec<RepoPattern>,
    /// Only this component: repositories, db, or the name of one database or directory; may be repeated
    #[arg(long, value_name = "COMPONENT")]
    pub only: Vec<Component>,
    /// Not this component; may be repeated
    #[arg(long, value_name = "COMPONENT")]
    pub skip: Vec<Component>,
    /// What is gone since the last backup was deleted on purpose: in this storage, or this database or directory as a
    /// whole; all that is gone when no name is given; may be repeated
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = ALL_GONE)]
    pub accept_gone: Vec<String>,
    /// Look and decide, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Make the vault first, where there is none
    #[arg(long, conflicts_with = "dry_run")]
    pub init: bool,
    /// Agents write to the vault themselves; always so, accepted for familiarity
    #[arg(long)]
    pub server_side: bool,
}

/// Flags of `restore`.
#[derive(ClapArgs)]
pub struct RestoreArgs {
    /// Backup to restore: an ID or the only one that begins so, latest, or latest~N
    pub backup: BackupSelector,
    /// Only this storage of the backup; NAME=PATH also says where it lies (embedded mode); may be repeated
    #[arg(long, value_name = "NAME[=PATH]", value_parser = storage_arg)]
    pub storage: Vec<StorageArg>,
    /// Only repositories with this path, below this folder, or matching this glob; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub repository: Vec<RepoPattern>,
    /// Not these repositories; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub skip_repository: Vec<RepoPattern>,
    /// Restore storage A of the backup into storage B; in embedded mode --storage B=PATH says where that lies; may be repeated
    #[arg(long, value_name = "A=B", value_parser = storage_pair)]
    pub to_storage: Vec<(StorageName, StorageName)>,
    /// Only this directory of the backup, into this folder (embedded mode); may be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = directory_pair)]
    pub to_directory: Vec<(String, PathBuf)>,
    /// Only this component: repositories, db, or the name of one database or directory; may be repeated
    #[arg(long, value_name = "COMPONENT")]
    pub only: Vec<Component>,
    /// Not this component, or not this storage of the backup; may be repeated
    #[arg(long, value_name = "COMPONENT|STORAGE")]
    pub skip: Vec<Component>,
    /// Only this database of the backup, into the database of this URL; may be repeated. Leave the password out: other users
    /// see it in the list of processes. PGPASSWORD and .pgpass are read
    // Parsed by the command, whose errors do not repeat the URL.
    #[arg(long, value_name = "NAME=URL")]
    pub to_database: Vec<String>,
    /// Check everything, say what would be done, and touch nothing; exits as the restore would
    #[arg(long)]
    pub dry_run: bool,
    /// Leave repositories that are there already, equal to what the backup has: goes on with a restore that was stopped
    #[arg(long)]
    pub skip_existing: bool,
    /// Replace repositories, databases and directories that exist
    #[arg(long)]
    pub force: bool,
    /// Let latest be the newest backup of all, also a partial or incomplete one
    #[arg(long)]
    pub partial: bool,
    /// Have git make bitmaps, commit-graphs and peeled refs of restored repositories, which takes longer
    #[arg(long)]
    pub optimise: bool,
    /// Give files of directories their owners by number, not by the names that this host has
    #[arg(long)]
    pub numeric_owner: bool,
    /// Restore damaged repositories as they were in the last backup in which nothing of them was left out
    #[arg(long)]
    pub as_of_last_good: bool,
    /// Keep a database that is replaced, under the name that the result tells
    #[arg(long)]
    pub keep_old: bool,
    /// Go on when a database refuses a statement of its dump, and name what failed (exit code 3)
    #[arg(long)]
    pub continue_on_error: bool,
}

/// Flags of `list`.
#[derive(ClapArgs)]
pub struct ListArgs {}

/// Flags of `show`.
#[derive(ClapArgs)]
pub struct ShowArgs {
    /// What to show: the ID of a backup or restore or the only one that begins so, latest, or latest~N
    pub backup: BackupSelector,
    /// Also list the repositories of this storage; may be repeated
    #[arg(long, value_name = "NAME")]
    pub storage: Vec<StorageName>,
    /// List only repositories that failed
    #[arg(long)]
    pub failed: bool,
    /// Let latest be the newest backup of all, also a partial or incomplete one
    #[arg(long)]
    pub partial: bool,
}

/// Flags of `find`.
#[derive(ClapArgs)]
pub struct FindArgs {
    /// A repository's path, a folder, a glob, or the name of a database or directory; without a slash, in every folder
    pub pattern: String,
}

/// Flags of `agents`.
#[derive(ClapArgs)]
pub struct AgentsArgs {}

/// Flags of `status`.
#[derive(ClapArgs)]
pub struct StatusArgs {
    /// Only this run: the ID of a backup or restore, or the only one that begins so
    pub run: Option<String>,
    /// Follow it, or the only one under way, to its end, and exit as it does; a signal ends the following only
    #[arg(long)]
    pub follow: bool,
    /// Also those that ended before the last ten, requests that were refused, and all runs that ever committed nothing;
    /// --json always has them
    #[arg(long, conflicts_with = "follow")]
    pub all: bool,
}

/// Flags of `cancel`.
#[derive(ClapArgs)]
pub struct CancelArgs {
    /// The run: the ID of a backup or restore; may be left out when only one is under way
    pub run: Option<String>,
}

/// Flags of `vault`.
#[derive(ClapArgs)]
pub struct VaultArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: VaultCommand,
}

/// The commands of `vault`.
#[derive(Subcommand)]
pub enum VaultCommand {
    /// Make a vault of an empty folder, bucket or prefix; of a file:// URL, the last folder is made when it is missing
    Init {
        /// Group whose members share a file:// vault, whatever their umask is (embedded mode)
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
    },
}

/// Flags of `certs`.
#[derive(ClapArgs)]
pub struct CertsArgs {
    /// What to make.
    #[command(subcommand)]
    pub command: CertsCommand,
}

/// The commands of `certs`.
#[derive(Subcommand)]
pub enum CertsCommand {
    /// Make an authority: ca.pem and ca-key.pem
    Init {
        /// Folder for its files; made when it is missing
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Issue a certificate: NAME.pem and NAME-key.pem, after its first name
    Issue(IssueArgs),
}

/// Flags of `certs issue`.
#[derive(ClapArgs)]
pub struct IssueArgs {
    /// Folder of the authority, which receives the certificate
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// What its holder is
    #[arg(long)]
    pub role: CertificateRole,
    /// Host name, IP address or URI of its holder; the first one that is no IP address stands in [[peer]]; may be repeated
    #[arg(long, required = true, value_name = "NAME")]
    pub san: Vec<String>,
    /// Days until it expires
    #[arg(long, value_name = "N", default_value_t = 397, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: u16,
}

/// The roles of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CertificateRole {
    /// Serves, and calls nobody
    Agent,
    /// Drives agents, and serves
    Coordinator,
    /// Gives every command
    Operator,
    /// Looks
    Observer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_place_of_a_storage_is_told_with_the_flags_that_take_it() {
        let told = storage_pair("default=/srv/look").expect_err("a folder");
        assert!(told.contains("--storage spare=/srv/look --to-storage default=spare"), "{told}");
        assert!(storage_pair("default").expect_err("no pair").contains("FROM=TO"));
        assert!(storage_pair("default=spare").is_ok());
    }
}

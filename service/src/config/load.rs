//! Reading and validating the configuration file.
//!
//! Does not own: what the sections mean. A file that loads is consistent: names are unique, directories do not take
//! the name of another component.

use std::{collections::BTreeSet, io, path::Path};

use packhorse_model::{Component, ErrorKind, Problem, StorageName, Subject, VaultSettings, whose};
use serde::Deserialize;

use super::{
    AgentAddress, AgentLimits, CoordinatorSection, DatabaseConfig, DirectoryConfig, PeerSection, RunSection,
    ScheduleConfig, StorageConfig, TlsSection, VaultSection, Written,
    schedule::{FileLine, lines_of_crons},
};
use crate::places::{self, Place};

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where backups go.
    pub vault: Option<VaultSection>,
    /// What every run records.
    pub run: RunSection,
    /// How an agent works.
    pub agent_service: AgentLimits,
    /// How the coordinator works.
    pub coordinator: CoordinatorSection,
    /// Storages that this process's agent serves.
    pub storage: Vec<StorageConfig>,
    /// Agents that the coordinator drives.
    pub agent: Vec<AgentAddress>,
    /// Databases.
    pub database: Vec<DatabaseConfig>,
    /// Directories.
    pub directory: Vec<DirectoryConfig>,
    /// Backups that the coordinator starts by itself.
    pub schedule: Vec<ScheduleConfig>,
    /// Our certificate and the authorities that we trust.
    pub tls: Option<TlsSection>,
    /// Who may call.
    pub peer: Vec<PeerSection>,
}

impl Config {
    /// Reads and validates a file.
    pub fn load(path: &Path) -> Result<Self, Problem> {
        Self::load_written(path).map(|(config, _)| config)
    }

    /// Reads and validates a file, and gives it as it was written, too.
    pub fn load_written(path: &Path) -> Result<(Self, Written), Problem> {
        let problem = |kind, answer: String| {
            Problem::new(kind, Subject::Configuration, "read configuration")
                .on(path.display())
                .answered(answer)
        };
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let mistake = |e: toml::de::Error| problem(ErrorKind::Invalid, one_line(&text, &e));
        let mut config: Self = toml::from_str(&text).map_err(mistake)?;
        for (schedule, line) in config.schedule.iter_mut().zip(lines_of_crons(&text)) {
            schedule.place = FileLine(format!("{}: line {line}", path.display()));
        }
        config.validate().map_err(|answer| problem(ErrorKind::Invalid, answer))?;
        let written = toml::from_str(&text).map_err(mistake)?;
        Ok((config, Written(written)))
    }

    /// The vault's settings, which most processes need.
    pub fn vault_settings(&self) -> Result<VaultSettings, Problem> {
        self.vault.as_ref().map(VaultSection::settings).ok_or_else(|| {
            Problem::new(ErrorKind::Invalid, Subject::Configuration, "open vault")
                .answered("no vault is configured")
                .next("add a [vault] section with a url")
        })
    }

    /// Refuses a configuration of which one place lies inside another.
    pub fn check_places(&self) -> Result<(), Problem> {
        places::check(&Place::of_config(self))
    }

    fn validate(&self) -> Result<(), String> {
        if let Some(file) = self.tls.iter().flat_map(TlsSection::files).find(|file| !file.is_absolute()) {
            return Err(format!("path {} in [tls] must be absolute", file.display()));
        }
        for peer in &self.peer {
            peer.name()?;
        }
        let mut storages = BTreeSet::new();
        for storage in &self.storage {
            if !storages.insert(&storage.name) {
                return Err(format!("storage {:?} is configured twice", storage.name.as_str()));
            }
            if !storage.path.is_absolute() {
                return Err(format!("path of storage {} must be absolute", storage.name));
            }
        }
        let mut databases = BTreeSet::new();
        for database in &self.database {
            // The name is part of a key and of environment variables.
            database.name.parse::<StorageName>().map_err(|_| format!("database name {:?}", database.name))?;
            if !databases.insert(&database.name) {
                return Err(format!("database {:?} is configured twice", database.name));
            }
        }
        let mut directories = BTreeSet::new();
        for directory in &self.directory {
            match directory.name.parse::<Component>() {
                Ok(Component::Directory(_)) => {}
                _ => return Err(format!("directory name {:?} is reserved or not usable", directory.name)),
            }
            if !directories.insert(&directory.name) {
                return Err(format!("directory {:?} is configured twice", directory.name));
            }
            if !directory.path.is_absolute() {
                return Err(format!("path of directory {} must be absolute", directory.name));
            }
        }
        let mut schedules = BTreeSet::new();
        for schedule in &self.schedule {
            if schedule.name.is_empty() || !schedules.insert(&schedule.name) {
                return Err(format!("schedule {:?} has no name, or not one of its own", schedule.name));
            }
        }
        Ok(())
    }
}

/// The error of a file that cannot be read.
pub fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let problem =
        Problem::new(ErrorKind::Invalid, Subject::Configuration, "read configuration").on(path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => problem
            .answered(format!("{error}: {}", whose(path)))
            .next("run as a user who may read it, or let us read it with chown or chmod"),
        io::ErrorKind::NotFound => problem.answered(error).next("correct the path, or make the file"),
        io::ErrorKind::IsADirectory => problem.answered(error).next("name the file in it"),
        io::ErrorKind::InvalidData => {
            problem.answered(error).next("name a file in TOML: this one is no text")
        }
        _ => problem.answered(error).next("see that the file can be read, or name another"),
    }
}

/// Where and what: the line's number and key, but not its value, which may be a password.
fn one_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let number = before.matches('\n').count();
    let line = text.lines().nth(number).unwrap_or_default().trim();
    let key = match line.split_once('=') {
        Some((key, _)) => key.trim(),
        None if line.starts_with('[') => line,
        None => "?",
    };
    let message = match line.strip_prefix('[') {
        Some(table) if !table.starts_with('[') && error.message().contains("expected a sequence") => {
            format!("there may be several of these: write [{line}]")
        }
        _ => error.message().lines().map(str::trim).collect::<Vec<_>>().join(" "),
    };
    format!("line {}: {key}: {message}", number + 1)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{super::Span, *};

    fn load(text: &str) -> Result<Config, Problem> {
        let mut file = tempfile::NamedTempFile::new().expect("temp file");
        file.write_all(text.as_bytes()).expect("write temp file");
        Config::load(file.path())
    }

    #[test]
    fn a_whole_file_loads() {
        let config = load(
            "[vault]\nurl = 's3://b/p'\nretry_budget = '5m'\nupload_memory = '64 MiB'\n\
             [run]\ninstance_version = '18.1.0-ee'\n[agent_service]\njobs = 4\n\
             [[storage]]\nname = 'default'\npath = '/srv/git'\n\
             [[agent]]\naddress = 'http://127.0.0.1:7443'\n\
             [[database]]\nname = 'main'\nurl = 'postgresql:///x'\n\
             [[directory]]\nname = 'uploads'\npath = '/u'\nexclude = ['tmp']\n",
        )
        .expect("valid file");
        assert_eq!(config.storage[0].name.as_str(), "default");
        assert_eq!(config.vault.expect("has a vault").retry_budget, Span::from_secs(300));
    }

    #[test]
    fn a_file_that_cannot_be_read_comes_with_what_to_do() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).expect("write file");
        for (name, next) in [
            ("missing.toml", "correct the path"),
            ("", "name the file in it"),
            ("binary", "name a file in TOML"),
            ("binary/below", "see that the file can be read"),
        ] {
            let path = if name.is_empty() { folder.path().to_owned() } else { folder.path().join(name) };
            let problem = Config::load(&path).expect_err(name);
            assert_eq!(problem.kind, ErrorKind::Invalid);
            assert_eq!(problem.object.as_deref(), Some(&*path.display().to_string()));
            assert!(
                problem.next.as_deref().is_some_and(|told| told.starts_with(next)),
                "{name}: {problem:?}"
            );
        }
        let denied = unreadable(&folder.path().join("binary"), &io::ErrorKind::PermissionDenied.into());
        let answer = denied.answer.unwrap_or_default();
        assert!(answer.contains("belongs to user") && answer.contains("we are user"), "{answer}");
        assert!(denied.next.is_some_and(|next| next.starts_with("run as a user who may read it")));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [
            ("[vault]\nurl = 'x'\nendpiont = 'y'\n", "line 3: endpiont: unknown field `endpiont`"),
            ("[[storage]]\nname = 'a'\npath = 'rel'\n", "absolute"),
            ("[[storage]]\nname = 'backups'\npath = '/x'\n", "reserved"),
            ("[[storage]]\nname='a'\npath='/x'\n[[storage]]\nname='a'\npath='/y'\n", "twice"),
            ("[[directory]]\nname = 'db'\npath = '/x'\n", "reserved"),
            ("[[directory]]\nname = 'repositories'\npath = '/x'\n", "reserved"),
            ("[vault]\nurl='x'\nretry_budget='-5s'\n", "negative"),
            ("[vault]\nurl='x'\nretry_budget='0s'\n", "line 3: retry_budget: must not be zero"),
            ("[vault]\nurl='x'\nretry_budget='15m'\n", "line 3: retry_budget: must not be more than 14m"),
            ("[vault]\nurl='x'\nupload_memory='1 MiB'\n", "line 3: upload_memory: 1.0 MiB is less than"),
            ("[agent_service]\nmax_chain=0\n", "line 2: max_chain: 0 is not between 1 and"),
            ("[agent_service]\nmax_garbage=1.5\n", "line 2: max_garbage: 1.5 is not between 0 and 1"),
            ("[agent_service]\njobs=100000000000\n", "line 2: jobs: 100000000000 is not between 0 and"),
            ("[agent_service]\nstall_timeout='0s'\n", "line 2: stall_timeout: must not be zero"),
            ("[agent_service]\nbandwidth='5 parsecs'\n", "line 2: bandwidth"),
            ("[coordinator]\nbandwidth=-1\n", "line 2: bandwidth"),
            (
                "[storage]\nname = 'a'\n",
                "line 1: [storage]: there may be several of these: write [[storage]]",
            ),
            ("[[database]]\nname = 'a'\nurl = ['secret']\n", "line 3: url: invalid type"),
            ("[[schedule]]\nname='a'\n", "cron"),
            ("[[schedule]]\nname=''\ncron='* * * * *'\n", "name"),
            ("[[schedule]]\nname='a'\ncron='@daily'\nmode='half'\n", "half"),
            ("[tls]\ncertificate='c'\nkey='/k'\nca='/a'\n", "absolute"),
            ("[tls]\ncertificate='/c'\nkey='/k'\n", "ca"),
            ("[[peer]]\nrole='operator'\n", "exactly one"),
            ("[[peer]]\nsan='a'\nuid=1\nrole='operator'\n", "exactly one"),
            ("[[peer]]\nsan='a'\nrole='root'\n", "root"),
            ("[[peer]]\nsan='a'\nroles='operator'\n", "roles"),
        ] {
            let problem = load(text).expect_err(text);
            assert_eq!(problem.kind, ErrorKind::Invalid);
            assert!(problem.to_string().contains(named), "{text}: {problem}");
        }
    }
    #[test]
    fn the_example_loads_as_it_is_and_with_every_key() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/packhorse.example.toml");
        let example = std::fs::read_to_string(path).expect("the example");
        let config = load(&example).expect("the example");
        assert_eq!((config.storage.len(), config.schedule.len()), (1, 0));
        let is_key = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        let every = example.lines().map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with('[') || is_key(rest) => rest,
            _ => line,
        });
        let config = load(&every.collect::<Vec<_>>().join("\n")).expect("the example with every key");
        assert_eq!((config.schedule.len(), config.schedule[0].only.len()), (1, 2));
        assert_eq!(
            config.vault.and_then(|vault| vault.endpoint).as_deref(),
            Some("https://s3.example.internal")
        );
    }
}

//! How the children of one database reach their server: libpq's environment variables.
//!
//! Does not own: the URL's grammar (`url`) or the children. Sources, the later ones win: `PG*` of this process, but for
//! what would lead elsewhere than the URL, a service, the URL, the password file, the configuration's `env`,
//! `GITLAB_BACKUP_PG*`, `GITLAB_BACKUP_<NAME>_PG*`. libpq lets a service beat every variable, so beside a service what was
//! said of this database is an argument. A password reaches a child by its environment only, never by its arguments, and
//! [`Connection::redact`] keeps it out of every text that is shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, StorageName, Subject};
use packhorse_service::config::DatabaseConfig;

use super::url;

#[cfg(test)]
mod tests;

/// Settings that GitLab's own backup lets the environment override.
const OVERRIDES: [&str; 10] = [
    "PGHOST",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGSSLMODE",
    "PGSSLKEY",
    "PGSSLCERT",
    "PGSSLROOTCERT",
    "PGSSLCRL",
    "PGSSLCOMPRESSION",
];

/// Has a child notice within a minute that its server's host is gone: by itself it would wait for hours. libpq has no
/// variables for these, so they are an argument; everything else still comes from the environment.
const NOTICE_LOSS: &str =
    "keepalives_idle=20 keepalives_interval=10 keepalives_count=3 tcp_user_timeout=60000";

/// Variables by which libpq finds files.
const FILES: [&str; 6] = ["PGPASSFILE", "PGSSLKEY", "PGSSLCERT", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLCRLDIR"];

/// What somebody else's URL may say beside a service of ours: nothing by which its password would go to another server.
const BESIDE_SERVICE: [&str; 4] = ["PGSERVICE", "PGDATABASE", "PGUSER", "PGPASSWORD"];

/// What the environment of this process says to libpq; it may hold a password.
#[derive(Clone)]
pub struct Libpq(BTreeMap<String, String>);

impl Libpq {
    /// The part of an environment that libpq reads.
    pub fn of(env: &BTreeMap<String, String>) -> Self {
        Self(inherited(env))
    }
}

/// A database's URL as it may be shown.
pub fn without_password(url: &str) -> String {
    let Ok(environment) = url::parse(url) else { return "(no URL of a database)".to_owned() };
    let said = environment.keys().cloned().collect();
    let connection = Connection { name: String::new(), elsewhere: None, bin_dir: None, environment, said };
    connection.shown(connection.database().unwrap_or_default())
}

/// A database's name, programs and environment for its children.
#[derive(Clone)]
pub(super) struct Connection {
    name: String,
    /// Another database of the same server than the settings name.
    elsewhere: Option<String>,
    bin_dir: Option<PathBuf>,
    environment: BTreeMap<String, String>,
    /// Those of the variables that were said of this database, and not inherited from this process.
    said: BTreeSet<String>,
}

impl Connection {
    /// Puts the settings together; `env` is this process's environment.
    pub(super) fn new(config: &DatabaseConfig, env: &BTreeMap<String, String>) -> Result<Self, Problem> {
        let invalid = |what: &str, answer: String| {
            Problem::new(ErrorKind::Invalid, Subject::Configuration, what)
                .on(format!("database {:?}", config.name))
                .answered(answer)
        };
        config.name.parse::<StorageName>().map_err(|e| invalid("read database name", e.to_string()))?;
        let mut own = url::parse(&config.url).map_err(|e| invalid("read database URL", e))?;
        let mut environment = inherited(env);
        leads_elsewhere(&own).into_iter().for_each(|variable| drop(environment.remove(variable)));
        if let Some(file) = &config.password_file {
            own.insert(
                "PGPASSWORD".into(),
                read_password(file).map_err(|e| invalid("read password file", e))?,
            );
        }
        own.extend(config.env.clone());
        own.extend(overrides(&config.name, env));
        let said = own.keys().cloned().collect();
        environment.extend(own);
        if let Some((name, _)) = environment
            .iter()
            .find(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0'))
        {
            return Err(invalid("read database environment", format!("{name:?} cannot be a variable")));
        }
        let (name, bin_dir) = (config.name.clone(), config.bin_dir.clone());
        Ok(Self { name, elsewhere: None, bin_dir, environment, said })
    }

    /// Where a URL leads that an operator gave for one restore. Nothing of the environment leads elsewhere: it only
    /// completes what the URL leaves open.
    pub(super) fn explicit(
        name: &str,
        url: &str,
        bin_dir: Option<&Path>,
        Libpq(inherited): &Libpq,
        own_caller: bool,
    ) -> Result<Self, Problem> {
        let invalid = |answer: String| {
            Problem::new(ErrorKind::Invalid, Subject::Configuration, "read database URL")
                .on(format!("--to-database {name}"))
                .answered(answer)
        };
        let own = url::parse(url).map_err(invalid)?;
        if let Some(file) = FILES.iter().find(|file| own.contains_key(**file) && !own_caller) {
            return Err(invalid(format!("it names a file ({file}), which only embedded mode takes"))
                .next("set that variable in the coordinator's environment"));
        }
        let is_foreign = |variable: &&String| !BESIDE_SERVICE.contains(&variable.as_str());
        if let Some(variable) =
            own.keys().find(is_foreign).filter(|_| !own_caller && own.contains_key("PGSERVICE"))
        {
            let why = format!("it names a service and {variable}, which together only embedded mode takes");
            return Err(invalid(why).next("name the service with a database and a user at most"));
        }
        if !own.contains_key("PGDATABASE") && !own.contains_key("PGSERVICE") {
            return Err(invalid("it names no database".to_owned()));
        }
        let mut environment = inherited.clone();
        let secret = if own_caller { None } else { Some("PGPASSWORD") };
        for variable in leads_elsewhere(&own).into_iter().chain(secret) {
            environment.remove(variable);
        }
        let said = own.keys().cloned().collect();
        environment.extend(own);
        let (name, bin_dir) = (name.to_owned(), bin_dir.map(Path::to_owned));
        Ok(Self { name, elsewhere: None, bin_dir, environment, said })
    }

    /// Where PostgreSQL's programs lie, if that is configured.
    pub(super) fn bin_dir(&self) -> Option<&Path> {
        self.bin_dir.as_deref()
    }

    /// The same server and user, but another of its databases.
    pub(super) fn to(&self, database: &str) -> Self {
        Self { elsewhere: Some(database.to_owned()), ..self.clone() }
    }

    /// What is in force of a variable, as far as it is known: beside a service only what was said of this database.
    pub(super) fn in_force(&self, variable: &str) -> Option<&str> {
        let is_known = self.service().is_none() || self.said.contains(variable);
        self.environment.get(variable).filter(|_| is_known).map(String::as_str)
    }

    /// The service that completes the settings.
    pub(super) fn service(&self) -> Option<&str> {
        self.environment.get("PGSERVICE").map(String::as_str)
    }

    /// The database that the settings name, as far as they do: a service may name it instead.
    pub(super) fn database(&self) -> Option<&str> {
        // A user's name is that of his database, where nobody says otherwise.
        let user = || self.in_force("PGUSER").filter(|_| self.service().is_none());
        self.in_force("PGDATABASE").or_else(user)
    }

    /// The argument that says which database is meant, what a service must not overrule, and that a lost connection is to be
    /// noticed. It is no secret.
    pub(super) fn argument(&self) -> String {
        let mut settings = self.over_service();
        if let Some(database) = &self.elsewhere {
            // A service's own database would beat one of the environment, but does not beat an argument.
            settings.insert("dbname", database);
        }
        let mut argument = "--dbname=".to_owned();
        for (keyword, value) in settings {
            let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
            argument += &format!("{keyword}='{quoted}' ");
        }
        argument + NOTICE_LOSS
    }

    fn over_service(&self) -> BTreeMap<&'static str, &str> {
        if self.service().is_none() {
            return BTreeMap::new();
        }
        // What we speak ourselves is not theirs to say.
        let without = ["PGSERVICE", "PGPASSWORD", "PGCLIENTENCODING"];
        let known = url::VARIABLES.into_iter().filter(|(_, variable)| !without.contains(variable));
        let mut settings: BTreeMap<_, _> =
            known.filter_map(|(keyword, variable)| Some((keyword, self.in_force(variable)?))).collect();
        if settings.contains_key("host") {
            // An address of the service would lead past the host.
            settings.entry("hostaddr").or_insert("");
        }
        settings
    }

    /// The name in the configuration.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where it leads, as far as the settings say.
    pub(super) fn leads_to(&self) -> Vec<Option<&str>> {
        let set = |name: &str| self.in_force(name);
        vec![set("PGHOST"), set("PGHOSTADDR"), set("PGPORT"), self.service(), self.database()]
    }

    /// Where the settings lead: host, port and database, as far as they say, and neither user nor password.
    pub(super) fn place(&self) -> String {
        let set = |name: &str| self.in_force(name);
        let server = match (set("PGHOST").or_else(|| set("PGHOSTADDR")), self.service(), set("PGPORT")) {
            (None, Some(service), _) => format!("service {service}"),
            (host, _, port) => {
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}{port}", host.unwrap_or("local"))
            }
        };
        self.database().map_or_else(|| server.clone(), |name| format!("{server}/{name}"))
    }

    /// A database of the server, as a URL for people: it has no password.
    pub(super) fn shown(&self, database: &str) -> String {
        let user = self.in_force("PGUSER").map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.in_force("PGPORT").map(|port| format!(":{port}")).unwrap_or_default();
        let mut parameters = Vec::new();
        let host = match self.in_force("PGHOST").or(self.in_force("PGHOSTADDR")).unwrap_or_default() {
            folder if folder.starts_with('/') => {
                parameters.push(format!("host={folder}"));
                ""
            }
            host => host,
        };
        parameters.extend(self.service().map(|service| format!("service={service}")));
        let mark = if parameters.is_empty() { "" } else { "?" };
        format!("postgresql://{user}{host}{port}/{database}{mark}{}", parameters.join("&"))
    }

    /// What a child gets as its environment.
    pub(super) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// The path, or the bare name, of one of PostgreSQL's programs.
    pub(super) fn program(&self, name: &str) -> OsString {
        match &self.bin_dir {
            Some(folder) => folder.join(name).into_os_string(),
            None => name.into(),
        }
    }

    /// The text without the password, should a program have repeated it.
    pub(super) fn redact(&self, text: &str) -> String {
        match self.environment.get("PGPASSWORD") {
            Some(password) if !password.is_empty() => text.replace(password.as_str(), "********"),
            _ => text.to_owned(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("name", &self.name).finish_non_exhaustive()
    }
}

fn inherited(env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let ours =
        env.iter().filter(|(name, _)| name.starts_with("PG") || matches!(name.as_str(), "PATH" | "HOME"));
    let mut environment: BTreeMap<_, _> = ours.map(|(name, value)| (name.clone(), value.clone())).collect();
    environment.insert("LC_ALL".into(), "C".into());
    // A server that does not answer must not hold up the other databases for ever.
    environment.entry("PGCONNECT_TIMEOUT".into()).or_insert_with(|| "30".into());
    environment.entry("PGAPPNAME".into()).or_insert_with(|| "packhorse".into());
    environment
}

/// Variables by which libpq would go elsewhere than a URL says: a service beats a host and a database, an address beats a
/// host, and a port is another server of a host. What the URL leaves open may come from them.
fn leads_elsewhere(said: &BTreeMap<String, String>) -> Vec<&'static str> {
    let says = |variable| said.contains_key(variable);
    let mut variables = Vec::new();
    if says("PGHOST") || says("PGHOSTADDR") || says("PGSERVICE") {
        variables.extend(["PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE"]);
    }
    if says("PGDATABASE") || says("PGSERVICE") {
        variables.extend(["PGDATABASE", "PGSERVICE"]);
    }
    variables
}

fn read_password(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// GitLab's variables, the general ones first, so that the database's own win.
fn overrides(name: &str, env: &BTreeMap<String, String>) -> Vec<(String, String)> {
    // A variable's name has no dots or dashes.
    let name = name.to_ascii_uppercase().replace(['.', '-'], "_");
    let prefixes = ["GITLAB_BACKUP_".to_owned(), format!("GITLAB_BACKUP_{name}_")];
    let all =
        prefixes.iter().flat_map(|prefix| OVERRIDES.map(|setting| (format!("{prefix}{setting}"), setting)));
    all.filter_map(|(variable, setting)| Some((setting.to_owned(), env.get(&variable)?.clone()))).collect()
}

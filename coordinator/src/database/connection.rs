//! How the children of one database reach their server: libpq's environment variables.
//!
//! Does not own: the URL's grammar (`url`) or the children. Sources, the later ones win: `PG*` of this process, but for
//! what would lead elsewhere than the URL, the URL, the password file, the configuration's `env`, `GITLAB_BACKUP_PG*`, `GITLAB_BACKUP_<NAME>_PG*`. A password
//! reaches a child by its environment only, never by its arguments, and [`Connection::redact`] keeps it out of every
//! text that is shown.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

use packhorse_model::{ErrorKind, Problem, StorageName, Subject};
use packhorse_service::config::DatabaseConfig;

use super::url;

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
    let connection = Connection { name: String::new(), elsewhere: None, bin_dir: None, environment };
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
        let said = url::parse(&config.url).map_err(|e| invalid("read database URL", e))?;
        let mut environment = inherited(env);
        leads_elsewhere(&said).into_iter().for_each(|variable| drop(environment.remove(variable)));
        environment.extend(said);
        if let Some(file) = &config.password_file {
            environment.insert(
                "PGPASSWORD".into(),
                read_password(file).map_err(|e| invalid("read password file", e))?,
            );
        }
        environment.extend(config.env.clone());
        environment.extend(overrides(&config.name, env));
        if let Some((name, _)) = environment
            .iter()
            .find(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0'))
        {
            return Err(invalid("read database environment", format!("{name:?} cannot be a variable")));
        }
        Ok(Self { name: config.name.clone(), elsewhere: None, bin_dir: config.bin_dir.clone(), environment })
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
        let said = url::parse(url).map_err(invalid)?;
        if let Some(file) = FILES.iter().find(|file| said.contains_key(**file) && !own_caller) {
            return Err(invalid(format!("it names a file ({file}), which only embedded mode takes"))
                .next("set that variable in the coordinator's environment"));
        }
        if !said.contains_key("PGDATABASE") && !said.contains_key("PGSERVICE") {
            return Err(invalid("it names no database".to_owned()));
        }
        let mut environment = inherited.clone();
        let secret = if own_caller { None } else { Some("PGPASSWORD") };
        for variable in leads_elsewhere(&said).into_iter().chain(secret) {
            environment.remove(variable);
        }
        environment.extend(said);
        Ok(Self { name: name.to_owned(), elsewhere: None, bin_dir: bin_dir.map(Path::to_owned), environment })
    }

    /// Where PostgreSQL's programs lie, if that is configured.
    pub(super) fn bin_dir(&self) -> Option<&Path> {
        self.bin_dir.as_deref()
    }

    /// The same server and user, but another of its databases.
    pub(super) fn to(&self, database: &str) -> Self {
        Self { elsewhere: Some(database.to_owned()), ..self.clone() }
    }

    /// The database that the settings name, as far as they do: a service or the server may name it instead.
    pub(super) fn database(&self) -> Option<&str> {
        let named = (!self.environment.contains_key("PGSERVICE")).then_some(&self.environment)?;
        named.get("PGDATABASE").or_else(|| named.get("PGUSER")).map(String::as_str)
    }

    /// The argument that says which database is meant, and that a lost connection is to be noticed. It is no secret.
    pub(super) fn argument(&self) -> String {
        match &self.elsewhere {
            // A service's own database would beat one of the environment, but does not beat an argument.
            Some(database) => {
                let quoted = database.replace('\\', "\\\\").replace('\'', "\\'");
                format!("--dbname=dbname='{quoted}' {NOTICE_LOSS}")
            }
            None => format!("--dbname={NOTICE_LOSS}"),
        }
    }

    /// The name in the configuration.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where it leads, as far as the settings say.
    pub(super) fn leads_to(&self) -> Vec<Option<&str>> {
        let set = |name: &str| self.environment.get(name).map(String::as_str);
        vec![set("PGHOST"), set("PGHOSTADDR"), set("PGPORT"), set("PGSERVICE"), self.database()]
    }

    /// Where the settings lead: host, port and database, as far as they say, and neither user nor password.
    pub(super) fn place(&self) -> String {
        let set = |name: &str| self.environment.get(name).map(String::as_str);
        let host = set("PGHOST").or_else(|| set("PGHOSTADDR")).unwrap_or("local");
        let server = match (set("PGSERVICE"), set("PGPORT")) {
            (Some(service), _) => format!("service {service}"),
            (None, Some(port)) => format!("{host}:{port}"),
            (None, None) => host.to_owned(),
        };
        let named = set("PGDATABASE").or_else(|| self.database());
        named.map_or_else(|| server.clone(), |name| format!("{server}/{name}"))
    }

    /// A database of the server, as a URL for people: it has no password.
    pub(super) fn shown(&self, database: &str) -> String {
        let set = |name: &str| self.environment.get(name).map(String::as_str);
        let user = set("PGUSER").map(|user| format!("{user}@")).unwrap_or_default();
        let port = set("PGPORT").map(|port| format!(":{port}")).unwrap_or_default();
        let (host, socket) = match set("PGHOST").or(set("PGHOSTADDR")).unwrap_or_default() {
            folder if folder.starts_with('/') => (String::new(), format!("?host={folder}")),
            host => (host.to_owned(), String::new()),
        };
        format!("postgresql://{user}{host}{port}/{database}{socket}")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> DatabaseConfig {
        DatabaseConfig {
            name: "ci-2".into(),
            url: url.into(),
            password_file: None,
            bin_dir: None,
            env: BTreeMap::new(),
        }
    }

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn the_databases_own_variable_beats_the_general_one_beats_the_url() {
        let connection = Connection::new(
            &config("postgresql://u:url@h:1/d"),
            &env(&[
                ("GITLAB_BACKUP_PGPASSWORD", "general"),
                ("GITLAB_BACKUP_CI_2_PGPASSWORD", "own"),
                ("GITLAB_BACKUP_PGPORT", "2"),
                ("GITLAB_BACKUP_MAIN_PGHOST", "other"),
                ("PGHOST", "inherited"),
                ("PGOPTIONS", "inherited"),
                ("AWS_SECRET_ACCESS_KEY", "not for psql"),
                ("PATH", "/bin"),
            ]),
        );
        let connection = connection.expect("valid");
        let get = |name: &str| connection.environment.get(name).map(String::as_str);
        assert_eq!(get("PGPASSWORD"), Some("own"));
        assert_eq!((get("PGPORT"), get("PGHOST"), get("PGUSER")), (Some("2"), Some("h"), Some("u")));
        assert_eq!(
            (get("PGOPTIONS"), get("PATH"), get("LC_ALL")),
            (Some("inherited"), Some("/bin"), Some("C"))
        );
        assert_eq!(get("AWS_SECRET_ACCESS_KEY"), None);
        assert_eq!(connection.redact("FATAL: own goal"), "FATAL: ******** goal");
        assert!(!format!("{connection:?}").contains("own"));
    }

    #[test]
    fn nothing_of_the_environment_leads_elsewhere_than_a_configured_url() {
        let variables = env(&[
            ("PGSERVICE", "live"),
            ("PGHOSTADDR", "10.0.0.9"),
            ("PGHOST", "live"),
            ("PGDATABASE", "live"),
            ("PGPORT", "9"),
        ]);
        let of = |url: &str| Connection::new(&config(url), &variables).expect("valid");
        let whole = of("postgresql://u@h/d");
        let get = |name: &str| whole.environment.get(name).map(String::as_str);
        assert_eq!((get("PGSERVICE"), get("PGHOSTADDR")), (None, None));
        assert_eq!((get("PGHOST"), get("PGDATABASE"), get("PGPORT")), (Some("h"), Some("d"), None));
        // A database alone: where it is, the environment may say, but not by a service, which has a database, too.
        let open = of("postgresql:///d");
        assert_eq!(open.environment.get("PGSERVICE"), None);
        assert_eq!((&open.environment["PGHOSTADDR"][..], &open.environment["PGPORT"][..]), ("10.0.0.9", "9"));
        assert_eq!(of("postgresql:///?service=ours").environment["PGSERVICE"], "ours");
    }

    #[test]
    fn every_setting_can_be_overridden_in_general_and_by_name() {
        for setting in ["HOST", "PORT", "USER", "PASSWORD", "SSLMODE", "SSLKEY", "SSLCERT", "SSLROOTCERT"] {
            let (general, own) =
                (format!("GITLAB_BACKUP_PG{setting}"), format!("GITLAB_BACKUP_CI_2_PG{setting}"));
            let url = config("postgresql://u:url@h:1/d?sslmode=disable&sslkey=k&sslcert=c&sslrootcert=r");
            for (variables, expected) in [
                (vec![(general.as_str(), "7")], "7"),
                (vec![(own.as_str(), "8"), (general.as_str(), "7")], "8"),
            ] {
                let connection = Connection::new(&url, &env(&variables)).expect("valid");
                assert_eq!(connection.environment[&format!("PG{setting}")], expected, "{setting}");
            }
        }
    }

    #[test]
    fn an_explicit_url_is_completed_by_the_environment_and_never_redirected() {
        let libpq = Libpq::of(&env(&[
            ("PGHOSTADDR", "10.0.0.9"),
            ("PGHOST", "live"),
            ("PGPORT", "9"),
            ("PGDATABASE", "live"),
            ("PGSERVICE", "live"),
            ("PGPASSWORD", "geheim"),
            ("GITLAB_BACKUP_PGHOST", "live"),
            ("GITLAB_BACKUP_MAIN_PGPASSWORD", "live"),
        ]));
        let explicit = |url: &str, own: bool| Connection::explicit("main", url, None, &libpq, own);
        let own = explicit("postgresql://u@spare/test", true).expect("valid");
        let get = |name: &str| own.environment.get(name).map(String::as_str);
        assert_eq!((get("PGHOST"), get("PGHOSTADDR"), get("PGPORT")), (Some("spare"), None, None));
        assert_eq!((get("PGDATABASE"), get("PGSERVICE")), (Some("test"), None));
        assert_eq!(get("PGPASSWORD"), Some("geheim"), "as libpq has it");
        let open = explicit("postgresql:///test", true).expect("valid");
        assert_eq!(open.environment["PGHOST"], "live", "what the URL leaves open");
        // Somebody else's URL takes neither our password nor our files.
        let others = explicit("postgresql://u@spare/test", false).expect("valid");
        assert!(!others.environment.contains_key("PGPASSWORD"));
        for bad in ["postgresql://h/d?sslkey=/root/key", "postgresql://h/d?passfile=/etc/shadow"] {
            let problem = explicit(bad, false).expect_err("a file");
            assert!(
                problem.kind == ErrorKind::Invalid && problem.to_string().contains("embedded"),
                "{problem}"
            );
            explicit(bad, true).expect("one's own files");
        }
        for bad in ["postgresql://u:geheim@h", "http://u:geheim@h/d", "postgresql://u:geheim@h:x/d"] {
            let problem = explicit(bad, true).expect_err("no database, or no URL");
            assert!(!format!("{problem:?}").contains("geheim"), "{problem:?}");
        }
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        let shown = without_password;
        assert_eq!(shown("postgresql://u:geheim@h:1/d?password=geheim"), "postgresql://u@h:1/d");
        assert_eq!(shown("postgresql:///d?host=/run/pg&port=2"), "postgresql://:2/d?host=/run/pg");
        assert!(!shown("mysql://u:geheim@h/d").contains("geheim"));
    }

    #[test]
    fn the_password_file_stands_for_the_password() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        fs::write(file.path(), "ge heim \n").expect("write file");
        let config =
            DatabaseConfig { password_file: Some(file.path().into()), ..config("postgresql://u:url@h/d") };
        let connection = Connection::new(&config, &BTreeMap::new()).expect("valid");
        assert_eq!(connection.environment["PGPASSWORD"], "ge heim ");
        let missing = DatabaseConfig { password_file: Some("/nonexistent".into()), ..config };
        let problem = Connection::new(&missing, &BTreeMap::new()).expect_err("no such file");
        assert!(problem.to_string().contains("/nonexistent"), "{problem}");
    }

    #[test]
    fn errors_name_the_database_and_not_the_url() {
        for bad in ["postgresql://u:geheim@h/d?nope=1", "http://u:geheim@h"] {
            let problem = Connection::new(&config(bad), &BTreeMap::new()).expect_err("bad URL");
            assert_eq!((problem.kind, problem.subject), (ErrorKind::Invalid, Subject::Configuration));
            assert!(format!("{problem:?}").contains("ci-2") && !format!("{problem:?}").contains("geheim"));
        }
        let name = DatabaseConfig { name: "a/b".into(), ..config("postgresql://") };
        assert!(Connection::new(&name, &BTreeMap::new()).is_err());
    }
}

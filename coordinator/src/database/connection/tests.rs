//! What of which source reaches a child, and what is shown.

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
    assert_eq!((get("PGOPTIONS"), get("PATH"), get("LC_ALL")), (Some("inherited"), Some("/bin"), Some("C")));
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
fn beside_a_service_what_was_said_of_the_database_is_an_argument_and_its_password_is_not() {
    let variables =
        env(&[("PGUSER", "inherited"), ("PGDATABASE", "inherited"), ("GITLAB_BACKUP_PGPORT", "7")]);
    let of = |url: &str| Connection::new(&config(url), &variables).expect("valid");
    let alone = of("postgresql://u:geheim@h/d");
    assert_eq!(alone.argument(), format!("--dbname={NOTICE_LOSS}"));
    assert_eq!(alone.to("e'\\").argument(), format!("--dbname=dbname='e\\'\\\\' {NOTICE_LOSS}"));
    let beside = of("postgresql://u:geheim@h/d%27?service=s&sslmode=require");
    let said = "dbname='d\\'' host='h' hostaddr='' port='7' sslmode='require' user='u'";
    assert_eq!(beside.argument(), format!("--dbname={said} {NOTICE_LOSS}"));
    assert_eq!(beside.to("e").argument(), format!("--dbname={} {NOTICE_LOSS}", said.replace("d\\'", "e")));
    assert_eq!(beside.shown("d"), "postgresql://u@h:7/d?service=s");
    // What nobody said of it may be the service's.
    let open = of("postgresql:///?service=s");
    assert_eq!(open.argument(), format!("--dbname=port='7' {NOTICE_LOSS}"));
    assert_eq!((open.database(), open.in_force("PGUSER")), (None, None));
    assert_eq!(of("postgresql:///d?service=s").database(), Some("d"));
}

#[test]
fn every_setting_can_be_overridden_in_general_and_by_name() {
    for setting in ["HOST", "PORT", "USER", "PASSWORD", "SSLMODE", "SSLKEY", "SSLCERT", "SSLROOTCERT"] {
        let (general, own) =
            (format!("GITLAB_BACKUP_PG{setting}"), format!("GITLAB_BACKUP_CI_2_PG{setting}"));
        let url = config("postgresql://u:url@h:1/d?sslmode=disable&sslkey=k&sslcert=c&sslrootcert=r");
        for (variables, expected) in
            [(vec![(general.as_str(), "7")], "7"), (vec![(own.as_str(), "8"), (general.as_str(), "7")], "8")]
        {
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
        assert!(problem.kind == ErrorKind::Invalid && problem.to_string().contains("embedded"), "{problem}");
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

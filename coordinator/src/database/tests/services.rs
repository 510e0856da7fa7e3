//! Services of libpq beside URLs: what the URL says wins, and what a server says of itself is believed.

use super::*;

impl World {
    /// Databases `ours` and `theirs`, and a file with the services `theirs`, which leads to the second one, and `nowhere`.
    fn with_services(&self) -> PathBuf {
        for database in ["ours", "theirs"] {
            self.server.create_database(database);
            self.server
                .psql(database, &format!("CREATE TABLE t (a text); INSERT INTO t VALUES ('{database}')"));
        }
        let (file, port) = (self.folder.path().join("services"), self.server.port());
        let services = format!(
            "[theirs]\ndbname=theirs\nhost=127.0.0.1\nport={port}\nuser=postgres\nclient_encoding=LATIN1\n\
             [nowhere]\ndbname=no\nhost=127.0.0.1\nhostaddr=127.0.0.9\nport=1\nuser=nobody\n"
        );
        fs::write(&file, services).expect("write services");
        file
    }

    /// A database as the URL says, with these services.
    fn through(&self, name: &str, services: &Path, url: &str) -> Database {
        let env = BTreeMap::from([("PGSERVICEFILE".to_owned(), services.display().to_string())]);
        Self::of(&DatabaseConfig { url: url.into(), env, ..self.config(name, "postgres") })
    }

    fn holds(&self, database: &str) -> String {
        self.server.psql(database, "SELECT string_agg(a, ' ') FROM t")
    }
}

#[tokio::test]
async fn a_url_wins_over_the_service_that_it_names() {
    let world = World::new();
    let services = world.with_services();
    let (host, shown) =
        (format!("postgres@127.0.0.1:{}", world.server.port()), "postgresql:///ours?service=theirs");
    for (name, url) in
        [("part", shown.to_owned()), ("all", format!("postgresql://{host}/ours?service=nowhere"))]
    {
        let database = world.through(name, &services, &url);
        assert_eq!(database.connection.shown("ours"), url);
        let summary = world.backed_up(&database).await;
        assert!(gunzip(&world.object(name)).contains("\nours\n"), "{url}");
        world.server.psql("ours", "INSERT INTO t VALUES ('newer')");
        world.server.psql("theirs", "INSERT INTO t VALUES ('precious')");
        world.restore(&database, &summary, true).await.expect("restored");
        assert_eq!(
            (world.holds("ours").as_str(), &world.holds("theirs")[..15]),
            ("ours", "theirs precious"),
            "{url}"
        );
    }
    // What the URL leaves open is the service's.
    world.backed_up(&world.through("theirs", &services, "postgresql:///?service=theirs")).await;
    assert!(gunzip(&world.object("theirs")).contains("\ntheirs\n"));
    let unknown = world.through("unknown", &services, "postgresql:///ours?service=unknown");
    let (_, failures) = world.back_up(&[unknown]).await;
    assert_eq!(failures[0].problem.kind, ErrorKind::Invalid);
    assert!(
        failures[0].problem.next.as_ref().is_some_and(|next| next.contains("PGSERVICEFILE")),
        "{failures:?}"
    );
}

#[tokio::test]
async fn another_database_is_restored_into_where_its_url_says_beside_a_service() {
    let world = World::new();
    let services = world.with_services();
    let ours = world.database("main", "ours");
    let summary = world.backed_up(&ours).await;
    let libpq = Libpq::of(&BTreeMap::from([
        ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
        ("PGSERVICEFILE".to_owned(), services.display().to_string()),
    ]));
    let spare = |own_caller| {
        Database::elsewhere("main", "postgresql:///spare?service=theirs", Some(&ours), &libpq, own_caller)
    };
    for own_caller in [true, false] {
        let spare = spare(own_caller).expect("a database and a service");
        let force = RestoreOptions { force: true, ..RestoreOptions::default() };
        let (planned, _) = plan_one(&world.vault, &world.run.id, &spare, &summary, force, &world.cancel)
            .await
            .expect("planned");
        assert_eq!(planned.target, "postgresql:///spare?service=theirs");
        world.restore(&spare, &summary, true).await.expect("restored");
        assert_eq!((world.holds("spare").as_str(), world.holds("theirs").as_str()), ("ours", "theirs"));
    }
    // Somebody else's URL does not send the service's password to another server.
    for with in
        ["postgresql://elsewhere/spare?service=theirs", "postgresql:///spare?service=theirs&sslmode=disable"]
    {
        let problem = Database::elsewhere("main", with, Some(&ours), &libpq, false).expect_err(with);
        assert!(problem.to_string().contains("which together only embedded mode takes"), "{problem}");
        Database::elsewhere("main", with, Some(&ours), &libpq, true).expect("one's own");
    }
}

/// As behind a pooler that has a name of its own for the database.
#[tokio::test]
async fn a_server_that_has_another_name_for_the_database_is_not_believed() {
    let world = World::new();
    world.with_services();
    let summary = world.backed_up(&world.database("main", "ours")).await;
    let script = "exec $REAL \"${@/--dbname=/--dbname=dbname=theirs }\"";
    let bin_dir = Some(world.scripted("psql", script));
    let config = DatabaseConfig { bin_dir, ..world.config("again", "ours") };
    let problem = world.failure(&config).await;
    let answer = problem.answer.clone().unwrap_or_default();
    assert!(answer.contains("name the database \"ours\"") && answer.contains("\"theirs\""), "{problem:?}");
    assert_eq!(problem.state.as_deref(), Some("nothing was dumped"));
    let again = DatabaseSummary { name: "again".into(), ..summary };
    let problem = world.restore(&World::of(&config), &again, true).await.expect_err("another one");
    assert!(problem.to_string().contains("the server says that this is"), "{problem}");
    assert_eq!((world.holds("ours").as_str(), world.holds("theirs").as_str()), ("ours", "theirs"));
}

#[tokio::test]
async fn a_library_that_a_session_cannot_load_is_told() {
    let world = World::new();
    world.with_services();
    let env = BTreeMap::from([("PGOPTIONS".to_owned(), "-c local_preload_libraries=missing".to_owned())]);
    let problem = world.failure(&DatabaseConfig { env, ..world.config("main", "ours") }).await;
    assert!(problem.to_string().contains("could not access file"), "{problem}");
    let next = problem.next.unwrap_or_default();
    assert!(next.contains("local_preload_libraries") && !next.contains("socket"), "{next}");
}

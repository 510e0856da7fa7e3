//! Passwords and keys never appear: not in outputs, not in logs at any level, not in the vault.
//!
//! Does not own: how children get them (the coordinator's own tests look at their arguments).

use packhorse_testkit::{Backupctl, CephGateway, CliOutput, PostgresServer};

use super::super::site::{Site, objects};

const PASSWORD: &str = "hunter2-is-secret";
const WRONG: &str = "not-this-secret";

fn call(site: &Site, config: &str, args: &[&str]) -> Backupctl {
    site.ctl(config, ["-vvv"]).args(args).env("RUST_LOG", "trace")
}

#[track_caller]
fn assert_silent(output: &CliOutput) {
    for secret in [PASSWORD, WRONG] {
        let found = output.stdout.contains(secret) || output.stderr.contains(secret);
        assert!(!found, "{secret} was shown: {output:#?}");
    }
}

#[test]
fn passwords_of_databases_are_never_shown() {
    let (site, server) = (Site::new(), PostgresServer::start());
    server.create_database("forge");
    server.create_role("keeper", PASSWORD);
    server.psql("forge", "ALTER DATABASE forge OWNER TO keeper; SET ROLE keeper; CREATE TABLE t (id int);");
    let file = site.write("password", &format!("{PASSWORD}\n"));
    let host = format!("127.0.0.1:{}", server.port());
    let by_url = format!("url = 'postgresql://keeper:{PASSWORD}@{host}/forge'");
    let by_file = format!("url = 'postgresql://keeper@{host}/forge'\npassword_file = '{}'", file.display());
    let wrong = format!("url = 'postgresql://keeper:{WRONG}@{host}/forge'");
    let nowhere = format!("url = 'postgresql://keeper:{PASSWORD}@127.0.0.1:1/forge'");
    for (number, (section, code)) in [(by_url, 0), (by_file, 0), (wrong, 12), (nowhere, 1)].iter().enumerate()
    {
        let config =
            format!("[vault]\nurl = '{}'\n[[database]]\nname = 'main'\n{section}\n", site.vault_url());
        site.write("packhorse.toml", &config);
        let output =
            call(&site, "packhorse.toml", &["create", "--json", "--backup-id", &number.to_string()]).run();
        assert_silent(&output);
        if *code == 0 {
            assert_silent(&output.expect_success());
            assert_silent(&call(&site, "packhorse.toml", &["restore", "latest"]).run().expect_code(1));
            assert_silent(
                &call(&site, "packhorse.toml", &["restore", "latest", "--force"]).run().expect_success(),
            );
        } else {
            let output = output.expect_code(1);
            assert!(output.stdout.contains("main"), "{output:#?}");
        }
    }
    for (key, bytes) in objects(&site.path("vault")) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(PASSWORD) && !text.contains(WRONG), "{key} holds a password");
    }
}

#[test]
fn keys_of_ceph_are_never_shown() {
    let (site, gateway) = (Site::new(), CephGateway::shared());
    gateway.create_bucket("silence");
    let storage = site.storage_section("default", "storage");
    site.write("packhorse.toml", &format!("[vault]\nurl = 's3://silence/v'\nretry_budget = '1s'\n{storage}"));
    site.repo("storage/a.git").fill("main", 5);
    let create = call(&site, "packhorse.toml", &["create", "--init"]).envs(gateway.env());
    let output = create.run().expect_success();
    assert!(!output.stderr.contains(gateway.secret_key()), "{output:#?}");
    for secret in [PASSWORD, WRONG] {
        let create = call(&site, "packhorse.toml", &["create"]).envs(gateway.env());
        assert_silent(&create.env("AWS_SECRET_ACCESS_KEY", secret).run().expect_code(12));
    }
    for id in ["../latest", "a b"] {
        let url = format!("s3://user:{PASSWORD}@silence/{id}");
        assert_silent(&call(&site, "packhorse.toml", &["list", "--vault", &url]).run().expect_code(2));
    }
}

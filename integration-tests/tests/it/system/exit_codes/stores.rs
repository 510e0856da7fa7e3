//! Vaults that cannot be used: rejected credentials (12), missing buckets and unreachable servers (13).
//!
//! Does not own: stores that fail in the middle of a run (`store_failures`).

use packhorse_testkit::{CephGateway, free_port};

use super::{super::site::Site, codes::assert_fails};

/// A site whose vault is in a bucket behind an endpoint.
fn site(bucket: &str, endpoint: &str) -> Site {
    let site = Site::new();
    let config = format!(
        "[vault]\nurl = 's3://{bucket}/vault'\nendpoint = '{endpoint}'\nregion = 'us-east-1'\npath_style = true\n\
         retry_budget = '1s'\n{}",
        site.storage_section("default", "storage")
    );
    site.write("packhorse.toml", &config);
    site.repo("storage/a.git").fill("main", 5);
    site
}

#[test]
fn twelve_for_credentials_that_ceph_rejects() {
    let gateway = CephGateway::shared();
    gateway.create_bucket("codes");
    let site = site("codes", &gateway.endpoint());
    for (key, secret) in [("test", "wrong"), ("nobody", "testtest")] {
        for args in [["create", "--full"], ["list", "--quiet"], ["restore", "latest"]] {
            let call = || {
                let call = site.ctl("packhorse.toml", args);
                call.env("AWS_ACCESS_KEY_ID", key).env("AWS_SECRET_ACCESS_KEY", secret)
            };
            assert_fails(call, 12, "denied", "vault", "credentials");
        }
    }
    assert!(gateway.keys("codes").is_empty());
}

#[test]
fn thirteen_for_a_ceph_bucket_that_is_missing_and_a_server_that_is_away() {
    let gateway = CephGateway::shared();
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    for (endpoint, named) in [(gateway.endpoint(), "bucket"), (nowhere.clone(), nowhere.as_str())] {
        let site = site("nosuchbucket", &endpoint);
        for args in [["create", "--full"], ["list", "--quiet"], ["restore", "latest"]] {
            let call = || site.ctl("packhorse.toml", args).envs(gateway.env());
            assert_fails(call, 13, "unavailable", "vault", named);
        }
    }
}

/// The gateway's certificate is signed by nobody whom the system trusts.
#[test]
fn a_ceph_gateway_with_tls_is_trusted_by_its_own_authority() {
    let gateway = CephGateway::shared();
    gateway.create_bucket("tls");
    let site = site("tls", &gateway.tls_endpoint());
    let call = |args: [&str; 2]| site.ctl("packhorse.toml", args).envs(gateway.env());
    let without = |args: [&str; 2]| {
        // The endpoint of the file counts; this one is for the other tests.
        call(args).env("AWS_ENDPOINT_URL", "")
    };
    assert_fails(|| without(["create", "--full"]), 13, "unavailable", "vault", "certificate");
    let config = std::fs::read_to_string(site.path("packhorse.toml")).expect("read configuration");
    let ca = format!("[vault]\nca_file = '{}'\n", gateway.ca_file().display());
    site.write("packhorse.toml", &config.replacen("[vault]\n", &ca, 1));
    without(["vault", "init"]).run().expect_success();
    without(["create", "--full"]).run().expect_success();
    without(["list", "--quiet"]).run().expect_success();
    assert!(!gateway.keys("tls").is_empty());
    site.write("packhorse.toml", &config.replacen("[vault]\n", "[vault]\nca_file = '/nonexistent'\n", 1));
    assert_fails(|| without(["list", "--quiet"]), 2, "invalid", "vault", "/nonexistent");
}

/// They open through the same code; their own proof comes later.
#[test]
fn vaults_at_google_and_microsoft_open_and_find_nobody_there() {
    let dead = format!("http://127.0.0.1:{}", free_port());
    let key = "bm8ga2V5IGF0IGFsbA==";
    let variables = [
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ACCOUNT_KEY", key),
        ("AZURE_STORAGE_ENDPOINT", dead.as_str()),
        ("AZURE_ALLOW_HTTP", "true"),
        ("GOOGLE_BASE_URL", dead.as_str()),
        ("GOOGLE_SKIP_SIGNATURE", "true"),
        ("GOOGLE_ALLOW_HTTP", "true"),
    ];
    for url in ["gs://bucket/some/prefix", "az://container/some/prefix"] {
        let site = Site::new();
        site.write("packhorse.toml", &format!("[vault]\nurl = '{url}'\nretry_budget = '1s'\n"));
        let call = || site.ctl("packhorse.toml", ["list"]).envs(variables);
        assert_fails(
            call,
            13,
            "unavailable",
            "vault",
            url.split_once("//").expect("a URL").1.split_once('/').expect("a bucket").0,
        );
    }
}

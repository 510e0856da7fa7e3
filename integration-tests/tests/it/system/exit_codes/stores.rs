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

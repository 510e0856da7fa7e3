//! The stores that the contract is checked on: a folder, memory, a real Ceph RADOS Gateway, and the fault store.

use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use packhorse_model::VaultSettings;
use packhorse_testkit::{CephGateway, FaultyS3};

use crate::Vault;

/// A vault in a folder that lives as long as the value.
pub fn folder() -> (tempfile::TempDir, Vault) {
    let folder = tempfile::tempdir().expect("temp folder");
    let settings = VaultSettings::new(format!("file://{}", folder.path().join("vault").display()));
    crate::make_place(&settings, None).expect("make folder");
    let vault = crate::open(&settings).expect("open folder");
    (folder, vault)
}

/// A vault in memory.
pub fn memory() -> Vault {
    Vault::in_memory()
}

/// A vault under a prefix of a new bucket of the gateway.
pub fn ceph(bucket: &str) -> Vault {
    let gateway = CephGateway::shared();
    gateway.create_bucket(bucket);
    let login = (gateway.access_key(), gateway.secret_key());
    s3(bucket, &gateway.endpoint(), login, Duration::from_secs(20))
}

/// A vault on a fault store, which retries for as long as this.
pub fn faulty(server: &FaultyS3, retry_budget: Duration) -> Vault {
    s3(server.bucket(), &server.endpoint(), ("vault", "secret"), retry_budget)
}

fn s3(bucket: &str, endpoint: &str, (key, secret): (&str, &str), retry_budget: Duration) -> Vault {
    let mut settings = VaultSettings::new(format!("s3://{bucket}/some/prefix"));
    settings.endpoint = Some(endpoint.to_owned());
    settings.region = Some("us-east-1".to_owned());
    settings.retry_budget = retry_budget;
    // Logged in here, because the environment of a test process holds no credentials and must not be changed.
    let builder = AmazonS3Builder::new().with_access_key_id(key).with_secret_access_key(secret);
    crate::open::open_s3(&builder, &settings).expect("valid settings")
}

//! The stores that the contract is checked on: a folder, memory, and a real Ceph RADOS Gateway.

use std::{sync::Arc, time::Duration};

use object_store::{aws::AmazonS3Builder, path::Path};
use packhorse_model::VaultSettings;
use packhorse_testkit::CephGateway;

use crate::Vault;

/// A vault in a folder that lives as long as the value.
pub fn folder() -> (tempfile::TempDir, Vault) {
    let folder = tempfile::tempdir().expect("temp folder");
    let settings = VaultSettings::new(format!("file://{}", folder.path().join("vault").display()));
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
    // Built here, because the environment of a test process holds no credentials and must not be changed.
    let store = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_endpoint(gateway.endpoint())
        .with_region(gateway.region())
        .with_access_key_id(gateway.access_key())
        .with_secret_access_key(gateway.secret_key())
        .with_allow_http(true)
        .with_retry(object_store::RetryConfig {
            retry_timeout: Duration::from_secs(20),
            ..object_store::RetryConfig::default()
        })
        .build()
        .expect("valid settings");
    Vault::new(Arc::new(store), None, Path::from("some/prefix"), format!("s3://{bucket}"), 64)
}

//! Opening a vault by URL: `file:///…`, `s3://bucket/prefix`, `gs://…`, `az://…`.
//!
//! Does not own: where options come from (`service::config`). Retries are those of the store's client, bounded in
//! number and time; local files are fsynced, with their folders. Credentials come from the environment or the
//! platform and never appear in errors: URLs with a password are refused.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig, aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder, local::LocalFileSystem, path::Path,
};
use packhorse_model::ErrorKind;
use url::Url;

use crate::{Vault, VaultError};

/// Where a vault lies and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultOptions {
    /// `file:///…`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
    pub url: String,
    /// Base URL of an S3-compatible server.
    pub endpoint: Option<String>,
    /// S3 region.
    pub region: Option<String>,
    /// Put the bucket into the path instead of the host name.
    pub path_style: Option<bool>,
    /// PEM file with the certificate authorities to trust beside the system's.
    pub ca_file: Option<String>,
    /// How long requests are retried before they fail.
    pub retry_budget: Duration,
    /// MiB of upload buffers shared by all uploads of the process.
    pub upload_memory_mib: u32,
}

impl VaultOptions {
    /// Options with defaults for everything but the URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            endpoint: None,
            region: None,
            path_style: None,
            ca_file: None,
            retry_budget: Duration::from_secs(180),
            upload_memory_mib: 96,
        }
    }
}

/// Opens a vault. Makes no request; a `file://` folder is created when it is missing.
pub fn open(options: &VaultOptions) -> Result<Vault, VaultError> {
    let (options, url) = parse(options)?;
    let label = {
        let mut clean = url.clone();
        clean.set_query(None);
        clean.to_string()
    };
    let prefix = match url.scheme() {
        "file" => Path::ROOT,
        _ => Path::from_url_path(url.path()).map_err(|e| invalid(&label, e))?,
    };
    let store: Arc<dyn ObjectStore> = match url.scheme() {
        "file" => Arc::new(local(&url, &label)?),
        "s3" => Arc::new(s3(&url, &options, &label)?),
        "gs" => Arc::new(
            GoogleCloudStorageBuilder::from_env()
                .with_url(bucket_url(&url))
                .with_retry(retries(&options))
                .with_client_options(client(&options, &label)?)
                .build()
                .map_err(|e| invalid(&label, e))?,
        ),
        "az" | "azblob" => Arc::new(
            MicrosoftAzureBuilder::from_env()
                .with_container_name(url.host_str().unwrap_or_default())
                .with_retry(retries(&options))
                .with_client_options(client(&options, &label)?)
                .build()
                .map_err(|e| invalid(&label, e))?,
        ),
        other => {
            return Err(invalid(&label, format!("scheme {other:?} is none of file, s3, gs, az")));
        }
    };
    Ok(Vault::new(store, prefix, label, options.upload_memory_mib.max(8)))
}

fn parse(options: &VaultOptions) -> Result<(VaultOptions, Url), VaultError> {
    let url = if options.url.starts_with('/') { format!("file://{}", options.url) } else { options.url.clone() };
    let url = Url::parse(&url).map_err(|e| invalid(&options.url, e))?;
    if url.password().is_some() || !url.username().is_empty() {
        let answer = "must not hold credentials: use the environment";
        return Err(invalid(url.host_str().unwrap_or("the URL"), answer));
    }
    let mut options = options.clone();
    for (key, value) in url.query_pairs() {
        match key.as_ref() {
            "endpoint" => options.endpoint = Some(value.into_owned()),
            "region" => options.region = Some(value.into_owned()),
            "path_style" | "use_path_style" | "s3ForcePathStyle" => {
                options.path_style = Some(matches!(value.as_ref(), "true" | "1"));
            }
            other => return Err(invalid(&url[..url::Position::AfterPath], format!("has unknown parameter {other:?}"))),
        }
    }
    Ok((options, url))
}

fn bucket_url(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
}

fn local(url: &Url, label: &str) -> Result<LocalFileSystem, VaultError> {
    let path = url.to_file_path().map_err(|()| invalid(label, "is not a local absolute path"))?;
    std::fs::create_dir_all(&path).map_err(|e| {
        VaultError::new(ErrorKind::Unavailable, "create vault folder", path.display(), e)
    })?;
    let store = LocalFileSystem::new_with_prefix(&path)
        .map_err(|e| VaultError::from_store("open vault", label, e))?;
    Ok(store.with_fsync(true))
}

fn s3(url: &Url, options: &VaultOptions, label: &str) -> Result<object_store::aws::AmazonS3, VaultError> {
    let bucket = url.host_str().ok_or_else(|| invalid(label, "names no bucket"))?;
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(retries(options))
        .with_client_options(client(options, label)?);
    if let Some(endpoint) = &options.endpoint {
        let endpoint = endpoint.trim_end_matches('/');
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some(path_style) = options.path_style {
        builder = builder.with_virtual_hosted_style_request(!path_style);
    }
    builder.build().map_err(|e| invalid(label, e))
}

fn retries(options: &VaultOptions) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(15),
            base: 2.0,
        },
        max_retries: 100,
        retry_timeout: options.retry_budget,
    }
}

fn client(options: &VaultOptions, label: &str) -> Result<ClientOptions, VaultError> {
    // A part of 100 MiB on a slow line needs longer than the default 30 s for the whole request; a stalled
    // connection is caught by the read timeout instead.
    let mut client = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(10))
        .with_read_timeout(Duration::from_secs(60))
        .with_allow_http(options.endpoint.as_deref().is_some_and(|e| e.starts_with("http://")));
    if let Some(file) = &options.ca_file {
        let failed = |e: String| VaultError::new(ErrorKind::Invalid, "read CA file", file, e);
        let pem = std::fs::read(file).map_err(|e| failed(e.to_string()))?;
        let certificates = object_store::Certificate::from_pem_bundle(&pem).map_err(|e| failed(e.to_string()))?;
        for certificate in certificates {
            client = client.with_root_certificate(certificate);
        }
    }
    let _ = label;
    Ok(client)
}

fn invalid(label: &str, answer: impl ToString) -> VaultError {
    VaultError::new(ErrorKind::Invalid, "open vault", label, answer)
}

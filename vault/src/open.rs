//! Opening a vault by URL: `file:///…`, `s3://bucket/prefix`, `gs://…`, `az://…`.
//!
//! Does not own: where options come from (`service::config`). Retries are those of the store's client, bounded in
//! number and time; local files are fsynced, with their folders. Credentials come from the environment or the
//! platform and never appear in errors: URLs with a password are refused.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ObjectStore, RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder, local::LocalFileSystem, path::Path,
};
use packhorse_model::{ErrorKind, VaultSettings};
use reqwest::Certificate;
use url::Url;

use crate::{
    Vault, VaultError,
    folder::Folder,
    format_marker::no_folder,
    line::{Connector, Silence},
};

/// How long a store is waited for that nothing was heard of in a run, or by somebody who asks.
pub(crate) const BRIEF: Duration = Duration::from_secs(60);

/// Opens a vault. Makes no request and no folder: one that is missing is no vault.
pub fn open(options: &VaultSettings) -> Result<Vault, VaultError> {
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
    if url.scheme() == "file" {
        let (store, folder) = local(&url, &label, options.vault_id.as_deref())?;
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        return Ok(vault([Arc::clone(&store), store], Some(folder), prefix, label, &options));
    }
    let store = |budget| remote(&url, &options, budget, &label);
    let stores = [store(options.retry_budget)?, store(options.retry_budget.min(BRIEF))?];
    Ok(vault(stores, None, prefix, label, &options))
}

/// A client that tries again for so long.
fn remote(
    url: &Url,
    options: &VaultSettings,
    budget: Duration,
    label: &str,
) -> Result<Arc<dyn ObjectStore>, VaultError> {
    Ok(match url.scheme() {
        "s3" => Arc::new(s3(AmazonS3Builder::from_env(), url, options, budget, label)?),
        "gs" => Arc::new(
            GoogleCloudStorageBuilder::from_env()
                .with_url(bucket_url(url))
                .with_retry(retries(budget))
                .with_client_options(Connector::options())
                .with_http_connector(line(options, budget)?)
                .build()
                .map_err(|e| invalid(label, e))?,
        ),
        "az" | "azblob" => Arc::new(
            MicrosoftAzureBuilder::from_env()
                .with_container_name(url.host_str().unwrap_or_default())
                .with_retry(retries(budget))
                .with_client_options(Connector::options())
                .with_http_connector(line(options, budget)?)
                .build()
                .map_err(|e| without_account(invalid(label, e)))?,
        ),
        other => {
            return Err(invalid(label, format!("scheme {other:?} is none of file, s3, gs, az")));
        }
    })
}

/// The folder of a `file://` vault.
pub(crate) fn local_path(options: &VaultSettings) -> Result<Option<PathBuf>, VaultError> {
    let (_, url) = parse(options)?;
    if url.scheme() != "file" {
        return Ok(None);
    }
    url.to_file_path().map(Some).map_err(|()| invalid(url.as_str(), "is not a local absolute path"))
}

fn vault(
    stores: [Arc<dyn ObjectStore>; 2],
    folder: Option<Folder>,
    prefix: Path,
    label: String,
    options: &VaultSettings,
) -> Vault {
    Vault::new(stores, folder, prefix, label, options.upload_memory_mib.max(8), options.retry_budget)
        .pinned(options.vault_id.clone())
}

/// Opens an `s3://` vault with a login that does not come from the environment.
#[cfg(test)]
pub(crate) fn open_s3(login: &AmazonS3Builder, options: &VaultSettings) -> Result<Vault, VaultError> {
    let (options, url) = parse(options)?;
    let prefix = Path::from_url_path(url.path()).map_err(|e| invalid(url.as_str(), e))?;
    let store = |budget| -> Result<Arc<dyn ObjectStore>, VaultError> {
        Ok(Arc::new(s3(login.clone(), &url, &options, budget, url.as_str())?))
    };
    let stores = [store(options.retry_budget)?, store(options.retry_budget.min(BRIEF))?];
    Ok(vault(stores, None, prefix, url.to_string(), &options))
}

fn parse(options: &VaultSettings) -> Result<(VaultSettings, Url), VaultError> {
    let url =
        if options.url.starts_with('/') { format!("file://{}", options.url) } else { options.url.clone() };
    let url = Url::parse(&url).map_err(|e| invalid(&options.url, e))?;
    if url.password().is_some() || !url.username().is_empty() {
        let answer = "must not hold credentials: use the environment";
        return Err(invalid(url.host_str().unwrap_or("the URL"), answer));
    }
    let mut options = options.clone();
    options.retry_budget = options.retry_budget.min(VaultSettings::LONGEST_RETRY);
    if url.scheme() == "s3" && options.endpoint.is_none() {
        // The name that the AWS tools use; read here, because plain http has to be allowed with it.
        options.endpoint =
            std::env::var("AWS_ENDPOINT_URL_S3").or_else(|_| std::env::var("AWS_ENDPOINT_URL")).ok();
    }
    for (key, value) in url.query_pairs() {
        match key.as_ref() {
            "endpoint" => options.endpoint = Some(value.into_owned()),
            "region" => options.region = Some(value.into_owned()),
            "path_style" | "use_path_style" | "s3ForcePathStyle" => {
                options.path_style = Some(matches!(value.as_ref(), "true" | "1"));
            }
            other => {
                return Err(invalid(
                    &url[..url::Position::AfterPath],
                    format!("has unknown parameter {other:?}"),
                ));
            }
        }
    }
    Ok((options, url))
}

/// The account is not in the URL, so an operator may not know that it is missing.
fn without_account(error: VaultError) -> VaultError {
    if error.to_string().contains("Account must be specified") {
        return error.leaving("nothing was read or written", "set AZURE_STORAGE_ACCOUNT_NAME");
    }
    error
}

fn bucket_url(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
}

fn local(url: &Url, label: &str, pinned: Option<&str>) -> Result<(LocalFileSystem, Folder), VaultError> {
    let path = url.to_file_path().map_err(|()| invalid(label, "is not a local absolute path"))?;
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_folder(label, pinned)),
        Err(error) => return Err(VaultError::from_file("open vault", label, &error).below(Some(&path))),
        Ok(found) if !found.is_dir() => return Err(invalid(label, "is no folder")),
        Ok(_) => {}
    }
    let store = LocalFileSystem::new_with_prefix(&path)
        .map_err(|e| VaultError::from_store("open vault", label, e))?;
    let folder =
        Folder::open(&path).map_err(|e| VaultError::from_file("open vault", label, &e).below(Some(&path)))?;
    Ok((store.with_fsync(true), folder))
}

fn s3(
    login: AmazonS3Builder,
    url: &Url,
    options: &VaultSettings,
    budget: Duration,
    label: &str,
) -> Result<object_store::aws::AmazonS3, VaultError> {
    let bucket = url.host_str().ok_or_else(|| invalid(label, "names no bucket"))?;
    let mut builder = login
        .with_bucket_name(bucket)
        .with_retry(retries(budget))
        .with_client_options(Connector::options())
        .with_http_connector(line(options, budget)?);
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

fn retries(budget: Duration) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(15),
            base: 2.0,
        },
        // The budget of time is what ends the retries.
        max_retries: 10_000,
        retry_timeout: budget,
    }
}

fn line(options: &VaultSettings, budget: Duration) -> Result<Connector, VaultError> {
    // A connection that stalls is given up while there is time in the budget to try again.
    let patience = (options.retry_budget / 3).clamp(Duration::from_secs(5), Duration::from_secs(60));
    let mut authorities = Vec::new();
    if let Some(file) = &options.ca_file {
        let failed = |e: String| VaultError::new(ErrorKind::Invalid, "read CA file", file, e);
        let pem = std::fs::read(file).map_err(|e| failed(e.to_string()))?;
        authorities = Certificate::from_pem_bundle(&pem).map_err(|e| failed(e.to_string()))?;
    }
    let in_the_clear = options.endpoint.as_deref().is_some_and(|e| e.starts_with("http://"));
    let store = options.endpoint.clone().unwrap_or_else(|| options.url.clone());
    Connector::new(patience, authorities, in_the_clear, Silence::new(store, budget))
        .map_err(|e| invalid("its client", e))
}

fn invalid(label: &str, answer: impl ToString) -> VaultError {
    VaultError::new(ErrorKind::Invalid, "open vault", label, answer)
}

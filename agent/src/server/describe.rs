//! What the agent says about itself.
//!
//! Does not own: whether that suits a run; the coordinator decides.

use std::os::unix::ffi::OsStrExt;

use packhorse_model::{Problem, StorageName};
use packhorse_proto::v1;
use packhorse_service::{
    Tls,
    places::{Location, kernel, locate},
};
use packhorse_vault::FormatMarker;

use super::{AgentOptions, Shared, blocking};
use crate::git::Git;

/// Version, git, storages and vault.
pub async fn describe(shared: &Shared) -> Result<v1::DescribeResponse, Problem> {
    let options = shared.options.now();
    let marker = FormatMarker::if_any(&shared.vault.briefly()).await?;
    let places: Vec<_> = options.places().collect();
    let places = blocking(move || locate(&places)).await?;
    let missing = missing(&options);
    Ok(v1::DescribeResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_version: Git::new(&options.git).version()?,
        storages: options.storages.iter().map(|storage| storage.name.to_string()).collect(),
        vault_id: marker.map(|marker| marker.vault_id).unwrap_or_default(),
        vault_url: shared.vault.label().to_owned(),
        protocol: packhorse_proto::PROTOCOL,
        clock_ms: jiff::Timestamp::now().as_millisecond(),
        kernel: kernel().unwrap_or_default(),
        places: places.iter().map(place).collect(),
        missing_storages: missing.iter().map(|(name, _)| name.to_string()).collect(),
        remarks: missing
            .into_iter()
            .map(|(_, remark)| remark)
            .chain(shared.tls.as_ref().and_then(Tls::remark))
            .collect(),
    })
}

fn place(location: &Location) -> v1::Place {
    let extents = location.extents().iter().map(|extent| v1::Extent {
        device: extent.device.clone(),
        path: extent.path.as_os_str().as_bytes().to_owned(),
    });
    let (key, shown) = (location.key().to_owned(), location.shown().to_owned());
    v1::Place { key, shown, extents: extents.collect() }
}

/// The storages that are not there or cannot be read, each with a sentence that says so.
pub fn missing(options: &AgentOptions) -> Vec<(StorageName, String)> {
    let missing = options.storages.iter().filter_map(|storage| {
        let error = std::fs::read_dir(&storage.path).err()?;
        let remark = format!("storage {} is not there: {}: {error}", storage.name, storage.path.display());
        Some((storage.name.clone(), remark))
    });
    missing.collect()
}

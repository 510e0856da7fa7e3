//! curl: a bare copy of files to a bucket and back, one request for each.

use std::path::{Path, PathBuf};

use packhorse_testkit::CephGateway;

use crate::{
    loops::JOBS,
    meter::{Call, Script},
};

/// Sends files.
pub fn send(gateway: &CephGateway, files: &[PathBuf], bucket: &str) -> Script {
    each(files, |number, path| call(gateway, bucket, number).arg("--upload-file").path(path))
}

/// Gets them back.
pub fn get(gateway: &CephGateway, files: &[PathBuf], bucket: &str, target: &Path) -> Script {
    each(files, |number, _| call(gateway, bucket, number).output(target.join(format!("{number:04}.pack"))))
}

fn each(files: &[PathBuf], call: impl Fn(usize, &Path) -> Call) -> Script {
    let task = |(number, path): (usize, &PathBuf)| vec![call(number, path).step()];
    Script { at_once: JOBS, tasks: files.iter().enumerate().map(task).collect() }
}

fn call(gateway: &CephGateway, bucket: &str, number: usize) -> Call {
    Call::new("curl")
        .args(["--silent", "--show-error", "--fail-with-body"])
        .args(["--aws-sigv4", &format!("aws:amz:{}:s3", gateway.region())])
        .args(["--user", &format!("{}:{}", gateway.access_key(), gateway.secret_key())])
        .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
        .arg(format!("{}/{bucket}/{number:04}.pack", gateway.endpoint()))
}

//! Requests to a gateway from outside Packhorse, made and signed by curl.
//!
//! Does not own: the vault's own client; tests use these to look at and damage what it stored. Any answer but success
//! ends the test with the answer.

use std::process::Command;

use crate::{ceph::CephGateway, command::hermetic_command, run_checked, run_with_input, xml::elements};

impl CephGateway {
    /// Creates a bucket; its name must have at least three letters.
    pub fn create_bucket(&self, name: &str) {
        run_checked(&mut self.request("PUT", name, ""));
    }

    /// Removes a bucket with all that is in it, and frees its memory at once.
    pub fn remove_bucket(&self, name: &str) {
        let mut admin = hermetic_command("radosgw-admin");
        admin.arg("--conf").arg(self.folder.join("ceph.conf")).current_dir(&self.folder);
        let bucket = format!("--bucket={name}");
        run_checked(admin.args(["bucket", "rm", &bucket, "--purge-objects", "--bypass-gc"]));
    }

    /// Stores an object.
    pub fn put(&self, bucket: &str, key: &str, contents: &[u8]) {
        let mut curl = self.request("PUT", &object(bucket, key), "");
        run_with_input(
            curl.args(["--data-binary", "@-", "-H", "Content-Type: application/octet-stream"]),
            contents,
        );
    }

    /// The bytes of an object.
    pub fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        run_checked(&mut self.request("GET", &object(bucket, key), "")).stdout
    }

    /// Removes an object.
    pub fn delete(&self, bucket: &str, key: &str) {
        run_checked(&mut self.request("DELETE", &object(bucket, key), ""));
    }

    /// Begins a multipart upload that nobody completes. The first one has Ceph make a pool, which takes seconds.
    pub fn begin_upload(&self, bucket: &str, key: &str) {
        run_checked(&mut self.request("POST", &object(bucket, key), "?uploads="));
    }

    /// All keys in a bucket, sorted.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut after = String::new();
        loop {
            let query = format!("?list-type=2&start-after={}", encode(&after, ""));
            let page = self.text(bucket, &query);
            keys.extend(elements(&page, "Key"));
            match (keys.last(), page.contains("<IsTruncated>true")) {
                (Some(last), true) => after.clone_from(last),
                _ => return keys,
            }
        }
    }

    /// The keys of multipart uploads that were begun and neither completed nor aborted.
    pub fn list_uploads(&self, bucket: &str) -> Vec<String> {
        elements(&self.text(bucket, "?uploads="), "Key")
    }

    fn text(&self, path: &str, query: &str) -> String {
        let body = run_checked(&mut self.request("GET", path, query)).stdout;
        String::from_utf8(body).expect("the gateway answers in UTF-8")
    }

    fn request(&self, method: &str, path: &str, query: &str) -> Command {
        let mut curl =
            self.host.as_ref().map_or_else(|| hermetic_command("curl"), |host| host.command("curl"));
        curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "60", "--request", method])
            .args(["--aws-sigv4", &format!("aws:amz:{}:s3", self.region())])
            .args(["--user", &format!("{}:{}", self.access_key(), self.secret_key())])
            .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .arg(format!("{}/{path}{query}", self.endpoint()));
        curl
    }
}

fn object(bucket: &str, key: &str) -> String {
    format!("{bucket}/{}", encode(key, "/"))
}

/// Percent-encodes what S3 signatures want encoded, except the bytes in `kept`.
fn encode(text: &str, kept: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.as_bytes().contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_come_back_and_open_uploads_are_listed() {
        let gateway = CephGateway::shared();
        gateway.create_bucket("requests");
        let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
        for (key, contents) in [("plain", b"one".as_slice()), ("@a/b+c é.git/%2F", b"two"), ("large", &large)]
        {
            gateway.put("requests", key, contents);
            assert_eq!(gateway.get("requests", key), contents, "{key}");
        }
        assert_eq!(gateway.keys("requests"), ["@a/b+c é.git/%2F", "large", "plain"]);
        gateway.delete("requests", "plain");
        assert_eq!(gateway.keys("requests").len(), 2);

        assert!(gateway.list_uploads("requests").is_empty());
        run_checked(&mut gateway.request("POST", "requests/parts", "?uploads="));
        assert_eq!(gateway.list_uploads("requests"), ["parts"]);

        gateway.create_bucket("removed");
        gateway.put("removed", "key", b"value");
        gateway.remove_bucket("removed");
        let buckets = elements(&gateway.text("", ""), "Name");
        assert!(buckets.contains(&"requests".to_owned()) && !buckets.contains(&"removed".to_owned()));
    }
}

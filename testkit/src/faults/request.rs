//! A request as the store understands it: who asks for which operation on which key.
//!
//! Does not own: signatures, which nobody checks. Only path-style addresses are understood.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::{HeaderMap, Method, Uri, header};

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Read an object or a range of it.
    Get,
    /// Look up an object.
    Head,
    /// Write an object only if there is none.
    Create,
    /// Write an object.
    Put,
    /// Remove an object.
    Delete,
    /// Remove several objects.
    BulkDelete,
    /// List objects.
    List,
    /// Begin a multipart upload.
    BeginUpload,
    /// Send a part of one.
    PutPart,
    /// Make an object of one.
    CompleteUpload,
    /// Give one up.
    AbortUpload,
    /// List those that are open.
    ListUploads,
    /// Anything else.
    Unknown,
}

impl Operation {
    /// Whether it changes what is stored.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::Head | Self::List | Self::ListUploads | Self::Unknown)
    }
}

/// One request, with its whole body.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub who: String,
    pub operation: Operation,
    pub bucket: String,
    pub key: String,
    pub query: BTreeMap<String, String>,
    pub range: Option<String>,
    pub body: Bytes,
}

impl Incoming {
    pub fn new(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let path = uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query: BTreeMap<_, _> = uri.query().unwrap_or("").split('&').map(pair).collect();
        let only_new = headers.contains_key(header::IF_NONE_MATCH);
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            who: who(text(header::AUTHORIZATION).unwrap_or("")),
            operation: operation(method, key, &query, only_new),
            bucket: decode(bucket),
            key: decode(key),
            range: text(header::RANGE).map(str::to_owned),
            query,
            body: Bytes::new(),
        }
    }

    /// A parameter of the query, empty when it is not there.
    pub fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// The number of the part that is sent.
    pub fn part(&self) -> Option<u32> {
        self.parameter("partNumber").parse().ok()
    }

    /// What the request is about: a key with the part's number, or a prefix.
    pub fn target(&self) -> String {
        match (self.operation, self.part()) {
            (Operation::List, _) => self.parameter("prefix").to_owned(),
            (_, Some(part)) => format!("{}#{part}", self.key),
            _ => self.key.clone(),
        }
    }
}

fn operation(method: &Method, key: &str, query: &BTreeMap<String, String>, only_new: bool) -> Operation {
    let has = |name: &str| query.contains_key(name);
    match (method.as_str(), has("uploads"), has("uploadId")) {
        ("POST", true, _) => Operation::BeginUpload,
        ("POST", _, true) => Operation::CompleteUpload,
        ("POST", ..) if has("delete") => Operation::BulkDelete,
        ("PUT", _, true) => Operation::PutPart,
        ("PUT", ..) if only_new => Operation::Create,
        ("PUT", ..) => Operation::Put,
        ("DELETE", _, true) => Operation::AbortUpload,
        ("DELETE", ..) => Operation::Delete,
        ("GET", true, _) => Operation::ListUploads,
        ("GET", ..) if key.is_empty() => Operation::List,
        ("GET", ..) => Operation::Get,
        ("HEAD", ..) => Operation::Head,
        _ => Operation::Unknown,
    }
}

/// The access key in an `Authorization` header of AWS's fourth scheme.
fn who(authorization: &str) -> String {
    let key = authorization.split("Credential=").nth(1).and_then(|rest| rest.split('/').next());
    key.unwrap_or("nobody").to_owned()
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (decode(name), decode(&value.replace('+', " ")))
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let read = |method: Method, uri: &str| {
            Incoming::new(&method, &uri.parse().expect("a URI"), &HeaderMap::new())
        };
        let part = read(Method::PUT, "/b/a%2Bb/%C3%A4%2525?partNumber=3&uploadId=u1");
        assert_eq!(
            (part.operation, part.key.as_str(), part.part()),
            (Operation::PutPart, "a+b/ä%25", Some(3))
        );
        assert_eq!(part.target(), "a+b/ä%25#3");
        let list = read(Method::GET, "/b?list-type=2&prefix=a%2F+b");
        assert_eq!((list.operation, list.target().as_str()), (Operation::List, "a/ b"));
        assert_eq!(read(Method::POST, "/b/k?uploads").operation, Operation::BeginUpload);
        assert_eq!(read(Method::DELETE, "/b/k?uploadId=1").operation, Operation::AbortUpload);
    }

    #[test]
    fn the_access_key_says_who_asks() {
        assert_eq!(who("AWS4-HMAC-SHA256 Credential=agent/20260101/eu/s3/aws4_request, Signed"), "agent");
        assert_eq!(who(""), "nobody");
    }
}

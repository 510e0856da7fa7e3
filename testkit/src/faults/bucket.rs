//! The objects of the only bucket, and what each operation does to them.
//!
//! Does not own: listings (`listing`), multipart uploads (`uploads`), faults. Every operation is applied as a whole or
//! not at all, under one lock, so a reader never sees a half.

use std::{collections::BTreeMap, fmt::Write, ops::Range};

use bytes::Bytes;
use md5::{Digest, Md5};

use super::{
    answer::Answer,
    request::{Incoming, Operation},
    uploads::Uploads,
};
use crate::xml::{elements, escape};

/// One stored object.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub bytes: Bytes,
    pub etag: String,
}

/// What the server has.
#[derive(Default)]
pub(super) struct Bucket {
    pub objects: BTreeMap<String, Stored>,
    pub uploads: Uploads,
    /// Whether it knows no ranges, and sends objects as a whole.
    pub whole_only: bool,
}

impl Bucket {
    /// Applies a request; a store of the careless sort overwrites what it was asked only to create.
    pub fn apply(&mut self, request: &Incoming, careless: bool) -> Answer {
        let key = request.key.as_str();
        match request.operation {
            Operation::Get => self.get(key, request.range.as_deref()),
            Operation::Head => Answer { body: Bytes::new(), ..self.head(key) },
            Operation::Create if !careless && self.objects.contains_key(key) => {
                Answer::error(412, "PreconditionFailed", "At least one of the conditions did not hold")
            }
            Operation::Create | Operation::Put => self.put(key, request.body.clone(), None),
            Operation::Delete => {
                self.objects.remove(key);
                Answer::empty(204)
            }
            Operation::BulkDelete => self.delete_all(&request.body),
            Operation::List => super::listing::list(&self.objects, request),
            Operation::BeginUpload => self.uploads.begin(key),
            Operation::PutPart => self.uploads.put_part(request),
            Operation::AbortUpload => self.uploads.abort(request.parameter("uploadId")),
            Operation::ListUploads => self.uploads.list(),
            Operation::CompleteUpload => match self.uploads.complete(request) {
                Ok((bytes, etag)) => {
                    self.put(key, bytes, Some(etag.clone()));
                    Answer::xml(&format!(
                        "<CompleteMultipartUploadResult><Key>{}</Key><ETag>\"{etag}\"</ETag>\
                         </CompleteMultipartUploadResult>",
                        escape(key)
                    ))
                }
                Err(answer) => answer,
            },
            Operation::Unknown => {
                Answer::error(501, "NotImplemented", "the test kit's store does not do this")
            }
        }
    }

    pub fn put(&mut self, key: &str, bytes: Bytes, etag: Option<String>) -> Answer {
        let etag = etag.unwrap_or_else(|| hex(&Md5::digest(&bytes)));
        let answer = Answer::empty(200).with_etag(&etag);
        self.objects.insert(key.to_owned(), Stored { bytes, etag });
        answer
    }

    fn head(&self, key: &str) -> Answer {
        let Some(object) = self.objects.get(key) else { return Answer::no_such_key() };
        Answer::empty(200).with_etag(&object.etag).with("content-length", object.bytes.len().to_string())
    }

    fn get(&self, key: &str, range: Option<&str>) -> Answer {
        let Some(object) = self.objects.get(key) else { return Answer::no_such_key() };
        let whole = Answer { body: object.bytes.clone(), ..Answer::empty(200) }.with_etag(&object.etag);
        let Some(range) = range.filter(|_| !self.whole_only) else { return whole };
        let len = object.bytes.len();
        match parse_range(range, len) {
            Some(range) => {
                let content_range = format!("bytes {}-{}/{len}", range.start, range.end - 1);
                let part = Answer { status: 206, body: object.bytes.slice(range), ..whole };
                part.with("content-range", content_range)
            }
            None => Answer::error(416, "InvalidRange", "The requested range is not satisfiable"),
        }
    }

    fn delete_all(&mut self, body: &[u8]) -> Answer {
        let mut deleted = String::new();
        for key in elements(&String::from_utf8_lossy(body), "Key") {
            self.objects.remove(&key);
            write!(deleted, "<Deleted><Key>{}</Key></Deleted>", escape(&key)).expect("writing to a string");
        }
        Answer::xml(&format!("<DeleteResult>{deleted}</DeleteResult>"))
    }
}

/// `bytes=1-3`, `bytes=1-` or `bytes=-3` of so many bytes.
fn parse_range(range: &str, len: usize) -> Option<Range<usize>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", count) => len.saturating_sub(count.parse().ok()?)..len,
        (first, "") => first.parse().ok()?..len,
        (first, last) => first.parse().ok()?..last.parse::<usize>().ok()?.saturating_add(1).min(len),
    };
    (range.start < range.end).then_some(range)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    bytes.iter().for_each(|byte| write!(text, "{byte:02x}").expect("writing to a string"));
    text
}

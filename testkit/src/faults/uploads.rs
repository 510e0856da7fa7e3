//! Multipart uploads: begun, filled with parts, completed or aborted.
//!
//! Does not own: the object that comes of one (`bucket`). As strict as stores are: parts are small only at the end, and
//! an upload that was completed or aborted does not exist any more, so a completion that is asked for again is refused.

use std::{collections::BTreeMap, fmt::Write};

use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};

use super::{answer::Answer, bucket::hex, request::Incoming};
use crate::xml::{elements, escape};

/// Least bytes of every part but the last.
const SMALLEST_PART: usize = 5 << 20;

/// The open uploads by their id.
#[derive(Default)]
pub(super) struct Uploads {
    open: BTreeMap<String, Upload>,
    begun: u64,
}

struct Upload {
    key: String,
    parts: BTreeMap<u32, Part>,
}

struct Part {
    bytes: Bytes,
    digest: [u8; 16],
}

impl Uploads {
    /// The keys of all that are open.
    pub fn keys(&self) -> Vec<String> {
        self.open.values().map(|upload| upload.key.clone()).collect()
    }

    pub fn abort_all(&mut self) {
        self.open.clear();
    }

    pub fn begin(&mut self, key: &str) -> Answer {
        self.begun += 1;
        let id = format!("upload-{}", self.begun);
        let answer = format!(
            "<InitiateMultipartUploadResult><Key>{}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
            escape(key)
        );
        self.open.insert(id, Upload { key: key.to_owned(), parts: BTreeMap::new() });
        Answer::xml(&answer)
    }

    pub fn put_part(&mut self, request: &Incoming) -> Answer {
        let Some(upload) = self.open.get_mut(request.parameter("uploadId")) else {
            return Answer::no_such_upload();
        };
        let Some(number) = request.part().filter(|number| (1..=10_000).contains(number)) else {
            return Answer::error(400, "InvalidArgument", "Part number must be between 1 and 10000");
        };
        let digest: [u8; 16] = Md5::digest(&request.body).into();
        upload.parts.insert(number, Part { bytes: request.body.clone(), digest });
        Answer::empty(200).with_etag(&hex(&digest))
    }

    pub fn abort(&mut self, id: &str) -> Answer {
        if self.open.remove(id).is_some() { Answer::empty(204) } else { Answer::no_such_upload() }
    }

    pub fn list(&self) -> Answer {
        let mut uploads = String::new();
        for (id, upload) in &self.open {
            let key = escape(&upload.key);
            write!(uploads, "<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>")
                .expect("writing to a string");
        }
        Answer::xml(&format!("<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>"))
    }

    /// Ends an upload and gives the object's bytes and ETag.
    pub fn complete(&mut self, request: &Incoming) -> Result<(Bytes, String), Answer> {
        let id = request.parameter("uploadId");
        let upload = self.open.get(id).ok_or_else(Answer::no_such_upload)?;
        let object = upload.assemble(&String::from_utf8_lossy(&request.body))?;
        self.open.remove(id);
        Ok(object)
    }
}

impl Upload {
    fn assemble(&self, wanted: &str) -> Result<(Bytes, String), Answer> {
        let invalid =
            || Answer::error(400, "InvalidPart", "One or more of the specified parts could not be found");
        let (numbers, etags) = (elements(wanted, "PartNumber"), elements(wanted, "ETag"));
        let (mut bytes, mut digests, mut previous) = (BytesMut::new(), Vec::new(), 0);
        for (at, (number, etag)) in numbers.iter().zip(&etags).enumerate() {
            let number: u32 = number.parse().map_err(|_| invalid())?;
            let part = self.parts.get(&number).ok_or_else(invalid)?;
            if number <= previous || hex(&part.digest) != etag.trim_matches('"') {
                return Err(invalid());
            }
            if part.bytes.len() < SMALLEST_PART && at + 1 < numbers.len() {
                return Err(Answer::error(400, "EntityTooSmall", "A part is smaller than the minimum size"));
            }
            previous = number;
            digests.extend(part.digest);
            bytes.extend_from_slice(&part.bytes);
        }
        if digests.is_empty() {
            return Err(invalid());
        }
        Ok((bytes.freeze(), format!("{}-{}", hex(&Md5::digest(&digests)), numbers.len())))
    }
}

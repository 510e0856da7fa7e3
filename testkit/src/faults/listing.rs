//! Listings: keys below a prefix in order, folded at a delimiter, in pages.
//!
//! Does not own: the objects. A page's token is the last name of the page before it.

use std::{collections::BTreeMap, fmt::Write};

use super::{answer::Answer, bucket::Stored, request::Incoming};
use crate::xml::escape;

/// The time of every object: nothing of ours may depend on it.
const MODIFIED: &str = "2026-01-01T00:00:00.000Z";
/// Most entries of one page.
const PAGE: usize = 1_000;

enum Entry<'a> {
    Object(&'a str, &'a Stored),
    Folder(&'a str),
}

pub(super) fn list(objects: &BTreeMap<String, Stored>, request: &Incoming) -> Answer {
    let prefix = request.parameter("prefix");
    let after = match request.parameter("continuation-token") {
        "" => request.parameter("start-after"),
        token => token,
    };
    let limit = request.parameter("max-keys").parse().unwrap_or(PAGE).min(PAGE);
    let all = entries(objects, prefix, request.parameter("delimiter"));
    let mut rest = all.iter().filter(|entry| entry.name() > after);
    let page: Vec<&Entry> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    let mut body = format!("<ListBucketResult><Prefix>{}</Prefix>", escape(prefix));
    write!(body, "<KeyCount>{}</KeyCount><IsTruncated>{more}</IsTruncated>", page.len())
        .expect("writing to a string");
    if let Some(last) = page.last().filter(|_| more) {
        let token = escape(last.name());
        write!(body, "<NextContinuationToken>{token}</NextContinuationToken>").expect("writing to a string");
    }
    page.iter().for_each(|entry| entry.write(&mut body));
    Answer::xml(&format!("{body}</ListBucketResult>"))
}

fn entries<'a>(objects: &'a BTreeMap<String, Stored>, prefix: &str, delimiter: &str) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry> = Vec::new();
    let below = objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
    for (key, object) in below {
        let folded = (!delimiter.is_empty()).then(|| key[prefix.len()..].find(delimiter)).flatten();
        match folded.map(|at| &key[..prefix.len() + at + delimiter.len()]) {
            Some(folder) if entries.last().is_some_and(|last| last.name() == folder) => {}
            Some(folder) => entries.push(Entry::Folder(folder)),
            None => entries.push(Entry::Object(key, object)),
        }
    }
    entries
}

impl Entry<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Object(name, _) | Self::Folder(name) => name,
        }
    }

    fn write(&self, body: &mut String) {
        let name = escape(self.name());
        match self {
            Self::Object(_, object) => write!(
                body,
                "<Contents><Key>{name}</Key><Size>{}</Size><ETag>\"{}\"</ETag>\
                 <LastModified>{MODIFIED}</LastModified></Contents>",
                object.bytes.len(),
                object.etag
            ),
            Self::Folder(_) => write!(body, "<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"),
        }
        .expect("writing to a string");
    }
}

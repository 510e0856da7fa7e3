//! Leaves names out of a listing that are nobody's of ours and that the store's client cannot take: with one of them it
//! refuses the page, and with it all that is there.
//!
//! Does not own: reading the listing (the store's client does). S3, Google and Azure answer with entries in XML, each with
//! its name; an entry goes as a whole. What cannot be read here is left as it came.

use std::ops::Range;

use quick_xml::{Reader, escape::unescape, events::Event};

/// Entries of a listing, and the element in each that has its name.
const ENTRIES: [(&[u8], &[u8]); 4] =
    [(b"Contents", b"Key"), (b"CommonPrefixes", b"Prefix"), (b"Blob", b"Name"), (b"BlobPrefix", b"Name")];

/// The listing without such entries; none when it has none, so that it stays as it is.
pub fn without_strange_names(listing: &[u8]) -> Option<Vec<u8>> {
    let strange = strange_entries(listing).filter(|entries| !entries.is_empty())?;
    let mut rest = Vec::with_capacity(listing.len());
    let mut end = 0;
    for entry in strange {
        rest.extend_from_slice(listing.get(end..entry.start)?);
        end = entry.end;
    }
    rest.extend_from_slice(listing.get(end..)?);
    Some(rest)
}

/// Where they lie; none when this is no listing that can be read.
fn strange_entries(listing: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut reader = Reader::from_reader(listing);
    let mut strange = Vec::new();
    // The entry that is read: where it begins, which element has its name, and whether that is strange.
    let mut entry: Option<(usize, &[u8], bool)> = None;
    loop {
        let begin = usize::try_from(reader.buffer_position()).ok()?;
        match reader.read_event().ok()? {
            Event::Eof => return Some(strange),
            Event::Start(tag) => {
                let name = tag.name();
                match &mut entry {
                    None => {
                        let kind = ENTRIES.iter().find(|(kind, _)| *kind == name.as_ref());
                        entry = kind.map(|(_, name)| (begin, *name, false));
                    }
                    Some((_, wanted, is_strange)) if name.as_ref() == *wanted => {
                        let text = reader.read_text(name).ok()?;
                        *is_strange =
                            unescape(&text.decode().ok()?).map_or(true, |name| is_strange_name(&name));
                    }
                    Some(_) => {}
                }
            }
            Event::End(tag) if ENTRIES.iter().any(|(kind, _)| *kind == tag.name().as_ref()) => {
                if let Some((begin, _, true)) = entry.take() {
                    strange.push(begin..usize::try_from(reader.buffer_position()).ok()?);
                }
            }
            _ => {}
        }
    }
}

/// Whether a name is no path of plain components. That of a folder ends with a slash.
fn is_strange_name(name: &str) -> bool {
    let name = name.strip_suffix('/').unwrap_or(name);
    let is_strange_part = |part: &str| part.is_empty() || part == "." || part == "..";
    name.chars().any(char::is_control) || name.split('/').any(is_strange_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(names: &[&str]) -> String {
        let entry = |name: &&str| match name.ends_with('/') {
            true => format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"),
            false => {
                format!("<Contents><Key>{name}</Key><Owner><ID>Key</ID></Owner><Size>1</Size></Contents>")
            }
        };
        let entries: String = names.iter().map(entry).collect();
        format!(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"x\"><Prefix>a//</Prefix>{entries}</ListBucketResult>"
        )
    }

    #[test]
    fn strange_names_go_and_the_rest_stays_as_it_is() {
        let plain = ["a/b", "a/b/", "a/&lt;&amp;&gt;", "a/é %2F..", "a/...", "a/b c"];
        assert_eq!(without_strange_names(s3(&plain).as_bytes()), None);
        let strange =
            ["a/\u{1b}b", "a/&#27;b/", "a/&#x0A;", "a//b", "a//", "a/../b", "a/./", "/a", "a\u{7f}", "&#0;"];
        for name in strange {
            let all = [&plain[..3], &[name], &plain[3..]].concat();
            let rest = without_strange_names(s3(&all).as_bytes()).unwrap_or_else(|| panic!("{name:?} stays"));
            assert_eq!(String::from_utf8(rest).expect("UTF-8"), s3(&plain), "{name:?}");
        }
        let all = without_strange_names(s3(&strange).as_bytes()).expect("all go");
        assert_eq!(String::from_utf8(all).expect("UTF-8"), s3(&[]));
        let azure =
            "<R><Blobs><Blob><Name>a\u{1}</Name></Blob><BlobPrefix><Name>b/</Name></BlobPrefix></Blobs></R>";
        let rest = without_strange_names(azure.as_bytes()).expect("one goes");
        assert_eq!(rest, b"<R><Blobs><BlobPrefix><Name>b/</Name></BlobPrefix></Blobs></R>");
    }

    #[test]
    fn what_is_no_listing_is_left_alone() {
        for other in ["", "no XML", "<Contents><Key>a//b", "<Contents><Key>a//b</Kex></Contents>", "{}"] {
            assert_eq!(without_strange_names(other.as_bytes()), None, "{other}");
        }
    }
}

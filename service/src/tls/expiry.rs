//! When a certificate expires.
//!
//! Does not own: whether it is good; TLS decides that. Only the one field is read, from the outside in, and whatever does
//! not look like a certificate gives none.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a DER certificate's validity (RFC 5280, 4.1).
pub fn expiry(certificate: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = sequence(certificate)?;
    let (mut fields, _) = sequence(certificate)?;
    if let Some((VERSION, _, rest)) = element(fields) {
        fields = rest;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (validity, _) = sequence(fields)?;
    let (_, _, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let whole = match tag {
        // Two digits of the year: 50 and more are of the last century.
        UTC_TIME => format!("{}{text}", if text.get(..2)? >= "50" { "19" } else { "20" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", whole).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

fn sequence(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(tag, _, _)| *tag == SEQUENCE).map(|(_, content, rest)| (content, rest))
}

/// Tag, content and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match usize::from(first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (digits, rest) =
                rest.split_at_checked(long & 0x7f).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use packhorse_testkit::CertificateAuthority;
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;

    #[test]
    fn both_forms_of_time_are_read() {
        for (tag, text, expected) in [
            (UTC_TIME, "270131235959Z", Some("2027-01-31T23:59:59Z")),
            (UTC_TIME, "991231000000Z", Some("1999-12-31T00:00:00Z")),
            (GENERALIZED_TIME, "20501231000000Z", Some("2050-12-31T00:00:00Z")),
            (GENERALIZED_TIME, "tomorrow", None),
            (0x04, "270131235959Z", None),
        ] {
            assert_eq!(time(tag, text), expected.map(|text| text.parse().expect("a timestamp")), "{text}");
        }
    }

    #[test]
    fn a_certificate_has_an_end_and_parts_of_one_have_none() {
        let folder = tempfile::tempdir().expect("temporary folder");
        CertificateAuthority::new().issue("here.internal").write(folder.path());
        let file = folder.path().join("cert.pem");
        let certificate = CertificateDer::from_pem_file(file).expect("a certificate");
        let expires = expiry(&certificate).expect("an end");
        assert!(expires > Timestamp::now(), "{expires}");
        for end in 0..certificate.len() {
            assert_eq!(expiry(&certificate[..end]), None, "cut at {end}");
        }
    }
}

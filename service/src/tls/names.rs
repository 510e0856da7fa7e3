//! The names in a certificate: DNS names and URIs among its subject alternative names.
//!
//! Does not own: checking the certificate; only one that TLS has accepted is read. The common name is never looked at.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::access::plain;

/// Every name, DNS names in lower case; names with control characters are left out.
pub(crate) fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let names = certificate.valid_dns_names().chain(certificate.valid_uri_names());
    names.filter(|name| !name.chars().any(char::is_control)).map(plain).collect()
}

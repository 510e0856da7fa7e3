//! Certificate, key and authorities, read from their files and made into what rustls takes.
//!
//! Does not own: when they are read (`handle`). A pair that does not match, an empty file or a key that others may read
//! is told by its path; nothing is used unless all three files are good.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use jiff::Timestamp;
use packhorse_model::{ErrorKind, Problem, Subject, whose};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};

use super::expiry::expiry;
use crate::config::TlsSection;

/// Both directions of one set of files.
pub struct Configs {
    /// For connections that come in.
    pub server: Arc<ServerConfig>,
    /// For those that go out.
    pub client: Arc<ClientConfig>,
    /// When the certificate expires.
    pub expires: Option<Timestamp>,
}

/// What tells one state of the files from another.
pub type Stamps = Vec<Option<(SystemTime, u64, u64)>>;

/// The state that the files are in.
pub fn stamps(section: &TlsSection) -> Stamps {
    let stamp = |path: &&PathBuf| {
        let found = fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len(), found.ino()))
    };
    section.files().iter().map(stamp).collect()
}

/// Reads all three files.
pub fn load(section: &TlsSection) -> Result<Configs, Problem> {
    let chain = certificates(&section.certificate)?;
    let expires = chain.first().and_then(|certificate| expiry(certificate));
    let mut roots = RootCertStore::empty();
    for authority in certificates(&section.ca)? {
        roots.add(authority).map_err(|e| unusable(&section.ca, e))?;
    }
    let (roots, provider) = (Arc::new(roots), Arc::new(aws_lc_rs::default_provider()));
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
        .build()
        .map_err(|e| unusable(&section.ca, e))?;
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| unusable(&section.certificate, e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key(&section.key)?)
        .map_err(|e| unusable_pair(section, &e))?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| unusable(&section.certificate, e))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key(&section.key)?)
        .map_err(|e| unusable_pair(section, &e))?;
    client.alpn_protocols = vec![b"h2".to_vec()];
    client.resumption = Resumption::disabled();
    Ok(Configs { server: Arc::new(server), client: Arc::new(client), expires })
}

/// The error of a certificate and a key that cannot be used with each other.
fn unusable_pair(section: &TlsSection, error: &rustls::Error) -> Problem {
    let (certificate, key) = (section.certificate.display(), section.key.display());
    match error {
        rustls::Error::InconsistentKeys(_) => unusable(&section.certificate, error)
            .on(format!("{certificate} and {key}"))
            .answered(format!("the key is not that of the certificate: {error}"))
            .next("name the key that belongs to the certificate, or issue both anew"),
        _ => unusable(&section.certificate, error),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let pem = fs::read(path).map_err(|e| unreadable(path, &e))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|e| unusable(path, e))?;
    if found.is_empty() {
        return Err(unusable(path, "holds no certificate in PEM form"));
    }
    Ok(found)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    let mode = fs::metadata(path).map_err(|e| unreadable(path, &e))?.permissions().mode();
    if mode & 0o007 != 0 {
        let answer = format!("every user of this host may use it: its mode is {:04o}", mode & 0o7777);
        return Err(unusable(path, answer).next("chmod 0600 it, and issue a new one if it was read"));
    }
    let pem = fs::read(path).map_err(|e| unreadable(path, &e))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|e| unusable(path, e))
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::PermissionDenied => unusable(path, format!("{error}: {}", whose(path)))
            .next("run as a user who may read it, or give it to ours with chown"),
        _ => unusable(path, error),
    }
}

fn unusable(path: &Path, answer: impl std::fmt::Display) -> Problem {
    Problem::new(ErrorKind::Invalid, Subject::Configuration, "read certificates")
        .on(path.display())
        .answered(answer)
        .next("correct the [tls] section or its files")
}

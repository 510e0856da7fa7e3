//! `[tls]` and `[[peer]]`: our certificate, and who may call.
//!
//! Does not own: reading the files (`tls`) or deciding (`access`).

use std::{fmt, path::PathBuf};

use serde::Deserialize;

use crate::access::Role;

/// `[tls]`: the certificate that this process shows, as a server and as a client, and the authorities that it trusts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// PEM file with our certificate, followed by those between it and the authority.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
    /// PEM file with the authorities that sign our peers' certificates.
    pub ca: PathBuf,
}

impl TlsSection {
    /// The three files.
    pub fn files(&self) -> [&PathBuf; 3] {
        [&self.certificate, &self.key, &self.ca]
    }
}

/// `[[peer]]`: a caller and its role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSection {
    /// A DNS name or URI among the subject alternative names of its certificate; compared as a whole.
    pub san: Option<String>,
    /// User on a Unix socket, by number.
    pub uid: Option<u32>,
    /// The same, by a name in `/etc/passwd`.
    pub user: Option<String>,
    /// Group on a Unix socket, by number.
    pub gid: Option<u32>,
    /// The same, by a name in `/etc/group`; its members are admitted too.
    pub group: Option<String>,
    /// What it may do.
    pub role: Role,
}

/// By what a peer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerName {
    /// Name in a certificate.
    San(String),
    /// User number.
    Uid(u32),
    /// User name.
    User(String),
    /// Group number.
    Gid(u32),
    /// Group name.
    Group(String),
}

impl PeerSection {
    /// The one name that the section gives, or what is wrong with it.
    pub fn name(&self) -> Result<PeerName, String> {
        let mut names: Vec<PeerName> = Vec::new();
        names.extend(self.san.clone().map(PeerName::San));
        names.extend(self.uid.map(PeerName::Uid));
        names.extend(self.user.clone().map(PeerName::User));
        names.extend(self.gid.map(PeerName::Gid));
        names.extend(self.group.clone().map(PeerName::Group));
        match &names[..] {
            [PeerName::San(name)] if name.trim().is_empty() => Err("san is empty".into()),
            [_] => Ok(names.remove(0)),
            _ => Err("a peer must have exactly one of san, uid, user, gid, group".into()),
        }
    }
}

impl fmt::Display for PeerSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Ok(PeerName::San(name) | PeerName::User(name) | PeerName::Group(name)) => f.write_str(&name),
            Ok(PeerName::Uid(id) | PeerName::Gid(id)) => write!(f, "{id}"),
            Err(_) => write!(f, "role {}", self.role.name()),
        }
    }
}

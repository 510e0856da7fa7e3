//! Certificates of an authority that exists only in one test.
//!
//! Does not own: what `backupctl certs` makes. These can also be what no honest authority makes: expired, or of the
//! wrong kind.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// An authority.
pub struct CertificateAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key and its authority.
pub struct IssuedCertificate {
    certificate: String,
    key: String,
    ca: String,
}

impl CertificateAuthority {
    /// A new authority, which nobody knows.
    #[expect(clippy::new_without_default, reason = "each authority is another one")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Packhorse test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("make a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("sign an authority") }
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a name and for loopback addresses, valid for both sides of a connection.
    pub fn issue(&self, san: &str) -> IssuedCertificate {
        self.sign(san, until(2096), None)
    }

    /// The same, for a host's address too.
    pub fn issue_at(&self, san: &str, address: IpAddr) -> IssuedCertificate {
        self.sign(san, until(2096), Some(address))
    }

    /// The same as `issue`, but it was valid long ago.
    pub fn issue_expired(&self, san: &str) -> IssuedCertificate {
        self.sign(san, until(2021), None)
    }

    /// The same as `issue`, but it expires after this time.
    pub fn issue_for(&self, san: &str, time: Duration) -> IssuedCertificate {
        self.sign(san, |params| params.not_after = (SystemTime::now() + time).into(), None)
    }

    fn sign(
        &self,
        san: &str,
        end: impl FnOnce(&mut CertificateParams),
        address: Option<IpAddr>,
    ) -> IssuedCertificate {
        let loopback = ["127.0.0.1", "::1"].map(str::to_owned).into_iter();
        let names: Vec<String> = loopback.chain(address.map(|address| address.to_string())).collect();
        let mut params = CertificateParams::new(names).expect("addresses are names");
        let name = || san.to_owned().try_into().expect("an ASCII name");
        let san = if san.contains("://") { SanType::URI(name()) } else { SanType::DnsName(name()) };
        params.subject_alt_names.push(san);
        params.not_before = date_time_ymd(2020, 1, 1);
        end(&mut params);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("make a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("sign a certificate");
        IssuedCertificate { certificate: certificate.pem(), key: key.serialize_pem(), ca: self.certificate() }
    }
}

fn until(year: i32) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.not_after = date_time_ymd(year, 1, 1)
}

impl IssuedCertificate {
    /// The certificate as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its private key as PEM.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Trusts this authority instead of its own.
    #[must_use]
    pub fn trusting(mut self, authority: &CertificateAuthority) -> Self {
        self.ca = authority.certificate();
        self
    }

    /// Writes `cert.pem`, `key.pem` and `ca.pem` into a folder, which is made.
    pub fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("make a folder for certificates");
        for (name, text) in [("ca.pem", &self.ca), ("key.pem", &self.key), ("cert.pem", &self.certificate)] {
            // By a rename, as certificate tools do, so that nobody reads half a file.
            let (new, file) = (folder.join(format!("{name}.new")), folder.join(name));
            fs::write(&new, text).expect("write a certificate");
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("restrict a key");
            fs::rename(&new, &file).expect("put a certificate in place");
        }
    }
}

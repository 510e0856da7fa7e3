//! Certificates that change on the disk, one file after the other.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use packhorse_testkit::CertificateAuthority;

use super::*;

fn section(folder: &Path) -> TlsSection {
    let [certificate, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| folder.join(name));
    TlsSection { certificate, key, ca }
}

#[test]
fn new_files_are_used_when_all_of_them_are_good() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let authority = CertificateAuthority::new();
    authority.issue("a.internal").write(folder.path());
    let section = section(folder.path());
    let tls = Tls::open(&section).expect("good files");
    let before = tls.server();
    assert!(Arc::ptr_eq(&before, &tls.server()), "nothing changed");

    let renewed = authority.issue("a.internal");
    fs::write(&section.certificate, renewed.certificate()).expect("write");
    let problem = tls.reload().expect_err("the key is still the old one");
    assert_eq!(problem.kind, ErrorKind::Invalid);
    let object = problem.object.as_deref().unwrap_or_default();
    assert!(object.contains("cert.pem") && object.contains("key.pem"), "both files are named: {problem}");
    assert!(problem.next.is_some_and(|next| next.contains("the key that belongs to the certificate")));
    assert!(Arc::ptr_eq(&before, &tls.server()), "the old ones stay in use");
    fs::write(&section.key, renewed.key()).expect("write");
    tls.reload().expect("all files are good");
    assert!(!Arc::ptr_eq(&before, &tls.server()));
}

#[test]
fn files_that_are_not_good_are_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    CertificateAuthority::new().issue("a.internal").write(folder.path());
    let section = section(folder.path());
    fs::set_permissions(&section.key, fs::Permissions::from_mode(0o644)).expect("chmod");
    let problem = Tls::open(&section).expect_err("everybody could read the key");
    assert!(problem.to_string().contains("key.pem") && problem.to_string().contains("0644"), "{problem}");
    fs::set_permissions(&section.key, fs::Permissions::from_mode(0o640)).expect("chmod");
    Tls::open(&section).expect("a group may read it");
    fs::write(&section.ca, "").expect("write");
    let problem = Tls::open(&section).expect_err("no authority");
    assert!(problem.to_string().contains("ca.pem"), "{problem}");
    let other = CertificateAuthority::new().issue("a.internal");
    other.write(folder.path());
    fs::remove_file(&section.certificate).expect("remove");
    let problem = Tls::open(&section).expect_err("no certificate");
    assert!(problem.to_string().contains("cert.pem"), "{problem}");
}

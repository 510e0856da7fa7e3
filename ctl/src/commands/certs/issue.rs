//! One certificate, and what to write into which configuration.
//!
//! Does not own: the authority. A certificate is good only for what its role does: an agent's cannot be shown by a
//! client, an operator's not by a server.

use std::path::PathBuf;

use packhorse_model::Problem;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose as Use, KeyPair, KeyUsagePurpose, SanType};

use super::{
    authority,
    files::{failed, refused, write_new},
};
use crate::{
    args::{CertificateRole, IssueArgs},
    render,
};

/// Makes a certificate and its key.
pub fn issue(args: &IssueArgs) -> Result<(), Problem> {
    let issuer = authority::open(&args.dir)?;
    let names: Vec<SanType> = args.san.iter().map(|name| san(name)).collect::<Result<_, _>>()?;
    let first = args.san.iter().zip(&names).find(|(_, name)| !matches!(name, SanType::IpAddress(_)));
    let Some((first, _)) = first else {
        return Err(refused(&args.san.join(" "), "an IP address alone cannot stand in a [[peer]] section")
            .next("add --san with a host name or a URI"));
    };
    let name = file_name(first);
    let params = params(args, first, names)?;
    let key = KeyPair::generate().map_err(|e| failed(&args.dir, e))?;
    let certificate = params.signed_by(&key, &issuer).map_err(|e| failed(&args.dir, e))?;
    let key_file = args.dir.join(format!("{name}-key.pem"));
    write_new(&key_file, &key.serialize_pem())?;
    let file = args.dir.join(format!("{name}.pem"));
    write_new(&file, &certificate.pem())?;
    render::text(&sections(args, first, &[file, key_file, args.dir.join("ca.pem")]));
    Ok(())
}

fn params(args: &IssueArgs, name: &str, names: Vec<SanType>) -> Result<CertificateParams, Problem> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match args.role {
        CertificateRole::Agent => vec![Use::ServerAuth],
        CertificateRole::Coordinator => vec![Use::ServerAuth, Use::ClientAuth],
        CertificateRole::Operator | CertificateRole::Observer => vec![Use::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    authority::valid_for(&mut params, args.days)?;
    Ok(params)
}

/// What to write into the configurations of its holder and of those that it calls.
fn sections(args: &IssueArgs, name: &str, files: &[PathBuf; 3]) -> String {
    let [certificate, key, ca] = files.each_ref().map(|file| {
        let path = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        toml_text(&path.display().to_string())
    });
    let mut text = format!(
        "# For its holder; copy the three files there.\n[tls]\ncertificate = {certificate}\nkey = {key}\nca = {ca}\n"
    );
    let (role, called) = match args.role {
        CertificateRole::Agent => {
            return text + "\n# An agent calls nobody, so no [[peer]] section names it.";
        }
        CertificateRole::Coordinator => ("coordinator", "agent"),
        CertificateRole::Operator => ("operator", "coordinator"),
        CertificateRole::Observer => ("observer", "coordinator"),
    };
    text += &format!(
        "\n# For every {called} that it calls.\n[[peer]]\nsan = {}\nrole = \"{role}\"",
        toml_text(name)
    );
    text
}

fn toml_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn san(name: &str) -> Result<SanType, Problem> {
    if let Ok(address) = name.parse() {
        return Ok(SanType::IpAddress(address));
    }
    let text = || name.to_owned().try_into().map_err(|_| refused(name, "is not ASCII"));
    if name.contains("://") && !name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Ok(SanType::URI(text()?));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || !name.chars().all(fits) || name.starts_with(['.', '-']) || name.len() > 253 {
        return Err(refused(name, "is no host name, IP address or URI"));
    }
    Ok(SanType::DnsName(text()?))
}

fn file_name(name: &str) -> String {
    let name = name.rsplit("://").next().unwrap_or(name);
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '-' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_name_is_certified() {
        assert!(matches!(san("10.0.0.1"), Ok(SanType::IpAddress(_))));
        assert!(matches!(san("a-1.internal"), Ok(SanType::DnsName(_))));
        assert!(matches!(san("spiffe://site/ops"), Ok(SanType::URI(_))));
        for bad in ["", "a b", "../a", "a/b", "-a", "ops@example.org", "x://a b", "\u{e4}.internal"] {
            assert!(san(bad).is_err(), "{bad:?}");
        }
        assert_eq!(file_name("spiffe://site/../ops"), "site-..-ops");
    }
}

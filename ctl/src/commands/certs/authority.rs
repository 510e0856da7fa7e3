//! The authority itself: `ca.pem` and `ca-key.pem`.
//!
//! Does not own: issuing. What it says of itself follows from its key, so that issuing needs nothing else.

use std::{fs, path::Path};

use jiff::{Timestamp, ToSpan as _, Zoned, tz::TimeZone};
use packhorse_model::Problem;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::files::{failed, write_new};
use crate::render;

/// Days of the authority.
const AUTHORITY_DAYS: u16 = 3650;

/// Makes an authority in a folder.
pub fn init(dir: &Path) -> Result<(), Problem> {
    fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
    let key = KeyPair::generate().map_err(|e| failed(dir, e))?;
    let certificate = params(&key)?.self_signed(&key).map_err(|e| failed(dir, e))?;
    let key_file = dir.join("ca-key.pem");
    write_new(&key_file, &key.serialize_pem())?;
    let file = dir.join("ca.pem");
    write_new(&file, &certificate.pem())?;
    render::text(&format!(
        "authority  {}\nkey        {} (keep it from everybody; it is needed only to issue)",
        file.display(),
        key_file.display()
    ));
    Ok(())
}

/// The authority of a folder.
pub fn open(dir: &Path) -> Result<Issuer<'static, KeyPair>, Problem> {
    let file = dir.join("ca-key.pem");
    let pem = fs::read_to_string(&file)
        .map_err(|e| failed(&file, e).next("make an authority first: `backupctl certs init --dir DIR`"))?;
    let key = KeyPair::from_pem(&pem).map_err(|e| failed(&file, e))?;
    Ok(Issuer::new(params(&key)?, key))
}

fn params(key: &KeyPair) -> Result<CertificateParams, Problem> {
    let mut params = CertificateParams::default();
    // A name of its own, so that nobody takes one authority for another.
    let mark: String = params.key_identifier(key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name.push(DnType::CommonName, format!("Packhorse authority {mark}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, AUTHORITY_DAYS)?;
    Ok(params)
}

/// From yesterday, because clocks differ, to the end of the last day.
pub fn valid_for(params: &mut CertificateParams, days: u16) -> Result<(), Problem> {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let day = |moment: Result<Zoned, jiff::Error>| -> Result<_, Problem> {
        let moment = moment.map_err(|e| failed(Path::new("validity"), e))?;
        let (month, day) = (moment.month().unsigned_abs(), moment.day().unsigned_abs());
        Ok(date_time_ymd(moment.year().into(), month, day))
    };
    params.not_before = day(now.checked_sub(1.day()))?;
    params.not_after = day(now.checked_add((i64::from(days) + 1).days()))?;
    Ok(())
}

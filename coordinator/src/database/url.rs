//! Reading a PostgreSQL connection URL into libpq's environment variables.
//!
//! Does not own: other sources of settings (`connection`). The grammar is libpq's, which general URL parsers refuse in
//! parts (several hosts, an empty host after a user). What has no variable cannot be handed to a child without showing
//! it in its arguments, so it is refused by name. No error quotes the URL, because it may hold the password.

use std::collections::BTreeMap;

/// URL parameters and the variables that mean the same.
pub(super) const VARIABLES: [(&str, &str); 28] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("dbname", "PGDATABASE"),
    ("service", "PGSERVICE"),
    ("options", "PGOPTIONS"),
    ("application_name", "PGAPPNAME"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("client_encoding", "PGCLIENTENCODING"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("requirepeer", "PGREQUIREPEER"),
    ("sslmode", "PGSSLMODE"),
    ("sslkey", "PGSSLKEY"),
    ("sslcert", "PGSSLCERT"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcrl", "PGSSLCRL"),
    ("sslcrldir", "PGSSLCRLDIR"),
    ("sslsni", "PGSSLSNI"),
    ("sslcompression", "PGSSLCOMPRESSION"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("gssencmode", "PGGSSENCMODE"),
    ("gsslib", "PGGSSLIB"),
    ("krbsrvname", "PGKRBSRVNAME"),
];

/// The variables that a URL sets, or the rule that it breaks.
pub(super) fn parse(url: &str) -> Result<BTreeMap<String, String>, String> {
    let rest = url.strip_prefix("postgresql://").or_else(|| url.strip_prefix("postgres://"));
    let rest = rest.ok_or("must start with postgresql:// or postgres://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let mut variables = BTreeMap::new();
    let hosts = match authority.rsplit_once('@') {
        Some((user, hosts)) => {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            set(&mut variables, "PGUSER", user)?;
            set(&mut variables, "PGPASSWORD", password)?;
            hosts
        }
        None => authority,
    };
    set_hosts(&mut variables, hosts)?;
    set(&mut variables, "PGDATABASE", database)?;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        set_parameter(&mut variables, parameter)?;
    }
    Ok(variables)
}

fn set_hosts(variables: &mut BTreeMap<String, String>, hosts: &str) -> Result<(), String> {
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(address) => {
                let (address, port) = address.split_once(']').ok_or("has an address without its ]")?;
                (address, port.strip_prefix(':').unwrap_or(port))
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("has a port that is not a number".to_owned());
        }
        names.push(name);
        ports.push(port);
    }
    if ports.iter().any(|port| !port.is_empty()) {
        set(variables, "PGPORT", &ports.join(","))?;
    }
    set(variables, "PGHOST", &names.join(","))
}

fn set_parameter(variables: &mut BTreeMap<String, String>, parameter: &str) -> Result<(), String> {
    let (name, value) = parameter.split_once('=').ok_or("has a parameter without a value")?;
    let name = decode(name)?;
    // libpq accepts this spelling for the sake of JDBC's URLs.
    if (name.as_str(), value) == ("ssl", "true") {
        return set(variables, "PGSSLMODE", "require");
    }
    match VARIABLES.iter().find(|(known, _)| *known == name) {
        Some((_, variable)) => set(variables, variable, value),
        None => Err(format!("has parameter {name:?}, which is unknown or cannot be handed to pg_dump")),
    }
}

fn set(variables: &mut BTreeMap<String, String>, name: &str, value: &str) -> Result<(), String> {
    if !value.is_empty() {
        variables.insert(name.to_owned(), decode(value)?);
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = digit().zip(digit()).ok_or("has a % without two hex digits")?;
                u8::try_from(high * 16 + low).map_err(|_| "has a % without two hex digits")?
            }
            other => other,
        };
        if byte == 0 {
            return Err("has a zero byte".to_owned());
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).map_err(|_| "is not UTF-8 once decoded".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        let variables = parse(url).expect("valid URL");
        variables.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_form_that_libpq_reads() {
        for (url, expected) in [
            ("postgresql://", ""),
            ("postgres://h", "PGHOST=h"),
            ("postgresql:///db?host=/a%20b&port=6", "PGDATABASE=db PGHOST=/a b PGPORT=6"),
            ("postgresql://u@/db", "PGDATABASE=db PGUSER=u"),
            (
                "postgresql://u%40x:p%3Aw%2F@h:1/d%22b",
                "PGDATABASE=d\"b PGHOST=h PGPASSWORD=p:w/ PGPORT=1 PGUSER=u@x",
            ),
            ("postgresql://a:1,b,c:3/d", "PGDATABASE=d PGHOST=a,b,c PGPORT=1,,3"),
            ("postgresql://[::1]:5/d", "PGDATABASE=d PGHOST=::1 PGPORT=5"),
            ("postgresql://%2Frun%2Fpg/d", "PGDATABASE=d PGHOST=/run/pg"),
            ("postgresql:///?dbname=x&ssl=true&sslkey=/k", "PGDATABASE=x PGSSLKEY=/k PGSSLMODE=require"),
            ("postgresql:///?options=-c%20x%3Dy&application_name=a+b", "PGAPPNAME=a+b PGOPTIONS=-c x=y"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_handed_on_is_named_and_secrets_are_not() {
        for (url, rule) in [
            ("mysql://u:geheim@h", "must start"),
            ("postgresql://u:geheim@h/d?keepalives=1", "\"keepalives\""),
            ("postgresql://u:geheim@h/d?passwort=geheim", "\"passwort\""),
            ("postgresql://u:geheim%2@h/d", "hex digits"),
            ("postgresql://u:geheim%00@h/d", "zero byte"),
            ("postgresql://u:geheim%ff@h/d", "UTF-8"),
            ("postgresql://u:geheim@h:x/d", "port"),
            ("postgresql://[::1/d", "]"),
            ("postgresql:///d?flag", "without a value"),
        ] {
            let error = parse(url).expect_err(url);
            assert!(error.contains(rule) && !error.contains("geheim"), "{url}: {error}");
        }
    }
}

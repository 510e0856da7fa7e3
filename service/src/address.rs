//! Where a daemon listens or is reached: a Unix socket, a loopback address, or any address with TLS.
//!
//! Does not own: TLS. Without it nothing but this host may connect, so any other address is refused when it is parsed.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use packhorse_model::InvalidInput;

/// `unix:///run/packhorse/agent.sock`, `http://127.0.0.1:7443` or `https://gitaly-1.internal:7443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system; whoever may open it may connect.
    Unix(PathBuf),
    /// A loopback address and port.
    Loopback(SocketAddr),
    /// Any host, with TLS; its certificate must be for this name.
    Tls {
        /// A DNS name or an IP address, the latter without brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

impl FromStr for Address {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        const WHAT: &str = "address";
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err(InvalidInput::new(WHAT, text, "must name an absolute path after unix://"))
            };
        }
        if let Some(place) = text.strip_prefix("https://") {
            return with_tls(place.trim_end_matches('/')).map_err(|rule| InvalidInput::new(WHAT, text, rule));
        }
        let Some(socket) = text.strip_prefix("http://") else {
            let rule = "must be unix:///PATH, https://HOST:PORT or http://LOOPBACK:PORT";
            return Err(InvalidInput::new(WHAT, text, rule));
        };
        let socket = socket.trim_end_matches('/').replace("localhost:", "127.0.0.1:");
        let socket: SocketAddr = socket
            .parse()
            .map_err(|_| InvalidInput::new(WHAT, text, "must be http:// with an IP address and a port"))?;
        if !socket.ip().is_loopback() {
            return Err(InvalidInput::new(WHAT, text, "is not loopback, which without TLS is refused"));
        }
        Ok(Self::Loopback(socket))
    }
}

fn with_tls(place: &str) -> Result<Address, &'static str> {
    let (host, port) = place.rsplit_once(':').ok_or("must be https:// with a host and a port")?;
    let port = port.parse().map_err(|_| "must be https:// with a host and a port")?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_name = |host: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        !host.is_empty() && host.chars().all(fits)
    };
    match bare {
        Some(host) if host.parse::<Ipv6Addr>().is_ok() => Ok(Address::Tls { host: host.into(), port }),
        None if is_name(host) => Ok(Address::Tls { host: host.into(), port }),
        _ => Err("names no host"),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Loopback(socket) => write!(f, "http://{socket}"),
            Self::Tls { host, port } if host.contains(':') => write!(f, "https://[{host}]:{port}"),
            Self::Tls { host, port } => write!(f, "https://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_only_this_host_is_reachable() {
        let good = ["unix:///run/a.sock", "http://127.0.0.1:1", "http://[::1]:2"];
        for good in
            good.into_iter().chain(["https://a-1.internal:7443", "https://10.0.0.1:1", "https://[fe80::1]:2"])
        {
            assert_eq!(good.parse::<Address>().expect(good).to_string(), good);
        }
        for bad in [
            "http://10.0.0.1:1",
            "http://0.0.0.0:1",
            "https://a",
            "https://:1",
            "https://[a]:1",
            "https://a/b:1",
            "https://u@a:1",
            "https://a:99999",
            "unix://rel",
            "x",
            "http://a",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}

//! Where a daemon listens or is reached: a Unix socket or a loopback address.
//!
//! Does not own: TLS. Without it nothing but this host may connect, so any other address is refused when it is parsed.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use packhorse_model::InvalidInput;

/// `unix:///run/packhorse/agent.sock` or `http://127.0.0.1:7443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system; whoever may open it may connect.
    Unix(PathBuf),
    /// A loopback address and port.
    Loopback(SocketAddr),
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
        let Some(socket) = text.strip_prefix("http://") else {
            return Err(InvalidInput::new(WHAT, text, "must be unix:///PATH or http://LOOPBACK:PORT"));
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

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Loopback(socket) => write!(f, "http://{socket}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_reachable() {
        for good in ["unix:///run/a.sock", "http://127.0.0.1:1", "http://[::1]:2"] {
            assert_eq!(good.parse::<Address>().expect(good).to_string(), good);
        }
        for bad in
            ["http://10.0.0.1:1", "http://0.0.0.0:1", "https://127.0.0.1:1", "unix://rel", "x", "http://a"]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}

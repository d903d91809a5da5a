//! Scheme, host and port: of a request, and as an operator allows them.

use core::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::name::{NameError, kept_as_text};

/// A host name, in bytes, as DNS has it.
const HOST_BYTES_MAX: usize = 253;
/// One word of it.
const LABEL_BYTES_MAX: usize = 63;

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpScheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl HttpScheme {
    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The host that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetHost {
    /// A name, in lower case.
    Name(String),
    /// An address; one that is IPv4 in the guise of IPv6 is IPv4.
    Address(IpAddr),
}

/// Where a request is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    /// How it travels.
    pub scheme: HttpScheme,
    /// The host.
    pub host: TargetHost,
    /// The port.
    pub port: u16,
}

impl HttpTarget {
    /// Understand a host as a request names it: a name, an IPv4 address, or an IPv6 address in brackets.
    ///
    /// # Errors
    /// When it is neither. Names that some resolvers take for addresses, such as `127.1`, are neither.
    pub fn new(scheme: HttpScheme, host: &str, port: Option<u16>) -> Result<Self, NameError> {
        let host = match address(host) {
            Some(address) => TargetHost::Address(address),
            None => TargetHost::Name(name(host)?),
        };
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.default_port()) })
    }
}

impl fmt::Display for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match &self.host {
            TargetHost::Name(name) => HostPattern::Name(name.clone()),
            TargetHost::Address(address) => HostPattern::Address(*address),
        };
        write_origin(f, self.scheme, &host, self.port)
    }
}

/// Where a handler may send requests: `https://api.example.com`, `http://10.0.0.7:9000`, `https://*.example.com:8443`.
///
/// `*` as the first word of a host stands for exactly one word, as in topics; alone it stands for any host. Without a
/// port the scheme's own is meant, and no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpOrigin {
    scheme: HttpScheme,
    host: HostPattern,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    Name(String),
    /// One word and a dot before this.
    Below(String),
    Address(IpAddr),
}

impl HttpOrigin {
    pub(super) fn covers(&self, target: &HttpTarget) -> bool {
        if (self.scheme, self.port) != (target.scheme, target.port) {
            return false;
        }
        match (&self.host, &target.host) {
            (HostPattern::Any, _) => true,
            (HostPattern::Name(allowed), TargetHost::Name(given)) => allowed == given,
            (HostPattern::Below(parent), TargetHost::Name(given)) => {
                given.split_once('.').is_some_and(|(_, rest)| rest == parent)
            }
            (HostPattern::Address(allowed), TargetHost::Address(given)) => allowed == given,
            (HostPattern::Name(_) | HostPattern::Below(_), TargetHost::Address(_))
            | (HostPattern::Address(_), TargetHost::Name(_)) => false,
        }
    }

    /// Whether it names this very address, for requests of the target's scheme and port.
    pub(super) fn names(&self, target: &HttpTarget, address: IpAddr) -> bool {
        (self.scheme, self.port) == (target.scheme, target.port)
            && self.host == HostPattern::Address(address.to_canonical())
    }
}

impl FromStr for HttpOrigin {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |problem: &str| NameError::new("HTTP grant", text, problem);
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (HttpScheme::Http, rest),
            Some(("https", rest)) => (HttpScheme::Https, rest),
            Some(_) | None => {
                return Err(refuse("must begin with http:// or https://, for example https://api.example.com"));
            }
        };
        if rest.contains(['/', '?', '#', '@']) {
            return Err(refuse("holds more than scheme, host and port; leave out what follows them, and any user"));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().ok().filter(|port| *port != 0);
                (host, port.ok_or_else(|| refuse("has a port that is no number from 1 to 65535"))?)
            }
            Some(_) | None => (rest, scheme.default_port()),
        };
        let host = match host.strip_prefix("*.") {
            _ if host == "*" => HostPattern::Any,
            Some(parent) => HostPattern::Below(name(parent).map_err(|error| refuse(&error.problem))?),
            None => match address(host) {
                Some(address) => HostPattern::Address(address),
                None => HostPattern::Name(name(host).map_err(|error| refuse(&error.problem))?),
            },
        };
        Ok(Self { scheme, host, port })
    }
}

impl fmt::Display for HttpOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_origin(f, self.scheme, &self.host, self.port)
    }
}

fn write_origin(f: &mut fmt::Formatter<'_>, scheme: HttpScheme, host: &HostPattern, port: u16) -> fmt::Result {
    write!(f, "{}://", scheme.name())?;
    match host {
        HostPattern::Any => write!(f, "*")?,
        HostPattern::Name(name) => write!(f, "{name}")?,
        HostPattern::Below(parent) => write!(f, "*.{parent}")?,
        HostPattern::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
        HostPattern::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
    }
    if port == scheme.default_port() { Ok(()) } else { write!(f, ":{port}") }
}

kept_as_text!(HttpOrigin);

fn address(host: &str) -> Option<IpAddr> {
    let address = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => IpAddr::V6(inner.parse::<Ipv6Addr>().ok()?),
        None => IpAddr::V4(host.parse().ok()?),
    };
    Some(address.to_canonical())
}

fn name(host: &str) -> Result<String, NameError> {
    let refuse = |problem: &str| Err(NameError::new("host", host, problem));
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if name.is_empty() || name.len() > HOST_BYTES_MAX {
        return refuse("has a host that is empty or longer than 253 bytes");
    }
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
    };
    if !name.split('.').all(is_label) {
        return refuse("has a host that is no name; write it in ASCII, and put an IPv6 address in brackets");
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_number {
        return refuse("has a host that ends in a number and is no IPv4 address; write all four numbers of it");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_come_back_as_they_were_meant() {
        for (text, shown) in [
            ("https://api.example.com", "https://api.example.com"),
            ("https://API.example.com.:443", "https://api.example.com"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("https://*.example.com:8443", "https://*.example.com:8443"),
            ("https://*", "https://*"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[::ffff:10.0.0.1]:81", "http://10.0.0.1:81"),
        ] {
            assert_eq!(text.parse::<HttpOrigin>().expect(text).to_string(), shown);
        }
    }

    #[test]
    fn origins_that_mean_something_else_are_refused() {
        for (text, words) in [
            ("api.example.com", "must begin with http://"),
            ("ftp://a.example", "must begin with http://"),
            ("https://", "empty"),
            ("https://a.example/v1", "leave out what follows"),
            ("https://user@a.example", "and any user"),
            ("https://a.example:0", "no number from 1"),
            ("https://a.example:x", "no number from 1"),
            ("https://a.example:70000", "no number from 1"),
            ("https://a.*.example", "is no name"),
            ("https://*.*", "is no name"),
            ("https://a..example", "is no name"),
            ("https://m\u{fc}nchen.example", "is no name"),
            ("http://127.1", "ends in a number"),
            ("http://2130706433", "ends in a number"),
            ("http://0x7f000001", "ends in a number"),
            ("http://1.2.3.4.5", "ends in a number"),
            ("http://::1", "no name"),
        ] {
            let refusal = text.parse::<HttpOrigin>().expect_err(text).to_string();
            assert!(refusal.contains(words) && refusal.contains(text), "{text}: {refusal}");
        }
    }
}

//! Which URLs may be called: those whose scheme, host and port an operator has named. Nothing by default.
//!
//! A host that stands in the list by its name is trusted wherever it is. One that only a wildcard (`http://*.example.com`)
//! takes may not be at an address of a private network, because whoever submits jobs chooses such names.

use std::net::IpAddr;

use reqwest::Url;

/// Entries of the list.
pub(crate) const ALLOW_MAX: usize = 1_000;
/// A callback URL, in bytes.
const URL_BYTES_MAX: usize = 2_048;

/// A URL that is not called, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("callback {url:?} {problem}")]
pub struct CallbackRefused {
    url: String,
    problem: String,
}

/// What an operator has allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallbackRules {
    allow: Vec<Allowed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    scheme: String,
    /// With a dot in front, what ends so.
    host: String,
    port: u16,
}

impl CallbackRules {
    /// Read a list of origins, for example `http://hooks.example.com` and `http://127.0.0.1:9000`.
    ///
    /// # Errors
    /// In words for whoever wrote the list.
    pub fn parse(list: &[String]) -> Result<Self, String> {
        if list.len() > ALLOW_MAX {
            return Err(format!("the list has {} entries; at most {ALLOW_MAX} are kept", list.len()));
        }
        list.iter().map(|text| Allowed::parse(text)).collect::<Result<_, _>>().map(|allow| Self { allow })
    }

    /// Whether nothing may be called.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty()
    }

    /// Check a URL before it is kept. Answers it in the form in which it is called.
    ///
    /// # Errors
    /// When nobody allowed to call it.
    pub fn check(&self, url: &str) -> Result<String, CallbackRefused> {
        let refuse = |problem: String| {
            let url = url.chars().take(200).collect();
            Err(CallbackRefused { url, problem })
        };
        if url.len() > URL_BYTES_MAX {
            return refuse(format!("is longer than {URL_BYTES_MAX} bytes"));
        }
        let parsed = match Url::parse(url) {
            Ok(parsed) => parsed,
            Err(error) => return refuse(format!("is not a URL: {error}")),
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return refuse(
                "holds a user name or a password, which would stand in every status; leave them out".to_owned(),
            );
        }
        if self.entry_for(&parsed).is_none() {
            let origin = parsed.origin().ascii_serialization();
            let problem = format!(
                "is not allowed; an operator allows it with allow = [{origin:?}] under [callbacks] in the configuration"
            );
            return refuse(problem);
        }
        Ok(parsed.into())
    }

    pub(super) fn allow_https(&self) -> bool {
        self.allow.iter().any(|entry| entry.scheme == "https")
    }

    fn entry_for(&self, url: &Url) -> Option<&Allowed> {
        let (host, port) = (host_of(url)?, url.port_or_known_default()?);
        let mut matching = self.allow.iter().filter(|entry| entry.scheme == url.scheme() && entry.port == port);
        matching
            .clone()
            .find(|entry| entry.host == host)
            .or_else(|| matching.find(|entry| entry.takes_by_wildcard(&host)))
    }

    /// Whether a host of this name may be called at this address.
    pub(crate) fn allows_address(&self, host: &str, address: IpAddr) -> bool {
        self.allow.iter().any(|entry| entry.host == host) || !is_private(address)
    }
}

impl Allowed {
    fn parse(text: &str) -> Result<Self, String> {
        let refuse = |problem: &str| {
            format!("{text:?} {problem}; write scheme, host and port, for example \"https://hooks.example.com\"")
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refuse("is not an origin"))?;
        let (wildcard, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (".", rest),
            None => ("", rest),
        };
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|error| refuse(&format!("is no URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("is neither http nor https"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(refuse("has more than an origin"));
        }
        let host = host_of(&url).ok_or_else(|| refuse("has no host"))?;
        if !wildcard.is_empty() && host.parse::<IpAddr>().is_ok() {
            return Err(refuse("has a wildcard before an address"));
        }
        let port = url.port_or_known_default().ok_or_else(|| refuse("has no port"))?;
        Ok(Self { scheme: url.scheme().to_owned(), host: format!("{wildcard}{host}"), port })
    }

    fn takes_by_wildcard(&self, host: &str) -> bool {
        self.host.starts_with('.') && host.len() > self.host.len() && host.ends_with(&self.host)
    }
}

/// In lower case, without the brackets of an IPv6 address.
fn host_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase())
}

/// Whether an address is of this machine or of a network that is not the public one (RFC 6890).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19))
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            // An IPv4 address in IPv6 clothes: mapped, or behind NAT64.
            let inner = v6.to_ipv4_mapped().or_else(|| match v6.segments() {
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(((u32::from(high) << 16) | u32::from(low)).into()),
                _ => None,
            });
            inner.is_some_and(|v4| is_private(IpAddr::V4(v4)))
                || v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || (first & 0xfe00) == 0xfc00
                || (first & 0xffc0) == 0xfe80
                || (first == 0x2001 && v6.segments()[1] == 0xdb8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(list: &[&str]) -> CallbackRules {
        let list: Vec<String> = list.iter().map(|text| (*text).to_owned()).collect();
        CallbackRules::parse(&list).expect("a good list")
    }

    #[test]
    fn only_what_is_named_is_called() {
        let rules = rules(&[
            "http://hooks.example.com",
            "http://127.0.0.1:9000",
            "http://[::1]:90",
            "http://*.corp.test",
            "https://secure.test",
        ]);
        for good in [
            "http://hooks.example.com/a?b=c",
            "http://HOOKS.example.com:80/",
            "http://127.0.0.1:9000/x",
            "http://[::1]:90/",
            "http://a.b.corp.test/",
            "https://secure.test:443/",
        ] {
            assert!(rules.check(good).is_ok(), "{good}");
        }
        for (bad, words) in [
            ("https://hooks.example.com/", "is not allowed"),
            ("http://secure.test:443/", "is not allowed"),
            ("http://hooks.example.com:444/", "is not allowed"),
            ("http://hooks.example.com.evil.test/", "is not allowed"),
            ("http://evil.test/?http://hooks.example.com", "is not allowed"),
            ("http://127.0.0.1:9001/", "allow = [\"http://127.0.0.1:9001\"]"),
            ("http://corp.test/", "is not allowed"),
            ("http://evilcorp.test/", "is not allowed"),
            ("http://u:p@hooks.example.com/", "a user name"),
            ("ftp://hooks.example.com/", "is not allowed"),
            ("hooks", "is not a URL"),
        ] {
            let refused = rules.check(bad).expect_err(bad).to_string();
            assert!(refused.contains(words), "{refused}");
        }
        assert!(CallbackRules::default().check("http://127.0.0.1:9000/").is_err(), "nothing by default");
        let long = format!("http://127.0.0.1:9000/{}", "x".repeat(URL_BYTES_MAX));
        assert!(rules.check(&long).expect_err("too long").to_string().contains("longer than 2048"));
    }

    #[test]
    fn lists_are_checked() {
        for bad in ["hooks", "ftp://a", "ws://a", "http://a/path", "http://u@a", "http://*.127.0.0.1", "http://"] {
            let refused = CallbackRules::parse(&[bad.to_owned()]).expect_err(bad);
            assert!(refused.contains("for example \"https://hooks.example.com\""), "{refused}");
        }
        let many = vec!["http://a".to_owned(); ALLOW_MAX + 1];
        assert!(CallbackRules::parse(&many).expect_err("too many").contains("at most 1000"));
        assert!(CallbackRules::parse(&many[1..]).is_ok());
    }

    #[test]
    fn private_addresses_are_open_only_to_hosts_that_are_named() {
        let rules = rules(&["http://*.example.com", "http://inside.example.org", "http://10.0.0.1"]);
        let public: IpAddr = "93.184.216.34".parse().expect("an address");
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "ff02::1",
        ] {
            let address = private.parse().expect("an address");
            assert!(!rules.allows_address("a.example.com", address), "{private}");
            assert!(rules.allows_address("inside.example.org", address), "{private}");
        }
        assert!(rules.allows_address("10.0.0.1", "10.0.0.1".parse().expect("an address")));
        assert!(rules.allows_address("a.example.com", public));
        assert!(rules.allows_address("a.example.com", "2606:4700::1".parse().expect("an address")));
    }
}

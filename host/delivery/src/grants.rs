//! What a handler may reach besides its deliveries, and the rules for whether a request is within that.
//!
//! Everything here fails closed: what is not named is not allowed, an empty list allows nothing, and what cannot be
//! understood is an error where it is declared. `core::net` has addresses and no sockets, so this is as pure as the
//! rest of the crate.

mod address;
mod origin;

use core::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    limits::{GRANTED_ADDRESSES_MAX, GRANTED_ORIGINS_MAX},
    name::NameError,
};

pub use self::{
    address::{AddressRange, is_closed},
    origin::{HttpOrigin, HttpScheme, HttpTarget, TargetHost},
};

/// What an operator grants a handler. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Where it may send HTTP requests.
    #[serde(default)]
    pub http: Vec<HttpOrigin>,
    /// Private addresses that a name in `http` may stand for. Without being named here they are closed.
    #[serde(default)]
    pub addresses: Vec<AddressRange>,
}

impl Grants {
    /// Whether there are no more of them than a handler may have.
    ///
    /// # Errors
    /// When there are; the error names the limit.
    pub fn check(&self) -> Result<(), NameError> {
        let refuse = |what, count: usize, max: usize| {
            Err(NameError::new(what, &format!("{count} entries"), format!("are too many; at most {max}")))
        };
        if self.http.len() > GRANTED_ORIGINS_MAX {
            return refuse("grants.http", self.http.len(), GRANTED_ORIGINS_MAX);
        }
        if self.addresses.len() > GRANTED_ADDRESSES_MAX {
            return refuse("grants.addresses", self.addresses.len(), GRANTED_ADDRESSES_MAX);
        }
        Ok(())
    }

    /// Whether a request may go there, as far as scheme, host and port tell. Asked before anything is looked up.
    #[must_use]
    pub fn allow(&self, target: &HttpTarget) -> bool {
        self.http.iter().any(|origin| origin.covers(target))
    }

    /// Whether a request that is allowed may go to this address, which is the target's or what its name stands for.
    ///
    /// An address of the open internet may be used. Any other must be named: by an entry of `http` with this very address
    /// and the target's scheme and port, or by one of `addresses`.
    #[must_use]
    pub fn open(&self, target: &HttpTarget, address: IpAddr) -> bool {
        let named = |origin: &HttpOrigin| origin.names(target, address);
        !is_closed(address) || self.addresses.iter().any(|range| range.contains(address)) || self.http.iter().any(named)
    }
}

/// Where the host takes a secret from. The value itself is never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// From this variable of the host's environment.
    Env(Arc<str>),
    /// From this file.
    File(Arc<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(http: &[&str], addresses: &[&str]) -> Grants {
        Grants {
            http: http.iter().map(|text| text.parse().expect(text)).collect(),
            addresses: addresses.iter().map(|text| text.parse().expect(text)).collect(),
        }
    }

    fn target(url: &str) -> HttpTarget {
        let (scheme, rest) = url.split_once("://").expect("a scheme");
        let scheme = if scheme == "http" { HttpScheme::Http } else { HttpScheme::Https };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().expect("a port"))),
            Some(_) | None => (rest, None),
        };
        HttpTarget::new(scheme, host, port).expect(url)
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        assert!(!Grants::default().allow(&target("https://example.com")));
        assert!(!grants(&[], &["0.0.0.0/0", "::/0"]).allow(&target("http://127.0.0.1")), "addresses allow no request");
    }

    #[test]
    fn scheme_host_and_port_must_all_be_named() {
        let list = ["https://api.example.com", "http://127.0.0.1:9000", "https://*.shop.example:8443", "http://[::1]"];
        let grants = grants(&list, &[]);
        for (url, allowed) in [
            ("https://api.example.com", true),
            ("https://api.example.com:443", true),
            ("https://API.Example.com.", true),
            ("http://api.example.com", false),
            ("https://api.example.com:444", false),
            ("https://example.com", false),
            ("https://evil-api.example.com", false),
            ("https://api.example.com.evil.org", false),
            ("https://eu.shop.example:8443", true),
            ("https://eu.shop.example", false),
            ("https://shop.example:8443", false),
            ("https://a.b.shop.example:8443", false),
            ("https://evilshop.example:8443", false),
            ("http://127.0.0.1:9000", true),
            ("http://[::ffff:127.0.0.1]:9000", true),
            ("http://127.0.0.1", false),
            ("http://127.0.0.2:9000", false),
            ("http://localhost:9000", false),
            ("http://[::1]:80", true),
            ("http://[::1]:81", false),
        ] {
            assert_eq!(grants.allow(&target(url)), allowed, "{url}");
        }
        assert!(self::grants(&["https://*"], &[]).allow(&target("https://anything.example")));
        assert!(!self::grants(&["https://*"], &[]).allow(&target("http://anything.example")));
    }

    #[test]
    fn private_addresses_are_open_only_when_they_are_named() {
        let local: IpAddr = "127.0.0.1".parse().expect("an address");
        let public: IpAddr = "93.184.215.14".parse().expect("an address");
        let named = grants(&["http://localhost:9000", "https://*"], &[]);
        assert!(!named.open(&target("http://localhost:9000"), local), "naming a name opens nothing");
        assert!(!named.open(&target("https://127.0.0.1"), local), "nor does naming everything");
        assert!(named.open(&target("http://localhost:9000"), public));
        let exact = grants(&["http://localhost:9000", "http://127.0.0.1:9000"], &[]);
        assert!(exact.open(&target("http://127.0.0.1:9000"), local));
        assert!(exact.open(&target("http://localhost:9000"), local), "this address and port are granted");
        assert!(!exact.open(&target("http://localhost:9001"), local));
        let ranged = grants(&["http://billing.internal"], &["10.1.0.0/16", "127.0.0.1"]);
        for (address, open) in [("10.1.2.3", true), ("10.2.0.1", false), ("127.0.0.1", true), ("127.0.0.2", false)] {
            let address = address.parse().expect(address);
            assert_eq!(ranged.open(&target("http://billing.internal"), address), open, "{address}");
        }
    }

    #[test]
    fn there_are_no_more_grants_than_a_handler_may_have() {
        let origin: HttpOrigin = "https://a.example".parse().expect("an origin");
        let full = Grants { http: vec![origin.clone(); GRANTED_ORIGINS_MAX], addresses: Vec::new() };
        assert_eq!(full.check(), Ok(()));
        let over = Grants { http: vec![origin; GRANTED_ORIGINS_MAX + 1], addresses: Vec::new() };
        assert!(over.check().expect_err("too many").to_string().contains("at most 256"));
        let range: AddressRange = "10.0.0.0/8".parse().expect("a range");
        let over = Grants { http: Vec::new(), addresses: vec![range; GRANTED_ADDRESSES_MAX + 1] };
        assert!(over.check().expect_err("too many").to_string().contains("grants.addresses"));
    }
}

//! Addresses that are closed, and ranges of them that an operator names.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::name::{NameError, kept_as_text};

/// Whether an address is closed unless it is named: whatever is not of the open internet, by IANA's registries of
/// special-purpose addresses. An IPv6 address that stands for an IPv4 one is closed when that is.
#[must_use]
pub fn is_closed(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_closed_v4(address),
        IpAddr::V6(address) => is_closed_v6(address),
    }
}

fn is_closed_v4(address: Ipv4Addr) -> bool {
    const CLOSED: [(Ipv4Addr, u32); 15] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network, and the unspecified address
        (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
        (Ipv4Addr::new(100, 64, 0, 0), 10),   // shared by carriers
        (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
        (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, where clouds keep their metadata
        (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
        (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments
        (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
        (Ipv4Addr::new(192, 88, 99, 0), 24),  // relays of 6to4
        (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
        (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks
        (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
        (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
        (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
        (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, and broadcast
    ];
    CLOSED.iter().any(|(network, length)| same_prefix(address.to_bits().into(), network.to_bits().into(), 96 + length))
}

/// Only what is assigned as global unicast, `2000::/3`, can be open. Loopback, unique local, link-local, multicast and
/// the unspecified address are all outside it.
fn is_closed_v6(address: Ipv6Addr) -> bool {
    const CLOSED: [(u128, u32); 4] = [
        (0x2001 << 112, 23),     // protocol assignments, Teredo among them
        (0x2001_0db8 << 96, 32), // documentation
        (0x3fff << 112, 20),     // documentation
        (0x5f00 << 112, 16),     // segment routing
    ];
    if let Some(within) = embedded_v4(address) {
        return is_closed_v4(within);
    }
    let bits = address.to_bits();
    !same_prefix(bits, 0x2000 << 112, 3) || CLOSED.iter().any(|(network, length)| same_prefix(bits, *network, *length))
}

/// The IPv4 address at which a packet to this address ends: 6to4 (`2002::/16`), NAT64 (`64:ff9b::/96`), IPv4-translated
/// (`::ffff:0:0:0/96`) and IPv4-compatible (`::/96`) ones. IPv4-mapped ones are IPv4 before this is asked.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let low =
        |shift: u32| Ipv4Addr::from_bits(u32::try_from((bits >> shift) & u128::from(u32::MAX)).unwrap_or_default());
    if same_prefix(bits, 0x2002 << 112, 16) {
        return Some(low(80));
    }
    let translated = [0x0064_ff9b << 96, 0xffff << 48, 0];
    translated.into_iter().any(|network| same_prefix(bits, network, 96)).then(|| low(0))
}

fn same_prefix(one: u128, other: u128, length: u32) -> bool {
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    one & mask == other & mask
}

/// An address, or a range of them: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    network: IpAddr,
    length: u8,
}

impl AddressRange {
    /// Whether the address is in it. A range of IPv4 also holds IPv4-mapped addresses, and no others of IPv6.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let length = u32::from(self.length);
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                same_prefix(address.to_bits().into(), network.to_bits().into(), 96 + length)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => same_prefix(address.to_bits(), network.to_bits(), length),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for AddressRange {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |problem: &str| NameError::new("address", text, problem);
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let network: IpAddr = address
            .parse()
            .map_err(|_| refuse("is not an address or a range; write such as 10.1.2.3, 10.0.0.0/8 or fd00::/8"))?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let length = match length.map(str::parse) {
            None => bits,
            Some(Ok(length)) if length <= bits => length,
            Some(_) => return Err(refuse("has a prefix that is no number up to 32 for IPv4, or 128 for IPv6")),
        };
        let range = Self { network, length };
        let begins_it = match network {
            IpAddr::V4(network) => network.to_bits().checked_shl(length.into()).unwrap_or(0) == 0,
            IpAddr::V6(network) => network.to_bits().checked_shl(length.into()).unwrap_or(0) == 0,
        };
        if !begins_it {
            return Err(refuse("is not the first address of its range; set the bits behind the prefix to zero"));
        }
        Ok(range)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.network.is_ipv4() { 32 } else { 128 };
        write!(f, "{}", self.network)?;
        if self.length == whole { Ok(()) } else { write!(f, "/{}", self.length) }
    }
}

kept_as_text!(AddressRange);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_the_open_internet_is_closed() {
        let closed = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2002:c0a8:101::",
            "64:ff9b::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
            "100::1",
            "3fff::1",
            "5f00::1",
            "4000::1",
        ];
        for text in closed {
            assert!(is_closed(text.parse().expect(text)), "{text} must be closed");
        }
        let open = [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.1.1",
            "169.255.1.1",
            "172.15.1.1",
            "172.32.1.1",
            "192.167.1.1",
            "192.169.1.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ];
        for text in open {
            assert!(!is_closed(text.parse().expect(text)), "{text} must be open");
        }
    }

    #[test]
    fn ranges_hold_what_they_say() {
        for (range, address, held) in [
            ("10.0.0.0/8", "10.200.3.4", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("10.0.0.0/8", "64:ff9b::10.1.1.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "127.0.0.1", false),
            ("fd00::/8", "fd99::1", true),
            ("fd00::/8", "fc99::1", false),
        ] {
            let parsed: AddressRange = range.parse().expect(range);
            assert_eq!(parsed.contains(address.parse().expect(address)), held, "{address} in {range}");
            assert_eq!(parsed.to_string(), range);
        }
    }

    #[test]
    fn ranges_that_mean_nothing_are_refused() {
        for (text, words) in [
            ("", "is not an address"),
            ("localhost", "is not an address"),
            ("10.0.0.0/33", "no number up to 32"),
            ("10.0.0.0/x", "no number up to 32"),
            ("10.0.0.1/8", "is not the first address"),
            ("fd00::1/8", "is not the first address"),
        ] {
            let refusal = text.parse::<AddressRange>().expect_err(text).to_string();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}

//! Networks, as settings name them: `192.0.2.0/24`, `2001:db8::/32`, or one address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// An address and how many of its leading bits count. IPv4 in IPv6 clothes (`::ffff:192.0.2.1`) is IPv4, on both
/// sides of a comparison: a socket that listens on `::` says it that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Bits beyond the prefix are an error: `10.1.2.3/8` may mean one address or many.
    pub fn parse(text: &str) -> Result<Self, String> {
        let no = || format!("`{text}` is neither an address nor a network such as 192.0.2.0/24");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| no())?;
        let width = width(address);
        let prefix = match prefix {
            // Digits alone: the standard library would also take `+8`.
            Some(prefix) if prefix.bytes().all(|b| b.is_ascii_digit()) => prefix.parse().map_err(|_| no())?,
            Some(_) => return Err(no()),
            None => width,
        };
        if prefix > width {
            return Err(no());
        }
        let canonical = match address.to_canonical() {
            v4 @ IpAddr::V4(_) if address.is_ipv6() && prefix >= MAPPED => {
                Self { address: v4, prefix: prefix - MAPPED }
            }
            _ => Self { address, prefix },
        };
        let first = canonical.first();
        if first != canonical.address {
            let meant = Self { address: first, ..canonical };
            return Err(format!("`{text}` has bits beyond its prefix; the network is {meant}"));
        }
        Ok(canonical)
    }

    /// Whether the address is in it. An IPv4 address that is written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Self { address, ..*self }.first() == self.address
    }

    fn first(self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.prefix < width(self.address) { write!(f, "/{}", self.prefix) } else { Ok(()) }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The leading bits of `::ffff:0:0/96`.
const MAPPED: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_network_or_not() {
        for (network, inside, outside) in [
            ("127.0.0.0/8", "127.255.0.1", "128.0.0.0"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::1"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("::/0", "2001:db8::1", "0.0.0.0"),
            ("::1/128", "::1", "::2"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
        ] {
            let known: Network = network.parse().expect(network);
            assert!(known.contains(inside.parse().expect("an address")), "{inside} in {network}");
            assert!(!known.contains(outside.parse().expect("an address")), "{outside} in {network}");
            let again: Network = known.to_string().parse().expect("its own words");
            assert_eq!(again, known);
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in [
            "",
            "/",
            "/8",
            "127.0.0.1/",
            "127.0.0.0/33",
            "::/129",
            "127.0.0.0/-1",
            "127.0.0.0/+8",
            "127.0.0.0/8/8",
            "127.0.0.0/ 8",
            " 127.0.0.1",
            "127.1",
            "0127.0.0.1",
            "127.0.0.0/255.0.0.0",
            "localhost",
            "fe80::1%eth0",
            "[::1]",
            "*",
            "127.0.0.0/٨",
            "127.0.0.0/256",
            "127.0.0.0/4294967304",
        ] {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
        let error = |text: &str| Network::parse(text).expect_err(text);
        assert_eq!(error("10.1.2.3/8"), "`10.1.2.3/8` has bits beyond its prefix; the network is 10.0.0.0/8");
        assert!(error("::ffff:10.1.2.3/104").ends_with("the network is 10.0.0.0/8"));
        // Some of IPv6, and all of IPv4 with it: nobody means that.
        assert!(error("::ffff:0:0/95").contains("bits beyond its prefix"));
    }
}

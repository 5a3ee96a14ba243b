//! Who asks, when a proxy stands in between. Nobody's word about it counts but that of a proxy which the settings name:
//! anybody else would choose an address of their own for every guess (T14).

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};

use crate::network::Network;

/// The other end of the connection. If that is one of these proxies: the last address in its header that is none of
/// them, if there is one and it can be read.
pub fn client(proxies: &[Network], header: &HeaderName, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let peer = peer.to_canonical();
    let is_proxy = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
    if !is_proxy(peer) {
        return peer;
    }
    let lines: Vec<&str> = headers.get_all(header).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    let said = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(|text| address(text.trim()));
    let mut others = said.skip_while(|known| known.is_some_and(is_proxy));
    others.next().flatten().unwrap_or(peer)
}

/// Whether a proxy seems to stand in front that the settings do not name: a neighbour says that it asks for somebody else.
/// All clients look like one address then, and share its limits.
pub fn is_unnamed_proxy(proxies: &[Network], header: &HeaderName, headers: &HeaderMap, peer: IpAddr) -> bool {
    proxies.is_empty() && is_near(peer) && headers.contains_key(header)
}

/// Loopback, or a private network (RFC 1918, RFC 4193, link-local).
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// As proxies write it, perhaps with brackets or a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let known = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|known| known.ip()));
    known.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_is_not_named_is_noticed() {
        let header = HeaderName::from_static("x-forwarded-for");
        let named = ["192.0.2.1".parse().expect("a network")];
        let mut forwarded = HeaderMap::new();
        forwarded.append("x-forwarded-for", "198.51.100.7".parse().expect("a value"));
        let noticed = |peer: &str| is_unnamed_proxy(&[], &header, &forwarded, peer.parse().expect("an address"));
        for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.7.7", "fd00::7"] {
            assert!(noticed(peer), "{peer}");
            let peer = peer.parse().expect("an address");
            assert!(
                !is_unnamed_proxy(&named, &header, &forwarded, peer)
                    && !is_unnamed_proxy(&[], &header, &HeaderMap::new(), peer)
            );
        }
        for peer in ["203.0.113.9", "2001:db8::1", "172.32.0.1"] {
            assert!(!noticed(peer), "anybody may send such a header: {peer}");
        }
    }

    #[test]
    fn t14_only_a_trusted_proxy_says_who_asks() {
        let proxies = ["192.0.2.0/24", "::1"].map(|text| text.parse().expect("a network"));
        let header = HeaderName::from_static("x-forwarded-for");
        let client = |peer: &str, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().expect("a value"));
            }
            headers.append("x-real-ip", "198.51.100.1".parse().expect("a value"));
            headers.append("forwarded", "for=198.51.100.1".parse().expect("a value"));
            client(&proxies, &header, &headers, peer.parse().expect("an address")).to_string()
        };
        for (peer, lines, who) in [
            ("203.0.113.9", &["198.51.100.7"][..], "203.0.113.9"),
            ("192.0.2.1", &[], "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:192.0.2.1", &["198.51.100.7"], "198.51.100.7"),
            ("192.0.2.1", &["203.0.113.1, 198.51.100.7"], "198.51.100.7"),
            ("192.0.2.1", &["203.0.113.1", "198.51.100.7 , 192.0.2.2"], "198.51.100.7"),
            ("192.0.2.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("::1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("192.0.2.1", &["192.0.2.3, 192.0.2.2"], "192.0.2.1"),
            ("192.0.2.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("192.0.2.1", &["203.0.113.1, unknown, 192.0.2.2"], "192.0.2.1"),
            ("192.0.2.1", &["", "unknown"], "192.0.2.1"),
        ] {
            assert_eq!(client(peer, lines), who, "{peer} {lines:?}");
        }
    }
}

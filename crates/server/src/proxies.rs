//! Who asks, when a proxy stands in between. Nobody's word about it counts but that of a proxy which the settings name:
//! anybody else would choose an address of their own for every guess (T14).

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use crate::config::Proxies;

/// The other end of the connection; if that is a trusted proxy, the last address in its header that is no trusted
/// proxy's. What cannot be read ends the search: whoever wrote the rest is not known.
pub fn client(proxies: &Proxies, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let trusted = |address: IpAddr| proxies.trusted.iter().any(|network| network.contains(address));
    let mut found = peer.to_canonical();
    if !trusted(found) {
        return found;
    }
    let lines: Vec<&[u8]> = headers.get_all(&proxies.header.0).iter().map(|value| value.as_bytes()).collect();
    for said in lines.iter().rev().flat_map(|line| line.rsplit(|b| *b == b',')) {
        let Some(address) = std::str::from_utf8(said).ok().and_then(|text| address(text.trim())) else { break };
        found = address;
        if !trusted(found) {
            break;
        }
    }
    found
}

/// Some proxies add a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()));
    bare.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t14_only_a_trusted_proxy_says_who_asks() {
        let settings = "[proxies]\ntrusted = ['192.0.2.0/24', '::1']\nheader = 'X-Forwarded-For'";
        let proxies = crate::config::Settings::with(settings).expect("settings").proxies;
        let client = |peer: &str, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().expect("a value"));
            }
            headers.append("x-real-ip", "198.51.100.1".parse().expect("a value"));
            headers.append("forwarded", "for=198.51.100.1".parse().expect("a value"));
            client(&proxies, &headers, peer.parse().expect("an address")).to_string()
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
            ("192.0.2.1", &["192.0.2.3, 192.0.2.2"], "192.0.2.3"),
            ("192.0.2.1", &["203.0.113.1, unknown, 192.0.2.2"], "192.0.2.2"),
            ("192.0.2.1", &["", "unknown"], "192.0.2.1"),
        ] {
            assert_eq!(client(peer, lines), who, "{peer} {lines:?}");
        }
    }
}

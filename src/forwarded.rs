//! Who really asks when a reverse proxy stands in front: `X-Forwarded-For` and
//! `X-Forwarded-Proto`, believed only if `trustedProxies` of `config.json` names the proxy. Anybody
//! else may write there what they like, so it is not looked at.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HeaderMap, HeaderName};
use serde::Deserialize;

use crate::peer::Peer;
use crate::redacted::Redacted;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// More proxies in a row than this is a loop or a lie.
const HOPS_MAX: usize = 16;

/// Where a trusted proxy's connections come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Proxy {
    /// Whoever can open the Unix socket that we listen on.
    UnixSocket,
    /// A network, as its address and the length of its prefix in bits.
    Network(IpAddr, u8),
}

impl TryFrom<String> for Proxy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::UnixSocket);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text.as_str(), None),
        };
        // Peers are compared in their canonical form, so a mapped address would match nobody.
        let parsed = address.parse::<IpAddr>().ok().filter(|ip| ip.to_canonical() == *ip);
        let parsed = parsed.and_then(|address| {
            let bits_max = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(bits_max), |bits| bits.parse().ok())?;
            (bits <= bits_max).then_some(Self::Network(address, bits))
        });
        parsed.ok_or_else(|| {
            format!(
                "{text:?} is no proxy: write an address (\"127.0.0.1\"), a network \
                 (\"10.0.0.0/8\") or \"unix\""
            )
        })
    }
}

impl Proxy {
    fn is(self, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::UnixSocket, None) => true,
            (Self::Network(network, bits), Some(address)) => {
                prefix(network, bits).is_some_and(|it| Some(it) == prefix(address, bits))
            }
            (Self::UnixSocket, Some(_)) | (Self::Network(..), None) => false,
        }
    }
}

/// The family and the first bits of an address; nothing if it has fewer.
fn prefix(address: IpAddr, bits: u8) -> Option<(bool, u128)> {
    let (is_v4, all, length) = match address {
        IpAddr::V4(address) => (true, u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (false, u128::from(address), 128),
    };
    let rest = u32::from(u8::checked_sub(length, bits)?);
    Some((is_v4, all.checked_shr(rest).unwrap_or(0)))
}

/// The peer as it is beyond all trusted proxies.
pub(crate) fn behind(peer: Peer, headers: &HeaderMap, trusted: &[Proxy]) -> Peer {
    let address = peer.address.as_ref().and_then(|address| address.0.parse::<SocketAddr>().ok());
    let is_trusted = |address: Option<IpAddr>| trusted.iter().any(|proxy| proxy.is(address));
    if !is_trusted(address.map(|address| address.ip().to_canonical())) {
        return peer;
    }
    let proto = headers.get(PROTO).and_then(|proto| proto.to_str().ok());
    let first = proto.and_then(|proto| proto.split(',').next());
    let is_tls = match first.map(str::trim) {
        Some(proto) => proto.eq_ignore_ascii_case("https"),
        None => peer.is_tls,
    };
    // Each proxy appends who it heard from (several lines are one list): the last that is not a
    // proxy of ours is the client, what stands before it is the client's own word.
    let lines = headers.get_all(FOR).iter().map(|line| line.as_bytes());
    let hops: Vec<&[u8]> = lines.flat_map(|line| line.split(|byte| *byte == b',')).collect();
    let mut client = None;
    for hop in hops.iter().rev().take(HOPS_MAX) {
        // Beyond what cannot be read nothing can be believed.
        let Some(address) = std::str::from_utf8(hop).ok().and_then(parse_hop) else {
            break;
        };
        client = Some(address);
        if !is_trusted(Some(address.ip())) {
            break;
        }
    }
    let client = client.map(|client| Redacted(client.to_string()));
    Peer { address: client.or(peer.address), is_tls, ..peer }
}

/// An address with or without a port, which is 0 then.
fn parse_hop(hop: &str) -> Option<SocketAddr> {
    let hop = hop.trim();
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    let of_ip = || bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    let address = hop.parse::<SocketAddr>().or_else(|_| of_ip()).ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(names: &[&str]) -> Vec<Proxy> {
        names.iter().map(|name| Proxy::try_from((*name).to_owned()).unwrap()).collect()
    }

    /// Who asks, if this connection brings these lines of `X-Forwarded-For`.
    fn seen(from: Option<&str>, lines: &[&str], trusted: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FOR, line.parse().unwrap());
        }
        let address = from.map(|from| Redacted(from.to_owned()));
        let peer =
            behind(Peer { address, local: None, is_tls: false }, &headers, &proxies(trusted));
        peer.address.map(|Redacted(address)| address)
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let proxy = Some("127.0.0.1:40000");
        let lied = &["198.51.100.9"][..];
        for (from, lines, trusted, expected) in [
            (proxy, lied, &[][..], proxy),
            (proxy, lied, &["10.0.0.0/8"], proxy),
            (proxy, lied, &["127.0.0.1"], Some("198.51.100.9:0")),
            (proxy, &[], &["127.0.0.1"], proxy),
            (None, lied, &["127.0.0.1"], None),
            (None, lied, &["unix"], Some("198.51.100.9:0")),
            (Some("198.51.100.1:1"), lied, &["unix", "127.0.0.1"], Some("198.51.100.1:1")),
            (Some("[::ffff:10.1.2.3]:9"), lied, &["10.0.0.0/8"], Some("198.51.100.9:0")),
            (Some("[2001:db8::7]:9"), lied, &["2001:db8::/32"], Some("198.51.100.9:0")),
            (Some("9.255.255.255:9"), lied, &["10.0.0.0/8"], Some("9.255.255.255:9")),
            (Some("9.9.9.9:9"), lied, &["0.0.0.0/0"], Some("198.51.100.9:0")),
        ] {
            assert_eq!(seen(from, lines, trusted).as_deref(), expected, "{from:?} {trusted:?}");
        }
    }

    #[test]
    fn the_last_that_is_no_proxy_is_the_client() {
        let trusted = &["127.0.0.1", "10.0.0.0/8"];
        let through = |lines: &[&str]| seen(Some("127.0.0.1:1"), lines, trusted).unwrap();
        assert_eq!(through(&["1.1.1.1, 2.2.2.2, 10.0.0.1"]), "2.2.2.2:0");
        assert_eq!(through(&["1.1.1.1", "2.2.2.2,10.0.0.1"]), "2.2.2.2:0", "lines are one list");
        assert_eq!(through(&["10.0.0.2, 10.0.0.1"]), "10.0.0.2:0", "all are ours");
        assert_eq!(through(&["evil, 10.0.0.1"]), "10.0.0.1:0", "as far as it can be read");
        assert_eq!(through(&["evil"]), "127.0.0.1:1");
        assert_eq!(through(&["[2001:db8::1]:443"]), "[2001:db8::1]:443");
        assert_eq!(through(&["[2001:db8::1]"]), "[2001:db8::1]:0");
        assert_eq!(through(&["2001:db8::1"]), "[2001:db8::1]:0");
        assert_eq!(through(&["3.3.3.3:77"]), "3.3.3.3:77");
        let mut headers = HeaderMap::new();
        headers.append(FOR, "6.6.6.6".parse().unwrap());
        let crooked = hyper::header::HeaderValue::from_bytes(b"\xff, 10.0.0.1").unwrap();
        headers.append(FOR, crooked);
        let address = Some(Redacted("127.0.0.1:1".to_owned()));
        let peer =
            behind(Peer { address, local: None, is_tls: false }, &headers, &proxies(trusted));
        assert_eq!(peer.address.unwrap().0, "10.0.0.1:0", "not the line before a crooked one");
        let endless = vec!["10.0.0.9"; 1000].join(",");
        assert_eq!(through(&[&endless]), "10.0.0.9:0");
    }

    #[test]
    fn the_scheme_is_the_proxys_word_too() {
        let is_tls = |trusted: &[&str], proto: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(proto.map(|proto| (PROTO, proto.parse().unwrap())));
            let address = Some(Redacted("127.0.0.1:1".to_owned()));
            behind(Peer { address, local: None, is_tls: false }, &headers, &proxies(trusted)).is_tls
        };
        assert!(is_tls(&["127.0.0.1"], Some("https")));
        assert!(is_tls(&["127.0.0.1"], Some("https, http")));
        assert!(!is_tls(&["127.0.0.1"], Some("http")) && !is_tls(&["127.0.0.1"], None));
        assert!(!is_tls(&[], Some("https")));
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        for bad in [
            "",
            "localhost",
            "::ffff:10.0.0.1",
            "10.0.0.0/33",
            "10.0.0.0/",
            "::/129",
            "10.0.0.0/8/8",
        ] {
            assert!(Proxy::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}

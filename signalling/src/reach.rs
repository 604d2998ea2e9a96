//! Which addresses of a server people can reach, and which their browsers will try.

use std::net::{IpAddr, SocketAddr};

/// Whether the Internet may have a way to an address.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            // RFC 6598: behind the NAT of a provider.
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            !ip.is_private() && !is_shared && !ip.is_loopback() && !ip.is_link_local()
        }
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    }
}

/// Whether Chromium, and what is made of it, takes a candidate: it refuses ports below 1024, but for 80 and
/// 443 of public addresses.
#[must_use]
pub fn is_taken_by_browsers(candidate: SocketAddr) -> bool {
    match candidate.port() {
        80 | 443 => is_public(candidate.ip()),
        port => port >= 1024,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_internet_reaches() {
        for inside in
            ["10.0.0.1", "172.17.0.2", "192.168.1.9", "100.64.0.1", "127.0.0.1", "fd00::1"]
        {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["192.0.2.1", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn what_browsers_take() {
        for bad in ["10.0.0.1:443", "192.168.0.1:80", "[fd00::1]:443", "192.0.2.1:444"] {
            assert!(!is_taken_by_browsers(bad.parse().unwrap()), "{bad}");
        }
        for good in ["10.0.0.1:8443", "192.0.2.1:443", "[2001:db8::1]:443", "127.0.0.1:1024"] {
            assert!(is_taken_by_browsers(good.parse().unwrap()), "{good}");
        }
    }
}

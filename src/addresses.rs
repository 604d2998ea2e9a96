//! The addresses of this machine's interfaces, for candidates and for the start-up message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use signalling::{is_public, is_taken_by_browsers};

/// The most addresses put into candidates.
const ADDRESSES_MAX: usize = 8;

/// Addresses that others can reach: no loopback, no link-local, IPv4 first. Loopback if there is
/// nothing else.
pub(crate) fn local() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = interfaces().into_iter().filter(|ip| is_reachable(*ip)).collect();
    found.sort_by_key(|ip| ip.is_ipv6());
    found.dedup();
    found.truncate(ADDRESSES_MAX);
    if found.is_empty() {
        found.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    found
}

fn is_reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    }
}

/// Why people outside will not get media by these addresses, and what to do about it; nothing if one of them
/// is public.
pub(crate) fn doubt(addresses: &[IpAddr]) -> Option<String> {
    if addresses.iter().any(|ip| is_public(*ip)) {
        return None;
    }
    let listed: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    let place = match is_container() {
        true => " This is a container: publish the UDP port as well as the TCP port.",
        false => "",
    };
    Some(format!(
        "no public address among those that clients are told ({}): who comes from outside, through NAT or a \
         container's bridge, gets media by TURN at best. Name the public address with --advertise.{place}",
        listed.join(", ")
    ))
}

/// Why browsers will send nothing to any of our candidates, and what to do about it; nothing if they take
/// one of them.
pub(crate) fn refused_by_browsers(candidates: &[SocketAddr]) -> Option<String> {
    let is_refused = |at: &SocketAddr| !is_taken_by_browsers(*at);
    let first = candidates.first().filter(|_| candidates.iter().all(is_refused))?;
    Some(format!(
        "Chromium takes no media from {first}: of private addresses it wants ports from 1024 on. \
         Set --udp-port 8443 and --tcp-port 8443, or name a public address with --advertise."
    ))
}

/// Docker and Podman leave these files.
fn is_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|path| std::path::Path::new(path).exists())
}

fn interfaces() -> Vec<IpAddr> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is a valid place for one pointer; it is freed below if the call succeeds.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: `next` is a non-null element of the list, which lives until freeifaddrs.
        let entry = unsafe { &*next };
        next = entry.ifa_next;
        let is_up = entry.ifa_flags & (libc::IFF_UP as libc::c_uint) != 0;
        if entry.ifa_addr.is_null() || !is_up {
            continue;
        }
        // SAFETY: a non-null `ifa_addr` points at a sockaddr with at least its family.
        let family = i32::from(unsafe { (*entry.ifa_addr).sa_family });
        if family == libc::AF_INET {
            // SAFETY: AF_INET says that the address is a sockaddr_in; reading unaligned asks
            // nothing of its alignment.
            let addr = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            found.push(IpAddr::V4(Ipv4Addr::from(u32::from_be(addr.sin_addr.s_addr))));
        } else if family == libc::AF_INET6 {
            // SAFETY: as above, for AF_INET6 and sockaddr_in6.
            let addr = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            found.push(IpAddr::V6(Ipv6Addr::from(addr.sin6_addr.s6_addr)));
        }
    }
    // SAFETY: `list` came from getifaddrs and nothing of it is used after this.
    unsafe { libc::freeifaddrs(list) };
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_an_address_and_the_family_order_holds() {
        let found = local();
        assert!(!found.is_empty());
        assert!(found.is_sorted_by_key(|ip| ip.is_ipv6()));
    }

    #[test]
    fn private_addresses_alone_are_doubted() {
        let doubt = |list: &[&str]| {
            doubt(&list.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>())
        };
        for alone in ["10.0.0.1", "172.17.0.2", "192.168.1.9", "100.64.0.1", "127.0.0.1", "fd00::1"]
        {
            let text = doubt(&[alone]).unwrap();
            assert!(text.contains(alone) && text.contains("--advertise"), "{text}");
        }
        for public in ["192.0.2.1", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
            assert_eq!(doubt(&["10.0.0.1", public]), None, "{public}");
        }
    }

    #[test]
    fn ports_that_chromium_refuses_are_said() {
        let text = |list: &[&str]| {
            let candidates: Vec<_> = list.iter().map(|at| at.parse().unwrap()).collect();
            refused_by_browsers(&candidates)
        };
        for bad in ["10.0.0.1:443", "192.168.0.1:80", "[fd00::1]:443", "192.0.2.1:444"] {
            let said = text(&[bad]).unwrap();
            assert!(said.contains(bad) && said.contains("--udp-port"), "{said}");
            assert_eq!(text(&[bad, "192.0.2.1:443"]), None);
        }
        for good in ["10.0.0.1:8443", "192.0.2.1:443", "[2001:db8::1]:443", "127.0.0.1:1024"] {
            assert_eq!(text(&[good]), None, "{good}");
        }
        assert_eq!(text(&[]), None);
    }

    #[test]
    fn loopback_and_link_local_are_not_reachable() {
        for ip in ["127.0.0.1", "169.254.3.4", "0.0.0.0", "::1", "fe80::1", "::"] {
            assert!(!is_reachable(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["192.0.2.1", "10.0.0.1", "2001:db8::1"] {
            assert!(is_reachable(ip.parse().unwrap()), "{ip}");
        }
    }
}

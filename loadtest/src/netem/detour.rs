//! Leads the media of sessions through relays, by the candidates in the server's descriptions.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use super::{Impairment, Relay};

/// Addresses of one server; more relays than this are not started.
const RELAYS_MAX: usize = 64;

/// Relays by the server's address.
#[derive(Debug)]
pub struct Detour {
    impairment: Impairment,
    seed: u64,
    relays: Mutex<HashMap<SocketAddr, Relay>>,
}

impl Detour {
    /// Without relays so far; what the impairment does by chance follows from `seed`.
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        Self { impairment, seed, relays: Mutex::default() }
    }

    /// The server's description with its UDP candidates replaced by relays to them; candidates for
    /// TCP are left out. Fails if a relay cannot be started.
    pub fn redirect(&self, sdp: &str) -> io::Result<String> {
        let mut out = String::with_capacity(sdp.len());
        for line in sdp.lines() {
            match line.strip_prefix("a=candidate:") {
                None => out.push_str(line),
                Some(candidate) => {
                    let mut words: Vec<String> = candidate.split(' ').map(str::to_owned).collect();
                    let Some(server) = udp_address(&words) else {
                        continue;
                    };
                    let address = self.relay(server)?;
                    words[4] = address.ip().to_string();
                    words[5] = address.port().to_string();
                    out.push_str("a=candidate:");
                    out.push_str(&words.join(" "));
                }
            }
            out.push_str("\r\n");
        }
        Ok(out)
    }

    /// Datagrams that came in, and of those the ones that were lost on purpose.
    pub fn taken_and_lost(&self) -> (u64, u64) {
        let relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        relays.values().map(Relay::taken_and_lost).fold((0, 0), |(t, l), (a, b)| (t + a, l + b))
    }

    fn relay(&self, server: SocketAddr) -> io::Result<SocketAddr> {
        let mut relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(relay) = relays.get(&server) {
            return Ok(relay.address());
        }
        if relays.len() >= RELAYS_MAX {
            return Err(io::Error::other("the server names too many addresses"));
        }
        let relay = Relay::start(server, self.impairment, self.seed)?;
        let address = relay.address();
        relays.insert(server, relay);
        Ok(address)
    }
}

/// RFC 8839 s5.1: foundation, component, transport, priority, address, port, ..
fn udp_address(words: &[String]) -> Option<SocketAddr> {
    let [_, _, transport, _, ip, port, ..] = words else {
        return None;
    };
    let is_udp = transport.eq_ignore_ascii_case("udp");
    is_udp.then(|| Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_lead_to_one_relay_per_address_and_the_rest_stays() {
        let detour = Detour::new(Impairment::default(), 1);
        let sdp = "v=0\r\nm=audio 9 x 1\r\na=candidate:1 1 udp 77 127.0.0.1 5004 typ host\r\n\
                   a=candidate:2 1 tcp 7 127.0.0.1 5004 typ host tcptype passive\r\n\
                   a=mid:0\r\nm=video 9 x 2\r\na=candidate:1 1 udp 77 127.0.0.1 5004 typ host\r\n";
        let redirected = detour.redirect(sdp).expect("a relay starts");
        let ports: Vec<&str> = redirected
            .lines()
            .filter_map(|line| line.strip_prefix("a=candidate:1 1 udp 77 127.0.0.1 "))
            .collect();
        assert_eq!(ports.len(), 2);
        assert_eq!(ports[0], ports[1]);
        assert!(ports[0].ends_with(" typ host") && !ports[0].starts_with("5004"));
        assert!(!redirected.contains("tcptype") && redirected.contains("a=mid:0\r\n"));
    }
}

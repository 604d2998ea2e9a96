//! A STUN connectivity check (RFC 8489, RFC 8445) of a transport that WHIP has opened: whether
//! UDP gets through to the shard that owns it.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use stun::{Class, Draft, attribute as at, method};

/// How often the request is sent, with half a second between.
const ATTEMPTS: usize = 6;
const ATTEMPT_FOR: Duration = Duration::from_millis(500);
/// What a candidate of a browser's has.
const PRIORITY: u32 = 0x6e00_01ff;

/// A minimal offer: one audio section that will never send.
pub(crate) fn offer(ufrag: &str, password: &str) -> String {
    // A fingerprint of the right form; no handshake follows.
    let fingerprint = vec!["AB"; 32].join(":");
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\n\
         a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=fingerprint:sha-256 {fingerprint}\r\n\
         a=setup:actpass\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=msid:probe probe\r\n"
    )
}

/// What an answer says about where to send.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) ufrag: String,
    pub(crate) password: String,
    pub(crate) udp: Vec<SocketAddr>,
    /// Where connections are taken (RFC 6544).
    pub(crate) tcp: Vec<SocketAddr>,
}

impl Target {
    /// Which shard owns the transport: the second character of an Aula's ufrags is its number, a
    /// base-36 digit. Other servers have ufrags of other forms.
    pub(crate) fn shard(&self) -> Option<u32> {
        const UFRAG_LEN: usize = 19;
        let digits = self.ufrag.strip_prefix('a').filter(|_| self.ufrag.len() == UFRAG_LEN)?;
        digits.chars().next()?.to_digit(36)
    }

    pub(crate) fn parse(answer: &str) -> Option<Self> {
        let mut target = Self::default();
        for line in answer.lines() {
            if let Some(ufrag) = line.strip_prefix("a=ice-ufrag:") {
                ufrag.clone_into(&mut target.ufrag);
            } else if let Some(password) = line.strip_prefix("a=ice-pwd:") {
                password.clone_into(&mut target.password);
            } else if let Some(candidate) = line.strip_prefix("a=candidate:") {
                // RFC 8839 s5.1: foundation, component, transport, priority, address, port.
                let fields: Vec<&str> = candidate.split(' ').collect();
                let [_, _, transport, _, address, port, ..] = fields[..] else {
                    continue;
                };
                let (Ok(ip), Ok(port)) = (address.parse(), port.parse()) else {
                    continue;
                };
                let list = match transport.to_ascii_lowercase().as_str() {
                    "udp" => &mut target.udp,
                    "tcp" => &mut target.tcp,
                    _ => continue,
                };
                list.push(SocketAddr::new(ip, port));
            }
        }
        (!target.ufrag.is_empty() && !target.password.is_empty()).then_some(target)
    }
}

/// Whether the address answers; how long that took.
pub(crate) fn check(
    address: SocketAddr,
    target: &Target,
    own_ufrag: &str,
) -> std::io::Result<Option<Duration>> {
    let any: SocketAddr =
        if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(ATTEMPT_FOR))?;
    let question = Question::new(target, own_ufrag)?;
    let started = Instant::now();
    for _ in 0..ATTEMPTS {
        // A port that is closed says so at the next call; the next attempt may fare better.
        if socket.send(&question.request).is_err() {
            std::thread::sleep(ATTEMPT_FOR);
            continue;
        }
        let mut answer = [0; 1500];
        if let Ok(length) = socket.recv(&mut answer)
            && answer.get(..length).is_some_and(|answer| question.is_answered_by(answer))
        {
            return Ok(Some(started.elapsed()));
        }
    }
    Ok(None)
}

/// A connectivity check, and what its answer is told by.
pub(crate) struct Question {
    id: [u8; 12],
    pub(crate) request: Vec<u8>,
}

impl Question {
    pub(crate) fn new(target: &Target, own_ufrag: &str) -> std::io::Result<Self> {
        let mut id = [0; 12];
        aws_lc_rs::rand::fill(&mut id).map_err(std::io::Error::other)?;
        let username = format!("{}:{own_ufrag}", target.ufrag);
        let request = Draft::new(Class::Request, method::BINDING, id)
            .with(at::USERNAME, username.as_bytes())
            .with(at::PRIORITY, &PRIORITY.to_be_bytes())
            .with(at::CONTROLLING, &[7; 8])
            .finish_check(target.password.as_bytes());
        Ok(Self { id, request })
    }

    pub(crate) fn is_answered_by(&self, answer: &[u8]) -> bool {
        const BINDING_SUCCESS: [u8; 2] = [1, 1];
        answer.get(..2) == Some(&BINDING_SUCCESS) && answer.get(8..20) == Some(&self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_where_to_send() {
        let answer = "v=0\r\na=ice-ufrag:uf\r\na=ice-pwd:pw\r\n\
            a=candidate:1 1 UDP 1 192.0.2.1 8443 typ host\r\n\
            a=candidate:2 1 tcp 1 192.0.2.1 8443 typ host\r\n\
            a=candidate:3 1 udp 1 2001:db8::1 8443 typ host\r\na=candidate:x\r\n";
        let target = Target::parse(answer).unwrap();
        assert_eq!((target.ufrag.as_str(), target.password.as_str()), ("uf", "pw"));
        let addresses: Vec<String> = target.udp.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.1:8443", "[2001:db8::1]:8443"]);
        assert_eq!(target.tcp, ["192.0.2.1:8443".parse().unwrap()]);
        assert_eq!(Target::parse("v=0"), None);
    }

    #[test]
    fn ufrags_name_the_shard() {
        let of = |ufrag: &str| Target { ufrag: ufrag.to_owned(), ..Target::default() }.shard();
        assert_eq!(of("a000001xxxxxxxxxxxx"), Some(0));
        assert_eq!(of("af00001xxxxxxxxxxxx"), Some(15));
        assert_eq!(of("abcd"), None);
        assert_eq!(of("b000001xxxxxxxxxxxx"), None);
    }

    #[test]
    fn requests_are_well_formed() {
        let target = Target { ufrag: "uf".into(), password: "pw".into(), ..Target::default() };
        let question = Question::new(&target, "own").unwrap();
        let message = stun::Message::parse(&question.request).unwrap();
        assert_eq!(message.text(at::USERNAME), Some("uf:own"));
        assert!(message.is_authentic(b"pw"));
        assert!(!question.is_answered_by(&question.request));
        let answer = Draft::new(Class::Success, method::BINDING, question.id).finish(None);
        assert!(question.is_answered_by(&answer));
    }
}

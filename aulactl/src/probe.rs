//! A STUN connectivity check (RFC 8489, RFC 8445) of a transport that WHIP has opened: whether
//! UDP gets through to the shard that owns it.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

/// How often the request is sent, with half a second between.
const ATTEMPTS: usize = 6;
const ATTEMPT_FOR: Duration = Duration::from_millis(500);
const MAGIC: u32 = 0x2112_a442;

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
    pub(crate) addresses: Vec<SocketAddr>,
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
                if let (true, Ok(ip), Ok(port)) =
                    (transport.eq_ignore_ascii_case("udp"), address.parse(), port.parse())
                {
                    target.addresses.push(SocketAddr::new(ip, port));
                }
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
    let mut transaction = [0; 12];
    aws_lc_rs::rand::fill(&mut transaction).map_err(std::io::Error::other)?;
    let request = request(&transaction, target, own_ufrag);
    let started = Instant::now();
    for _ in 0..ATTEMPTS {
        // A port that is closed says so at the next call; the next attempt may fare better.
        if socket.send(&request).is_err() {
            std::thread::sleep(ATTEMPT_FOR);
            continue;
        }
        let mut answer = [0; 1500];
        if let Ok(length) = socket.recv(&mut answer)
            && answer.get(..length).is_some_and(|answer| is_success(answer, &transaction))
        {
            return Ok(Some(started.elapsed()));
        }
    }
    Ok(None)
}

fn is_success(answer: &[u8], transaction: &[u8; 12]) -> bool {
    const BINDING_SUCCESS: [u8; 2] = [1, 1];
    answer.get(..2) == Some(&BINDING_SUCCESS) && answer.get(8..20) == Some(transaction)
}

/// A binding request with USERNAME, PRIORITY, ICE-CONTROLLING, MESSAGE-INTEGRITY and FINGERPRINT.
fn request(transaction: &[u8; 12], target: &Target, own_ufrag: &str) -> Vec<u8> {
    const HEADER_BYTES: usize = 20;
    let mut message = vec![0, 1, 0, 0];
    message.extend(MAGIC.to_be_bytes());
    message.extend(transaction);
    let attribute = |message: &mut Vec<u8>, kind: u16, contents: &[u8]| {
        message.extend(kind.to_be_bytes());
        message.extend((contents.len() as u16).to_be_bytes());
        message.extend(contents);
        message.resize(message.len().next_multiple_of(4), 0);
    };
    // RFC 8489 s14.5, s14.7: the length covers what is about to be appended.
    let set_length = |message: &mut Vec<u8>, more: usize| {
        let length = (message.len() - HEADER_BYTES + more) as u16;
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    };
    attribute(&mut message, 0x0006, format!("{}:{own_ufrag}", target.ufrag).as_bytes());
    attribute(&mut message, 0x0024, &0x6e00_01ff_u32.to_be_bytes());
    attribute(&mut message, 0x802a, &transaction[..8]);
    set_length(&mut message, 24);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, target.password.as_bytes());
    let tag = hmac::sign(&key, &message);
    attribute(&mut message, 0x0008, tag.as_ref());
    set_length(&mut message, 8);
    let fingerprint = crc32(&message) ^ 0x5354_554e;
    attribute(&mut message, 0x8028, &fingerprint.to_be_bytes());
    message
}

/// ITU-T V.42.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
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
        let addresses: Vec<String> = target.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.1:8443", "[2001:db8::1]:8443"]);
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
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let target = Target { ufrag: "uf".into(), password: "pw".into(), addresses: Vec::new() };
        let message = request(&[7; 12], &target, "own");
        assert_eq!(usize::from(message[2]) << 8 | usize::from(message[3]), message.len() - 20);
        assert_eq!(message.len() % 4, 0);
        assert!(!is_success(&message, &[7; 12]));
    }
}

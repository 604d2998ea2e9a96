//! Fuzzes TURN: a stream of whatever anybody sends, and requests with odd attributes that are signed well.
#![no_main]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use libfuzzer_sys::fuzz_target;
use stun::{
    Class, Client, Draft, Grant, Message, Output, Room, Rules, Session, Standing, attribute, key, method,
};

const USER: &str = "2000:7";
const PASSWORD: &str = "made for them";
const MESSAGE_BYTES_MAX: usize = 2176;
const UNIX_S: u64 = 1000;

struct Bench {
    session: Session,
    peers: Vec<SocketAddr>,
    now: Instant,
}

impl Bench {
    /// Only our candidates are reached, and only well-formed messages are said.
    fn handle(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let grant = |username: &str| {
            let grant = Grant { password: PASSWORD.to_owned(), standing: Standing::Good };
            (username == USER).then_some(grant)
        };
        match self.session.handle(bytes, grant, || Room::Free, (UNIX_S, self.now))? {
            Output::Reply(reply) => {
                let message = Message::parse(&reply).expect("what we say is a message");
                assert!(matches!(message.class, Class::Success | Class::Error));
                Some(reply)
            }
            Output::Forward(peer, data) => {
                assert!(self.peers.contains(&peer));
                assert!(data.len() <= bytes.len());
                let _ = self.session.wrap(peer, &data, true, self.now);
                None
            }
            Output::Ask(_) => None,
        }
    }
}

/// A stream as it comes, message by message.
fn stream(bench: &mut Bench, mut octets: &[u8]) {
    let mut client = Client::new(USER, PASSWORD);
    while let Some(Some(len)) = stun::message_bytes(octets, MESSAGE_BYTES_MAX) {
        // The reply to anybody is heard by a client as well as what anybody says.
        if let Some(reply) = bench.handle(&octets[..len]) {
            let _ = client.handle(&reply);
        }
        let _ = client.handle(&octets[..len]);
        octets = &octets[len..];
        if len == 0 {
            break;
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let peers: Vec<SocketAddr> =
        ["192.0.2.1:8443", "[2001:db8::1]:8443"].iter().filter_map(|peer| peer.parse().ok()).collect();
    let nonce_key = hmac::Key::new(hmac::HMAC_SHA256, &[3; 32]);
    let rules = Arc::new(Rules { nonce_key, peers: peers.clone() });
    let session = Session::new(rules, SocketAddr::from(([198, 51, 100, 9], 4000)), 50_000);
    let mut bench = Bench { session, peers, now: Instant::now() };
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    stream(&mut bench, rest);
    let bare = Draft::new(Class::Request, method::ALLOCATE, [1; 12]).finish(None);
    let Some(challenge) = bench.handle(&bare) else {
        return;
    };
    let challenge = Message::parse(&challenge).expect("a message");
    let nonce = challenge.text(attribute::NONCE).expect("one that challenges").to_owned();
    // Every request: a method, how many seconds later, how many octets of attributes, and those.
    let mut rest = rest;
    while let Some(([what, later, len], more)) = rest.split_first_chunk() {
        let (body, more) = more.split_at(more.len().min(usize::from(*len)));
        rest = more;
        bench.now += Duration::from_secs(u64::from(*later));
        let id = [what ^ kind; 12];
        let mut request = Draft::new(Class::Request, u16::from(what & 0xf), id)
            .with(attribute::USERNAME, USER.as_bytes())
            .with(attribute::REALM, b"aula")
            .with(attribute::NONCE, nonce.as_bytes());
        for chunk in body.chunks(6) {
            let Some(([name], value)) = chunk.split_first_chunk() else {
                continue;
            };
            // Of one octet: all attributes that TURN knows are below.
            request = match what & 0x80 {
                0 => request.with(u16::from(*name), value),
                _ => request.with_address(u16::from(*name), bench.peers[value.len() % 2]),
            };
        }
        let signed = request.finish(Some(&key(USER, "aula", PASSWORD)));
        let _ = bench.handle(&signed);
    }
});

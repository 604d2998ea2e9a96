//! A client's half of TURN (RFC 8656), as far as programs need it that try a server: one allocation, peers by
//! channels. Sans-IO.

use std::net::SocketAddr;

use crate::message::{Class, Draft, Message, attribute as at, key, method};
use crate::unguessable;

/// UDP, the only transport that is relayed.
const UDP: u32 = 17 << 24;
/// The first channel; the next peer has the next one.
const CHANNEL_FIRST: u16 = 0x4000;

/// What a message of the server's means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Say this to the server.
    Say(Vec<u8>),
    /// There is an allocation: others would find us under this address.
    Allocated(SocketAddr),
    /// What was asked last was granted.
    Granted,
    /// It was not; the code (RFC 8489 s14.8).
    Refused(u16),
    /// A peer says this.
    Data(SocketAddr, Vec<u8>),
    /// What came needs no reaction.
    Nothing,
}

/// See the module's documentation.
pub struct Client {
    username: String,
    password: String,
    realm: String,
    nonce: String,
    /// Whether the server has said what it wants to be said again.
    is_challenged: bool,
    peers: Vec<SocketAddr>,
}

impl Client {
    /// With the credentials that the server has given out.
    #[must_use]
    pub fn new(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            realm: String::new(),
            nonce: String::new(),
            is_challenged: false,
            peers: Vec::new(),
        }
    }

    /// Asks for an allocation.
    #[must_use]
    pub fn allocate(&self) -> Vec<u8> {
        self.signed(Self::request(method::ALLOCATE).with(at::TRANSPORT, &UDP.to_be_bytes()))
    }

    /// Prolongs the allocation, or gives it up with a lifetime of 0.
    #[must_use]
    pub fn refresh(&self, lifetime_s: u32) -> Vec<u8> {
        self.signed(Self::request(method::REFRESH).with(at::LIFETIME, &lifetime_s.to_be_bytes()))
    }

    /// Asks that an address may send.
    #[must_use]
    pub fn permit(&self, peer: SocketAddr) -> Vec<u8> {
        self.signed(Self::request(method::CREATE_PERMISSION).with_address(at::PEER_ADDRESS, peer))
    }

    /// Asks for a channel to a peer, the same for the same one.
    #[must_use]
    pub fn bind(&mut self, peer: SocketAddr) -> Vec<u8> {
        let known = self.peers.iter().position(|known| *known == peer);
        let at = known.unwrap_or_else(|| {
            self.peers.push(peer);
            self.peers.len() - 1
        });
        let number = (u32::from(CHANNEL_FIRST) + at as u32) << 16;
        let request = Self::request(method::CHANNEL_BIND)
            .with(at::CHANNEL_NUMBER, &number.to_be_bytes())
            .with_address(at::PEER_ADDRESS, peer);
        self.signed(request)
    }

    /// Data for a peer, by its channel, if it has been asked for one; over a stream it is padded (RFC 8656
    /// s12.5).
    #[must_use]
    pub fn wrap(&self, peer: SocketAddr, data: &[u8], is_stream: bool) -> Option<Vec<u8>> {
        let at = self.peers.iter().position(|known| *known == peer)?;
        let mut bytes = (CHANNEL_FIRST + at as u16).to_be_bytes().to_vec();
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
        if is_stream {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        Some(bytes)
    }

    /// Takes a message of the server's.
    pub fn handle(&mut self, bytes: &[u8]) -> Heard {
        if bytes.first().is_some_and(|first| first >> 6 == 1) {
            return self.channel_data(bytes).unwrap_or(Heard::Nothing);
        }
        let Some(message) = Message::parse(bytes) else {
            return Heard::Nothing;
        };
        match (message.class, message.method) {
            (Class::Success, method::ALLOCATE) => {
                let relayed = message.addresses(at::RELAYED_ADDRESS);
                match relayed.and_then(|relayed| relayed.first().copied()) {
                    Some(relayed) => Heard::Allocated(relayed),
                    None => Heard::Nothing,
                }
            }
            (Class::Success, _) => Heard::Granted,
            (Class::Error, asked) => self.refused(&message, asked),
            (Class::Indication, method::DATA) => {
                let peer = message.addresses(at::PEER_ADDRESS);
                match (peer.and_then(|peer| peer.first().copied()), message.get(at::DATA)) {
                    (Some(peer), Some(data)) => Heard::Data(peer, data.to_vec()),
                    _ => Heard::Nothing,
                }
            }
            _ => Heard::Nothing,
        }
    }

    fn refused(&mut self, message: &Message<'_>, asked: u16) -> Heard {
        let code = match message.get(at::ERROR_CODE) {
            Some([_, _, class, number, ..]) => u16::from(*class) * 100 + u16::from(*number),
            _ => 0,
        };
        let (Some(realm), Some(nonce)) = (message.text(at::REALM), message.text(at::NONCE)) else {
            return Heard::Refused(code);
        };
        // A challenge is answered once: after that the password is wrong.
        let is_first = code == 401 && !std::mem::replace(&mut self.is_challenged, true);
        (self.realm, self.nonce) = (realm.to_owned(), nonce.to_owned());
        match asked {
            method::ALLOCATE if is_first || code == 438 => Heard::Say(self.allocate()),
            _ => Heard::Refused(code),
        }
    }

    fn channel_data(&self, bytes: &[u8]) -> Option<Heard> {
        let ([a, b, high, low], rest) = bytes.split_first_chunk()?;
        let at = u16::from_be_bytes([*a, *b]).checked_sub(CHANNEL_FIRST)?;
        let peer = self.peers.get(usize::from(at))?;
        let data = rest.get(..usize::from(u16::from_be_bytes([*high, *low])))?;
        Some(Heard::Data(*peer, data.to_vec()))
    }

    fn request(method: u16) -> Draft {
        Draft::new(Class::Request, method, unguessable())
    }

    fn signed(&self, request: Draft) -> Vec<u8> {
        if self.nonce.is_empty() {
            return request.finish(None);
        }
        let key = key(&self.username, &self.realm, &self.password);
        request
            .with(at::USERNAME, self.username.as_bytes())
            .with(at::REALM, self.realm.as_bytes())
            .with(at::NONCE, self.nonce.as_bytes())
            .finish(Some(&key))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests take the time as it comes")]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use aws_lc_rs::hmac;

    use super::*;
    use crate::session::{Grant, Output, Room, Rules, Session, Standing};

    const PEER: &str = "192.0.2.1:8443";

    fn serve(session: &mut Session, bytes: &[u8]) -> Option<Output> {
        let grant =
            |_: &str| Some(Grant { password: "secret".to_owned(), standing: Standing::Good });
        session.handle(bytes, grant, || Room::Free, (1000, Instant::now()))
    }

    /// What the client makes of the server's reply.
    fn ask(client: &mut Client, session: &mut Session, bytes: &[u8]) -> Heard {
        match serve(session, bytes) {
            Some(Output::Reply(reply)) => client.handle(&reply),
            other => panic!("{other:?}"),
        }
    }

    fn session() -> Session {
        let nonce_key = hmac::Key::new(hmac::HMAC_SHA256, &[3; 32]);
        let rules = Rules { nonce_key, peers: vec![PEER.parse().unwrap()] };
        Session::new(Arc::new(rules), "198.51.100.9:4000".parse().unwrap(), 50_000)
    }

    #[test]
    fn a_client_and_a_server_understand_each_other() {
        let (mut client, mut session) = (Client::new("5:5", "secret"), session());
        let peer: SocketAddr = PEER.parse().unwrap();
        assert_eq!(client.wrap(peer, b"x", true), None, "without a channel");
        let Heard::Say(again) =
            ask(&mut client, &mut session, &Client::new("5:5", "secret").allocate())
        else {
            panic!("no challenge");
        };
        let heard = ask(&mut client, &mut session, &again);
        assert_eq!(heard, Heard::Allocated("192.0.2.1:50000".parse().unwrap()));
        let bind = client.bind(peer);
        assert_eq!(ask(&mut client, &mut session, &bind), Heard::Granted);
        let data = client.wrap(peer, b"hello", true).unwrap();
        assert_eq!(serve(&mut session, &data), Some(Output::Forward(peer, b"hello".to_vec())));
        let back = session.wrap(peer, b"answer", true, Instant::now()).unwrap();
        assert_eq!(client.handle(&back), Heard::Data(peer, b"answer".to_vec()));
        let other = client.permit("127.0.0.1:22".parse().unwrap());
        assert_eq!(ask(&mut client, &mut session, &other), Heard::Refused(403));
        assert_eq!(client.handle(b"\x4f\xff\0\0"), Heard::Nothing, "nobody's channel");
        assert_eq!(client.handle(b"garbage"), Heard::Nothing);
        let end = client.refresh(0);
        assert_eq!(ask(&mut client, &mut session, &end), Heard::Granted);
    }

    #[test]
    fn a_wrong_password_is_said_once() {
        let (mut client, mut session) = (Client::new("5:5", "guessed"), session());
        let first = client.allocate();
        let Heard::Say(again) = ask(&mut client, &mut session, &first) else {
            panic!("no challenge");
        };
        assert_eq!(ask(&mut client, &mut session, &again), Heard::Refused(401));
    }
}

//! What one client of the TURN server has (RFC 8656): an allocation, permissions and channels. Relayed
//! addresses are virtual: no socket belongs to them, and the only peers are our own candidates, so
//! that nothing can be reached through it that could not be reached without. Sans-IO.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

use crate::message::{Class, Draft, Message, attribute as at, key, method};
use crate::unguessable;

/// The realm of our credentials.
const REALM: &str = "aula";
/// What we are (RFC 8489 s14.14).
const SOFTWARE: u16 = 0x8022;
/// An allocation's life, if the client names none, and at most (RFC 8656 s7.2).
const LIFETIME_S: u32 = 600;
const LIFETIME_MAX_S: u32 = 3600;
/// RFC 8656 s9, s12.
const PERMISSION_FOR: Duration = Duration::from_secs(300);
const CHANNEL_FOR: Duration = Duration::from_secs(600);
const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4fff;
/// How long a nonce is good for.
const NONCE_FOR_S: u64 = 3600;
/// The only transport that is relayed: UDP.
const UDP: u32 = 17 << 24;
/// Channels of one allocation: more than we have candidates.
const CHANNELS_MAX: usize = 64;

/// What all sessions share.
pub struct Rules {
    /// Secret of this process, for nonces.
    pub nonce_key: hmac::Key,
    /// Our candidates: the only peers.
    pub peers: Vec<SocketAddr>,
}

/// Who asks: what the server knows of the credentials that a request names.
pub struct Grant {
    /// What belongs to the name.
    pub password: String,
    /// Whether they are still good.
    pub standing: Standing,
}

/// Whether a new allocation may be made with credentials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It may: they are good, and their client is there.
    Good,
    /// If their client is still there, which is not known.
    Unknown,
    /// It may not: their client is gone.
    Ended,
}

/// What came of a request for an allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// There is room.
    Free,
    /// This user has as many as one may.
    UserFull,
    /// The server has as many as it takes.
    ServerFull,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// This goes to the client.
    Reply(Vec<u8>),
    /// To the candidate that the client means.
    Forward(SocketAddr, Vec<u8>),
    /// To find out whether this user's client is there, and to handle the same once more.
    Ask(String),
}

struct Allocation {
    relayed: SocketAddr,
    username: String,
    /// The transaction that made it: over UDP requests are repeated.
    made_by: [u8; 12],
    expires_at: Instant,
    permissions: Vec<(IpAddr, Instant)>,
    channels: Vec<(u16, SocketAddr, Instant)>,
}

/// See the module's documentation.
pub struct Session {
    rules: Arc<Rules>,
    client: SocketAddr,
    /// Its address here, should it ask for one.
    relayed_port: u16,
    allocation: Option<Allocation>,
}

impl Session {
    /// Of a client at this address; `relayed_port` is its relayed address's, should it ask for one.
    #[must_use]
    pub fn new(rules: Arc<Rules>, client: SocketAddr, relayed_port: u16) -> Self {
        Self { rules, client, relayed_port, allocation: None }
    }

    /// Whether it has an allocation.
    #[must_use]
    pub fn is_allocated(&self, now: Instant) -> bool {
        self.allocation.as_ref().is_some_and(|allocation| allocation.expires_at > now)
    }

    /// The relayed address of its allocation, as long as there is one.
    #[must_use]
    pub fn relayed(&self) -> Option<SocketAddr> {
        self.allocation.as_ref().map(|allocation| allocation.relayed)
    }

    /// When its allocation ends.
    #[must_use]
    pub fn expires_at(&self) -> Option<Instant> {
        self.allocation.as_ref().map(|allocation| allocation.expires_at)
    }

    /// Takes what the client has sent: a message or data for a channel. `grant` is for the user that
    /// it names, `room` whether that one may have an allocation.
    pub fn handle(
        &mut self,
        bytes: &[u8],
        grant: impl Fn(&str) -> Option<Grant>,
        room: impl FnOnce() -> Room,
        (unix_s, now): (u64, Instant),
    ) -> Option<Output> {
        if bytes.first().is_some_and(|first| first >> 6 == 1) {
            return self.channel_data(bytes, now);
        }
        let message = Message::parse(bytes)?;
        match (message.class, message.method) {
            (Class::Indication, method::SEND) => self.send_indication(&message, now),
            (Class::Request, method::BINDING) => {
                let answer = Draft::new(Class::Success, method::BINDING, message.id)
                    .with_address(at::MAPPED_ADDRESS, self.client);
                Some(Output::Reply(answer.finish(None)))
            }
            (Class::Request, _) => Some(self.request(&message, grant, room, unix_s, now)),
            _ => None,
        }
    }

    fn request(
        &mut self,
        message: &Message<'_>,
        grant: impl Fn(&str) -> Option<Grant>,
        room: impl FnOnce() -> Room,
        unix_s: u64,
        now: Instant,
    ) -> Output {
        let failed = |code: u16, reason: &str| {
            Draft::new(Class::Error, message.method, message.id).with_error(code, reason)
        };
        let challenge = |code: u16, reason: &str| {
            let answer = failed(code, reason)
                .with(at::REALM, REALM.as_bytes())
                .with(at::NONCE, self.nonce(unix_s).as_bytes());
            Output::Reply(answer.finish(None))
        };
        // RFC 8489 s9.2.4.
        if !message.has_integrity() {
            return challenge(401, "Unauthenticated");
        }
        let (Some(username), Some(realm), Some(nonce)) =
            (message.text(at::USERNAME), message.text(at::REALM), message.text(at::NONCE))
        else {
            return Output::Reply(failed(400, "Bad Request").finish(None));
        };
        if !self.is_nonce(nonce, unix_s) {
            return challenge(438, "Stale Nonce");
        }
        let Some(grant) = grant(username) else {
            return challenge(401, "Unauthenticated");
        };
        let key = key(username, REALM, &grant.password);
        if realm != REALM || !message.is_authentic(&key) {
            return challenge(401, "Unauthenticated");
        }
        let unknown = message.unknown();
        if !unknown.is_empty() {
            let names: Vec<u8> = unknown.iter().flat_map(|name| name.to_be_bytes()).collect();
            let answer = failed(420, "Unknown Attribute").with(at::UNKNOWN, &names);
            return Output::Reply(answer.finish(Some(&key)));
        }
        if !self.is_allocated(now) {
            self.allocation = None;
        }
        let is_new = message.method == method::ALLOCATE && self.allocation.is_none();
        if is_new && grant.standing == Standing::Unknown {
            return Output::Ask(username.to_owned());
        }
        let done = match message.method {
            method::ALLOCATE => self.allocate(message, username, (&grant, room), now),
            _ if self.allocation.as_ref().is_some_and(|own| own.username != username) => {
                Err((441, "Wrong Credentials"))
            }
            method::REFRESH => self.refresh(message, now),
            method::CREATE_PERMISSION => self.create_permission(message, now),
            method::CHANNEL_BIND => self.bind_channel(message, now),
            _ => Err((400, "Bad Request")),
        };
        let answer = match done {
            Ok(answer) => answer,
            Err((code, reason)) => failed(code, reason),
        };
        Output::Reply(answer.with(SOFTWARE, b"Aula").finish(Some(&key)))
    }

    fn allocate(
        &mut self,
        message: &Message<'_>,
        username: &str,
        (grant, room): (&Grant, impl FnOnce() -> Room),
        now: Instant,
    ) -> Result<Draft, (u16, &'static str)> {
        if let Some(own) = &self.allocation
            && own.made_by != message.id
        {
            return Err((437, "Allocation Mismatch"));
        }
        match message.number(at::TRANSPORT) {
            Some(UDP) => {}
            Some(_) => return Err((442, "Unsupported Transport Protocol")),
            None => return Err((400, "Bad Request")),
        }
        // There are no ports to reserve.
        if message.get(at::RESERVATION).is_some() || message.get(at::EVEN_PORT).is_some() {
            return Err((508, "Insufficient Capacity"));
        }
        let relayed_ip = self.relayed_ip(message.get(at::FAMILY))?;
        if self.allocation.is_none() {
            if grant.standing == Standing::Ended {
                return Err((403, "These credentials have ended: join again"));
            }
            match room() {
                Room::Free => {}
                Room::UserFull => return Err((486, "Allocation Quota Reached")),
                Room::ServerFull => return Err((508, "Insufficient Capacity")),
            }
        }
        let lifetime = lifetime(message).max(LIFETIME_S);
        let relayed = SocketAddr::new(relayed_ip, self.relayed_port);
        let own = self.allocation.get_or_insert_with(|| Allocation {
            relayed,
            username: username.to_owned(),
            made_by: message.id,
            expires_at: now + Duration::from_secs(lifetime.into()),
            permissions: Vec::new(),
            channels: Vec::new(),
        });
        Ok(Draft::new(Class::Success, method::ALLOCATE, message.id)
            .with_address(at::RELAYED_ADDRESS, own.relayed)
            .with(at::LIFETIME, &lifetime.to_be_bytes())
            .with_address(at::MAPPED_ADDRESS, self.client))
    }

    /// An address of ours of the family that is wanted; without a wish that is IPv4, if we have it.
    fn relayed_ip(&self, family: Option<&[u8]>) -> Result<IpAddr, (u16, &'static str)> {
        let of_family = |is_v4: bool| {
            self.rules.peers.iter().map(SocketAddr::ip).find(|ip| ip.is_ipv4() == is_v4)
        };
        match family {
            None => of_family(true).or_else(|| of_family(false)),
            Some([1, ..]) => of_family(true),
            Some([2, ..]) => of_family(false),
            Some(_) => None,
        }
        .ok_or((440, "Address Family not Supported"))
    }

    fn refresh(
        &mut self,
        message: &Message<'_>,
        now: Instant,
    ) -> Result<Draft, (u16, &'static str)> {
        let own = self.allocation.as_mut().ok_or((437, "Allocation Mismatch"))?;
        let family = message.get(at::FAMILY).and_then(|family| family.first());
        let is_v4 = own.relayed.is_ipv4();
        if family.is_some_and(|family| *family != if is_v4 { 1 } else { 2 }) {
            return Err((443, "Peer Address Family Mismatch"));
        }
        let lifetime = lifetime(message);
        if lifetime == 0 {
            self.allocation = None;
        } else {
            own.expires_at = now + Duration::from_secs(lifetime.into());
        }
        Ok(Draft::new(Class::Success, method::REFRESH, message.id)
            .with(at::LIFETIME, &lifetime.to_be_bytes()))
    }

    fn create_permission(
        &mut self,
        message: &Message<'_>,
        now: Instant,
    ) -> Result<Draft, (u16, &'static str)> {
        let own = self.allocation.as_mut().ok_or((437, "Allocation Mismatch"))?;
        let peers = message.addresses(at::PEER_ADDRESS).filter(|peers| !peers.is_empty());
        let peers = peers.ok_or((400, "Bad Request"))?;
        if peers.iter().any(|peer| peer.is_ipv4() != own.relayed.is_ipv4()) {
            return Err((443, "Peer Address Family Mismatch"));
        }
        let is_ours = |ip: IpAddr| self.rules.peers.iter().any(|peer| peer.ip() == ip);
        if !peers.iter().all(|peer| is_ours(peer.ip())) {
            return Err((403, "Forbidden"));
        }
        for peer in peers {
            own.permit(peer.ip(), now);
        }
        Ok(Draft::new(Class::Success, method::CREATE_PERMISSION, message.id))
    }

    fn bind_channel(
        &mut self,
        message: &Message<'_>,
        now: Instant,
    ) -> Result<Draft, (u16, &'static str)> {
        let own = self.allocation.as_mut().ok_or((437, "Allocation Mismatch"))?;
        let number = message.number(at::CHANNEL_NUMBER).map(|number| (number >> 16) as u16);
        let number = number.filter(|number| CHANNELS.contains(number));
        let peer = message.addresses(at::PEER_ADDRESS).and_then(|peers| peers.first().copied());
        let (Some(number), Some(peer)) = (number, peer) else {
            return Err((400, "Bad Request"));
        };
        if peer.is_ipv4() != own.relayed.is_ipv4() {
            return Err((443, "Peer Address Family Mismatch"));
        }
        if !self.rules.peers.contains(&peer) {
            return Err((403, "Forbidden"));
        }
        own.channels.retain(|(_, _, until)| *until > now);
        let is_other =
            |(other, bound, _): &(u16, SocketAddr, Instant)| (*other == number) != (*bound == peer);
        if own.channels.iter().any(is_other) {
            return Err((400, "Bad Request"));
        }
        own.channels.retain(|(other, _, _)| *other != number);
        if own.channels.len() >= CHANNELS_MAX {
            return Err((508, "Insufficient Capacity"));
        }
        own.channels.push((number, peer, now + CHANNEL_FOR));
        own.permit(peer.ip(), now);
        Ok(Draft::new(Class::Success, method::CHANNEL_BIND, message.id))
    }

    fn send_indication(&self, message: &Message<'_>, now: Instant) -> Option<Output> {
        let own = self.allocation.as_ref().filter(|own| own.expires_at > now)?;
        let peer = *message.addresses(at::PEER_ADDRESS)?.first()?;
        let data = message.get(at::DATA)?;
        let is_meant = self.rules.peers.contains(&peer) && own.permits(peer.ip(), now);
        is_meant.then(|| Output::Forward(peer, data.to_vec()))
    }

    fn channel_data(&self, bytes: &[u8], now: Instant) -> Option<Output> {
        let own = self.allocation.as_ref().filter(|own| own.expires_at > now)?;
        let ([a, b, high, low], rest) = bytes.split_first_chunk()?;
        let number = u16::from_be_bytes([*a, *b]);
        let data = rest.get(..usize::from(u16::from_be_bytes([*high, *low])))?;
        let bound = own.channels.iter().find(|(known, _, until)| *known == number && *until > now);
        bound.map(|(_, peer, _)| Output::Forward(*peer, data.to_vec()))
    }

    /// What a candidate of ours has for the client, as it is to be sent; nothing if the client does not
    /// want it. Over TCP it is padded (RFC 8656 s12.5).
    #[must_use]
    pub fn wrap(
        &self,
        peer: SocketAddr,
        datagram: &[u8],
        is_stream: bool,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let own = self.allocation.as_ref().filter(|own| own.expires_at > now)?;
        let bound = own.channels.iter().find(|(_, bound, until)| *bound == peer && *until > now);
        if let Some((number, _, _)) = bound {
            let mut bytes = Vec::with_capacity(datagram.len() + 8);
            bytes.extend(number.to_be_bytes());
            bytes.extend((datagram.len() as u16).to_be_bytes());
            bytes.extend(datagram);
            if is_stream {
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            return Some(bytes);
        }
        let indication = || {
            Draft::new(Class::Indication, method::DATA, unguessable())
                .with_address(at::PEER_ADDRESS, peer)
                .with(at::DATA, datagram)
                .finish(None)
        };
        own.permits(peer.ip(), now).then(indication)
    }

    /// Good for this client for a while, and told from others without anything that we keep.
    fn nonce(&self, unix_s: u64) -> String {
        let signed = format!("{unix_s:x} {}", self.client);
        let tag = hmac::sign(&self.rules.nonce_key, signed.as_bytes());
        let tag: String = tag.as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        format!("{unix_s:x}-{tag}")
    }

    fn is_nonce(&self, nonce: &str, unix_s: u64) -> bool {
        let made_s = nonce.split_once('-').and_then(|(at, _)| u64::from_str_radix(at, 16).ok());
        let made_s = made_s.filter(|at| *at <= unix_s && unix_s - at <= NONCE_FOR_S);
        made_s.is_some_and(|at| {
            let made = self.nonce(at);
            aws_lc_rs::constant_time::verify_slices_are_equal(made.as_bytes(), nonce.as_bytes())
                .is_ok()
        })
    }
}

impl Allocation {
    fn permit(&mut self, ip: IpAddr, now: Instant) {
        self.permissions.retain(|(known, until)| *known != ip && *until > now);
        self.permissions.push((ip, now + PERMISSION_FOR));
    }

    fn permits(&self, ip: IpAddr, now: Instant) -> bool {
        self.permissions.iter().any(|(known, until)| *known == ip && *until > now)
    }
}

fn lifetime(message: &Message<'_>) -> u32 {
    message.number(at::LIFETIME).unwrap_or(LIFETIME_S).min(LIFETIME_MAX_S)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests take the time as it comes")]
mod tests;

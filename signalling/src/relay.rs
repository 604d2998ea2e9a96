//! The TURN server that is part of this one: which URLs a client is told of, and its credentials. They
//! are made from a secret of this process and name the client, so that nobody has to remember them.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::base64;
use crate::ids::ConnId;
use crate::time::UnixMs;

/// So long whoever was given credentials may use them without being in a group: WHIP and WHEP clients
/// are told of them in the answer that lets them in, others as they join.
pub const CREDENTIALS_FOR_S: i64 = 300;

/// Makes and proves credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayKey([u8; 32]);

impl std::fmt::Debug for RelayKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        f.write_str("RelayKey")
    }
}

/// Whose credentials they are, and until when they are good by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayUser {
    /// The connection that the credentials were made for.
    pub conn: ConnId,
    /// When they end, in seconds since 1970.
    pub expires_s: i64,
}

impl RelayKey {
    /// From a secret that nobody else knows.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The password that belongs to a user name.
    #[must_use]
    pub fn password(&self, username: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tag = hmac::sign(&key, username.as_bytes());
        #[expect(clippy::indexing_slicing, reason = "an HMAC of SHA-256 has 32 octets")]
        base64::encode_url(&tag.as_ref()[..18])
    }

    /// What a user name says, if it is like one of ours; whether it is, its password shows.
    #[must_use]
    pub fn read(username: &str) -> Option<RelayUser> {
        let (expires_s, conn) = username.split_once(':')?;
        Some(RelayUser { conn: ConnId(conn.parse().ok()?), expires_s: expires_s.parse().ok()? })
    }
}

/// A port of the TURN server's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayPort {
    /// Its name; nothing: the one under which the client has reached us.
    pub host: Option<String>,
    /// Its port; nothing: the one at which the client has reached us.
    pub port: Option<u16>,
    /// Whether it is reached inside TLS (`turns:`).
    pub is_secure: bool,
    /// Over UDP, not TCP.
    pub is_udp: bool,
}

/// What clients are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relay {
    /// What the credentials are made with, and checked by.
    pub key: RelayKey,
    /// Where it is reached, the best way first.
    pub ports: Vec<RelayPort>,
}

impl Relay {
    /// An entry for `iceServers`. `host` is how the client has reached us, as in its `Host` header.
    pub(crate) fn entry(&self, conn: ConnId, host: Option<&str>, now: UnixMs) -> Option<Value> {
        let urls: Vec<String> = self.ports.iter().filter_map(|port| port.url(host)).collect();
        if urls.is_empty() {
            return None;
        }
        let username = format!("{}:{}", now.0 / 1000 + CREDENTIALS_FOR_S, conn.0);
        let credential = self.key.password(&username);
        Some(json!({
            "urls": urls,
            "username": username,
            "credential": credential,
            "credentialType": "password",
        }))
    }
}

impl RelayPort {
    fn url(&self, reached: Option<&str>) -> Option<String> {
        let (name, port) = reached.map(split_host).unwrap_or_default();
        let host = self.host.as_deref().unwrap_or(name);
        let port = self.port.or(port).unwrap_or(443);
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if host.is_empty() || !host.chars().all(is_name) {
            return None;
        }
        let scheme = if self.is_secure { "turns" } else { "turn" };
        let transport = if self.is_udp { "udp" } else { "tcp" };
        Some(format!("{scheme}:{host}:{port}?transport={transport}"))
    }
}

/// A `Host` header's name, with its brackets, and port.
fn split_host(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay() -> Relay {
        let own = RelayPort { host: None, port: None, is_secure: true, is_udp: false };
        let other = RelayPort { port: Some(1194), is_secure: false, is_udp: true, ..own.clone() };
        Relay { key: RelayKey::new([7; 32]), ports: vec![own, other] }
    }

    #[test]
    fn a_client_is_told_of_the_name_that_it_knows() {
        for (host, first) in [
            ("aula.example.org", "turns:aula.example.org:443?transport=tcp"),
            ("aula.example.org:8443", "turns:aula.example.org:8443?transport=tcp"),
            ("[2001:db8::1]", "turns:[2001:db8::1]:443?transport=tcp"),
            ("[2001:db8::1]:8443", "turns:[2001:db8::1]:8443?transport=tcp"),
        ] {
            let entry = relay().entry(ConnId(5), Some(host), UnixMs(1_000_000)).unwrap();
            assert_eq!(entry["urls"][0], first);
            assert!(entry["urls"][1].as_str().unwrap().ends_with(":1194?transport=udp"));
        }
        for host in [None, Some(""), Some("a b"), Some("a\"b"), Some("a>b:1")] {
            assert_eq!(relay().entry(ConnId(5), host, UnixMs(1_000_000)), None, "{host:?}");
        }
    }

    #[test]
    fn credentials_name_their_client_and_cannot_be_made_by_others() {
        let entry = relay().entry(ConnId(5), Some("h"), UnixMs(1_000_000)).unwrap();
        let username = entry["username"].as_str().unwrap();
        let user = RelayUser { conn: ConnId(5), expires_s: 1000 + CREDENTIALS_FOR_S };
        assert_eq!(RelayKey::read(username), Some(user));
        let key = RelayKey::new([7; 32]);
        assert_eq!(entry["credential"], key.password(username).as_str());
        assert_ne!(key.password("1300:6"), key.password(username));
        assert_ne!(RelayKey::new([8; 32]).password(username), key.password(username));
        for username in ["", "5", "x:5", "5:x", ":", "99999999999999999999999:1"] {
            assert_eq!(RelayKey::read(username), None, "{username}");
        }
    }
}

//! What a client can do by its kind, and how it has reached us.

use std::net::IpAddr;

use crate::protocol::Protocol;

/// What a kind of client can do at all, whatever its permissions.
#[derive(Clone, Debug, Default)]
pub struct Traits {
    /// What it speaks over HTTP; nothing for the native protocol.
    pub protocol: Option<Protocol>,
    /// It takes streams of others.
    pub receives: bool,
    /// It takes chat and notifications.
    pub chats: bool,
    /// It wants to know who speaks.
    pub follows_speakers: bool,
    /// It wants to know which Encodings of its streams anybody wishes to have.
    pub spares_encodings: bool,
    /// It waits where the door is locked and, as an operator, wants to know who does.
    pub knocks: bool,
    /// Its address, for `identify`.
    pub address: Option<String>,
    /// Our address that it has reached, which media can probably reach as well.
    pub reached: Option<IpAddr>,
    /// How it calls us, as in its `Host` header.
    pub host: Option<String>,
}

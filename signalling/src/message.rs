//! What members say to each other, signed by the server.

use serde_json::Value;

use crate::ids::ClientId;
use crate::name::Username;

/// A chat message, or a message between user interfaces.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Free, such as `me` or `filetransfer`.
    pub kind: String,
    /// May be empty.
    pub id: String,
    /// Nothing for the server.
    pub source: Option<ClientId>,
    /// The sender's name.
    pub username: Option<Username>,
    /// Nothing for everyone.
    pub dest: Option<ClientId>,
    /// The sender may moderate.
    pub is_privileged: bool,
    /// The sender does not get a copy.
    pub is_noecho: bool,
    /// RFC 3339; empty if none.
    pub time: String,
    /// A word for programs; empty if none.
    pub error: &'static str,
    /// Anything.
    pub value: Option<Value>,
}

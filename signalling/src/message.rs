//! What members say to each other, signed by the server.

use serde_json::Value;

use crate::ids::ClientId;
use crate::name::Username;

/// A chat message, or a message between user interfaces.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Free, such as `me` or `filetransfer`.
    pub kind: String,
    /// By which it can be deleted; may be empty.
    pub id: String,
    /// Nothing for the server.
    pub source: Option<ClientId>,
    /// The name of the sender, as the server knows it.
    pub username: Option<Username>,
    /// The only receiver; nothing if it is for everyone.
    pub dest: Option<ClientId>,
    /// The sender may moderate.
    pub is_privileged: bool,
    /// The sender does not get a copy.
    pub is_noecho: bool,
    /// RFC 3339; empty if none.
    pub time: String,
    /// A word for programs; empty if none.
    pub error: &'static str,
    /// The text, or whatever user interfaces agree on.
    pub value: Option<Value>,
}

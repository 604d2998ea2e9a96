//! Who a joiner is: what it shows, what has to be checked, and what came of it.

use std::fmt;
use std::sync::Arc;

use crate::description::Description;
use crate::ids::ConnId;
use crate::key::Key;
use crate::name::GroupName;
use crate::password::{Password, PasswordError};
use crate::token::TokenGrant;

/// How a client proves who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password of its user.
    Password(String),
    /// A token of either kind, and nothing else.
    Token(String),
    /// A token, or if it is none the password of its user.
    Bearer(String),
}

impl Default for Secret {
    fn default() -> Self {
        Self::Password(String::new())
    }
}

/// Who a client claims to be.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Absent is not the same as empty.
    pub username: Option<String>,
    /// How it proves that.
    pub secret: Secret,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// What has to be compared.
#[derive(Clone)]
pub enum Proof {
    /// Nothing opens: refuse, as slowly as if there were a password.
    Nothing {
        /// A password of somebody else, to spend the same time on.
        decoy: Password,
        /// The password that the client has sent.
        given: String,
    },
    /// A password has to match the one that the file has.
    Password {
        /// The password that the file has for this user.
        stored: Password,
        /// The password that the client has sent.
        given: String,
    },
    /// A token: signed by one of these keys, or kept by the server.
    Token {
        /// The token that the client has sent.
        token: String,
        /// Those of `authKeys`, one of which must have signed it.
        keys: Arc<[Key]>,
        /// If it is no token: the password that it must be instead.
        otherwise: Option<Password>,
    },
}

/// A credential check, with whom it is about: wrong guesses are slowed down by these.
#[derive(Clone)]
pub struct CredentialCheck {
    /// The group to be entered.
    pub group: GroupName,
    /// The group whose users these are: itself, or the one above whose file it has.
    pub realm: GroupName,
    /// The claimed name; empty if none.
    pub username: String,
    /// Whether any other name that is no user's would be compared with the same password.
    pub is_wildcard: bool,
    /// Where the client is, `ip:port`.
    pub address: Option<String>,
    /// What is to be compared with what.
    pub proof: Proof,
}

impl Proof {
    /// A password that was given, against what is stored for the user; against a decoy if nothing is.
    pub fn password(description: &Description, stored: Option<Password>, given: String) -> Self {
        match stored {
            Some(stored) => Self::Password { stored, given },
            None => Self::Nothing { decoy: description.decoy(), given },
        }
    }
}

impl CredentialCheck {
    /// That of somebody at `address` who claims to be `username` in `group`.
    pub fn new(
        group: &GroupName,
        description: &Description,
        username: String,
        address: Option<String>,
        proof: Proof,
    ) -> Self {
        Self {
            group: group.clone(),
            realm: description.realm(group),
            is_wildcard: description.is_wildcard(&username),
            username,
            address,
            proof,
        }
    }
}

impl fmt::Debug for CredentialCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialCheck(..)")
    }
}

/// Who is in by a token that the server keeps, without a person in front of it.
#[derive(Clone)]
pub struct Bearer {
    /// The connection that it has let in.
    pub conn: ConnId,
    /// The group that it is in.
    pub group: GroupName,
    /// The group whose file decides there.
    pub realm: GroupName,
    /// The secret by which the server keeps the token.
    pub secret: String,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

/// What a credential check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is who it says.
    Right,
    /// The token is good, and gives this.
    Granted(Box<TokenGrant>),
    /// Nothing matches; the server has let the penalty time pass.
    Wrong,
    /// The stored password cannot be used.
    Broken(PasswordError),
    /// Too many checks are waiting.
    Busy,
}

//! The `Authorization` header (RFC 9110 s11.6.2): what it says, and what it means to a group.

use crate::base64;
use crate::hub::{Credentials, Secret};
use crate::name::Username;

/// The user that publishes without saying who it is.
pub(crate) const DEFAULT_USERNAME: &str = "whip";

/// What a client shows to prove who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization {
    /// A name and a password (RFC 7617).
    Basic {
        /// The name that the client gives itself; may be empty.
        username: String,
        /// The password; may be empty.
        password: String,
    },
    /// A token, whoever has it (RFC 6750).
    Bearer(String),
}

impl Authorization {
    /// Reads the header, the name as it was meant. Nothing if it cannot be read.
    pub fn parse(header: &str) -> Option<Self> {
        // Several may come in a list (RFC 9110 s5.3); a password may have a comma, too. An empty bearer is none.
        let is_empty = |one: &Self| matches!(one, Self::Bearer(token) if token.is_empty());
        let listed = header.split(',').filter_map(Self::parse_one).filter(|one| !is_empty(one));
        let listed: Vec<Self> = listed.collect();
        if let [Self::Basic { .. }] | [_, _, ..] = listed.as_slice() {
            let is_bearer = |one: &Self| matches!(one, Self::Bearer(_));
            let bearer = listed.iter().find(|one| is_bearer(one)).cloned();
            return bearer.or_else(|| listed.into_iter().next());
        }
        Self::parse_one(header)
    }

    fn parse_one(header: &str) -> Option<Self> {
        let header = header.trim();
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Bearer(rest.to_owned()));
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let decoded = String::from_utf8(base64::decode(rest)?).ok()?;
            let (username, password) = decoded.split_once(':')?;
            return Some(Self::Basic {
                username: Username::meant(username),
                password: password.to_owned(),
            });
        }
        None
    }
}

/// The header as group credentials. A bearer is a token, or else the password of user `whip`;
/// Basic is a group's own user; no header, one that says nothing that we know (of a proxy's, say), or a
/// bearer that programs without a token leave empty, is user `whip` with an empty password.
pub(crate) fn credentials(header: Option<&str>) -> Credentials {
    match header.and_then(Authorization::parse) {
        Some(Authorization::Bearer(bearer)) if !bearer.is_empty() => {
            of(DEFAULT_USERNAME, Secret::Bearer(bearer))
        }
        Some(Authorization::Basic { username, password }) => {
            of(&username, Secret::Password(password))
        }
        Some(Authorization::Bearer(_)) | None => {
            of(DEFAULT_USERNAME, Secret::Password(String::new()))
        }
    }
}

fn of(username: &str, secret: Secret) -> Credentials {
    Credentials { username: Some(username.to_owned()), secret }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: Option<&str>) -> Option<(String, String)> {
        let credentials = credentials(header);
        let secret = match credentials.secret {
            Secret::Password(password) => password,
            Secret::Token(token) => format!("token {token}"),
            Secret::Bearer(bearer) => format!("bearer {bearer}"),
        };
        Some((credentials.username?, secret))
    }

    #[test]
    fn schemes_map_to_users() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read(None), pair("whip", ""));
        assert_eq!(read(Some("Bearer ")), pair("whip", ""));
        assert_eq!(read(Some("bearer")), pair("whip", ""));
        assert_eq!(read(Some("Bearer sesame")), pair("whip", "bearer sesame"));
        assert_eq!(read(Some("bEARER  sesame ")), pair("whip", "bearer sesame"));
        assert_eq!(read(Some("Basic YW5uOnNlOnNhbWU=")), pair("ann", "se:same"));
        assert_eq!(read(Some("basic YW5uOg")), pair("ann", ""));
        assert_eq!(read(Some("Basic Og==")), pair("", ""));
        assert_eq!(read(Some("Basic YW5uOg, Bearer sesame")), pair("whip", "bearer sesame"));
        assert_eq!(read(Some("Bearer sesame, Basic YW5uOg")), pair("whip", "bearer sesame"));
        for list in ["Basic YW5uOg, Bearer ", "Bearer , Basic YW5uOg"] {
            assert_eq!(read(Some(list)), pair("ann", ""), "{list}");
        }
        assert_eq!(read(Some("Bearer open, sesame")), pair("whip", "bearer open, sesame"));
        for unknown in
            ["", "Basic", "Basic !", "Basic YW5u", "Basic /w==", "Digest x", "Basic A", ","]
        {
            assert_eq!(read(Some(unknown)), read(None), "{unknown:?}");
        }
    }
}

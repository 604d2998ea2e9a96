//! What a client may do. Every client owns its permissions: a change to one never shows in
//! another.

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// May moderate.
pub(crate) const OP: &str = "op";
/// May publish streams.
pub(crate) const PRESENT: &str = "present";
/// May chat.
pub(crate) const MESSAGE: &str = "message";
/// May send captions.
pub(crate) const CAPTION: &str = "caption";
/// May start a recording.
pub(crate) const RECORD: &str = "record";
/// May make invitations.
pub(crate) const TOKEN: &str = "token";

/// The most atoms a list in a group file may have; more is an error in the file.
pub(crate) const ATOMS_MAX: usize = 64;

/// The named sets of group files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Role {
    Op,
    Present,
    Message,
    Observe,
    Caption,
    Admin,
}

impl Role {
    /// Every name, for hints.
    pub const NAMES: [&'static str; 6] =
        ["op", "present", "message", "observe", "caption", "admin"];

    /// The role that a group file names.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "op" => Self::Op,
            "present" => Self::Present,
            "message" => Self::Message,
            "observe" => Self::Observe,
            "caption" => Self::Caption,
            "admin" => Self::Admin,
            _ => return None,
        })
    }
}

/// Group-wide switches that widen named sets (never lists).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    /// `op` includes `record`.
    pub allow_recording: bool,
    /// `present` and `op` include `token`.
    pub unrestricted_tokens: bool,
}

/// What a group file grants to a user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Grant {
    /// A named set, widened by the group's flags.
    Role(Role),
    /// Exactly these permissions, whatever the flags.
    List(Vec<String>),
}

impl Default for Grant {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Grant {
    /// What can be in a list and has a meaning.
    pub const ATOMS: [&'static str; 7] = [OP, PRESENT, MESSAGE, CAPTION, "record", TOKEN, "admin"];

    /// What is in a list and means nothing, with the nearest name that does.
    pub(crate) fn unknown(&self) -> Vec<(&str, Option<&'static str>)> {
        let Self::List(list) = self else {
            return Vec::new();
        };
        let unknown = list.iter().map(String::as_str).filter(|atom| !Self::ATOMS.contains(atom));
        unknown.map(|atom| (atom, crate::nearest(atom, Self::ATOMS))).collect()
    }

    /// A fresh set for one client.
    pub fn expand(&self, flags: Flags) -> Permissions {
        let atoms: &[&str] = match self {
            Self::List(list) => {
                return Permissions::from_list(list);
            }
            Self::Role(Role::Op) => &[OP, PRESENT, MESSAGE, CAPTION, TOKEN],
            Self::Role(Role::Present) => &[PRESENT, MESSAGE],
            Self::Role(Role::Message) => &[MESSAGE],
            Self::Role(Role::Observe) => &[],
            Self::Role(Role::Caption) => &[CAPTION],
            Self::Role(Role::Admin) => &["admin"],
        };
        let mut permissions = Permissions::default();
        for atom in atoms {
            permissions.add(atom);
        }
        if flags.allow_recording && *self == Self::Role(Role::Op) {
            permissions.add(RECORD);
        }
        if flags.unrestricted_tokens && *self == Self::Role(Role::Present) {
            permissions.add(TOKEN);
        }
        permissions
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GrantVisitor;
        impl<'de> Visitor<'de> for GrantVisitor {
            type Value = Grant;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a permission set or a list of permissions")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Grant, E> {
                Role::from_name(name)
                    .map(Grant::Role)
                    .ok_or_else(|| E::unknown_variant(name, &Role::NAMES))
            }

            fn visit_unit<E: Error>(self) -> Result<Grant, E> {
                Ok(Grant::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Grant, A::Error> {
                let mut list = Vec::new();
                while let Some(atom) = seq.next_element::<Option<String>>()? {
                    let Some(atom) = atom else { continue };
                    if list.len() == ATOMS_MAX {
                        return Err(A::Error::custom("more than 64 permissions"));
                    }
                    list.push(atom);
                }
                Ok(Grant::List(list))
            }
        }
        deserializer.deserialize_any(GrantVisitor)
    }
}

/// One client's permissions, in the order in which they were granted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Permissions(Vec<String>);

impl Permissions {
    /// Whether `atom` is among them.
    pub fn has(&self, atom: &str) -> bool {
        self.0.iter().any(|held| held == atom)
    }

    /// Adds `atom` unless it is there; says whether anything changed.
    pub fn add(&mut self, atom: &str) -> bool {
        if self.has(atom) {
            return false;
        }
        self.0.push(atom.to_owned());
        true
    }

    /// Removes `atom`; says whether anything changed.
    pub fn remove(&mut self, atom: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|held| held != atom);
        self.0.len() != before
    }

    /// Exactly these, each once.
    pub fn from_list(atoms: &[String]) -> Self {
        let mut permissions = Self::default();
        for atom in atoms {
            permissions.add(atom);
        }
        permissions
    }

    /// In order, as they go over the wire.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(role: Role, flags: Flags) -> Vec<String> {
        Grant::Role(role).expand(flags).as_slice().to_vec()
    }

    #[test]
    fn named_sets_expand_as_documented() {
        let plain = Flags::default();
        assert_eq!(expand(Role::Op, plain), ["op", "present", "message", "caption", "token"]);
        assert_eq!(expand(Role::Present, plain), ["present", "message"]);
        assert_eq!(expand(Role::Message, plain), ["message"]);
        assert!(expand(Role::Observe, plain).is_empty());
        assert_eq!(expand(Role::Caption, plain), ["caption"]);
        assert_eq!(expand(Role::Admin, plain), ["admin"]);
        let wide = Flags { allow_recording: true, unrestricted_tokens: true };
        assert_eq!(
            expand(Role::Op, wide),
            ["op", "present", "message", "caption", "token", "record"]
        );
        assert_eq!(expand(Role::Present, wide), ["present", "message", "token"]);
    }

    #[test]
    fn lists_are_taken_verbatim_and_never_widened() {
        let grant = Grant::List(vec!["op".into(), "banana".into()]);
        let wide = Flags { allow_recording: true, unrestricted_tokens: true };
        assert_eq!(grant.expand(wide).as_slice(), ["op", "banana"]);
    }

    #[test]
    fn regression_a_change_to_one_client_never_shows_in_another() {
        let grant = Grant::Role(Role::Present);
        let mut first = grant.expand(Flags::default());
        assert!(first.remove(PRESENT));
        let second = grant.expand(Flags::default());
        assert_eq!(first.as_slice(), ["message"]);
        assert_eq!(second.as_slice(), ["present", "message"]);
    }
}

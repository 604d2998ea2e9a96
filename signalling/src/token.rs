//! Stateful tokens: invitations that the server keeps, one JSON object per line in
//! `data/var/tokens.jsonl`, and what any token gives to its bearer.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::entropy::Entropy;
use crate::name::GroupName;
use crate::nearest::{means_nothing, nearest};
use crate::object::{null_as_default, without_nulls};
use crate::permission::{Grant, Permissions};
use crate::time::UnixMs;

/// What a token gives, whatever its kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TokenGrant {
    /// Nothing lets the bearer choose, and it must; an empty one lets it choose or stay unnamed.
    pub username: Option<String>,
    /// Verbatim: the group's flags do not widen them.
    pub permissions: Vec<String>,
    /// When the token ends.
    pub expires: Option<UnixMs>,
    /// The secret, if the server keeps the token and may therefore take it back.
    pub kept: Option<String>,
}
crate::only_objects!(; Token);

/// A token that the server keeps. Unknown keys are ignored.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(remote = "Self", default, rename_all = "camelCase")]
pub struct Token {
    /// The secret, which is also its name.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// Empty for the whole server.
    #[serde(deserialize_with = "null_as_default")]
    pub group: String,
    /// Good for groups below as well.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub include_subgroups: bool,
    /// Good for the groups below that have no file of their own, such as breakout rooms, too. Ours,
    /// not Galene's: unlike `include_subgroups` it gives nothing that another file decides on.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub include_auto_subgroups: bool,
    /// Absent and empty are different things: see [`TokenGrant`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Given as they are: no set of the group's file, and no flag, widens them.
    #[serde(deserialize_with = "without_nulls")]
    pub permissions: Vec<String>,
    /// A token without one is never good.
    #[serde(skip_serializing_if = "Option::is_none", with = "date")]
    pub expires: Option<UnixMs>,
    /// It is of no use before.
    #[serde(rename = "not-before", skip_serializing_if = "Option::is_none", with = "date")]
    pub not_before: Option<UnixMs>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none", with = "date")]
    pub issued_at: Option<UnixMs>,
    /// The name of the member that has made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_by: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

mod date {
    use serde::de::Error as _;

    use super::{Deserialize, Deserializer, Serializer, UnixMs};

    pub(super) fn serialize<S: Serializer>(
        date: &Option<UnixMs>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match date {
            Some(date) => serializer.serialize_str(&date.to_rfc3339_ms()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<UnixMs>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let date = UnixMs::parse(&text);
        date.map(Some).ok_or_else(|| D::Error::custom("not a date like 2026-01-31T08:00:00Z"))
    }
}

/// The keys of a kept token.
const KEYS: [&str; 10] = [
    "token",
    "group",
    "includeSubgroups",
    "includeAutoSubgroups",
    "username",
    "permissions",
    "expires",
    "not-before",
    "issuedAt",
    "issuedBy",
];

impl Token {
    /// What is likely a mistake in a line of the file of kept tokens; nothing if it is no token.
    pub fn notes(line: &str) -> Vec<String> {
        let fields: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
        let Ok(token) = serde_json::from_str::<Self>(line) else {
            return Vec::new();
        };
        let mut notes = Vec::new();
        for key in fields.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            notes.push(means_nothing("key", key, nearest(key, KEYS)));
        }
        for (atom, near) in Grant::List(token.permissions).unknown() {
            notes.push(means_nothing("permission", atom, near));
        }
        if token.token.is_empty() {
            notes.push("it has no token, so it opens nothing".to_owned());
        }
        if token.expires.is_none() {
            notes.push("it has no expires, so it opens nothing".to_owned());
        }
        notes
    }

    /// A new secret: 64 random bits in 11 characters.
    pub fn generate(entropy: &mut Entropy) -> String {
        entropy.short_id()
    }

    /// Whether the token is for this group, in which the file of `realm` decides.
    pub fn covers(&self, group: &GroupName, realm: &GroupName) -> bool {
        if self.group == group.as_str()
            || self.include_auto_subgroups && self.group == realm.as_str()
        {
            return true;
        }
        self.include_subgroups
            && (self.group.is_empty()
                || group
                    .as_str()
                    .strip_prefix(&self.group)
                    .is_some_and(|rest| rest.starts_with('/')))
    }

    /// Whether it is a token of exactly this group that gives nothing beyond `held`, the
    /// permissions that somebody has in the group. A token that opens the groups below does.
    pub fn is_within(&self, group: &GroupName, held: &Permissions) -> bool {
        self.group == group.as_str()
            && !self.include_subgroups
            && self.permissions.iter().all(|permission| held.has(permission))
    }

    /// Whether the token is for the server as a whole.
    pub fn is_global(&self) -> bool {
        self.group.is_empty() && self.include_subgroups
    }

    /// Whether it is the token's time. No leeway: the clock is our own.
    pub fn is_current(&self, now: UnixMs) -> bool {
        self.expires.is_some_and(|expires| now < expires)
            && self.not_before.is_none_or(|not_before| now >= not_before)
    }

    /// What its bearer may do, and under which name.
    pub fn grant(&self) -> TokenGrant {
        TokenGrant {
            username: self.username.clone(),
            permissions: self.permissions.clone(),
            expires: self.expires,
            kept: Some(self.token.clone()),
        }
    }

    /// In lists: tokens without an end come first, then by their end.
    pub fn order(&self) -> (Option<UnixMs>, &str) {
        (self.expires, &self.token)
    }
}

/// What a member asks of the server's tokens. The hub has checked that it may; whoever answers
/// leaves out what is not [`Token::is_within`] the permissions that the member holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenRequest {
    /// Keep a new one.
    Make(Box<Token>),
    /// Change when it is good; what is nothing stays.
    Edit {
        /// The secret of the one that is meant.
        token: String,
        /// It must be a token of this group.
        group: GroupName,
        /// What the member may.
        held: Permissions,
        /// Its new end, if that is to change.
        expires: Option<UnixMs>,
        /// Its new beginning, if that is to change.
        not_before: Option<UnixMs>,
    },
    /// The tokens of exactly this group.
    List {
        /// The group whose tokens are listed.
        group: GroupName,
        /// What the member may.
        held: Permissions,
    },
}

/// What came of a [`TokenRequest`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenReply {
    /// The token as it is now.
    Token(Box<Token>),
    /// The tokens, in [`Token::order`].
    List(Vec<Token>),
    /// There is no such token in this group, or it gives more than the member has.
    Unknown,
    /// The tokens cannot be read or written; the log says why.
    Failed,
}

/// The fields of a `maketoken` or `edittoken`.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) token: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) permissions: Option<Vec<String>>,
    pub(crate) include_auto_subgroups: bool,
    pub(crate) expires: Option<UnixMs>,
    pub(crate) not_before: Option<UnixMs>,
}

impl Wanted {
    /// Reads the message's value. Times are dates, or milliseconds from now.
    pub(crate) fn read(value: Option<&Value>, now: UnixMs) -> Result<Self, &'static str> {
        let Some(Value::Object(fields)) = value else {
            return Err("bad value in token request");
        };
        Ok(Self {
            token: text(fields, "token")?,
            group: text(fields, "group")?,
            username: text(fields, "username")?,
            permissions: list(fields, "permissions")?,
            include_auto_subgroups: flag(fields, "includeAutoSubgroups")?,
            expires: time(fields, "expires", now)?,
            not_before: time(fields, "not-before", now)?,
        })
    }
}

fn text(fields: &Map<String, Value>, key: &str) -> Result<Option<String>, &'static str> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err("a field of the token is not text"),
    }
}

fn flag(fields: &Map<String, Value>, key: &str) -> Result<bool, &'static str> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err("a field of the token is neither true nor false"),
    }
}

fn list(fields: &Map<String, Value>, key: &str) -> Result<Option<Vec<String>>, &'static str> {
    const BAD: &str = "the token's permissions are not a list of words";
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) if items.len() <= crate::permission::ATOMS_MAX => {
            let words = items.iter().map(|item| item.as_str().map(str::to_owned));
            words.collect::<Option<_>>().map(Some).ok_or(BAD)
        }
        Some(_) => Err(BAD),
    }
}

fn time(
    fields: &Map<String, Value>,
    key: &str,
    now: UnixMs,
) -> Result<Option<UnixMs>, &'static str> {
    const BAD: &str = "a date of the token cannot be read";
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => UnixMs::parse(text).map(Some).ok_or(BAD),
        Some(Value::Number(ms)) => {
            let ms = ms.as_f64().filter(|ms| ms.abs() < UnixMs::MAX.0 as f64).ok_or(BAD)?;
            let at = UnixMs(now.0.saturating_add(ms as i64));
            if at > UnixMs::MAX || at < UnixMs::MIN { Err(BAD) } else { Ok(Some(at)) }
        }
        Some(_) => Err(BAD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> GroupName {
        GroupName::parse(name).unwrap()
    }

    #[test]
    fn galenes_lines_are_read_and_written_the_same() {
        let line = r#"{"token":"t","group":"g","includeSubgroups":true,"username":"","permissions":["present","message"],"expires":"2026-01-02T03:04:05.25Z","not-before":"2026-01-01T00:00:00Z","issuedAt":"2025-12-31T23:00:00Z","issuedBy":"ann"}"#;
        let token: Token = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&token).unwrap(), line);
        assert_eq!(token.username.as_deref(), Some(""));
        let offset = r#"{"token":"t","group":"g","permissions":null,"expires":"2026-01-02T03:04:05.123456789+01:00","future":1}"#;
        let token: Token = serde_json::from_str(offset).unwrap();
        assert!(token.permissions.is_empty() && token.username.is_none());
        assert_eq!(token.expires.unwrap().to_rfc3339_ms(), "2026-01-02T02:04:05.123Z");
    }

    #[test]
    fn a_token_is_good_for_its_groups_only() {
        let mut token = Token { group: "a".into(), ..Token::default() };
        let covers = |token: &Token, group: &str| token.covers(&name(group), &name(group));
        assert!(covers(&token, "a"));
        assert!(!covers(&token, "a/b") && !covers(&token, "ab"));
        assert!(!token.covers(&name("a/b"), &name("a")), "as Galene has it");
        token.include_auto_subgroups = true;
        assert!(covers(&token, "a") && token.covers(&name("a/b"), &name("a")));
        assert!(!covers(&token, "a/b"), "one with a file of its own");
        assert!(!token.covers(&name("c/d"), &name("c")));
        token.include_auto_subgroups = false;
        token.include_subgroups = true;
        assert!(covers(&token, "a/b") && covers(&token, "a/b/c"));
        assert!(!covers(&token, "ab") && !covers(&token, "b") && !token.is_global());
        token.group = String::new();
        assert!(covers(&token, "b") && token.is_global());
        token.include_subgroups = false;
        assert!(!covers(&token, "b") && !token.is_global());
    }

    #[test]
    fn a_token_without_an_end_is_never_good() {
        let mut token = Token::default();
        assert!(!token.is_current(UnixMs(0)));
        token.expires = Some(UnixMs(10));
        assert!(token.is_current(UnixMs(9)) && !token.is_current(UnixMs(10)));
        token.not_before = Some(UnixMs(5));
        assert!(!token.is_current(UnixMs(4)) && token.is_current(UnixMs(5)));
    }

    #[test]
    fn numbers_are_milliseconds_from_now() {
        let read = |text: &str| {
            let value: Value = serde_json::from_str(text).unwrap();
            Wanted::read(Some(&value), UnixMs(1000))
        };
        let wanted = read(r#"{"expires":500.0,"not-before":-500,"includeSubgroups":true}"#);
        let wanted = wanted.unwrap();
        assert_eq!(wanted.expires, Some(UnixMs(1500)));
        assert_eq!(wanted.not_before, Some(UnixMs(500)));
        for bad in [
            r#"{"expires":"tomorrow"}"#,
            r#"{"expires":1e300}"#,
            r#"{"expires":true}"#,
            r#"{"permissions":"op"}"#,
            r#"{"permissions":[1]}"#,
            r#"{"username":3}"#,
            "[]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(Wanted::read(None, UnixMs(0)).is_err());
    }
}

//! A group file as administrators edit it over the API: the settings, the users, the passwords and
//! the keys, each changed without touching the others. Legacy keys are upgraded on the way in.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::caseless::field_of;
use crate::description::parse_description;
use crate::description_error::DescriptionError;
use crate::key::Key;
use crate::nearest::nearest;
use crate::settled::settled;

/// The keys of a file that are neither users nor secrets, with [`CODECS`].
const SETTINGS: [&str; 22] = [
    "displayName",
    "description",
    "contact",
    "comment",
    "public",
    "redirect",
    "max-clients",
    "max-history-age",
    "not-before",
    "expires",
    "allow-recording",
    "recording-format",
    "loudest",
    "recording-consent",
    "recording-keep-days",
    "recording-max-bytes",
    "unrestricted-tokens",
    SUBGROUPS,
    "autolock",
    "autokick",
    "authServer",
    "authPortal",
];
const CODECS: &str = "codecs";
const USERS: &str = "users";
const WILDCARD: &str = "wildcard-user";
const KEYS: &str = "authKeys";
const PASSWORD: &str = "password";
const SUBGROUPS: &str = "auto-subgroups";
/// What [`SUBGROUPS`] was called before.
const OLD_SUBGROUPS: &str = "allow-subgroups";
/// Has no effect any more.
const OLD_ANONYMOUS: &str = "allow-anonymous";
/// Every key of a file, as it is spelt.
#[expect(clippy::indexing_slicing, reason = "the compiler does it, and would say no")]
const FILE_KEYS: [&str; 31] = {
    let mut keys = [""; 31];
    let mut at = 0;
    while at < SETTINGS.len() {
        keys[at] = SETTINGS[at];
        at += 1;
    }
    let others =
        [CODECS, USERS, WILDCARD, KEYS, "op", "presenter", "other", OLD_SUBGROUPS, OLD_ANONYMOUS];
    let mut other = 0;
    while other < others.len() {
        keys[at + other] = others[other];
        other += 1;
    }
    keys
};
/// Every key of a user.
const USER_KEYS: [&str; 2] = [PASSWORD, "permissions"];
/// Legacy lists of users, with what they become.
const LEGACY: [(&str, &str); 3] = [("op", "op"), ("presenter", "present"), ("other", "message")];

/// One entry for users of a group file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Who {
    /// One of `users`; the empty name is the anonymous one.
    Named(String),
    /// Whoever is not named, `wildcard-user` in the file.
    Wildcard,
}

/// Why an edit was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EditError {
    /// Not a JSON object.
    NotAnObject,
    /// Nothing in the body means anything: the first key, and a known one that is near.
    Unknown(String, Option<&'static str>),
    /// The body has a key that is set elsewhere, such as a password.
    Elsewhere(&'static str),
    /// The result would not be a group file.
    Invalid(Box<DescriptionError>),
    /// There is no such user.
    NoSuchUser,
    /// A key that cannot be used.
    BadKey(usize, crate::key::KeyError),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("the body is not a JSON object"),
            Self::Unknown(key, Some(near)) => {
                write!(f, "unknown key \"{key}\": did you mean \"{near}\"?")
            }
            Self::Unknown(key, None) => write!(f, "unknown key \"{key}\", and no other"),
            Self::Elsewhere(key @ ("op" | "presenter" | "other")) => {
                write!(f, "\"{key}\" is an old form: set each user at .users/ and its name")
            }
            Self::Elsewhere(key) => write!(f, "\"{key}\" is set at a URL of its own"),
            Self::Invalid(error) => f.write_str(&error.message),
            Self::NoSuchUser => f.write_str("no such user"),
            Self::BadKey(index, error) => write!(f, "keys[{index}]: {error}"),
        }
    }
}

impl std::error::Error for EditError {}

/// A group file's contents.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Document(Map<String, Value>);

impl Document {
    /// Reads a file. What cannot be a group file is an error, as in [`parse_description`].
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, DescriptionError> {
        parse_description(file, text)?;
        let (text, _) = settled(text);
        let fields = serde_json::from_slice(&text).map_err(|error| {
            let message = error.to_string();
            DescriptionError { file: file.to_owned(), line: error.line(), key: None, message }
        })?;
        let mut document = Self(fields);
        document.upgrade();
        Ok(document)
    }

    /// JSON without indents, with a newline.
    pub fn to_compact_text(&self) -> String {
        format!("{}\n", Value::Object(self.0.clone()))
    }

    /// Indented JSON, for people who edit the file as well, with a newline.
    pub fn to_text(&self) -> String {
        format!("{:#}\n", Value::Object(self.0.clone()))
    }

    fn upgrade(&mut self) {
        self.0.retain(|_, value| !value.is_null());
        self.0 = respelt(std::mem::take(&mut self.0), &FILE_KEYS);
        let respell = |user: &mut Value| match user {
            Value::Object(fields) => *fields = respelt(std::mem::take(fields), &USER_KEYS),
            other => *other = json!({}),
        };
        if let Some(Value::Object(users)) = self.0.get_mut(USERS) {
            users.values_mut().for_each(respell);
        }
        self.0.get_mut(WILDCARD).into_iter().for_each(respell);
        for (legacy, role) in LEGACY {
            let Some(Value::Array(entries)) = self.0.remove(legacy) else {
                continue;
            };
            // A null opens nothing.
            for entry in entries.iter().filter(|entry| !entry.is_null()) {
                let password = entry.get(PASSWORD).filter(|password| !password.is_null());
                let password = password.cloned().unwrap_or_else(|| json!({"type": "wildcard"}));
                let user = json!({PASSWORD: password, "permissions": role});
                let name = entry.get("username").and_then(Value::as_str).unwrap_or_default();
                if name.is_empty() {
                    self.0.entry(WILDCARD).or_insert(user);
                } else if let Value::Object(users) = self.0.entry(USERS).or_insert(json!({})) {
                    users.entry(name).or_insert(user);
                }
            }
        }
        upgrade_subgroups(&mut self.0);
        self.0.remove(OLD_ANONYMOUS);
    }

    /// What is neither a user nor a key.
    pub fn settings(&self) -> Map<String, Value> {
        let fields = self.0.iter().filter(|(key, _)| is_setting(key));
        fields.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Replaces all settings; users and keys stay. Unknown keys are ignored.
    pub fn set_settings(&mut self, body: Value) -> Result<(), EditError> {
        let Value::Object(body) = body else {
            return Err(EditError::NotAnObject);
        };
        let mut body = respelt(body, &FILE_KEYS);
        for key in [USERS, WILDCARD, KEYS, "op", "presenter", "other"] {
            if body.get(key).is_some_and(|value| !value.is_null()) {
                return Err(EditError::Elsewhere(key));
            }
        }
        check_known(&body, &FILE_KEYS)?;
        upgrade_subgroups(&mut body);
        let mut edited = self.clone();
        edited.0.retain(|key, _| !is_setting(key));
        let known = body.into_iter().filter(|(key, value)| is_setting(key) && !value.is_null());
        edited.0.extend(known);
        self.adopt(edited)
    }

    /// The names of its users, sorted.
    pub fn user_names(&self) -> Vec<String> {
        let users = self.0.get(USERS).and_then(Value::as_object);
        users.map(|users| users.keys().cloned().collect()).unwrap_or_default()
    }

    /// A user without its password.
    pub fn user(&self, who: &Who) -> Option<Map<String, Value>> {
        let mut user = self.entry(who)?.clone();
        user.retain(|key, value| key != PASSWORD && !value.is_null());
        Some(user)
    }

    fn entry(&self, who: &Who) -> Option<&Map<String, Value>> {
        match who {
            Who::Wildcard => self.0.get(WILDCARD)?.as_object(),
            Who::Named(name) => self.0.get(USERS)?.as_object()?.get(name)?.as_object(),
        }
    }

    fn put(&mut self, who: &Who, user: Map<String, Value>) {
        match who {
            Who::Wildcard => {
                self.0.insert(WILDCARD.to_owned(), Value::Object(user));
            }
            Who::Named(name) => {
                if let Value::Object(users) = self.0.entry(USERS).or_insert_with(|| json!({})) {
                    users.insert(name.clone(), Value::Object(user));
                }
            }
        }
    }

    /// Makes or replaces a user; a password that it has stays. Unknown keys are ignored.
    pub fn set_user(&mut self, who: &Who, body: Value) -> Result<(), EditError> {
        let Value::Object(body) = body else {
            return Err(EditError::NotAnObject);
        };
        let body = respelt(body, &USER_KEYS);
        if body.get(PASSWORD).is_some_and(|value| !value.is_null()) {
            return Err(EditError::Elsewhere(PASSWORD));
        }
        check_known(&body, &USER_KEYS)?;
        let mut user = Map::new();
        for (key, from) in [("permissions", Some(&body)), (PASSWORD, self.entry(who))] {
            let value = from.and_then(|from| from.get(key)).filter(|value| !value.is_null());
            if let Some(value) = value {
                user.insert(key.to_owned(), value.clone());
            }
        }
        let mut edited = self.clone();
        edited.put(who, user);
        self.adopt(edited)
    }

    /// Removes a user; says whether there was one.
    pub fn remove_user(&mut self, who: &Who) -> bool {
        match who {
            Who::Wildcard => self.0.remove(WILDCARD).is_some(),
            Who::Named(name) => {
                let users = self.0.get_mut(USERS).and_then(Value::as_object_mut);
                users.is_some_and(|users| users.remove(name).is_some())
            }
        }
    }

    /// Sets a user's password, or takes it away.
    pub fn set_password(&mut self, who: &Who, password: Option<Value>) -> Result<(), EditError> {
        let mut user = self.entry(who).ok_or(EditError::NoSuchUser)?.clone();
        match password {
            Some(password) => user.insert(PASSWORD.to_owned(), password),
            None => user.remove(PASSWORD),
        };
        let mut edited = self.clone();
        edited.put(who, user);
        self.adopt(edited)
    }

    /// Sets the keys that sign tokens. One that cannot be used is an error.
    pub fn set_keys(&mut self, keys: Vec<Value>) -> Result<(), EditError> {
        for (index, key) in keys.iter().enumerate() {
            Key::from_jwk(key).map_err(|error| EditError::BadKey(index, error))?;
        }
        self.0.insert(KEYS.to_owned(), Value::Array(keys));
        Ok(())
    }

    /// Takes the keys away.
    pub fn remove_keys(&mut self) {
        self.0.remove(KEYS);
    }

    /// Takes an edit over if it is a group file still.
    fn adopt(&mut self, edited: Self) -> Result<(), EditError> {
        match parse_description("body", edited.to_text().as_bytes()) {
            Ok(_) => {
                *self = edited;
                Ok(())
            }
            Err(error) => Err(EditError::Invalid(Box::new(error))),
        }
    }
}

/// Whoever misspells the only key that is there would be told that all is well.
fn check_known(body: &Map<String, Value>, known: &[&'static str]) -> Result<(), EditError> {
    match body.keys().next() {
        Some(first) if !body.keys().any(|key| known.contains(&key.as_str())) => {
            let near = nearest(first, known.iter().copied());
            let near = known.iter().copied().find(|known| Some(*known) == near);
            Err(EditError::Unknown(first.clone(), near))
        }
        _ => Ok(()),
    }
}

/// What is set under the older name counts unless it is set under the present one, too.
fn upgrade_subgroups(fields: &mut Map<String, Value>) {
    if let Some(allowed) = fields.remove(OLD_SUBGROUPS).filter(|allowed| !allowed.is_null()) {
        fields.entry(SUBGROUPS).or_insert(allowed);
    }
}

/// The same with keys as they are spelt here, which may be in any case.
fn respelt(fields: Map<String, Value>, known: &[&'static str]) -> Map<String, Value> {
    fields.into_iter().map(|(key, value)| (field_of(&key, known).to_owned(), value)).collect()
}

fn is_setting(key: &str) -> bool {
    SETTINGS.contains(&key) || key == CODECS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse("g.json", text.as_bytes()).unwrap()
    }

    fn ann() -> Who {
        Who::Named("ann".into())
    }

    #[test]
    fn legacy_files_are_upgraded() {
        let old = document(
            r#"{"op":[{"username":"ann","password":"x"},{"username":"ann","password":"y"}],
            "presenter":[{}],"other":[{}],"allow-subgroups":true,"allow-anonymous":true,
            "public":null}"#,
        );
        let new: Value = serde_json::from_str(&old.to_text()).unwrap();
        assert_eq!(
            new,
            json!({"auto-subgroups": true,
                "users": {"ann": {"password": "x", "permissions": "op"}},
                "wildcard-user": {"password": {"type": "wildcard"}, "permissions": "present"}})
        );
        // Both forms mean the same to those who join.
        let parse = |text: &str| parse_description("g", text.as_bytes()).unwrap().0;
        let again = document(&old.to_text());
        assert_eq!(parse(&again.to_text()), parse(&old.to_text()));
    }

    #[test]
    fn settings_users_and_passwords_are_edited_apart() {
        let mut group = document(
            r#"{"public":true,"users":{"ann":{"password":"x","permissions":"op"}},
            "authKeys":[]}"#,
        );
        assert_eq!(Value::Object(group.settings()), json!({"public": true}));
        group.set_settings(json!({"autolock": true, "future": 1, "public": null})).unwrap();
        assert_eq!(Value::Object(group.settings()), json!({"autolock": true}));
        assert_eq!(group.user_names(), ["ann"]);
        group.set_user(&ann(), json!({"permissions": ["present"], "other": 1})).unwrap();
        assert_eq!(Value::Object(group.user(&ann()).unwrap()), json!({"permissions": ["present"]}));
        assert!(group.to_text().contains(r#""password": "x""#), "the password stays");
        group.set_password(&ann(), None).unwrap();
        assert!(!group.to_text().contains("password"));
        assert_eq!(group.set_password(&Who::Wildcard, None), Err(EditError::NoSuchUser));
        group.set_user(&Who::Wildcard, json!({})).unwrap();
        group.set_user(&Who::Named(String::new()), json!({})).unwrap();
        assert_eq!(group.user_names(), ["", "ann"]);
        assert!(group.remove_user(&ann()) && !group.remove_user(&ann()));
        assert!(group.remove_user(&Who::Wildcard) && group.user(&Who::Wildcard).is_none());
    }

    #[test]
    fn keys_in_another_case_are_edited_like_the_others() {
        let mut group = document(
            r#"{"Public":true,"Users":{"ann":{"Password":"x","PERMISSIONS":"op"}},
            "Wildcard-User":{"Permissions":"present"}}"#,
        );
        assert_eq!(Value::Object(group.settings()), json!({"public": true}));
        assert_eq!(Value::Object(group.user(&ann()).unwrap()), json!({"permissions": "op"}));
        group.set_settings(json!({"AutoLock": true})).unwrap();
        assert_eq!(Value::Object(group.settings()), json!({"autolock": true}));
        assert!(group.user(&Who::Wildcard).is_some());
    }

    #[test]
    fn nothing_but_a_misspelt_key_is_a_mistake() {
        let mut group = document("{}");
        let error = group.set_settings(json!({"autoloc": true})).unwrap_err().to_string();
        assert_eq!(error, "unknown key \"autoloc\": did you mean \"autolock\"?");
        assert!(group.set_settings(json!({"zzzz": true})).is_err());
        group.set_settings(json!({"zzzz": true, "public": true})).unwrap();
        group.set_settings(json!({})).unwrap();
        let error = group.set_user(&ann(), json!({"permission": "op"})).unwrap_err().to_string();
        assert!(error.contains("\"permissions\""), "{error}");
    }

    #[test]
    fn regression_keys_of_older_files_and_those_without_a_value_are_known() {
        let mut group = document(r#"{"public":true,"users":{"ann":{"password":"x"}}}"#);
        group.set_settings(json!({"allow-subgroups": true})).unwrap();
        assert_eq!(Value::Object(group.settings()), json!({"auto-subgroups": true}));
        group.set_settings(json!({"Allow-Subgroups": true, "comment": "c"})).unwrap();
        let both = json!({"auto-subgroups": true, "comment": "c"});
        assert_eq!(Value::Object(group.settings()), both);
        group.set_settings(json!({"allow-subgroups": true, "auto-subgroups": false})).unwrap();
        assert_eq!(Value::Object(group.settings()), json!({"auto-subgroups": false}));
        for body in [
            json!({"wildcard-user": null}),
            json!({"users": null}),
            json!({"op": null}),
            json!({"allow-subgroups": null}),
            json!({"allow-anonymous": true}),
        ] {
            group.set_settings(body.clone()).unwrap_or_else(|error| panic!("{body}: {error}"));
            assert!(group.settings().is_empty() && group.user(&ann()).is_some(), "{body}");
        }
        group.set_user(&ann(), json!({"password": null})).unwrap();
    }

    #[test]
    fn regression_files_with_nulls_and_repeated_keys_can_be_edited() {
        let mut group = document(
            "\u{feff}{\"public\":false,\"public\":true,\"users\":{\"bob\":null},\"op\":[null],\
             \"comment\":\"\\ud83d\"} x",
        );
        assert_eq!(Value::Object(group.settings()), json!({"public": true, "comment": "\u{fffd}"}));
        assert!(group.user(&Who::Named("bob".into())).is_some_and(|bob| bob.is_empty()));
        assert!(group.user(&Who::Wildcard).is_none(), "a null opens nothing");
        group.set_user(&Who::Named("bob".into()), json!({"permissions": "op"})).unwrap();
    }

    #[test]
    fn a_bad_edit_changes_nothing() {
        let mut group = document(r#"{"users":{"ann":{"password":"x"}}}"#);
        let before = group.clone();
        for body in [
            json!(3),
            json!({"users": {}}),
            json!({"authKeys": []}),
            json!({"wildcard-user": {}}),
            json!({"op": [{}]}),
            json!({"max-clients": "many"}),
            json!({"expires": "tomorrow"}),
        ] {
            assert!(group.set_settings(body.clone()).is_err(), "{body}");
        }
        let error = group.set_user(&ann(), json!({"permissions": "opp"})).unwrap_err();
        assert!(error.to_string().contains("did you mean \"op\""), "{error}");
        assert_eq!(
            group.set_user(&ann(), json!({"password": "y"})),
            Err(EditError::Elsewhere("password"))
        );
        assert!(group.set_password(&ann(), Some(json!(3))).is_err());
        assert!(group.set_password(&ann(), Some(json!({"typ": "plain"}))).is_err());
        let bad = vec![json!({"kty": "oct", "alg": "none"})];
        assert!(group.set_keys(bad).unwrap_err().to_string().starts_with("keys[0]"));
        assert_eq!(group, before);
    }
}

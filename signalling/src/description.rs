//! Group files: every key of Galene's format, the legacy ones included. Unknown keys are errors
//! that name file, line, key and the nearest known key.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::{Map, Value};

use crate::caseless::field_of;
use crate::description_error::DescriptionError;
use crate::json_error::{is_utf16, json_errors, parse_file};
use crate::json_parts::line_of;
use crate::key::Key;
use crate::name::{GroupName, Username};
use crate::nearest::means_nothing;
use crate::object::{null_as_default, nulls_as_defaults};
use crate::password::Password;
use crate::permission::{Flags, Grant, Permissions, Role};
use crate::recording_rules::{Consent, Days, RecordingRules};
use crate::time::UnixMs;

/// How long chat is kept where the file does not say.
const HISTORY_AGE_DEFAULT_S: u64 = 14_400;

/// The codecs a group may list.
const CODECS: [&str; 8] = ["vp8", "vp9", "av1", "h264", "opus", "g722", "pcmu", "pcma"];

/// One entry of `users`, or the wildcard user.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default)]
pub struct User {
    /// Absent means that nobody can log in with a password.
    pub password: Option<Password>,
    /// A user without one cannot log in.
    #[serde(deserialize_with = "null_as_default")]
    pub permissions: Grant,
}

impl User {
    /// What is likely a mistake in the entry, for the operator; `who` names the user.
    pub fn warnings(&self, who: &str) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(Password::Broken(error)) = &self.password {
            warnings.push(format!("{who} cannot log in: {error}"));
        }
        for (atom, near) in self.permissions.unknown() {
            warnings.push(format!("{who}: {}", means_nothing("permission", atom, near)));
        }
        warnings
    }
}

/// What anyone may know about a group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// A title for people.
    pub display_name: String,
    /// A line for the landing page.
    pub description: String,
    /// Where the group really lives.
    pub redirect: Option<String>,
    /// Where browsers get tokens.
    pub auth_server: String,
    /// Where browsers are sent to log in.
    pub auth_portal: String,
    /// Whether it is on the landing page.
    pub is_public: bool,
}

/// A group file, upgraded to its present form.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Description {
    /// The group whose file this is, if it is that of a group above: both have the same users,
    /// and guesses at their passwords count together.
    pub inherited_from: Option<GroupName>,
    /// What anyone may know.
    pub listing: Listing,
    /// How many clients; ops are exempt.
    pub clients_max: Option<u32>,
    /// How long chat is kept, in milliseconds.
    pub history_age_ms: u64,
    /// Nobody but ops joins earlier.
    pub not_before: Option<UnixMs>,
    /// Nobody but ops joins later.
    pub expires: Option<UnixMs>,
    /// What named permission sets include.
    pub flags: Flags,
    /// In a large group, of how many of the loudest the others hear; 0 for all. Nothing for the default.
    pub loudest: Option<usize>,
    /// Who is recorded, in what form, and how long that is kept.
    pub recording: RecordingRules,
    /// Whether groups below this one exist without files.
    pub has_auto_subgroups: bool,
    /// Lock while there is no op.
    pub is_autolock: bool,
    /// Kick everyone while there is no op.
    pub is_autokick: bool,
    /// Those who log in under a name of their own.
    pub users: BTreeMap<String, User>,
    /// For names that are not in `users`.
    pub wildcard_user: Option<User>,
    /// Who may sign tokens. Those that cannot be used are left out.
    pub auth_keys: Arc<[Key]>,
    /// Lower-case names, in order of preference, none unknown.
    pub codecs: Vec<String>,
}

impl Description {
    /// Which entry decides on `username`: a named user shadows the wildcard completely.
    pub fn user(&self, username: &str) -> Option<&User> {
        self.users.get(username).or(self.wildcard_user.as_ref())
    }

    /// Whether the wildcard decides on `username`, and so on all names that are no user's.
    pub fn is_wildcard(&self, username: &str) -> bool {
        !self.is_named(username) && self.wildcard_user.is_some()
    }

    /// A password to try where a user has none: it costs what that of a real user costs, so that
    /// the time of a refusal does not tell who exists.
    pub fn decoy(&self) -> Password {
        let users = self.users.values().chain(&self.wildcard_user);
        let slow = users.filter_map(|user| user.password.as_ref()).find(|found| found.is_slow());
        slow.cloned().unwrap_or(Password::Never)
    }

    /// Whether `username` is a named user.
    pub fn is_named(&self, username: &str) -> bool {
        self.users.contains_key(username)
    }

    /// A fresh set of permissions for a client that logged in as `user`.
    pub fn permissions(&self, user: &User) -> Permissions {
        user.permissions.expand(self.flags)
    }

    /// The group whose file decides in `name`, which this is the description of.
    pub fn realm(&self, name: &GroupName) -> GroupName {
        self.inherited_from.as_ref().unwrap_or(name).clone()
    }

    /// The description of a group below this one, `name`, that has no file, if there may be one.
    pub fn for_subgroup(&self, name: &GroupName) -> Option<Self> {
        self.has_auto_subgroups.then(|| {
            let mut description = self.clone();
            description.inherited_from = Some(name.clone());
            description.listing.is_public = false;
            description.listing.description = String::new();
            description
        })
    }
}

#[derive(Deserialize, Default)]
#[serde(remote = "Self", deny_unknown_fields, default)]
struct LegacyUser {
    username: Option<String>,
    password: Option<Password>,
}

#[derive(Deserialize, Default)]
#[serde(remote = "Self", deny_unknown_fields, default, rename_all = "kebab-case")]
struct File {
    #[serde(rename = "displayName")]
    display_name: Option<String>,
    description: Option<String>,
    #[serde(rename = "contact")]
    _contact: Option<String>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    public: Option<bool>,
    redirect: Option<String>,
    max_clients: Option<i64>,
    max_history_age: Option<i64>,
    not_before: Option<Date>,
    expires: Option<Date>,
    allow_recording: Option<bool>,
    recording_format: Option<String>,
    loudest: Option<u16>,
    recording_consent: Option<Consent>,
    recording_keep_days: Option<Days>,
    recording_max_bytes: Option<u64>,
    unrestricted_tokens: Option<bool>,
    auto_subgroups: Option<bool>,
    autolock: Option<bool>,
    autokick: Option<bool>,
    #[serde(deserialize_with = "nulls_as_defaults")]
    users: BTreeMap<String, User>,
    wildcard_user: Option<User>,
    #[serde(rename = "authKeys")]
    auth_keys: Option<Vec<Value>>,
    #[serde(rename = "authServer")]
    auth_server: Option<String>,
    #[serde(rename = "authPortal")]
    auth_portal: Option<String>,
    codecs: Option<Vec<Option<String>>>,
    op: Option<Vec<Option<LegacyUser>>>,
    presenter: Option<Vec<Option<LegacyUser>>>,
    other: Option<Vec<Option<LegacyUser>>>,
    allow_subgroups: Option<bool>,
    allow_anonymous: Option<bool>,
}
crate::only_objects!(User, LegacyUser, File);

struct Date(UnixMs);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        UnixMs::parse(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom("not a date like 2026-01-31T08:00:00Z"))
    }
}

/// Reads a group file. With it come warnings for the operator about what was ignored.
pub fn parse_description(
    file: &str,
    text: &[u8],
) -> Result<(Description, Vec<String>), DescriptionError> {
    let (text, lost) = readable(file, text)?;
    let (parsed, mut warnings) = parse_file::<File>(file, &text)?;
    warnings.extend(lost);
    let description = upgrade(parsed, &mut warnings);
    let wildcard = description.wildcard_user.as_ref();
    let named = description.users.iter().map(|(name, user)| (format!("user {name:?}"), user));
    for (who, user) in named.chain(wildcard.map(|user| ("wildcard-user".to_owned(), user))) {
        warnings.extend(user.warnings(&who));
    }
    Ok((description, warnings))
}

/// Keys whose values people read, and nothing else.
const PROSE: [&str; 4] = ["displayName", "description", "contact", "comment"];

/// The text of a file, with U+FFFD for what is not UTF-8, and a note of that: editors of old save umlauts as
/// single bytes. An error if a name or a password would be another one than was meant.
fn readable<'a>(
    file: &str,
    text: &'a [u8],
) -> Result<(Cow<'a, [u8]>, Option<String>), DescriptionError> {
    let Err(error) = std::str::from_utf8(text) else {
        return Ok((Cow::Borrowed(text), None));
    };
    if is_utf16(text) {
        return Ok((Cow::Borrowed(text), None));
    }
    let line = line_of(text, error.valid_up_to());
    let read = String::from_utf8_lossy(text).into_owned();
    let fields = serde_json::from_str::<Map<String, Value>>(&read).unwrap_or_default();
    let others = fields.iter().filter(|(key, _)| !PROSE.contains(&field_of(key, &PROSE)));
    let is_lost = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
    if fields.is_empty()
        || others.into_iter().any(|(key, value)| is_lost(key) || is_lost(&value.to_string()))
    {
        let message = "not UTF-8".to_owned();
        return Err(DescriptionError { file: file.to_owned(), line, key: None, message });
    }
    let note = format!("line {line}: not UTF-8: a character is lost; save the file as UTF-8");
    Ok((Cow::Owned(read.into_bytes()), Some(note)))
}

/// Everything that is wrong with a group file; nothing if [`parse_description`] takes it.
pub fn description_errors(file: &str, text: &[u8]) -> Vec<DescriptionError> {
    match parse_description(file, text) {
        Ok(_) => Vec::new(),
        Err(error) if std::str::from_utf8(text).is_err() => vec![error],
        Err(_) => json_errors::<File>(file, text),
    }
}

/// The users of the older forms of the file, and of the present one, which comes first.
fn users_of(file: &mut File, warnings: &mut Vec<String>) -> (BTreeMap<String, User>, Option<User>) {
    let mut users = std::mem::take(&mut file.users);
    let mut wildcard_user = file.wildcard_user.take();
    for (key, entries, role) in [
        ("op", file.op.take(), Role::Op),
        ("presenter", file.presenter.take(), Role::Present),
        ("other", file.other.take(), Role::Message),
    ] {
        for (index, entry) in entries.unwrap_or_default().into_iter().enumerate() {
            // To Galene it is a user without name and password, which lets everybody in.
            let Some(entry) = entry else {
                warnings.push(format!("{key}[{index}] is null: it is skipped"));
                continue;
            };
            let user = User {
                password: Some(entry.password.unwrap_or(Password::Wildcard)),
                permissions: Grant::Role(role),
            };
            match entry.username {
                Some(name) if !name.is_empty() => {
                    users.entry(name).or_insert(user);
                }
                _ if wildcard_user.is_none() => wildcard_user = Some(user),
                _ => {
                    warnings.push("more than one user without a name: only the first counts".into())
                }
            }
        }
    }
    (meant(users, warnings), wildcard_user)
}

/// The users under the names that they log in with: see [`Username::meant`].
fn meant(users: BTreeMap<String, User>, warnings: &mut Vec<String>) -> BTreeMap<String, User> {
    let is_meant = |name: &String| Username::meant(name) == *name;
    let (mut users, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
        users.into_iter().partition(|(name, _)| is_meant(name));
    for (name, user) in others {
        let meant = Username::meant(&name);
        match users.entry(meant) {
            Entry::Vacant(place) => {
                place.insert(user);
            }
            Entry::Occupied(place) => warnings.push(format!(
                "user {name:?} looks like {:?}, who is there as well: skipped",
                place.key()
            )),
        }
    }
    for name in users.keys() {
        if let Err(error) = Username::parse(name) {
            warnings.push(format!("user {name:?} cannot log in: {error}"));
        }
    }
    users
}

/// The codecs that we know of those that are listed.
fn codecs_of(listed: Option<Vec<Option<String>>>, warnings: &mut Vec<String>) -> Vec<String> {
    let Some(listed) = listed else {
        return vec!["vp8".to_owned(), "opus".to_owned()];
    };
    let mut codecs: Vec<String> =
        listed.into_iter().flatten().map(|codec| codec.to_ascii_lowercase()).collect();
    codecs.retain(|codec| {
        let is_known = CODECS.contains(&codec.as_str());
        if !is_known {
            warnings.push(format!("unknown codec {codec:?} is skipped"));
        }
        is_known
    });
    codecs
}

fn upgrade(mut file: File, warnings: &mut Vec<String>) -> Description {
    let (users, wildcard_user) = users_of(&mut file, warnings);
    if file.allow_anonymous.is_some() {
        warnings.push("allow-anonymous has no effect any more".into());
    }
    let codecs = codecs_of(file.codecs, warnings);
    let is_webm = match file.recording_format.as_deref() {
        None | Some("mp4") => false,
        Some("webm") => true,
        Some(other) => {
            warnings.push(format!("unknown recording-format {other:?}: \"webm\" or \"mp4\""));
            false
        }
    };
    let auth_keys = file.auth_keys.unwrap_or_default();
    let auth_keys = auth_keys.iter().enumerate().filter_map(|(index, jwk)| {
        let key = Key::from_jwk(jwk);
        key.inspect_err(|error| warnings.push(format!("authKeys[{index}] is skipped: {error}")))
            .ok()
    });
    let auth_keys = auth_keys.collect();
    let history_age_s = file.max_history_age.and_then(|age| u64::try_from(age).ok());
    let history_age_s = history_age_s.filter(|age| *age > 0).unwrap_or(HISTORY_AGE_DEFAULT_S);
    Description {
        inherited_from: None,
        listing: Listing {
            display_name: file.display_name.unwrap_or_default(),
            description: file.description.unwrap_or_default(),
            redirect: file.redirect.filter(|url| !url.is_empty()),
            auth_server: file.auth_server.unwrap_or_default(),
            auth_portal: file.auth_portal.unwrap_or_default(),
            is_public: file.public.unwrap_or_default(),
        },
        clients_max: file
            .max_clients
            .and_then(|max| u32::try_from(max).ok())
            .filter(|max| *max > 0),
        history_age_ms: history_age_s.saturating_mul(1000),
        not_before: file.not_before.map(|date| date.0),
        expires: file.expires.map(|date| date.0),
        flags: Flags {
            allow_recording: file.allow_recording.unwrap_or_default(),
            unrestricted_tokens: file.unrestricted_tokens.unwrap_or_default(),
        },
        loudest: file.loudest.map(usize::from),
        recording: RecordingRules {
            is_webm,
            keep_days: file.recording_keep_days,
            bytes_max: file.recording_max_bytes,
            consent: file.recording_consent.unwrap_or_default(),
        },
        has_auto_subgroups: file.auto_subgroups.or(file.allow_subgroups).unwrap_or_default(),
        is_autolock: file.autolock.unwrap_or_default(),
        is_autokick: file.autokick.unwrap_or_default(),
        users,
        wildcard_user,
        auth_keys,
        codecs,
    }
}

/// The file of a group, relative to the groups directory.
impl GroupName {
    /// `maths/algebra.json` for `maths/algebra`. Safe to join: see [`GroupName`].
    pub fn file_path(&self) -> String {
        format!("{}.json", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Description {
        parse_description("test.json", text.as_bytes()).unwrap().0
    }

    fn error(text: &str) -> DescriptionError {
        parse_description("test.json", text.as_bytes()).unwrap_err()
    }

    #[test]
    fn users_are_known_under_the_names_that_they_log_in_with() {
        let text = "{\"users\":{\"ann\u{200e}\":{\"permissions\":\"op\"},\"\u{202e}bob\":{},
            \"bob\":{\"permissions\":\"present\"},\".zoe\":{}}}";
        let (description, warnings) = parse_description("test.json", text.as_bytes()).unwrap();
        assert_eq!(description.users.keys().collect::<Vec<_>>(), [".zoe", "ann", "bob"]);
        let bob = description.user("bob").unwrap();
        assert!(description.permissions(bob).has("present"));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("looks like \"bob\""), "{warnings:?}");
        assert!(warnings[1].contains("\".zoe\" cannot log in"), "{warnings:?}");
    }

    #[test]
    fn the_recipe_of_2021_is_open_to_all_as_op() {
        let (description, warnings) =
            parse_description("test.json", br#"{"op":[{}],"allow-anonymous":true}"#).unwrap();
        let user = description.user("").unwrap();
        assert_eq!(user.password, Some(Password::Wildcard));
        assert!(description.permissions(user).has("op"));
        assert_eq!(warnings.len(), 1);
        assert_eq!(description.codecs, ["vp8", "opus"]);
    }

    #[test]
    fn every_key_is_read() {
        let description = parse(
            r#"{"displayName":"D","description":"d","contact":"c","comment":"c","public":true,
            "redirect":"https://x/","max-clients":3,"max-history-age":60,
            "not-before":"2026-01-01T00:00:00Z","expires":"2027-01-01T00:00:00Z",
            "allow-recording":true,"recording-keep-days":30,"recording-max-bytes":5000000000,
            "recording-format":"webm","recording-consent":"asked","unrestricted-tokens":true,"auto-subgroups":true,
            "autolock":true,"autokick":true,"users":{"a":{"password":"x","permissions":"op"},
            "b":{"password":{"type":"plain","key":"y"},"permissions":["present","x"]},"c":{}},
            "wildcard-user":{"password":{"type":"wildcard"},"permissions":null},
            "authKeys":[{"kty":"oct"}],"authServer":"https://s/","authPortal":"https://p/",
            "codecs":["VP9","opus","mp3"],"op":[],"presenter":null,"other":[],
            "allow-subgroups":true,"allow-anonymous":false}"#,
        );
        assert_eq!(description.clients_max, Some(3));
        assert_eq!(description.history_age_ms, 60_000);
        assert_eq!(description.codecs, ["vp9", "opus"]);
        assert!(description.has_auto_subgroups && description.is_autolock);
        let kept = RecordingRules {
            is_webm: true,
            keep_days: Some(Days(30)),
            bytes_max: Some(5_000_000_000),
            consent: Consent::Asked,
        };
        assert_eq!(description.recording, kept);
        let ann = description.user("a").unwrap();
        assert!(description.permissions(ann).has("record"));
        assert_eq!(
            description.user("b").unwrap().permissions,
            Grant::List(vec!["present".into(), "x".into()])
        );
        assert_eq!(description.user("c").unwrap().password, None);
        assert_eq!(description.user("zoe").unwrap().password, Some(Password::Wildcard));
    }

    #[test]
    fn legacy_users_are_upgraded_and_never_override() {
        let description = parse(
            r#"{"users":{"ann":{"permissions":"observe"}},
            "op":[{"username":"ann","password":"x"},{"username":"bob","password":"y"}],
            "presenter":[{}],"other":[{}]}"#,
        );
        assert_eq!(description.user("ann").unwrap().permissions, Grant::Role(Role::Observe));
        assert_eq!(description.user("bob").unwrap().permissions, Grant::Role(Role::Op));
        assert_eq!(description.user("eve").unwrap().permissions, Grant::Role(Role::Present));
    }

    #[test]
    fn unknown_keys_name_file_line_key_and_the_nearest_known_key() {
        let found = error("{\n  \"public\": true,\n  \"max-client\": 3\n}");
        assert_eq!(
            found.to_string(),
            "test.json:3: unknown key \"max-client\": did you mean \"max-clients\"?"
        );
        assert_eq!(found.key.as_deref(), Some("max-client"));
        let found = error("{\"users\":{\n\"a\":{\"pasword\":\"x\"}}}");
        assert_eq!(
            found.to_string(),
            "test.json:2: unknown key \"pasword\": did you mean \"password\"?"
        );
        let found = error("{\"zzzzzzzzzz\":1}");
        assert_eq!(found.to_string(), "test.json:1: unknown key \"zzzzzzzzzz\": remove it");
        let found = error("{\"users\":{\"a\":{\"permissions\":\"opp\"}}}");
        assert_eq!(
            found.to_string(),
            "test.json:1: unknown permission \"opp\": did you mean \"op\"?"
        );
    }

    #[test]
    fn broken_files_name_the_line() {
        assert_eq!(error("{\n\"public\": tru }").line, 2);
        assert_eq!(error("{\n\"public\": \"yes\"}").line, 2);
        assert_eq!(error("").line, 1);
        assert_eq!(error("{\"expires\":\"tomorrow\"}").line, 1);
        let found = error("{\n\"recording-keep-days\":0}").to_string();
        assert_eq!(found, "test.json:2: recording-keep-days: days must be from 1 to 36500");
        assert_eq!(error("{\"recording-max-bytes\":-1}").line, 1);
        let found = error("{\"recording-consent\":\"ask\"}").to_string();
        assert!(found.contains("\"operators\""), "{found}");
        // A lost letter in a title is no matter; in a name or a password it is.
        for text in [
            "{\n\"users\":{\"J\u{fc}rgen\":{}}}",
            "{\n\"users\":{\"a\":{\"password\":\"\u{fc}\"}}}",
        ] {
            let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
            let found = parse_description("t", &latin).unwrap_err();
            assert_eq!((found.line, found.message.as_str()), (2, "not UTF-8"));
        }
        let bomb = "[".repeat(100_000);
        assert!(error(&format!("{{\"authKeys\":{bomb}")).message.contains("recursion"));
    }

    #[test]
    fn subgroups_inherit_all_but_their_place_in_the_list() {
        let name = GroupName::parse("g").unwrap();
        let description = parse(r#"{"displayName":"D","description":"d","public":true,"op":[{}]}"#);
        assert_eq!(description.for_subgroup(&name), None);
        let description = parse(
            r#"{"displayName":"D","description":"d","public":true,"op":[{}],"auto-subgroups":true}"#,
        );
        let subgroup = description.for_subgroup(&name).unwrap();
        assert_eq!(subgroup.inherited_from, Some(name));
        assert_eq!(subgroup.listing.display_name, "D");
        assert!(subgroup.listing.description.is_empty() && !subgroup.listing.is_public);
        assert_eq!(subgroup.wildcard_user, description.wildcard_user);
    }

    #[test]
    fn regression_arrays_are_no_objects() {
        for text in [
            "[]",
            r#"["name"]"#,
            r#"{"users":{"ann":["secret","op"]}}"#,
            r#"{"users":["ann"]}"#,
            r#"{"wildcard-user":[{"type":"wildcard"},"op"]}"#,
            r#"{"op":[["ann"]]}"#,
        ] {
            let error = parse_description("g.json", text.as_bytes()).expect_err(text);
            assert!(error.to_string().contains("g.json:1"), "{error}");
        }
    }
}

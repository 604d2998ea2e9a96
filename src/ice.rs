//! `data/ice-servers.json`: the STUN and TURN servers that clients are told of. This server needs
//! none itself.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde::Deserialize;
use serde_json::{Map, Value};
use signalling::{base64, parse_json};

use crate::reread::{self, Look, Reread};

/// A larger file is not a list of servers.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// How long credentials made from a shared secret are good for.
const CREDENTIAL_FOR: Duration = Duration::from_secs(86_400);
/// What a server's URL starts with (RFC 7064, RFC 7065).
const SCHEMES: [&str; 4] = ["stun", "stuns", "turn", "turns"];
/// How often they are made anew.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1800);

#[derive(Clone, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
struct Server {
    #[serde(default)]
    urls: Vec<String>,
    username: Option<String>,
    credential: Option<String>,
    credential_type: Option<String>,
}
signalling::only_objects!(Server);

/// The file, and what was made of it.
pub(crate) struct IceServers {
    is_relay_only: bool,
    file: Reread,
    /// Those of the last good file.
    servers: Vec<Server>,
    made_at: Option<Instant>,
    /// Whether there has been a good file, or none.
    is_known: bool,
}

impl IceServers {
    /// Need not exist.
    pub(crate) fn new(data: &Path, is_relay_only: bool) -> Self {
        Self {
            is_relay_only,
            file: Reread::new(data.join("ice-servers.json"), FILE_BYTES_MAX),
            servers: Vec::new(),
            made_at: None,
            is_known: false,
        }
    }

    /// What browsers are to be told, if that has changed or is about to expire.
    pub(crate) fn refresh(&mut self) -> Option<Value> {
        let found = match self.file.look() {
            Look::Same => None,
            Look::Contents(text) => Some(parse(self.file.path(), text)),
            Look::Failed(message) => Some(Err(message)),
        };
        let is_fresh = self.made_at.is_some_and(|at| at.elapsed() < RENEWAL_INTERVAL);
        match found {
            None if is_fresh => return None,
            None => {}
            Some(Ok(entries)) => {
                let (servers, skipped) = usable(&entries);
                for reason in skipped {
                    tracing::warn!("{}: {reason}", self.file.path().display());
                }
                (self.servers, self.is_known) = (servers, true);
            }
            Some(Err(message)) => {
                let meanwhile = match self.is_known {
                    true => "of the servers that were good before",
                    false => "of no servers",
                };
                tracing::error!("{message}; until that is mended clients are told {meanwhile}");
            }
        }
        self.made_at = Some(Instant::now());
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(configuration(self.servers.clone(), self.is_relay_only, unix.as_secs()))
    }

    /// Reads the file, for whoever wants to know whether it is good: what is skipped, and why.
    pub(crate) fn check(&self) -> Result<Vec<String>, String> {
        let path = self.file.path();
        let text = reread::read(path, FILE_BYTES_MAX)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let (_, skipped) = usable(&parse(path, text.map(|(_, text)| text))?);
        Ok(skipped.into_iter().map(|reason| format!("{}: {reason}", path.display())).collect())
    }
}

fn parse(path: &Path, text: Option<Vec<u8>>) -> Result<Vec<Value>, String> {
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    parse_json(&path.display().to_string(), &text).map_err(|error| error.to_string())
}

/// The entries that make sense, and what is skipped of the others: one bad URL would keep a
/// browser from connecting at all.
fn usable(entries: &[Value]) -> (Vec<Server>, Vec<String>) {
    let mut servers = Vec::new();
    let mut skipped = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let mut skip = |reason: &str| skipped.push(format!("entry {} {reason}", index + 1));
        let mut server = match <Server as Deserialize>::deserialize(entry) {
            Ok(server) => server,
            Err(error) => {
                skip(&format!("is skipped: {error}"));
                continue;
            }
        };
        server.urls.retain(|url| {
            let (scheme, host) = url.split_once(':').unwrap_or_default();
            let is_known =
                SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()) && !host.is_empty();
            if !is_known {
                skip(&format!(
                    "has the URL {url:?}, which is skipped: stun:, stuns:, turn: or turns: and a \
                     host are wanted"
                ));
            }
            is_known
        });
        match server.flaw() {
            None => servers.push(server),
            Some(flaw) => skip(&format!("is skipped: {flaw}")),
        }
    }
    (servers, skipped)
}

impl Server {
    /// The type of the credential.
    fn kind(&self) -> &str {
        let kind = self.credential_type.as_deref().filter(|kind| !kind.is_empty());
        kind.unwrap_or("password")
    }

    /// Why it cannot be used.
    fn flaw(&self) -> Option<&'static str> {
        if self.urls.is_empty() {
            return Some("it has no URLs");
        }
        // A relay asks who one is; browsers refuse to begin without an answer.
        let is_relay = self.urls.iter().any(|url| url.to_ascii_lowercase().starts_with("turn"));
        match self.kind() {
            "hmac-sha1" if self.credential.is_none() => {
                Some("hmac-sha1 needs a credential, the secret shared with the server")
            }
            "password" | "oauth"
                if is_relay && (self.username.is_none() || self.credential.is_none()) =>
            {
                Some("a TURN server needs a username and a credential")
            }
            "hmac-sha1" | "password" | "oauth" => None,
            _ => Some("its credentialType must be password, oauth or hmac-sha1"),
        }
    }

    /// As browsers want it.
    fn described(self, unix_s: u64) -> Value {
        let kind = self.kind().to_owned();
        let (mut username, mut credential) = (self.username, self.credential);
        let mut told = kind.as_str();
        // The scheme of coturn's use-auth-secret.
        if kind == "hmac-sha1" {
            let expiry = unix_s + CREDENTIAL_FOR.as_secs();
            let name = match username.filter(|username| !username.is_empty()) {
                Some(username) => format!("{expiry}:{username}"),
                None => expiry.to_string(),
            };
            let secret = credential.unwrap_or_default();
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
            credential = Some(base64::encode(hmac::sign(&key, name.as_bytes()).as_ref()));
            username = Some(name);
            told = "password";
        }
        let mut fields = Map::new();
        fields.insert("urls".into(), self.urls.into());
        fields.insert("credentialType".into(), told.into());
        for (key, value) in [("username", username), ("credential", credential)] {
            if let Some(value) = value {
                fields.insert(key.into(), value.into());
            }
        }
        Value::Object(fields)
    }
}

/// The `rtcConfiguration` of `joined`.
fn configuration(servers: Vec<Server>, is_relay_only: bool, unix_s: u64) -> Value {
    let listed: Vec<Value> = servers.into_iter().map(|server| server.described(unix_s)).collect();
    let mut configuration = Map::new();
    if !listed.is_empty() {
        configuration.insert("iceServers".into(), Value::Array(listed));
    }
    if is_relay_only {
        configuration.insert("iceTransportPolicy".into(), "relay".into());
    }
    Value::Object(configuration)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_of_every_type() {
        let servers = [
            json!({"urls": ["stun:s.example"]}),
            json!({"urls": ["turn:t.example"], "username": "u", "credential": "c"}),
            json!({"urls": ["turn:h.example"], "username": "u", "credential": "secret",
                "credentialType": "hmac-sha1"}),
            json!({"urls": [], "username": "u"}),
            json!({"urls": ["turn:x.example"], "credentialType": "magic"}),
            json!(3),
            json!({"urls": ["stun:s2.example", "http://s.example"]}),
            json!({"urls": ["turn:t.example"], "username": "u"}),
            json!({"urls": ["turn:t.example"], "credentialType": "hmac-sha1"}),
        ];
        let (good, skipped) = usable(&servers);
        let made = configuration(good, true, 1_000_000);
        let listed = made["iceServers"].as_array().unwrap();
        assert_eq!(listed.len(), 4);
        assert_eq!(listed[3]["urls"], json!(["stun:s2.example"]));
        let entries = ["entry 4 ", "entry 5 ", "entry 6 ", "entry 7 ", "entry 8 ", "entry 9 "];
        assert_eq!(skipped.len(), entries.len(), "{skipped:?}");
        for (reason, entry) in skipped.iter().zip(entries) {
            assert!(reason.starts_with(entry), "{reason}");
        }
        assert_eq!(listed[0], json!({"urls": ["stun:s.example"], "credentialType": "password"}));
        assert_eq!((&listed[1]["username"], &listed[1]["credential"]), (&json!("u"), &json!("c")));
        assert_eq!(listed[2]["username"], "1086400:u");
        // printf 1086400:u | openssl dgst -sha1 -hmac secret -binary | base64
        assert_eq!(listed[2]["credential"], "sIFW28enbyIErsh9e1zmE7/lwxA=");
        assert_eq!(listed[2]["credentialType"], "password");
        assert_eq!(made["iceTransportPolicy"], "relay");
        assert_eq!(configuration(Vec::new(), false, 0), json!({}));
    }
}

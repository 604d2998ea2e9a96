//! `data/ice-servers.json`: the STUN and TURN servers that clients are told of. This server needs
//! none itself.

use std::path::Path;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use serde_json::{Map, Value};
use signalling::{ICE_SERVERS_BYTES_MAX, IceCredentialType, IceServer, base64, parse_ice_servers};

use crate::clock::unix_s;
use crate::reread::{self, Look, Reread};

/// How long credentials made from a shared secret are good for.
const CREDENTIAL_FOR: Duration = Duration::from_secs(86_400);
/// How often they are made anew.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1800);

/// The file, and what was made of it.
pub(crate) struct IceServers {
    is_relay_only: bool,
    file: Reread,
    /// Those of the last good file.
    servers: Vec<IceServer>,
    made_at: Option<Instant>,
    /// Whether there has been a good file, or none.
    is_known: bool,
}

impl IceServers {
    /// The folder need not exist.
    pub(crate) fn new(data: &Path, is_relay_only: bool) -> Self {
        Self {
            is_relay_only,
            file: Reread::new(data.join("ice-servers.json"), ICE_SERVERS_BYTES_MAX),
            servers: Vec::new(),
            made_at: None,
            is_known: false,
        }
    }

    /// What browsers are to be told, if that has changed or is about to expire.
    pub(crate) fn refresh(&mut self) -> Option<Value> {
        let path = self.file.path().display().to_string();
        let found = match self.file.look() {
            Look::Same => None,
            Look::Contents(text) => Some(parse(&path, text)),
            Look::Failed(message) => Some(Err(format!("{path}: {message}"))),
        };
        let is_fresh = self.made_at.is_some_and(|at| at.elapsed() < RENEWAL_INTERVAL);
        match found {
            None if is_fresh => return None,
            None => {}
            Some(Ok((servers, notes))) => {
                for note in notes {
                    tracing::warn!("{path}: {note}");
                }
                if self.is_known {
                    tracing::info!("{path}: read again, {} servers", servers.len());
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
        Some(configuration(self.servers.clone(), self.is_relay_only, unix_s()))
    }

    /// Whether the last good file names a TURN server.
    pub(crate) fn has_relay(&self) -> bool {
        let mut urls = self.servers.iter().flat_map(|server| &server.urls);
        urls.any(|url| url.to_ascii_lowercase().starts_with("turn"))
    }

    /// Reads the file, for whoever wants to know whether it is good: what is skipped, and why.
    pub(crate) fn check(&self) -> Result<Vec<String>, String> {
        let path = self.file.path().display().to_string();
        let text = reread::read(self.file.path(), ICE_SERVERS_BYTES_MAX)
            .map_err(|error| format!("{path}: {error}"))?;
        let (_, notes) = parse(&path, text.map(|(_, text)| text))?;
        Ok(notes.into_iter().map(|note| format!("{path}: {note}")).collect())
    }
}

/// The servers, with notes on what is ignored; none if there is no file.
fn parse(file: &str, text: Option<Vec<u8>>) -> Result<(Vec<IceServer>, Vec<String>), String> {
    let Some(text) = text else {
        return Ok(Default::default());
    };
    parse_ice_servers(file, &text).map_err(|error| error.to_string())
}

/// A server as browsers want it.
fn described(server: IceServer, unix_s: u64) -> Value {
    let IceServer { urls, mut username, mut credential, credential_type } = server;
    let told = match credential_type {
        IceCredentialType::Oauth => "oauth",
        IceCredentialType::Password | IceCredentialType::HmacSha1 => "password",
    };
    if credential_type == IceCredentialType::HmacSha1 {
        let expiry = unix_s + CREDENTIAL_FOR.as_secs();
        let name = match username.filter(|username| !username.is_empty()) {
            Some(username) => format!("{expiry}:{username}"),
            None => expiry.to_string(),
        };
        let secret = credential.unwrap_or_default();
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        credential = Some(base64::encode(hmac::sign(&key, name.as_bytes()).as_ref()));
        username = Some(name);
    }
    let mut fields = Map::new();
    fields.insert("urls".into(), urls.into());
    fields.insert("credentialType".into(), told.into());
    for (key, value) in [("username", username), ("credential", credential)] {
        if let Some(value) = value {
            fields.insert(key.into(), value.into());
        }
    }
    Value::Object(fields)
}

/// The `rtcConfiguration` of `joined`.
fn configuration(servers: Vec<IceServer>, is_relay_only: bool, unix_s: u64) -> Value {
    let listed: Vec<Value> = servers.into_iter().map(|server| described(server, unix_s)).collect();
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
        let text = r#"[{"urls":["stun:s.example"]},
            {"urls":["turn:t.example"],"username":"u","credential":"c"},
            {"urls":["turn:h.example"],"username":"u","credential":"secret",
                "credentialType":"hmac-sha1"},
            3]"#;
        let (servers, notes) = parse("ice-servers.json", Some(text.into())).unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        let made = configuration(servers, true, 1_000_000);
        let listed = made["iceServers"].as_array().unwrap();
        assert_eq!(listed.len(), 3);
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

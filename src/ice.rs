//! `data/ice-servers.json`: the STUN and TURN servers that clients are told of. This server needs
//! none itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use signalling::base64;

/// A larger file is not a list of servers.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// How long credentials made from a shared secret are good for.
const CREDENTIAL_FOR: Duration = Duration::from_secs(86_400);
/// How often they are made anew.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1800);

#[derive(Deserialize)]
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
    path: PathBuf,
    is_relay_only: bool,
    stamp: Option<(SystemTime, u64)>,
    made_at: Option<Instant>,
}

impl IceServers {
    /// Need not exist.
    pub(crate) fn new(data: &Path, is_relay_only: bool) -> Self {
        Self { path: data.join("ice-servers.json"), is_relay_only, stamp: None, made_at: None }
    }

    /// What browsers are to be told, if that has changed or is about to expire.
    pub(crate) fn refresh(&mut self) -> Option<Value> {
        let metadata = fs::metadata(&self.path).ok();
        let stamp = metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
        let is_fresh = self.made_at.is_some_and(|at| at.elapsed() < RENEWAL_INTERVAL);
        if is_fresh && stamp == self.stamp {
            return None;
        }
        self.stamp = stamp;
        self.made_at = Some(Instant::now());
        let servers = match self.read() {
            Ok(servers) => servers,
            Err(message) => {
                tracing::error!("{}: {message}; the old servers stay", self.path.display());
                return None;
            }
        };
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(configuration(&servers, self.is_relay_only, unix.as_secs()))
    }

    fn read(&self) -> Result<Vec<Value>, String> {
        match self.stamp {
            None => return Ok(Vec::new()),
            Some((_, bytes)) if bytes > FILE_BYTES_MAX => return Err("too large".to_owned()),
            Some(_) => {}
        }
        let text = fs::read(&self.path).map_err(|error| error.to_string())?;
        serde_json::from_slice(&text).map_err(|error| error.to_string())
    }
}

/// The `rtcConfiguration` of `joined`. Entries that make no sense are skipped.
fn configuration(servers: &[Value], is_relay_only: bool, unix_s: u64) -> Value {
    let mut listed = Vec::new();
    for server in servers {
        match <Server as Deserialize>::deserialize(server)
            .ok()
            .and_then(|server| described(server, unix_s))
        {
            Some(server) => listed.push(server),
            None => tracing::error!("an entry of ice-servers.json cannot be used and is skipped"),
        }
    }
    let mut configuration = Map::new();
    if !listed.is_empty() {
        configuration.insert("iceServers".into(), Value::Array(listed));
    }
    if is_relay_only {
        configuration.insert("iceTransportPolicy".into(), "relay".into());
    }
    Value::Object(configuration)
}

fn described(server: Server, unix_s: u64) -> Option<Value> {
    if server.urls.is_empty() {
        return None;
    }
    let kind = server.credential_type.as_deref().filter(|kind| !kind.is_empty());
    let kind = kind.unwrap_or("password");
    let mut described = json!({"urls": server.urls, "credentialType": kind});
    let fields = described.as_object_mut()?;
    match kind {
        "password" | "oauth" => {
            for (key, value) in [("username", server.username), ("credential", server.credential)] {
                if let Some(value) = value {
                    fields.insert(key.into(), value.into());
                }
            }
        }
        // The scheme of coturn's use-auth-secret.
        "hmac-sha1" => {
            let expiry = unix_s + CREDENTIAL_FOR.as_secs();
            let username = match server.username.filter(|username| !username.is_empty()) {
                Some(username) => format!("{expiry}:{username}"),
                None => expiry.to_string(),
            };
            let secret = server.credential?;
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
            let credential = base64::encode(hmac::sign(&key, username.as_bytes()).as_ref());
            fields.insert("username".into(), username.into());
            fields.insert("credential".into(), credential.into());
            fields.insert("credentialType".into(), "password".into());
        }
        _ => return None,
    }
    Some(described)
}

#[cfg(test)]
mod tests {
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
        ];
        let made = configuration(&servers, true, 1_000_000);
        let listed = made["iceServers"].as_array().unwrap();
        assert_eq!(listed.len(), 3);
        assert_eq!(listed[0], json!({"urls": ["stun:s.example"], "credentialType": "password"}));
        assert_eq!((&listed[1]["username"], &listed[1]["credential"]), (&json!("u"), &json!("c")));
        assert_eq!(listed[2]["username"], "1086400:u");
        // printf 1086400:u | openssl dgst -sha1 -hmac secret -binary | base64
        assert_eq!(listed[2]["credential"], "sIFW28enbyIErsh9e1zmE7/lwxA=");
        assert_eq!(listed[2]["credentialType"], "password");
        assert_eq!(made["iceTransportPolicy"], "relay");
        assert_eq!(configuration(&[], false, 0), json!({}));
    }
}

//! `ice-servers.json`: the STUN and TURN servers that clients are told of
//! (docs/admin-api.md).

use std::net::Ipv6Addr;

use serde_json::{Map, Value};

use crate::caseless::{field_of, get};
use crate::description_error::DescriptionError;
use crate::json_error::parse_file;
use crate::nearest::{means_nothing, nearest};

/// A larger file is not a list of servers.
pub const ICE_SERVERS_BYTES_MAX: u64 = 256 * 1024;
const KEYS: [&str; 4] = ["urls", "username", "credential", "credentialType"];

/// How clients prove to a server that they may use it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IceCredentialType {
    /// The user name and password as they stand.
    Password,
    /// Passed on as it is.
    Oauth,
    /// The credential is a secret shared with the server, from which user names and passwords are
    /// made that end (coturn's `use-auth-secret`).
    HmacSha1,
}

/// A server, as the file has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IceServer {
    /// At least one, and each is one that browsers take.
    pub urls: Vec<String>,
    /// A TURN server that gets no made ones has both, this and the next.
    pub username: Option<String>,
    /// The password or the secret.
    pub credential: Option<String>,
    /// How clients are to use the credential.
    pub credential_type: IceCredentialType,
}

/// Reads the file. With what can be used come notes on what is ignored, such as `entry 1: ...`:
/// browsers refuse the whole list for one entry that they do not take.
///
/// # Errors
///
/// If it is no JSON list.
pub fn parse_ice_servers(
    file: &str,
    text: &[u8],
) -> Result<(Vec<IceServer>, Vec<String>), DescriptionError> {
    let (entries, mut notes) = parse_file::<Vec<Value>>(file, text)?;
    let mut servers = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let mut note = |text: &str| notes.push(format!("entry {}: {text}", index + 1));
        let Some(entry) = entry.as_object() else {
            note("it is skipped, for it is no object with urls");
            continue;
        };
        for key in entry.keys().filter(|key| !KEYS.contains(&field_of(key, &KEYS))) {
            note(&means_nothing("key", key, nearest(key, KEYS)));
        }
        match read(entry, &mut note) {
            Ok(server) => servers.push(server),
            Err(why) if names_relay(entry) => {
                note(&format!("this TURN server is lost, and with it those who need one: {why}"))
            }
            Err(why) => note(&format!("it is skipped: {why}")),
        }
    }
    Ok((servers, notes))
}

/// Whether an entry means a TURN server, however it is written.
fn names_relay(entry: &Map<String, Value>) -> bool {
    let is_relay = |text: &str| text.trim_start().to_ascii_lowercase().starts_with("turn");
    entry.values().any(|value| match value {
        Value::String(text) => is_relay(text),
        Value::Array(items) => items.iter().filter_map(Value::as_str).any(is_relay),
        _ => false,
    })
}

fn read(entry: &Map<String, Value>, note: &mut impl FnMut(&str)) -> Result<IceServer, String> {
    let text = |key: &str| match get(entry, key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        // As browsers take it.
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(format!("{key} must be text")),
    };
    let (username, credential) = (text("username")?, text("credential")?);
    let credential_type = match text("credentialType")?.as_deref().unwrap_or_default() {
        "" | "password" => IceCredentialType::Password,
        "oauth" => IceCredentialType::Oauth,
        "hmac-sha1" if credential.is_some() => IceCredentialType::HmacSha1,
        "hmac-sha1" => return Err("hmac-sha1 needs the shared secret as credential".to_owned()),
        other => {
            return Err(format!("credentialType {other:?} is none of password, hmac-sha1, oauth"));
        }
    };
    // W3C's `urls` is one or a list.
    let given: Option<Vec<&str>> = match get(entry, "urls") {
        Some(Value::String(url)) => Some(vec![url]),
        // What is no text at all is missing, not wrong: an empty variable of a template.
        Some(Value::Array(urls)) => {
            urls.iter().filter(|url| !url.is_null()).map(Value::as_str).collect()
        }
        _ => None,
    };
    let Some(given) = given else {
        return Err("urls must be a list such as [\"stun:stun.example.org\"]".to_owned());
    };
    let mut urls = Vec::new();
    for url in given {
        match usable(url) {
            Some(url) => urls.push(url),
            None => note(&format!(
                "the URL {url:?} is skipped: it is not like stun:HOST, turn:HOST:PORT or \
                 turn:[ADDRESS]:PORT?transport=tcp, nor with stuns: or turns:"
            )),
        }
    }
    if urls.is_empty() {
        return Err("it has no URLs".to_owned());
    }
    // A relay asks who one is; browsers refuse to begin without an answer.
    let is_relay = urls.iter().any(|url| url.starts_with("turn"));
    let is_made = credential_type == IceCredentialType::HmacSha1;
    let is_there = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if is_relay && !is_made && !(is_there(&username) && is_there(&credential)) {
        return Err("a TURN server needs username and credential".to_owned());
    }
    Ok(IceServer { urls, username, credential, credential_type })
}

/// A URL as browsers take it (RFC 7064 s3.1, RFC 7065 s3.1), if it means one.
fn usable(url: &str) -> Option<String> {
    let (scheme, rest) = url.trim().split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    let (server, query) = rest.split_once('?').unwrap_or((rest, ""));
    let query = query.to_ascii_lowercase();
    let (host, port) = match server.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_server = !host.is_empty() && host.chars().all(is_name) && port.is_none_or(is_port);
    // STUN has no transport to choose, and not all browsers take one there.
    let query = match (scheme.as_str(), query.as_str()) {
        ("stun" | "stuns", "" | "transport=udp" | "transport=tcp") => String::new(),
        ("turn" | "turns", "") => String::new(),
        ("turn" | "turns", "transport=udp" | "transport=tcp") => format!("?{query}"),
        _ => return None,
    };
    is_server.then(|| format!("{scheme}:{server}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_browsers_take_are_kept_and_others_told() {
        for (entry, is_kept, words) in [
            (r#"{"urls":["stun:s.example","STUNS:s.example:1"]}"#, true, ""),
            (r#"{"urls":["turn:t.example"],"username":"u","credential":"c"}"#, true, ""),
            (r#"{"urls":["turn:t"],"credential":"c","credentialType":"hmac-sha1"}"#, true, ""),
            (r#"{"urls":["stun:s"],"username":null,"credentialType":""}"#, true, ""),
            (
                r#"{"Urls":["turn:t"],"UserName":"u","CREDENTIAL":"c","credentialtype":"hmac-sha1"}"#,
                true,
                "",
            ),
            (r#"{"urls":["stun:s"],"user":"u"}"#, true, "did you mean \"username\"?"),
            (r#"{"urls":["stun:s","http://s"]}"#, true, "\"http://s\" is skipped"),
            (r#"{"urls":["turn:t.example"]}"#, false, "needs username and credential"),
            (r#"{"urls":["turns:t"],"username":"u"}"#, false, "needs username and credential"),
            (r#"{"urls":["turn:t"],"credentialType":"oauth"}"#, false, "needs username and"),
            (r#"{"urls":["stun://s.example"]}"#, false, "it has no URLs"),
            (r#"{"urls":["s.example"]}"#, false, "it has no URLs"),
            (r#"{"urls":["stun:"]}"#, false, "it has no URLs"),
            (r#"{"urls":[]}"#, false, "it has no URLs"),
            ("{}", false, "urls must be a list"),
            (r#"{"urls":"stun:s.example"}"#, true, ""),
            (r#"{"urls":["turn:t"],"username":"","credential":"c"}"#, false, "needs username"),
            (r#"{"urls":["stun:s",3]}"#, false, "urls must be a list"),
            ("3", false, "no object"),
            (r#"{"urls":["stun:s"],"credentialType":"magic"}"#, false, "\"magic\""),
            (r#"{"urls":["turn:s"],"credentialType":"hmac-sha1"}"#, false, "shared secret"),
            (r#"{"urls":["turn:s"],"username":[3]}"#, false, "username must be text"),
        ] {
            let text = format!("[{entry}]");
            let (servers, notes) = parse_ice_servers("ice.json", text.as_bytes()).unwrap();
            assert_eq!(servers.len(), usize::from(is_kept), "{entry}");
            assert_eq!(notes.is_empty(), words.is_empty(), "{entry}: {notes:?}");
            let last = notes.last().map_or("", String::as_str);
            assert!(last.contains(words), "{entry}: {notes:?}");
            assert!(notes.iter().all(|note| note.starts_with("entry 1: ")), "{notes:?}");
        }
        for (url, taken) in [
            ("turn:t:3478?transport=tcp", "turn:t:3478?transport=tcp"),
            (" TURNS:t.example?transport=UDP ", "turns:t.example?transport=udp"),
            ("stun:[2001:db8::1]:3478", "stun:[2001:db8::1]:3478"),
            ("stun:s?transport=udp", "stun:s"),
            ("turn:t:99999", ""),
            ("turn:t:port", ""),
            ("turn:t:0", ""),
            ("stun:s:", ""),
            ("turn:t?transport=sctp", ""),
            ("turn:t?transport=tcp&x", ""),
            ("turn:u:p@t", ""),
            ("turn:t/path", ""),
            ("stun:2001:db8::1", ""),
            ("stun:[s]", ""),
            ("stun:[::1]x", ""),
        ] {
            assert_eq!(usable(url).unwrap_or_default(), taken, "{url:?}");
        }
        let loose = br#"[{"urls":[null,"turn:t"],"username":7,"credential":12345}]"#;
        let turn = &parse_ice_servers("f", loose).unwrap().0[0];
        assert_eq!((turn.urls.len(), turn.credential.as_deref()), (1, Some("12345")));
        let one_bad = br#"[{"urls":["stun:s","s"]}]"#;
        assert_eq!(parse_ice_servers("f", one_bad).unwrap().0[0].urls, ["stun:s"]);
        for (text, words) in [("[", "ice.json:1: not JSON"), ("{}", "a list is wanted")] {
            let error = parse_ice_servers("ice.json", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}

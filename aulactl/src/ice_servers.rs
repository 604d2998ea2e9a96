//! What is wrong with `ice-servers.json`, the STUN and TURN servers that clients are told of. A
//! browser refuses all of them for one that it cannot read.

use serde_json::{Map, Value};

/// What a browser takes (RFC 7064, RFC 7065).
const SCHEMES: [&str; 4] = ["stun", "stuns", "turn", "turns"];

/// What is wrong, entry by entry.
#[derive(Default)]
pub(crate) struct Faults {
    /// Nobody gets media with these.
    pub(crate) fatal: Vec<String>,
    /// The server leaves these entries out, as Galene does.
    pub(crate) skipped: Vec<String>,
}

/// Looks at the file's text. The error is that of a file that is no list of servers.
pub(crate) fn look(file: &str, text: &[u8]) -> Result<Faults, String> {
    let value: Value = signalling::parse_json(file, text)
        .map_err(|error: signalling::DescriptionError| error.to_string())?;
    let Value::Array(entries) = value else {
        return Err(format!("{file}: must be a list of objects with urls"));
    };
    let mut faults = Faults::default();
    for (index, entry) in entries.iter().enumerate() {
        let place = format!("{file}: entry {index}");
        let Some(entry) = entry.as_object() else {
            faults.skipped.push(format!("{place} is skipped: it is no object with urls"));
            continue;
        };
        match usable(entry) {
            Err(why) => faults.skipped.push(format!("{place} is skipped: {why}")),
            Ok(urls) => {
                let fatal = urls.iter().filter_map(|url| refusal(url, entry));
                faults.fatal.extend(fatal.map(|why| {
                    format!("{place}: {why}; browsers refuse the whole list, nobody gets media")
                }));
            }
        }
    }
    Ok(faults)
}

/// The URLs of an entry that is not skipped.
fn usable(entry: &Map<String, Value>) -> Result<Vec<&str>, String> {
    let text = |key: &str| match entry.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("{key} must be text")),
    };
    for key in ["username", "credential"] {
        text(key)?;
    }
    match text("credentialType")?.unwrap_or_default() {
        "" | "password" | "oauth" => {}
        "hmac-sha1" if text("credential")?.is_some() => {}
        "hmac-sha1" => return Err("hmac-sha1 needs the shared secret as credential".to_owned()),
        other => {
            return Err(format!("unknown credentialType {other:?}: password, hmac-sha1 or oauth"));
        }
    }
    let urls = entry.get("urls").and_then(Value::as_array);
    let urls: Option<Vec<&str>> = urls.and_then(|urls| urls.iter().map(Value::as_str).collect());
    urls.filter(|urls| !urls.is_empty())
        .ok_or_else(|| "urls must be a list such as [\"stun:stun.example.org\"]".to_owned())
}

/// Why a browser refuses the URL.
fn refusal(url: &str, entry: &Map<String, Value>) -> Option<String> {
    let (scheme, host) = url.split_once(':').unwrap_or((url, ""));
    let is_scheme = SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    if !is_scheme || host.is_empty() || host.starts_with('/') {
        return Some(format!(
            "{url:?} is no URL like stun:HOST or turn:HOST:PORT, nor stuns: or turns:"
        ));
    }
    let is_made = entry.get("credentialType").and_then(Value::as_str) == Some("hmac-sha1");
    let has = |key: &str| entry.get(key).and_then(Value::as_str).is_some();
    let is_turn = scheme.to_ascii_lowercase().starts_with("turn");
    (is_turn && !is_made && !(has("username") && has("credential")))
        .then(|| format!("{url:?} needs username and credential"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regression_entries_that_are_no_use_are_told() {
        for (entry, fatal, skipped) in [
            (r#"{"urls":["stun:s.example","STUNS:s.example:1"]}"#, "", ""),
            (r#"{"urls":["turn:t.example"],"username":"u","credential":"c"}"#, "", ""),
            (r#"{"urls":["turn:t"],"credential":"c","credentialType":"hmac-sha1"}"#, "", ""),
            (r#"{"urls":["turn:t.example"]}"#, "needs username and credential", ""),
            (r#"{"urls":["turns:t"],"username":"u"}"#, "needs username and credential", ""),
            (r#"{"urls":["https://s.example"]}"#, "is no URL like", ""),
            (r#"{"urls":["stun://s.example"]}"#, "is no URL like", ""),
            (r#"{"urls":["s.example"]}"#, "is no URL like", ""),
            (r#"{"urls":["stun:"]}"#, "is no URL like", ""),
            ("{}", "", "urls must be a list"),
            (r#"{"urls":[]}"#, "", "urls must be a list"),
            (r#"{"urls":"stun:s.example"}"#, "", "urls must be a list"),
            (r#"{"urls":["stun:s",3]}"#, "", "urls must be a list"),
            ("3", "", "no object"),
            (r#"{"urls":["stun:s"],"credentialType":"magic"}"#, "", "\"magic\""),
            (r#"{"urls":["turn:s"],"credentialType":"hmac-sha1"}"#, "", "shared secret"),
            (r#"{"urls":["turn:s"],"username":3}"#, "", "username must be text"),
        ] {
            let text = format!("[{entry}]");
            let faults = look("ice.json", text.as_bytes()).expect(entry);
            for (found, words) in [(faults.fatal, fatal), (faults.skipped, skipped)] {
                assert_eq!(found.len(), usize::from(!words.is_empty()), "{entry}: {found:?}");
                let is_told = |line: &String| line.contains(words) && line.contains("entry 0");
                assert!(found.iter().all(is_told), "{entry}: {found:?}");
            }
        }
        for (text, words) in [("[", "ice.json:1: not JSON"), ("{}", "must be a list")] {
            let error = look("ice.json", text.as_bytes()).err().expect(text);
            assert!(error.contains(words), "{error}");
        }
    }
}

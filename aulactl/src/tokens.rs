//! Commands about tokens.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Method;
use hyper::header;
use serde_json::{Value, json};
use signalling::{Grant, Role, UnixMs, encode_path};

use crate::client::Client;
use crate::failure::Failure;
use crate::flags::{Flag, Flags};
use crate::groups::{self, merge};
use crate::pattern::listed;
use crate::users::{initials, permissions};
use crate::{DURATION, Done, GROUP, PERMISSIONS, say};

/// Of `create-token`.
pub(crate) const CREATING: &[Flag] = &[
    GROUP,
    Flag::value("user", "NAME", "who enters with it; if empty, whatever name they choose"),
    PERMISSIONS,
    Flag::switch("include-subgroups", "good for groups below as well"),
    DURATION,
];

/// How long a token is good unless said otherwise.
const DURATION_DEFAULT: &str = "24h";
/// A revoked token ended this long ago.
const REVOKED_MS: i64 = 60_000;

/// The tokens' path below `.groups/`; the empty group is the server.
fn folder(flags: &Flags) -> Result<String, Failure> {
    match flags.need("group")? {
        "" => Ok(".tokens/".to_owned()),
        _ => Ok(format!("{}/.tokens/", groups::path(flags)?)),
    }
}

fn path(flags: &Flags) -> Result<String, Failure> {
    Ok(format!("{}{}", folder(flags)?, encode_path(flags.need("token")?)))
}

fn now() -> UnixMs {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(unix.as_millis()).unwrap_or_default())
}

fn after(ms: i64) -> Value {
    UnixMs(now().0.saturating_add(ms)).to_rfc3339().into()
}

/// Tokens have lists, never names of sets.
fn expanded(text: &str) -> Result<Value, Failure> {
    let permissions = permissions(text)?;
    match permissions.as_str().and_then(Role::from_name) {
        Some(role) => Ok(json!(Grant::Role(role).expand(Default::default()).as_slice())),
        None => Ok(permissions),
    }
}

/// Numbers with units, as in `1h30m`; days, too. In milliseconds.
fn duration(text: &str) -> Result<i64, Failure> {
    let bad = || Failure::flag(format!("-duration: {text:?} is not a time like 24h, 90m or 7d"));
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut total = 0.0;
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let ms = match unit {
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 60e3,
            "h" => 3600e3,
            "d" => 86_400e3,
            _ => return Err(bad()),
        };
        total += number.parse::<f64>().map_err(|_| bad())? * ms;
        rest = after;
    }
    // A century is for ever.
    if !total.is_finite() || total > 100.0 * 366.0 * 86_400e3 {
        return Err(bad());
    }
    Ok(if is_negative { -total as i64 } else { total as i64 })
}

/// How long a token is to be good from now on, in milliseconds.
fn lifetime(text: &str) -> Result<i64, Failure> {
    match duration(text)? {
        ms if ms > 0 => Ok(ms),
        _ => Err(Failure::new(format!(
            "-duration: after {text} the token would never be good: give a time like 24h, or end \
             one with revoke-token"
        ))),
    }
}

/// The group's page as its server tells it, which knows of proxies and of its canonical host.
fn page(client: &Client, group: &str) -> String {
    let group = encode_path(group);
    let status = format!("/group/{group}/.status");
    let told = client.request(Method::GET, &status, &[], None).ok().and_then(|answer| {
        if answer.status.is_redirection() {
            let to = answer.header(header::LOCATION)?;
            return to.strip_suffix(".status").map(str::to_owned);
        }
        let status: Value = serde_json::from_slice(&answer.body).ok()?;
        status.get("location")?.as_str().map(str::to_owned)
    });
    let told = told.filter(|url| url.starts_with("http://") || url.starts_with("https://"));
    told.unwrap_or_else(|| format!("{}/group/{group}/", client.url))
}

/// When a token ends, as a person reads it: date and time of day as they are written.
fn ends(expires: Option<&str>, now: UnixMs) -> String {
    let Some(expires) = expires else {
        return "(no expiration date)".to_owned();
    };
    match UnixMs::parse(expires) {
        Some(at) if at < now => "(expired)".to_owned(),
        _ => expires.chars().take(19).collect::<String>().replace(['T', 't'], " "),
    }
}

/// `list-tokens`
pub(crate) fn list(flags: &Flags, client: &Client) -> Done {
    let folder = folder(flags)?;
    let mut names = client.names(&folder)?;
    names.sort();
    for name in listed(flags.words(), &names)? {
        if !flags.is_on("l") {
            say(&format!("{name}\n"))?;
            continue;
        }
        let (token, _) = client.get(&format!("{folder}{}", encode_path(name)))?;
        let username = token.get("username").and_then(Value::as_str).unwrap_or_default();
        let is_deep = token.get("includeSubgroups").and_then(Value::as_bool).unwrap_or_default();
        let permissions = initials(token.get("permissions").unwrap_or(&Value::Null));
        let permissions = format!("{}{permissions}", if is_deep { "H" } else { "" });
        let expires = ends(token.get("expires").and_then(Value::as_str), now());
        say(&format!("{name:<11} {username:<20} {permissions:<4} {expires:<20}\n"))?;
    }
    Ok(())
}

/// `create-token`
pub(crate) fn create(flags: &Flags, client: &Client) -> Done {
    let ms = lifetime(flags.get("duration").unwrap_or(DURATION_DEFAULT))?;
    let mut token = json!({
        "permissions": expanded(flags.get("permissions").unwrap_or("present"))?,
        "expires": after(ms),
        "issuedAt": after(0),
    });
    if let Some(username) = flags.get("user").filter(|name| !name.is_empty()) {
        merge(&mut token, &json!({"username": username}));
    }
    if flags.is_on("include-subgroups") {
        merge(&mut token, &json!({"includeSubgroups": true}));
    }
    let body = Some(("application/json", token.to_string()));
    let answer = client.api(Method::POST, &folder(flags)?, &[], body)?;
    let location = answer.headers.get(header::LOCATION).and_then(|at| at.to_str().ok());
    let location = location.ok_or_else(|| Failure::new("the server did not say which token"))?;
    let token = location.rsplit('/').next().unwrap_or(location);
    if let Some(group) = flags.get("group").filter(|group| !group.is_empty()) {
        // Only the token goes to standard output, for scripts.
        let _ = writeln!(
            std::io::stderr(),
            "aulactl: the link is {}?token={token}",
            page(client, group)
        );
    }
    say(&format!("{location}\n"))
}

/// `update-token`
pub(crate) fn update(flags: &Flags, client: &Client) -> Done {
    let mut change = json!({});
    if let Some(text) = flags.get("permissions") {
        merge(&mut change, &json!({"permissions": expanded(text)?}));
    }
    if let Some(text) = flags.get("duration") {
        merge(&mut change, &json!({"expires": after(lifetime(text)?)}));
    }
    if change == json!({}) {
        return Err(Failure::new("nothing to change: give -permissions or -duration"));
    }
    client.update(&path(flags)?, |token| {
        merge(token, &change);
        Ok(())
    })
}

/// `revoke-token`
pub(crate) fn revoke(flags: &Flags, client: &Client) -> Done {
    client.update(&path(flags)?, |token| {
        merge(token, &json!({"expires": after(-REVOKED_MS)}));
        Ok(())
    })
}

/// `delete-token`
pub(crate) fn delete(flags: &Flags, client: &Client) -> Done {
    client.delete(&path(flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("-1m", -60_000),
            ("7d", 604_800_000),
            ("1.5s", 1500),
            ("0", 0),
        ] {
            assert_eq!(duration(text).ok(), Some(ms), "{text}");
        }
        for bad in ["", "24", "h", "1y", "-", "1..5s", "999999999d"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn regression_no_token_ends_before_it_begins() {
        assert_eq!(lifetime("1s").ok(), Some(1000));
        for dead in ["0", "0s", "-1h", "0.1ms"] {
            let error = lifetime(dead).unwrap_err().to_string();
            assert!(error.contains("revoke-token"), "{dead}: {error}");
        }
    }

    #[test]
    fn ends_as_written() {
        let now = UnixMs::parse("2026-11-22T21:00:00Z").unwrap();
        for (expires, text) in [
            (None, "(no expiration date)"),
            (Some("2026-11-22T20:59:59Z"), "(expired)"),
            (Some("2026-11-22T22:30:00+02:00"), "(expired)"),
            (Some("2026-11-23T01:02:03.456Z"), "2026-11-23 01:02:03"),
            (Some("2026-11-23T01:02:03+02:00"), "2026-11-23 01:02:03"),
        ] {
            assert_eq!(ends(expires, now), text);
        }
    }

    #[test]
    fn tokens_get_lists() {
        assert_eq!(expanded("present").ok(), Some(json!(["present", "message"])));
        assert_eq!(expanded("[\"x\"]").ok(), Some(json!(["x"])));
        assert!(expanded("presnt").is_err());
    }
}

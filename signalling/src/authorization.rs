//! The `Authorization` header (RFC 9110 s11.6.2) of HTTP adapters, as group credentials.

use crate::hub::Credentials;

/// The user that publishes without saying who it is.
pub(crate) const DEFAULT_USERNAME: &str = "whip";

/// Reads the header. A bearer is the password of user `whip`; Basic (RFC 7617) is a group's own
/// user; no header is user `whip` with an empty password. Nothing if it cannot be read.
pub(crate) fn credentials(header: Option<&str>) -> Option<Credentials> {
    let Some(header) = header else {
        return Some(of(DEFAULT_USERNAME, ""));
    };
    let (scheme, rest) = header.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(of(DEFAULT_USERNAME, rest));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(base64(rest)?).ok()?;
        let (username, password) = decoded.split_once(':')?;
        return Some(of(username, password));
    }
    None
}

fn of(username: &str, password: &str) -> Credentials {
    Credentials {
        username: Some(username.to_owned()),
        password: password.to_owned(),
        token: String::new(),
    }
}

/// RFC 4648 s4; padding may be missing.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0u32, 0u32);
    for character in text.bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    (count < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: Option<&str>) -> Option<(String, String)> {
        let credentials = credentials(header)?;
        Some((credentials.username?, credentials.password))
    }

    #[test]
    fn schemes_map_to_users() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read(None), pair("whip", ""));
        assert_eq!(read(Some("Bearer sesame")), pair("whip", "sesame"));
        assert_eq!(read(Some("bEARER  sesame ")), pair("whip", "sesame"));
        assert_eq!(read(Some("Basic YW5uOnNlOnNhbWU=")), pair("ann", "se:same"));
        assert_eq!(read(Some("basic YW5uOg")), pair("ann", ""));
        assert_eq!(read(Some("Basic Og==")), pair("", ""));
        for bad in ["", "Basic", "Basic !", "Basic YW5u", "Basic /w==", "Digest x", "Basic A"] {
            assert_eq!(read(Some(bad)), None, "{bad:?}");
        }
    }
}

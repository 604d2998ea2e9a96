//! Fuzzes what opens doors: signed tokens, the keys they are checked with, and kept tokens. The
//! input is a header, claims and one more JSON text, a line each.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use libfuzzer_sys::fuzz_target;
use signalling::jwt::{self, Audience};
use signalling::{GroupName, Key, Token, UnixMs};

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const NOW: UnixMs = UnixMs(1_700_000_000_000);

static KEYS: LazyLock<[Key; 1]> = LazyLock::new(|| {
    let jwk = serde_json::json!({"kty": "oct", "alg": "HS256", "k": encode(SECRET)});
    [Key::from_jwk(&jwk).expect("it is a key")]
});

/// RFC 4648 s5, without padding.
fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - group.len()));
        for digit in 0..=group.len() {
            let index = word >> (18 - 6 * digit) & 63;
            text.push(char::from(DIGITS[index as usize]));
        }
    }
    text
}

fn signed(header: &[u8], claims: &[u8], secret: &[u8]) -> String {
    let text = format!("{}.{}", encode(header), encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", encode(tag.as_ref()))
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (header, claims) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let more = lines.next().unwrap_or_default();
    let group = GroupName::parse("a/b").expect("it is a name");
    let audience = Audience { group: &group, host: "", base: "" };
    let verify = |token: &str| jwt::verify(token, &*KEYS, audience, NOW);

    // Whatever it says, what others have signed opens nothing.
    assert!(verify(&signed(header, claims, b"somebody else's secret, as long.")).is_err());
    assert!(verify(&format!("{}.{}.", encode(header), encode(claims))).is_err());
    if let Ok(grant) = verify(&signed(header, claims, SECRET)) {
        let expires = grant.expires.expect("a token without an end is none");
        assert!(expires.0 + 5_000 > NOW.0, "it is over");
        assert!(grant.username.is_none_or(|name| !name.is_empty()));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(verify(text).is_err(), "nobody guesses a signature");
    }

    if let Ok(value) = serde_json::from_slice(more) {
        // A public key must never serve as the secret of an HMAC.
        if let Ok(key) = Key::from_jwk(&value) {
            let forged = signed(br#"{"alg":"HS256"}"#, claims, more);
            let is_secret = value.get("kty").and_then(serde_json::Value::as_str) == Some("oct");
            assert!(is_secret || jwt::verify(&forged, &[key], audience, NOW).is_err());
        }
        if let Ok(token) = serde_json::from_value::<Token>(value) {
            let text = serde_json::to_string(&token).expect("it prints");
            let again: Token = serde_json::from_str(&text).expect("what was printed is read");
            assert_eq!(again, token);
            let _ = (token.covers(&group, &group), token.is_current(NOW), token.is_global());
        }
    }
});

//! Signed tokens (RFC 7519, RFC 7515 compact form): who the bearer is and what it may do in a
//! group, on the word of whoever holds one of the group's keys.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::base64::decode_url;
use crate::key::Key;
use crate::name::{GroupName, percent_decode};
use crate::surrogates::without_lone_surrogates;
use crate::time::UnixMs;
use crate::token::TokenGrant;

/// A longer one is refused before it is decoded.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// How far the signer's clock may be off.
const LEEWAY_MS: i64 = 5_000;
/// The latest date that can be written, in seconds: the end of the year 9999. A later one, such as
/// of who counts in milliseconds, is that.
const DATE_S_MAX: f64 = 253_402_300_799.0;
/// More seconds than this do not fit into 64 bits, and are no date.
const SECONDS_MAX: f64 = 9e18;

/// Why a token is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum JwtError {
    /// It does not have the form of one: it may be a token of another kind.
    NotAJwt,
    /// None of the keys has signed it.
    BadSignature,
    /// Its header or claims cannot be used.
    BadClaims,
    /// Its time is over, or it never ends.
    Expired,
    /// Its time is yet to come.
    TooEarly,
    /// It is for another group or server.
    WrongAudience,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
struct Header {
    alg: String,
    /// One that is no text names no key, as to Galene.
    kid: Option<Value>,
    /// RFC 7515 s4.1.11: what is listed here must be understood; nothing is.
    crit: Option<Value>,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
struct Claims {
    sub: Option<String>,
    aud: Option<OneOrMany>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    permissions: Option<Vec<String>>,
    #[serde(rename = "include-subgroups")]
    include_subgroups: Option<Value>,
}
// RFC 7515 s4, RFC 7519 s4: names are compared as they stand, and a signer has claims of its own.
crate::only_objects!(exact: Header, Claims);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Where a token must be for.
#[derive(Clone, Copy, Debug)]
pub struct Audience<'a> {
    /// The group that the bearer wants to enter.
    pub group: &'a GroupName,
    /// The canonical host with its port; empty if any host will do.
    pub host: &'a str,
    /// The path that a proxy puts before `/group/`; empty if none.
    pub base: &'a str,
}

/// Checks signature, times and audience of `token`.
pub fn verify(
    token: &str,
    keys: &[Key],
    audience: Audience<'_>,
    now: UnixMs,
) -> Result<TokenGrant, JwtError> {
    // Whoever copies it out of a terminal brings a line's end along.
    let token = token.trim_end_matches(['\r', '\n']);
    if token.len() > TOKEN_BYTES_MAX {
        return Err(JwtError::NotAJwt);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::NotAJwt)?;
    let (header, claims) = signed.split_once('.').ok_or(JwtError::NotAJwt)?;
    let header = decode_url(header).ok_or(JwtError::NotAJwt)?;
    let claims = decode_url(claims).ok_or(JwtError::NotAJwt)?;
    let header: Header = read(&header).map_err(|_| JwtError::NotAJwt)?;
    let signature = decode_url(signature).ok_or(JwtError::NotAJwt)?;
    if header.crit.is_some() {
        return Err(JwtError::BadClaims);
    }
    let kid = header.kid.as_ref().and_then(Value::as_str).filter(|kid| !kid.is_empty());
    let is_signed = keys
        .iter()
        .filter(|key| key.is_candidate(&header.alg, kid))
        .any(|key| key.verify(signed.as_bytes(), &signature));
    if !is_signed {
        return Err(JwtError::BadSignature);
    }
    let claims: Claims = read(&claims).map_err(|_| JwtError::BadClaims)?;
    let expires = date(claims.exp)?.ok_or(JwtError::Expired)?;
    if now.0 >= expires.0.saturating_add(LEEWAY_MS) {
        return Err(JwtError::Expired);
    }
    for from in [date(claims.nbf)?, date(claims.iat)?].into_iter().flatten() {
        if now.0.saturating_add(LEEWAY_MS) < from.0 {
            return Err(JwtError::TooEarly);
        }
    }
    let includes_subgroups = claims.include_subgroups == Some(Value::Bool(true));
    let is_meant = |url: &String| covers(url, includes_subgroups, audience);
    let is_ours = match &claims.aud {
        None => false,
        Some(OneOrMany::One(url)) => is_meant(url),
        Some(OneOrMany::Many(urls)) => urls.iter().any(is_meant),
    };
    if !is_ours {
        return Err(JwtError::WrongAudience);
    }
    Ok(TokenGrant {
        username: claims.sub.filter(|username| !username.is_empty()),
        permissions: claims.permissions.unwrap_or_default(),
        expires: Some(expires),
        kept: None,
    })
}

/// RFC 7519 s4: of a key that stands twice the last one counts, which a [`Value`] has.
fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    let value: Value = serde_json::from_slice(&without_lone_surrogates(json))?;
    serde_json::from_value(value)
}

/// RFC 7519 s2: seconds since 1970, perhaps with a fraction.
fn date(seconds: Option<f64>) -> Result<Option<UnixMs>, JwtError> {
    match seconds {
        None => Ok(None),
        Some(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => {
            Ok(Some(UnixMs((seconds.min(DATE_S_MAX) * 1000.0) as i64)))
        }
        Some(_) => Err(JwtError::BadClaims),
    }
}

/// The host of a URL and the path, encoded; without scheme or host it is relative (RFC 3986 s4.2).
fn host_and_path(url: &str) -> Option<(&str, &str)> {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let (scheme, rest) = match url.split_once(':') {
        Some((scheme, rest)) if !scheme.contains('/') => (scheme, rest),
        _ => ("", url),
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    if rest.len() < url.len() && !(is_scheme && scheme.chars().all(of_scheme)) {
        return None;
    }
    match rest.strip_prefix("//") {
        // Three slashes and no scheme are a path.
        Some(path) if scheme.is_empty() && path.starts_with('/') => Some(("", rest)),
        Some(rest) => Some(rest.split_at(rest.find('/').unwrap_or(rest.len()))),
        None => Some(("", rest)),
    }
}

/// Whether an entry of `aud` is the URL of the group, or of one above it if that counts.
fn covers(url: &str, includes_subgroups: bool, audience: Audience<'_>) -> bool {
    let Some((host, path)) = host_and_path(url) else {
        return false;
    };
    let is_host = audience.host.is_empty() || host.eq_ignore_ascii_case(audience.host);
    let Some(path) = percent_decode(path) else {
        return false;
    };
    let wanted = format!("/group/{}/", audience.group.as_str());
    let base = audience.base.trim_end_matches('/');
    let is_path = |path: &str| {
        path == wanted
            || (includes_subgroups
                && path.starts_with("/group/")
                && path.ends_with('/')
                && wanted.starts_with(path))
    };
    is_host && (is_path(&path) || path.strip_prefix(base).is_some_and(is_path))
}

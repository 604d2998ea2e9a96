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
/// The latest date that is taken for one, in seconds: the year 9999.
const DATE_S_MAX: f64 = 253_402_300_799.0;

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
    kid: Option<String>,
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
    include_subgroups: Option<bool>,
}
crate::only_objects!(Header, Claims);

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
    let is_signed = keys
        .iter()
        .filter(|key| key.is_candidate(&header.alg, header.kid.as_deref()))
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
    let includes_subgroups = claims.include_subgroups.unwrap_or_default();
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
        Some(seconds) if (0.0..=DATE_S_MAX).contains(&seconds) => {
            Ok(Some(UnixMs((seconds * 1000.0) as i64)))
        }
        Some(_) => Err(JwtError::BadClaims),
    }
}

/// Whether an entry of `aud` is the URL of the group, or of one above it if that counts.
fn covers(url: &str, includes_subgroups: bool, audience: Audience<'_>) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
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
    is_scheme && is_host && (is_path(&path) || path.strip_prefix(base).is_some_and(is_path))
}

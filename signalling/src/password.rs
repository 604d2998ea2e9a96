//! Galene's password kinds. Verification is a pure function that may burn tens of milliseconds;
//! the server runs it on a bounded pool.

use std::fmt;

use pbkdf2::pbkdf2_hmac;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::caseless::field_of;

/// More PBKDF2 rounds than this would hold a worker for seconds; such an entry is unusable.
const ITERATIONS_MAX: u32 = 10_000_000;
/// As many bytes of a derived key are compared; more would cost a worker more and prove no more.
const KEY_BYTES_MAX: usize = 128;
/// Salt and hash of a bcrypt string.
const BCRYPT_HASH_CHARS: usize = 53;
/// A bcrypt cost above this takes seconds; such an entry is unusable.
const BCRYPT_COST_MAX: u32 = 16;

/// A password as files have it: what it takes to check one, not the password.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// Compared as it is, in constant time.
    Plain(String),
    /// Galene's usual form: PBKDF2 with HMAC-SHA-256.
    Pbkdf2 {
        /// The derived key, or its first 128 bytes.
        key: Vec<u8>,
        /// What the password is mixed with, another for each user.
        salt: Vec<u8>,
        /// How often it is hashed, `1..=10_000_000`.
        iterations: u32,
    },
    /// A string of bcrypt: `$2a$`, `$2b$`, `$2x$` or `$2y$`.
    Bcrypt(String),
    /// Any password is right.
    Wildcard,
    /// No password is right.
    Never,
    /// The entry makes no sense; every login with it ends in an error.
    Broken(PasswordError),
}

/// Why a stored password cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PasswordError {
    /// The `type` is none of plain, pbkdf2, bcrypt, wildcard.
    UnknownType,
    /// The `hash` is not sha-256.
    UnknownHash,
    /// There is no `key`.
    MissingKey,
    /// `key` or `salt` is not hexadecimal, or the key is empty.
    BadHex,
    /// `iterations` is missing, zero or above ten million.
    Iterations,
    /// Not a bcrypt string with a cost of at most 16.
    BadBcrypt,
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownType => "unknown password type: use plain, pbkdf2, bcrypt or wildcard",
            Self::UnknownHash => "unknown password hash: use sha-256",
            Self::MissingKey => "the password has no key",
            Self::BadHex => "the password's key or salt is not hexadecimal",
            Self::Iterations => "the password's iterations must be 1 to 10000000",
            Self::BadBcrypt => "the password's key is not a bcrypt string of cost 16 or less",
        })
    }
}

impl std::error::Error for PasswordError {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(..)",
            Self::Pbkdf2 { .. } => "Pbkdf2(..)",
            Self::Bcrypt(_) => "Bcrypt(..)",
            Self::Wildcard => "Wildcard",
            Self::Never => "Never",
            Self::Broken(_) => "Broken",
        })
    }
}

impl Password {
    /// Whether `candidate` is the password. Slow by design for hashed kinds.
    pub fn verify(&self, candidate: &str) -> Result<bool, PasswordError> {
        // HMAC pads keys with NUL and bcrypt ends them there: to both, "x" and "x\0" are the same.
        if self.is_slow() && candidate.contains('\0') {
            return Ok(false);
        }
        match self {
            Self::Plain(key) => Ok(equal(key.as_bytes(), candidate.as_bytes())),
            Self::Pbkdf2 { key, salt, iterations } => {
                let mut derived = [0; KEY_BYTES_MAX];
                let derived = derived.get_mut(..key.len()).ok_or(PasswordError::BadHex)?;
                pbkdf2_hmac::<Sha256>(candidate.as_bytes(), salt, *iterations, derived);
                Ok(derived.ct_eq(key).into())
            }
            Self::Bcrypt(key) => {
                bcrypt::verify(candidate, key).map_err(|_| PasswordError::BadBcrypt)
            }
            Self::Wildcard => Ok(true),
            Self::Never => Ok(false),
            Self::Broken(error) => Err(*error),
        }
    }

    /// Whether [`Self::verify`] is slow enough to need a worker.
    pub fn is_slow(&self) -> bool {
        matches!(self, Self::Pbkdf2 { .. } | Self::Bcrypt(_))
    }
}

/// Compares digests, so that not even the length of the stored password shows in the time.
fn equal(left: &[u8], right: &[u8]) -> bool {
    Sha256::digest(left).ct_eq(&Sha256::digest(right)).into()
}

/// The keys of a password that is an object.
const KEYS: [&str; 5] = ["type", "hash", "key", "salt", "iterations"];

#[derive(Default)]
struct Fields {
    kind: Option<String>,
    hash: Option<String>,
    key: Option<String>,
    salt: Option<String>,
    iterations: Option<i64>,
}

impl From<Fields> for Password {
    fn from(fields: Fields) -> Self {
        Self::try_from_fields(fields).unwrap_or_else(Self::Broken)
    }
}

impl Password {
    fn try_from_fields(fields: Fields) -> Result<Self, PasswordError> {
        let key = || fields.key.clone().ok_or(PasswordError::MissingKey);
        match fields.kind.as_deref().unwrap_or_default() {
            "" => Ok(Self::Never),
            "wildcard" => Ok(Self::Wildcard),
            "plain" => key().map(Self::Plain),
            "bcrypt" => {
                let key = key()?.trim().to_owned();
                let mut parts = key.split('$').skip(1);
                let kind = parts.next().unwrap_or_default();
                let cost = parts.next().and_then(|cost| cost.parse::<u32>().ok());
                let hash = parts.next().unwrap_or_default();
                let is_good = matches!(kind, "2a" | "2b" | "2x" | "2y")
                    && cost.is_some_and(|cost| cost <= BCRYPT_COST_MAX)
                    && hash.len() == BCRYPT_HASH_CHARS
                    && parts.next().is_none();
                if !is_good {
                    return Err(PasswordError::BadBcrypt);
                }
                Ok(Self::Bcrypt(key))
            }
            "pbkdf2" => {
                if fields.hash.as_deref() != Some("sha-256") {
                    return Err(PasswordError::UnknownHash);
                }
                let mut key = hex(&key()?).ok_or(PasswordError::BadHex)?;
                if key.is_empty() {
                    return Err(PasswordError::BadHex);
                }
                key.truncate(KEY_BYTES_MAX);
                let salt = hex(fields.salt.as_deref().unwrap_or_default());
                let iterations = u32::try_from(fields.iterations.unwrap_or_default())
                    .ok()
                    .filter(|count| (1..=ITERATIONS_MAX).contains(count))
                    .ok_or(PasswordError::Iterations)?;
                Ok(Self::Pbkdf2 { key, salt: salt.ok_or(PasswordError::BadHex)?, iterations })
            }
            _ => Err(PasswordError::UnknownType),
        }
    }
}

/// The bytes of hexadecimal text, two digits for each.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let (high, low) = (digit(pair.first()?)?, digit(pair.get(1)?)?);
            u8::try_from(high << 4 | low).ok()
        })
        .collect()
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PasswordVisitor;
        impl<'de> Visitor<'de> for PasswordVisitor {
            type Value = Password;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, or an object with a type,")
            }

            fn visit_str<E: Error>(self, plain: &str) -> Result<Password, E> {
                Ok(Password::Plain(plain.to_owned()))
            }

            fn visit_unit<E: Error>(self) -> Result<Password, E> {
                Ok(Password::Never)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Password, A::Error> {
                let (mut fields, mut unknown) = (Fields::default(), None);
                while let Some(key) = map.next_key::<String>()? {
                    match field_of(&key, &KEYS) {
                        "type" => fields.kind = map.next_value()?,
                        "hash" => fields.hash = map.next_value()?,
                        "key" => fields.key = map.next_value()?,
                        "salt" => fields.salt = map.next_value()?,
                        "iterations" => fields.iterations = map.next_value()?,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            unknown.get_or_insert(key);
                        }
                    }
                }
                // A comment does no harm, but a misspelt type would let nobody in.
                match unknown.filter(|_| fields.kind.is_none()) {
                    Some(key) => Err(A::Error::unknown_field(&key, &KEYS)),
                    None => Ok(Password::from(fields)),
                }
            }
        }
        deserializer.deserialize_any(PasswordVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Password {
        serde_json::from_str(json).unwrap()
    }

    /// PBKDF2-HMAC-SHA-256 of "password" and "salt", 4096 rounds (the well-known test vector).
    const PBKDF2: &str = r#"{"type":"pbkdf2","hash":"sha-256","iterations":4096,"salt":"73616c74",
        "key":"c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"}"#;

    #[test]
    fn right_passwords_are_accepted_and_wrong_ones_refused() {
        let bcrypt = format!(
            r#"{{"type":"bcrypt","key":"{}\n"}}"#,
            bcrypt::hash("password", 4).expect("cost 4 is legal")
        );
        for json in [r#""password""#, r#"{"type":"plain","key":"password"}"#, PBKDF2, &bcrypt] {
            let password = parse(json);
            assert_eq!(password.verify("password"), Ok(true), "{password:?}");
            for wrong in ["", "Password", "passwor", "password ", "password\0", "pässword", "null"]
            {
                assert_eq!(password.verify(wrong), Ok(false), "{password:?} {wrong:?}");
            }
        }
    }

    #[test]
    fn wildcard_takes_anything_and_never_takes_nothing() {
        for candidate in ["", "x", "null"] {
            assert_eq!(parse(r#"{"type":"wildcard"}"#).verify(candidate), Ok(true));
            for json in ["{}", r#"{"type":""}"#, r#"{"type":null}"#, "null"] {
                assert_eq!(parse(json).verify(candidate), Ok(false), "{json}");
            }
        }
    }

    #[test]
    fn an_empty_plain_password_takes_only_the_empty_one() {
        assert_eq!(parse(r#""""#).verify(""), Ok(true));
        assert_eq!(parse(r#""""#).verify("x"), Ok(false));
    }

    #[test]
    fn what_cannot_be_checked_is_an_error_and_never_a_match() {
        for (json, error) in [
            (r#"{"type":"rot13","key":"x"}"#, PasswordError::UnknownType),
            (r#"{"type":"plain"}"#, PasswordError::MissingKey),
            (r#"{"type":"plain","key":null}"#, PasswordError::MissingKey),
            (r#"{"type":"bcrypt","key":"password"}"#, PasswordError::BadBcrypt),
            (r#"{"type":"bcrypt","key":"$2a$31$aaaa"}"#, PasswordError::BadBcrypt),
            (r#"{"type":"bcrypt","key":"$2b$04$short"}"#, PasswordError::BadBcrypt),
            (r#"{"type":"pbkdf2","hash":"md5","key":"00"}"#, PasswordError::UnknownHash),
            (
                r#"{"type":"pbkdf2","hash":"sha-256","key":"0x","iterations":1}"#,
                PasswordError::BadHex,
            ),
            (
                r#"{"type":"pbkdf2","hash":"sha-256","key":"","iterations":1}"#,
                PasswordError::BadHex,
            ),
            (
                r#"{"type":"pbkdf2","hash":"sha-256","key":"00","iterations":-1}"#,
                PasswordError::Iterations,
            ),
            (
                r#"{"type":"pbkdf2","hash":"sha-256","key":"00","iterations":4000000000}"#,
                PasswordError::Iterations,
            ),
        ] {
            assert_eq!(parse(json).verify("password"), Err(error), "{json}");
        }
    }

    #[test]
    fn regression_comments_and_long_keys_are_as_good_as_in_galene() {
        let password = parse(r#"{"comment":{"by":[1]},"type":"plain","key":"x","type":"plain"}"#);
        assert_eq!(password.verify("x"), Ok(true));
        let error = serde_json::from_str::<Password>(r#"{"typ":"plain","key":"x"}"#).unwrap_err();
        assert!(error.to_string().contains("`typ`"), "{error}");
        let mut key = [0; 200];
        pbkdf2_hmac::<Sha256>(b"password", b"salt", 2, &mut key);
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let long = parse(&format!(
            r#"{{"type":"pbkdf2","hash":"sha-256","salt":"73616c74","iterations":2,"key":"{key}"}}"#
        ));
        assert_eq!(long.verify("password"), Ok(true));
        assert_eq!(long.verify("passwort"), Ok(false));
    }

    #[test]
    fn secrets_never_show_in_debug_output() {
        for json in [r#""hunter2""#, r#"{"type":"plain","key":"hunter2"}"#, PBKDF2] {
            let shown = format!("{:?}", parse(json));
            assert!(!shown.contains("hunter2") && !shown.contains("c5e4"), "{shown}");
        }
    }
}

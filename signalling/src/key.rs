//! Keys that sign tokens: JSON Web Keys (RFC 7517) as group files list them in `authKeys`. A key
//! says which algorithm it is for, and no token can make it work for another.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
};
use serde::Deserialize;
use serde_json::Value;

use crate::base64::decode_url_written;

/// RFC 7518 s3.1, as far as it makes sense here. `none` is not among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Es256,
    Es384,
    Rs256,
    Ps256,
    /// RFC 8037, with Ed25519.
    EdDsa,
}

const ALGORITHMS: [(&str, Algorithm); 8] = [
    ("HS256", Algorithm::Hs256),
    ("HS384", Algorithm::Hs384),
    ("HS512", Algorithm::Hs512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("RS256", Algorithm::Rs256),
    ("PS256", Algorithm::Ps256),
    ("EdDSA", Algorithm::EdDsa),
];

#[derive(Clone, PartialEq, Eq)]
enum Material {
    /// The secret of an HMAC, known to both sides.
    Secret(Vec<u8>),
    /// An uncompressed point (SEC 1 s2.3.3), or Ed25519's 32 bytes.
    Point(Vec<u8>),
    /// Big-endian, without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
}

/// A key that has been checked as far as it can be without a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    algorithm: Algorithm,
    kid: Option<String>,
    material: Material,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.algorithm)
    }
}

/// Why a key cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// Not an object of strings.
    NotAKey,
    /// The `alg` is missing or none of ours.
    UnknownAlgorithm,
    /// The `kty` or `crv` does not go with the `alg`.
    WrongType,
    /// The `use` is not `sig`.
    NotForSigning,
    /// A part of the key is missing or not base64url.
    BadEncoding,
    /// A secret that is not exactly as long as the hash's output.
    SecretLength,
    /// Not a point on the curve.
    NotOnCurve,
    /// Not an RSA key of 2048 to 8192 bits with an exponent of at most 8 bytes.
    BadRsa,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAKey => "not a JSON Web Key",
            Self::UnknownAlgorithm => {
                "the key's alg must be HS256, HS384, HS512, ES256, ES384, RS256, PS256 or EdDSA"
            }
            Self::WrongType => "the key's kty or crv does not go with its alg",
            Self::NotForSigning => "the key's use is not sig",
            Self::BadEncoding => "a part of the key is missing or not unpadded base64url",
            Self::SecretLength => "the key's k must have 32, 48 or 64 bytes, as its alg wants",
            Self::NotOnCurve => "the key is not a point on its curve",
            Self::BadRsa => "the key is not an RSA key of 2048 to 8192 bits",
        })
    }
}

impl std::error::Error for KeyError {}

#[derive(Deserialize)]
#[serde(remote = "Self")]
struct Jwk {
    kty: String,
    alg: Option<String>,
    kid: Option<Value>,
    #[serde(rename = "use")]
    purpose: Option<Value>,
    // Those that another type of key would use may be anything.
    crv: Option<Value>,
    k: Option<Value>,
    x: Option<Value>,
    y: Option<Value>,
    n: Option<Value>,
    e: Option<Value>,
}
crate::only_objects!(exact: Jwk);

impl Key {
    /// Checks one entry of `authKeys`.
    pub fn from_jwk(value: &Value) -> Result<Self, KeyError> {
        let jwk = <Jwk as Deserialize>::deserialize(value).map_err(|_| KeyError::NotAKey)?;
        let name = jwk.alg.as_deref().unwrap_or_default();
        let algorithm = ALGORITHMS.iter().find(|(known, _)| *known == name);
        let (_, algorithm) = *algorithm.ok_or(KeyError::UnknownAlgorithm)?;
        let purpose = jwk.purpose.as_ref().and_then(Value::as_str);
        if purpose.is_some_and(|purpose| !matches!(purpose, "" | "sig")) {
            return Err(KeyError::NotForSigning);
        }
        let (kty, crv) = match algorithm {
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => ("oct", None),
            Algorithm::Es256 => ("EC", Some("P-256")),
            Algorithm::Es384 => ("EC", Some("P-384")),
            Algorithm::Rs256 | Algorithm::Ps256 => ("RSA", None),
            Algorithm::EdDsa => ("OKP", Some("Ed25519")),
        };
        if jwk.kty != kty || (crv.is_some() && jwk.crv.as_ref().and_then(Value::as_str) != crv) {
            return Err(KeyError::WrongType);
        }
        let material = match algorithm {
            Algorithm::Hs256 => secret(&jwk, 32)?,
            Algorithm::Hs384 => secret(&jwk, 48)?,
            Algorithm::Hs512 => secret(&jwk, 64)?,
            Algorithm::Es256 => point(&jwk, 32)?,
            Algorithm::Es384 => point(&jwk, 48)?,
            Algorithm::EdDsa => Material::Point(part(jwk.x.as_ref())?),
            Algorithm::Rs256 | Algorithm::Ps256 => rsa(&jwk)?,
        };
        // One that is no text names the key to nobody.
        let kid = jwk.kid.as_ref().and_then(Value::as_str).filter(|kid| !kid.is_empty());
        let key = Self { algorithm, kid: kid.map(str::to_owned), material };
        if let Material::Point(_) = key.material {
            key.parsed().ok_or(KeyError::NotOnCurve)?;
        }
        Ok(key)
    }

    /// Whether this key may have signed a token with this header.
    pub(crate) fn is_candidate(&self, alg: &str, kid: Option<&str>) -> bool {
        let name = ALGORITHMS.iter().find(|(_, algorithm)| *algorithm == self.algorithm);
        name.is_some_and(|(name, _)| *name == alg)
            && kid.is_none_or(|kid| self.kid.as_deref() == Some(kid))
    }

    /// Whether this key has signed `message`.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(secret) => {
                let algorithm = match self.algorithm {
                    Algorithm::Hs384 => hmac::HMAC_SHA384,
                    Algorithm::Hs512 => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                let key = hmac::Key::new(algorithm, secret);
                hmac::verify(&key, message, signature).is_ok()
            }
            Material::Point(_) => {
                self.parsed().is_some_and(|key| key.verify_sig(message, signature).is_ok())
            }
            Material::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                let parameters = match self.algorithm {
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    _ => &RSA_PKCS1_2048_8192_SHA256,
                };
                key.verify(parameters, message, signature).is_ok()
            }
        }
    }

    fn parsed(&self) -> Option<ParsedPublicKey> {
        let Material::Point(point) = &self.material else {
            return None;
        };
        match self.algorithm {
            Algorithm::Es256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok(),
            Algorithm::Es384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).ok(),
            Algorithm::EdDsa => ParsedPublicKey::new(&ED25519, point).ok(),
            _ => None,
        }
    }
}

fn part(value: Option<&Value>) -> Result<Vec<u8>, KeyError> {
    let text = value.and_then(Value::as_str);
    text.and_then(decode_url_written).ok_or(KeyError::BadEncoding)
}

/// A number without the zeros before it.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

fn secret(jwk: &Jwk, bytes: usize) -> Result<Material, KeyError> {
    let secret = part(jwk.k.as_ref())?;
    if secret.len() != bytes {
        return Err(KeyError::SecretLength);
    }
    Ok(Material::Secret(secret))
}

fn point(jwk: &Jwk, bytes: usize) -> Result<Material, KeyError> {
    let mut point = vec![4];
    // RFC 7518 s6.2.1.2: coordinates have the full length of the field. One in 128 keys of generators that
    // write plain numbers is shorter, and some write a sign before it.
    for coordinate in [&jwk.x, &jwk.y] {
        let coordinate = part(coordinate.as_ref())?;
        let digits = trimmed(&coordinate);
        let missing = bytes.checked_sub(digits.len()).ok_or(KeyError::NotOnCurve)?;
        point.extend(std::iter::repeat_n(0, missing));
        point.extend(digits);
    }
    Ok(Material::Point(point))
}

fn rsa(jwk: &Jwk) -> Result<Material, KeyError> {
    let modulus = trimmed(&part(jwk.n.as_ref())?).to_vec();
    let exponent = trimmed(&part(jwk.e.as_ref())?).to_vec();
    let is_odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    if !(256..=1024).contains(&modulus.len()) || exponent.len() > 8 || !is_odd {
        return Err(KeyError::BadRsa);
    }
    Ok(Material::Rsa { modulus, exponent })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base64::encode_url;

    #[test]
    fn keys_are_checked_before_they_are_trusted() {
        let k32 = encode_url(&[7; 32]);
        for (jwk, error) in [
            (json!("text"), KeyError::NotAKey),
            (json!({"alg": "HS256", "k": k32}), KeyError::NotAKey),
            (json!({"kty": "oct", "k": k32}), KeyError::UnknownAlgorithm),
            (json!({"kty": "oct", "alg": "none", "k": k32}), KeyError::UnknownAlgorithm),
            (json!({"kty": "RSA", "alg": "HS256", "k": k32}), KeyError::WrongType),
            (json!({"kty": "oct", "alg": "HS384", "k": k32}), KeyError::SecretLength),
            (json!({"kty": "oct", "alg": "HS256", "k": "a b"}), KeyError::BadEncoding),
            (json!({"kty": "oct", "alg": "HS256"}), KeyError::BadEncoding),
            (
                json!({"kty": "oct", "alg": "HS256", "k": k32, "use": "enc"}),
                KeyError::NotForSigning,
            ),
            (
                json!({"kty": "EC", "alg": "ES256", "crv": "P-384", "x": k32, "y": k32}),
                KeyError::WrongType,
            ),
            (
                json!({"kty": "EC", "alg": "ES256", "crv": "P-256", "x": k32, "y": k32}),
                KeyError::NotOnCurve,
            ),
            (json!({"kty": "RSA", "alg": "RS256", "n": k32, "e": "AQAB"}), KeyError::BadRsa),
        ] {
            assert_eq!(Key::from_jwk(&jwk), Err(error), "{jwk}");
        }
        let jwk = json!({"kty": "oct", "alg": "HS256", "k": k32, "use": "sig", "kid": "a"});
        let key = Key::from_jwk(&jwk).unwrap();
        assert!(!format!("{key:?}").contains(&k32) && !format!("{key:?}").contains('7'));
        assert!(key.is_candidate("HS256", None) && key.is_candidate("HS256", Some("a")));
        assert!(!key.is_candidate("HS512", None) && !key.is_candidate("HS256", Some("b")));
    }

    /// The point 379 G of P-256, whose x begins with a zero (by the Python package cryptography).
    #[test]
    fn coordinates_may_lack_their_zeros_or_have_one_more() {
        let key = |x: &str| {
            let y = "u0yFo9jqKe-q-iRAaRLdhNWxTcMr9lbvbGvVil2UP5I";
            Key::from_jwk(&json!({"kty": "EC", "alg": "ES256", "crv": "P-256", "x": x, "y": y}))
        };
        let whole = key("AFVDiUrz0A7X10Cr29dclrBod7eH219w7qeLkKjXwAo");
        assert!(whole.is_ok());
        for x in [
            "VUOJSvPQDtfXQKvb11yWsGh3t4fbX3Dup4uQqNfACg",
            "AABVQ4lK89AO19dAq9vXXJawaHe3h9tfcO6ni5Co18AK",
        ] {
            assert_eq!(key(x), whole, "{x}");
        }
        assert_eq!(key("AVVDiUrz0A7X10Cr29dclrBod7eH219w7qeLkKjXwAoA"), Err(KeyError::NotOnCurve));
    }

    #[test]
    fn what_another_type_of_key_would_have_and_how_it_is_written_does_not_matter() {
        let plain =
            Key::from_jwk(&json!({"kty": "oct", "alg": "HS256", "k": encode_url(&[7; 32])}));
        let k = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
        for more in [
            json!({"k": k, "x": 5, "e": 1, "use": 1}),
            json!({"k": k, "use": ""}),
            json!({"k": k, "K": 3, "X": 3, "USE": "enc", "Alg": "none"}),
            json!({"k": format!("{}\n{}", &k[..20], &k[20..])}),
            json!({"k": format!("{}d", &k[..42])}),
        ] {
            let mut jwk = json!({"kty": "oct", "alg": "HS256"});
            for (key, value) in more.as_object().unwrap() {
                jwk[key.as_str()] = value.clone();
            }
            assert_eq!(Key::from_jwk(&jwk), plain, "{more}");
        }
    }
}

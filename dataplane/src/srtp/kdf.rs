//! From DTLS keying material (RFC 5764 s4.2) to session keys (RFC 3711 s4.3).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, LessSafeKey, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac;

use super::{Cipher, Opener, Sealer, cm_apply};

/// An SRTP protection profile (RFC 5764 s4.1.2, RFC 7714 s14.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// AES counter mode with an 80-bit HMAC-SHA1 tag; mandatory to implement.
    Aes128CmSha1_80,
    /// AES-128-GCM.
    AeadAes128Gcm,
    /// AES-256-GCM.
    AeadAes256Gcm,
}

impl Profile {
    fn key_bytes(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    fn salt_bytes(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// How much keying material DTLS must export for both directions.
    pub fn material_bytes(self) -> usize {
        2 * (self.key_bytes() + self.salt_bytes())
    }
}

/// What a DTLS handshake exported.
pub struct DtlsKeys {
    /// The negotiated profile.
    pub profile: Profile,
    /// Client key, server key, client salt, server salt.
    pub material: Vec<u8>,
    /// Whether we were the DTLS client.
    pub is_client: bool,
}

impl DtlsKeys {
    /// The two directions' keys, ours to send with and the peer's to receive with. `None` if the
    /// material is too short for the profile.
    pub fn derive(&self) -> Option<(Sealer, Opener)> {
        let (key, salt) = (self.profile.key_bytes(), self.profile.salt_bytes());
        let material = self.material.get(..self.profile.material_bytes())?;
        let (keys, salts) = material.split_at(2 * key);
        let client = (&keys[..key], &salts[..salt]);
        let server = (&keys[key..], &salts[salt..]);
        let (ours, theirs) = if self.is_client { (client, server) } else { (server, client) };
        Some((
            Sealer::new(self.cipher(ours, 0)?, self.cipher(ours, 3)?),
            Opener::new(self.cipher(theirs, 0)?, self.cipher(theirs, 3)?),
        ))
    }

    /// RFC 3711 s4.3.2: labels are 0, 1, 2 for RTP's key, authentication and salt, 3, 4, 5 for
    /// RTCP's.
    fn cipher(&self, (key, salt): (&[u8], &[u8]), label: u8) -> Option<Cipher> {
        let session_key = derive(key, salt, label, key.len());
        let session_salt = derive(key, salt, label + 2, salt.len());
        Some(match self.profile {
            Profile::Aes128CmSha1_80 => Cipher::Cm {
                key: counter_mode(&session_key)?,
                salt: session_salt.try_into().ok()?,
                auth: hmac::Key::new(
                    hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                    &derive(key, salt, label + 1, 20),
                ),
            },
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => {
                let algorithm = if session_key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
                Cipher::Gcm {
                    key: LessSafeKey::new(UnboundKey::new(algorithm, &session_key).ok()?),
                    salt: session_salt.try_into().ok()?,
                }
            }
        })
    }
}

/// The AES-CM pseudo-random function of RFC 3711 s4.3.3 (RFC 6188 for 256 bits), with a key
/// derivation rate of zero. A 12-byte salt counts as padded with zeros (RFC 7714 s11).
pub(super) fn derive(key: &[u8], salt: &[u8], label: u8, len: usize) -> Vec<u8> {
    let mut iv = [0; 16];
    iv[..salt.len()].copy_from_slice(salt);
    iv[7] ^= label;
    let mut out = vec![0; len];
    if let Some(key) = counter_mode(key) {
        cm_apply(&key, iv, &mut out);
    }
    out
}

fn counter_mode(key: &[u8]) -> Option<EncryptingKey> {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()
}

//! SRTP and SRTCP (RFC 3711, RFC 7714): key derivation, sealing, opening, replay windows. The
//! keys come from the DTLS handshake of one Transport (RFC 5764) and live nowhere else: the peer
//! engine never learns them, so no other code can use a nonce twice.

mod kdf;
mod open;
mod replay;
mod seal;

pub use kdf::{DtlsKeys, Profile};
pub use open::Opener;
pub use replay::ReplayWindow;
pub use seal::{SEAL_OVERHEAD_MAX_BYTES, Sealer};

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use aws_lc_rs::cipher::{EncryptingKey, EncryptionContext};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

/// SRTCP's `E` flag and index, or the GCM form's ESRTCP word (RFC 3711 s3.4, RFC 7714 s9.3).
const SRTCP_INDEX_BYTES: usize = 4;
/// AES-GCM's tag.
const GCM_TAG_BYTES: usize = 16;
/// HMAC-SHA1 truncated to 80 bits.
const CM_TAG_BYTES: usize = 10;
/// The part of an RTCP packet that stays in the clear: first header word and sender SSRC.
const RTCP_CLEAR_BYTES: usize = 8;

/// One direction's cipher for RTP or for RTCP.
#[expect(clippy::large_enum_variant, reason = "two per Transport; a box would cost every packet")]
enum Cipher {
    Gcm { key: LessSafeKey, salt: [u8; 12] },
    Cm { key: EncryptingKey, salt: [u8; 14], auth: hmac::Key },
}

impl Cipher {
    fn tag_bytes(&self) -> usize {
        match self {
            Self::Gcm { .. } => GCM_TAG_BYTES,
            Self::Cm { .. } => CM_TAG_BYTES,
        }
    }
}

/// RFC 7714 s8.1: two zero octets, SSRC, ROC, SEQ, XORed with the salt.
fn gcm_rtp_nonce(salt: &[u8; 12], ssrc: u32, roc: u32, seq_no: u16) -> Nonce {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &ssrc.to_be_bytes());
    xor(&mut nonce[6..10], &roc.to_be_bytes());
    xor(&mut nonce[10..12], &seq_no.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 s9.1: two zero octets, SSRC, two zero octets, index, XORed with the salt.
fn gcm_rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u32) -> Nonce {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &ssrc.to_be_bytes());
    xor(&mut nonce[8..12], &index.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 3711 s4.1.1: (salt * 2^16) XOR (SSRC * 2^64) XOR (index * 2^16).
fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    xor(&mut iv[4..8], &ssrc.to_be_bytes());
    xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
    iv
}

fn cm_apply(key: &EncryptingKey, iv: [u8; 16], data: &mut [u8]) {
    // Counter mode takes any length; the only failure would be a context of another mode.
    let done = key.less_safe_encrypt(data, EncryptionContext::Iv128(FixedLength::from(iv)));
    debug_assert!(done.is_ok());
}

fn xor(target: &mut [u8], with: &[u8]) {
    for (t, w) in target.iter_mut().zip(with) {
        *t ^= w;
    }
}

fn aad(bytes: &[u8]) -> Aad<&[u8]> {
    Aad::from(bytes)
}

fn be_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::open::RtcpDenied;
    use super::*;

    fn pair(profile: Profile) -> (Sealer, Opener) {
        let material: Vec<u8> = (0..profile.material_bytes() as u8).collect();
        let client = DtlsKeys { profile, material: material.clone(), is_client: true };
        let server = DtlsKeys { profile, material, is_client: false };
        let (seal, _) = client.derive().expect("material of the right length");
        let (_, open) = server.derive().expect("material of the right length");
        (seal, open)
    }

    const PROFILES: [Profile; 3] =
        [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80];

    fn packet(seq_no: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend(seq_no.to_be_bytes());
        packet.extend([0, 0, 0, 9, 0, 0, 0, 42]);
        packet.extend(b"the payload");
        packet
    }

    fn seal(sealer: &Sealer, roc: u32, plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plain.len() + SEAL_OVERHEAD_MAX_BYTES];
        out[..12].copy_from_slice(&plain[..12]);
        let len = sealer.seal_rtp(&mut out, 12, &plain[12..], roc);
        out.truncate(len);
        out
    }

    #[test]
    fn rtp_opens_to_what_was_sealed_with_every_profile() {
        for profile in PROFILES {
            let (sealer, mut opener) = pair(profile);
            for (roc, seq_no) in [(0, 65534), (0, 65535), (1, 0), (1, 1)] {
                let mut sealed = seal(&sealer, roc, &packet(seq_no));
                assert_ne!(sealed[12..], packet(seq_no)[12..]);
                let (len, index) = opener.open_rtp(&mut sealed, 12).expect("authentic");
                assert_eq!(sealed[..len], packet(seq_no));
                assert_eq!(index, u64::from(roc) << 16 | u64::from(seq_no));
            }
        }
    }

    #[test]
    fn a_changed_bit_a_replay_and_a_short_packet_are_refused() {
        for profile in PROFILES {
            let (sealer, mut opener) = pair(profile);
            let sealed = seal(&sealer, 0, &packet(7));
            for at in [1, 5, 9, 13, sealed.len() - 1] {
                let mut bad = sealed.clone();
                bad[at] ^= 1;
                assert!(opener.open_rtp(&mut bad, 12).is_none(), "byte {at} with {profile:?}");
            }
            assert!(opener.open_rtp(&mut sealed[..20].to_vec(), 12).is_none());
            assert!(opener.open_rtp(&mut sealed.clone(), 12).is_some());
            for _ in 0..5 {
                assert!(opener.open_rtp(&mut sealed.clone(), 12).is_none(), "replayed");
            }
        }
    }

    #[test]
    fn rtcp_opens_once_and_only_if_authentic() {
        for profile in PROFILES {
            let (mut sealer, mut opener) = pair(profile);
            let plain = [0x80, 201, 0, 1, 0, 0, 0, 42, 0x81, 202, 0, 1, 1, 2, 3, 4];
            let mut buf = [0; 64];
            buf[..16].copy_from_slice(&plain);
            let len = sealer.seal_rtcp(&mut buf, 16);
            let sealed = buf[..len].to_vec();
            let mut bad = sealed.clone();
            bad[9] ^= 1;
            assert_eq!(opener.open_rtcp(&mut bad), Err(RtcpDenied::Authentication));
            let mut good = sealed.clone();
            assert_eq!(opener.open_rtcp(&mut good), Ok(16));
            assert_eq!(good[..16], plain);
            assert_eq!(opener.open_rtcp(&mut sealed.clone()), Err(RtcpDenied::Replay));
        }
    }

    /// As libsrtp counts: a browser's receiver reports of audio go out under another SSRC than its
    /// NACKs of video, and the slower stream's indices lag far behind.
    #[test]
    fn srtcp_indices_count_for_each_ssrc() {
        for profile in PROFILES {
            let (mut sealer, mut opener) = pair(profile);
            let mut send = |opener: &mut Opener, ssrc: u8, index: u32| {
                let mut buf = [0; 64];
                buf[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, ssrc]);
                sealer.set_rtcp_index(index - 1);
                let len = sealer.seal_rtcp(&mut buf, 8);
                opener.open_rtcp(&mut buf[..len])
            };
            for index in 1..2000 {
                assert_eq!(send(&mut opener, 1, index), Ok(8));
            }
            for index in [1, 3, 2] {
                assert_eq!(send(&mut opener, 2, index), Ok(8), "{profile:?}");
            }
            assert_eq!(send(&mut opener, 2, 2), Err(RtcpDenied::Replay));
            assert_eq!(send(&mut opener, 1, 1), Err(RtcpDenied::Replay), "too old");
        }
    }

    #[test]
    fn windows_are_bounded_and_the_one_silent_longest_goes() {
        let (mut sealer, mut opener) = pair(Profile::AeadAes128Gcm);
        for ssrc in 0..100u8 {
            let mut buf = [0; 64];
            buf[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, ssrc]);
            let len = sealer.seal_rtcp(&mut buf, 8);
            let sealed = buf[..len].to_vec();
            assert_eq!(opener.open_rtcp(&mut buf[..len]), Ok(8));
            assert_eq!(opener.open_rtcp(&mut sealed.clone()), Err(RtcpDenied::Replay));
        }
    }

    #[test]
    fn session_keys_match_rfc_3711_appendix_b3() {
        let master_key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let master_salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        assert_eq!(
            kdf::derive(&master_key, &master_salt, 0, 16),
            hex("C61E7A93744F39EE10734AFE3FF7A087")
        );
        assert_eq!(
            kdf::derive(&master_key, &master_salt, 2, 14),
            hex("30CBBC08863D8C85D49DB34A9AE1")
        );
        assert_eq!(
            kdf::derive(&master_key, &master_salt, 1, 20),
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex digits"))
            .collect()
    }
}

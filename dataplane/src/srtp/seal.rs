//! Sealing: the last thing that happens to a packet before the send batch.

use super::{
    Cipher, GCM_TAG_BYTES, RTCP_CLEAR_BYTES, SRTCP_INDEX_BYTES, aad, be_u32, cm_apply, cm_iv,
    gcm_rtcp_nonce, gcm_rtp_nonce,
};
use aws_lc_rs::hmac;

/// The most that sealing adds to an RTP or RTCP packet.
pub const SEAL_OVERHEAD_MAX_BYTES: usize = GCM_TAG_BYTES + SRTCP_INDEX_BYTES;

/// Our sending keys of one Transport.
pub struct Sealer {
    rtp: Cipher,
    rtcp: Cipher,
    rtcp_index: u32,
}

impl Sealer {
    pub(super) fn new(rtp: Cipher, rtcp: Cipher) -> Self {
        Self { rtp, rtcp, rtcp_index: 0 }
    }

    /// Seals `payload` behind the header that stands in `out[..header_len]`, out of place:
    /// `payload` must not be part of `out`. Returns the packet's length. `out` must hold header,
    /// payload and [`SEAL_OVERHEAD_MAX_BYTES`]; otherwise 0 is returned and nothing may be sent.
    /// The caller owns the uniqueness of (SSRC, `roc`, sequence number).
    pub fn seal_rtp(&self, out: &mut [u8], header_len: usize, payload: &[u8], roc: u32) -> usize {
        let end = header_len + payload.len();
        let tag_end = end + self.rtp.tag_bytes();
        if header_len < 12 || out.len() < tag_end {
            return 0;
        }
        let (header, body) = out.split_at_mut(header_len);
        let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let seq_no = u16::from_be_bytes([header[2], header[3]]);
        match &self.rtp {
            Cipher::Gcm { key, salt } => {
                let (cipher_text, tag) =
                    body[..payload.len() + GCM_TAG_BYTES].split_at_mut(payload.len());
                let sealed = key.seal_out_of_place_scatter(
                    gcm_rtp_nonce(salt, ssrc, roc, seq_no),
                    aad(header),
                    payload,
                    cipher_text,
                    &[],
                    tag,
                );
                if sealed.is_err() {
                    return 0;
                }
            }
            Cipher::Cm { key, salt, auth } => {
                let cipher_text = &mut body[..payload.len()];
                cipher_text.copy_from_slice(payload);
                let index = u64::from(roc) << 16 | u64::from(seq_no);
                cm_apply(key, cm_iv(salt, ssrc, index), cipher_text);
                let mut mac = hmac::Context::with_key(auth);
                mac.update(&out[..end]);
                // RFC 3711 s4.2: the ROC is authenticated, not sent.
                mac.update(&roc.to_be_bytes());
                out[end..tag_end].copy_from_slice(&mac.sign().as_ref()[..tag_end - end]);
            }
        }
        tag_end
    }

    /// Makes `index` the last SRTCP index that was used, as a peer has it that counts for each
    /// SSRC by itself.
    #[cfg(test)]
    pub fn set_rtcp_index(&mut self, index: u32) {
        self.rtcp_index = index;
    }

    /// Seals the compound RTCP packet in `buf[..len]` in place and returns its new length, or 0
    /// if `buf` has not [`SEAL_OVERHEAD_MAX_BYTES`] left or the packet is no RTCP.
    pub fn seal_rtcp(&mut self, buf: &mut [u8], len: usize) -> usize {
        if len < RTCP_CLEAR_BYTES || buf.len() < len + SEAL_OVERHEAD_MAX_BYTES {
            return 0;
        }
        let Some(ssrc) = be_u32(buf, 4) else { return 0 };
        // RFC 3711 s3.4: 31 bits, incremented before each use, never repeated under one key. Two
        // billion reports outlast any session; a sender that got there falls silent.
        if self.rtcp_index >= 0x7fff_ffff {
            return 0;
        }
        self.rtcp_index += 1;
        let word = (0x8000_0000 | self.rtcp_index).to_be_bytes();
        match &self.rtcp {
            Cipher::Gcm { key, salt } => {
                // RFC 7714 s9.2: the AAD is the clear part and the ESRTCP word.
                let mut clear = [0; RTCP_CLEAR_BYTES + SRTCP_INDEX_BYTES];
                clear[..RTCP_CLEAR_BYTES].copy_from_slice(&buf[..RTCP_CLEAR_BYTES]);
                clear[RTCP_CLEAR_BYTES..].copy_from_slice(&word);
                let nonce = gcm_rtcp_nonce(salt, ssrc, self.rtcp_index);
                let Ok(tag) = key.seal_in_place_separate_tag(
                    nonce,
                    aad(&clear),
                    &mut buf[RTCP_CLEAR_BYTES..len],
                ) else {
                    return 0;
                };
                let tag_end = len + GCM_TAG_BYTES;
                buf[len..tag_end].copy_from_slice(tag.as_ref());
                buf[tag_end..tag_end + SRTCP_INDEX_BYTES].copy_from_slice(&word);
                tag_end + SRTCP_INDEX_BYTES
            }
            Cipher::Cm { key, salt, auth } => {
                let iv = cm_iv(salt, ssrc, u64::from(self.rtcp_index));
                cm_apply(key, iv, &mut buf[RTCP_CLEAR_BYTES..len]);
                let index_end = len + SRTCP_INDEX_BYTES;
                buf[len..index_end].copy_from_slice(&word);
                let tag = hmac::sign(auth, &buf[..index_end]);
                let end = index_end + self.rtcp.tag_bytes();
                buf[index_end..end].copy_from_slice(&tag.as_ref()[..end - index_end]);
                end
            }
        }
    }
}

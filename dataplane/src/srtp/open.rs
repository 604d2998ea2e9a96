//! Opening: authentication, replay check and decryption of what a peer sent. Failure costs the
//! peer nothing but the packet: it is dropped and counted, nothing is closed (CVE-2021-41105).

use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::hmac;

use super::{
    CM_TAG_BYTES, Cipher, GCM_TAG_BYTES, RTCP_CLEAR_BYTES, ReplayWindow, SRTCP_INDEX_BYTES, aad,
    be_u32, cm_apply, cm_iv, gcm_rtcp_nonce, gcm_rtp_nonce,
};

/// SSRCs of which one peer's rollover counters are kept; a new one beyond that replaces the one
/// that was silent longest. Media 8, repair 8, and room for restarts.
const SSRCS_MAX: usize = 32;

/// Why an SRTCP packet was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RtcpDenied {
    /// Too short, or its tag is wrong.
    Authentication,
    /// Seen before or too old.
    Replay,
}

/// The peer's sending keys of one Transport, with a rollover counter and two replay windows per
/// SSRC: SRTP and SRTCP count apart, and each SSRC counts for itself (RFC 3711 s3.2.1, s3.2.3).
pub struct Opener {
    rtp: Cipher,
    rtcp: Cipher,
    rtp_windows: Windows,
    rtcp_windows: Windows,
}

/// The replay windows of a peer's SSRCs.
#[derive(Default)]
struct Windows {
    streams: Vec<Stream>,
    uses: u64,
}

struct Stream {
    ssrc: u32,
    window: ReplayWindow,
    used: u64,
}

impl Windows {
    fn of(&self, ssrc: u32) -> Option<&ReplayWindow> {
        self.streams.iter().find(|stream| stream.ssrc == ssrc).map(|stream| &stream.window)
    }

    /// Records an index of a packet that has proved authentic.
    fn record(&mut self, ssrc: u32, index: u64) {
        self.uses += 1;
        let known = self.streams.iter().position(|stream| stream.ssrc == ssrc);
        let at = known.unwrap_or_else(|| self.add(ssrc));
        if let Some(stream) = self.streams.get_mut(at) {
            stream.window.record(index);
            stream.used = self.uses;
        }
    }

    fn add(&mut self, ssrc: u32) -> usize {
        let stream = Stream { ssrc, window: ReplayWindow::default(), used: 0 };
        if self.streams.len() < SSRCS_MAX {
            self.streams.push(stream);
            return self.streams.len() - 1;
        }
        let oldest = self.streams.iter().enumerate().min_by_key(|(_, stream)| stream.used);
        let at = oldest.map_or(0, |(at, _)| at);
        self.streams[at] = stream;
        at
    }
}

impl Opener {
    pub(super) fn new(rtp: Cipher, rtcp: Cipher) -> Self {
        Self { rtp, rtcp, rtp_windows: Windows::default(), rtcp_windows: Windows::default() }
    }

    /// Opens an SRTP packet in place, of which the header takes `header_len` bytes (at least 12).
    /// Returns the plain packet's length and its index (rollover counter and sequence number), or
    /// `None` if it is a replay or not authentic. State changes only for authentic packets.
    pub fn open_rtp(&mut self, packet: &mut [u8], header_len: usize) -> Option<(usize, u64)> {
        let len = packet.len().checked_sub(self.rtp.tag_bytes())?;
        if header_len < 12 || len < header_len {
            return None;
        }
        let ssrc = be_u32(packet, 8)?;
        let seq_no = u16::from_be_bytes([packet[2], packet[3]]);
        let window = self.rtp_windows.of(ssrc);
        let index = guess_index(window.and_then(ReplayWindow::highest), seq_no);
        if window.is_some_and(|window| !window.is_new(index)) {
            return None;
        }
        let roc = (index >> 16) as u32;
        match &self.rtp {
            Cipher::Gcm { key, salt } => {
                let (header, body) = packet.split_at_mut(header_len);
                open_gcm(key, gcm_rtp_nonce(salt, ssrc, roc, seq_no), header, body)?;
            }
            Cipher::Cm { key, salt, auth } => {
                let mut mac = hmac::Context::with_key(auth);
                mac.update(&packet[..len]);
                mac.update(&roc.to_be_bytes());
                if !tag_matches(&mac.sign(), &packet[len..]) {
                    return None;
                }
                cm_apply(key, cm_iv(salt, ssrc, index), &mut packet[header_len..len]);
            }
        }
        self.rtp_windows.record(ssrc, index);
        Some((len, index))
    }

    /// Opens an SRTCP packet in place and returns the plain compound packet's length.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, RtcpDenied> {
        let denied = RtcpDenied::Authentication;
        let overhead = SRTCP_INDEX_BYTES + self.rtcp.tag_bytes();
        let len = packet.len().checked_sub(overhead).ok_or(denied)?;
        if len < RTCP_CLEAR_BYTES {
            return Err(denied);
        }
        let ssrc = be_u32(packet, 4).ok_or(denied)?;
        let word_at = match &self.rtcp {
            Cipher::Gcm { .. } => len + GCM_TAG_BYTES,
            Cipher::Cm { .. } => len,
        };
        let word = be_u32(packet, word_at).ok_or(denied)?;
        let index = word & 0x7fff_ffff;
        // An unencrypted SRTCP packet is legal, but nobody who negotiated a cipher sends one.
        if word & 0x8000_0000 == 0 {
            return Err(denied);
        }
        if self.rtcp_windows.of(ssrc).is_some_and(|window| !window.is_new(u64::from(index))) {
            return Err(RtcpDenied::Replay);
        }
        match &self.rtcp {
            Cipher::Gcm { key, salt } => {
                let mut clear = [0; RTCP_CLEAR_BYTES + SRTCP_INDEX_BYTES];
                clear[..RTCP_CLEAR_BYTES].copy_from_slice(&packet[..RTCP_CLEAR_BYTES]);
                clear[RTCP_CLEAR_BYTES..].copy_from_slice(&word.to_be_bytes());
                let body = &mut packet[RTCP_CLEAR_BYTES..word_at];
                open_gcm(key, gcm_rtcp_nonce(salt, ssrc, index), &clear, body).ok_or(denied)?;
            }
            Cipher::Cm { key, salt, auth } => {
                let (signed, tag) = packet.split_at(len + SRTCP_INDEX_BYTES);
                if !tag_matches(&hmac::sign(auth, signed), tag) {
                    return Err(denied);
                }
                let iv = cm_iv(salt, ssrc, u64::from(index));
                cm_apply(key, iv, &mut packet[RTCP_CLEAR_BYTES..len]);
            }
        }
        self.rtcp_windows.record(ssrc, u64::from(index));
        Ok(len)
    }
}

fn open_gcm(
    key: &LessSafeKey,
    nonce: aws_lc_rs::aead::Nonce,
    clear: &[u8],
    body: &mut [u8],
) -> Option<()> {
    key.open_in_place(nonce, aad(clear), body).ok().map(|_| ())
}

fn tag_matches(computed: &hmac::Tag, received: &[u8]) -> bool {
    computed
        .as_ref()
        .get(..CM_TAG_BYTES)
        .is_some_and(|tag| aws_lc_rs::constant_time::verify_slices_are_equal(tag, received).is_ok())
}

/// RFC 3711 s3.3.1 and appendix A: the index nearest to the highest one seen.
fn guess_index(highest: Option<u64>, seq_no: u16) -> u64 {
    let Some(highest) = highest else {
        return u64::from(seq_no);
    };
    let ahead = seq_no.wrapping_sub(highest as u16) as i16;
    // A packet that would lie before index 0 is taken as far ahead; its tag will tell.
    highest.checked_add_signed(i64::from(ahead)).unwrap_or_else(|| u64::from(seq_no))
}

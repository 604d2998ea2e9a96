//! A format of an m-section: a payload type with its codec, parameters and feedback, and what of
//! it we take (RFC 3264 s6.1).

use crate::codec::{Codec, MediaKind};

/// What `a=rtcp-fb` says of a format, as far as we know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedbackSet(u8);

/// The values of `a=rtcp-fb` that we know, by bit.
pub(crate) const FEEDBACK: [&str; 6] =
    ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli", CCFB];
/// Congestion control feedback (RFC 8888 s6), which is for all formats of an m-section.
pub(crate) const CCFB: &str = "ack ccfb";
const TWCC: &str = "transport-cc";

impl FeedbackSet {
    /// Everything that we offer for a kind of media.
    pub fn offered(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Audio => Self::of(TWCC).with("nack"),
            MediaKind::Video => {
                FEEDBACK.iter().fold(Self(0), |set, value| set.with(value)).less(CCFB)
            }
        }
    }

    /// What we answer to this for a kind of media: of the two ways to tell of arrivals the standard one,
    /// where both are offered. We do not offer it ourselves.
    pub fn answered(self, kind: MediaKind) -> Self {
        let both = Self(self.0 & Self::offered(kind).with(CCFB).0);
        if both.has(CCFB) { both.less(TWCC) } else { both }
    }

    /// Whether this is one of them.
    pub fn has(self, value: &str) -> bool {
        self.0 & Self::of(value).0 != 0
    }

    fn less(self, value: &str) -> Self {
        Self(self.0 & !Self::of(value).0)
    }

    fn of(value: &str) -> Self {
        FEEDBACK.iter().position(|known| *known == value).map_or(Self(0), |bit| Self(1 << bit))
    }

    /// This and another one.
    pub fn with(self, value: &str) -> Self {
        Self(self.0 | Self::of(value).0)
    }

    /// The values, as `a=rtcp-fb` spells them.
    pub fn values(self) -> impl Iterator<Item = &'static str> {
        FEEDBACK.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 != 0).map(|v| v.1)
    }
}

/// An `a=rtpmap` with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Payload type.
    pub pt: u8,
    /// The codec, or `None` for `rtx` and what we do not know.
    pub codec: Option<Codec>,
    /// Whether it is RTX (RFC 4588).
    pub is_rtx: bool,
    /// Whether it is redundant audio (RFC 2198).
    pub is_red: bool,
    /// Clock rate in Hz.
    pub clock_hz: u32,
    /// Channels, 1 unless said otherwise.
    pub channels: u8,
    /// What `a=rtcp-fb` says.
    pub feedback: FeedbackSet,
    /// The `a=fmtp` parameters.
    pub fmtp: String,
    /// Whether `a=rtcp-fb` has generic `nack`.
    pub has_nack: bool,
    /// Whether `a=rtcp-fb` has `nack pli` or `ccm fir`.
    pub has_pli: bool,
}

impl Format {
    /// RFC 3551: some payload types need no `a=rtpmap`.
    pub fn of_static_pt(pt: u8) -> Self {
        let codec = match pt {
            0 => Some(Codec::Pcmu),
            8 => Some(Codec::Pcma),
            9 => Some(Codec::G722),
            _ => None,
        };
        Self {
            pt,
            codec,
            is_rtx: false,
            is_red: false,
            clock_hz: 8000,
            channels: 1,
            feedback: FeedbackSet::default(),
            fmtp: String::new(),
            has_nack: false,
            has_pli: false,
        }
    }

    /// For RTX: the payload type it repairs.
    pub fn apt(&self) -> Option<u8> {
        self.parameter("apt")?.parse().ok()
    }

    /// For redundant audio: whether all that it carries is of this payload type.
    pub fn is_red_of(&self, pt: u8) -> bool {
        let mut types = self.fmtp.split('/').map(|found| found.trim().parse() == Ok(pt));
        self.is_red && types.clone().count() > 1 && types.all(|is_same| is_same)
    }

    /// For redundant audio: the payload type of a packet's own sound (RFC 2198 s5).
    pub fn own_of_red(&self) -> Option<u8> {
        if !self.is_red {
            return None;
        }
        self.fmtp.split('/').next()?.trim().parse().ok()
    }

    /// A parameter of `a=fmtp`. Names have no case (RFC 6838 s4.3).
    pub fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.fmtp, name)
    }
}

/// A parameter of the value of `a=fmtp`.
pub(crate) fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = fmtp.split(';').filter_map(|item| item.split_once('='));
    let (_, value) = pairs.find(|(known, _)| known.trim().eq_ignore_ascii_case(name))?;
    Some(value.trim())
}

/// The largest average bit rate of Opus (RFC 7587 s6.1), in bits per second.
const OPUS_RATE_MAX: u32 = 510_000;
/// The smallest one.
const OPUS_RATE_MIN: u32 = 6000;

impl Format {
    /// Whether we can pass it on: a codec of ours with the clock and the channels that it must
    /// have, in a way of packing that browsers take.
    pub fn is_usable(&self) -> bool {
        let Some(codec) = self.codec else { return false };
        let has_clock = match (self.clock_hz, self.channels) {
            // RFC 7587 s7 wants two channels, and GStreamer leaves them out.
            (48_000, 1) => codec == Codec::Opus,
            clock => clock == clock_of(codec),
        };
        let is_packed = match codec {
            // RFC 6184 s6: 2 is the interleaved mode, which no browser has.
            Codec::H264 => matches!(self.parameter("packetization-mode"), None | Some("0" | "1")),
            _ => true,
        };
        !self.is_rtcp() && has_clock && is_packed
    }

    /// RFC 5761 s4: with RTP and RTCP on one port these would be taken for RTCP.
    pub fn is_rtcp(&self) -> bool {
        (64..=95).contains(&self.pt)
    }

    /// Which of several formats of one codec to use first: of H.264 what most can decode, and
    /// whole frames rather than slices that fit a packet.
    pub fn rank(&self) -> u8 {
        match self.codec {
            Some(Codec::H264) => {
                let profile = H264Profile::of(&self.fmtp) as u8;
                let is_mode_0 = self.parameter("packetization-mode") != Some("1");
                profile + 8 * u8::from(is_mode_0)
            }
            Some(Codec::Vp9) => self.number("profile-id"),
            Some(Codec::Av1) => self.number("profile"),
            _ => 0,
        }
    }

    /// A number among the parameters, 0 unless said otherwise.
    fn number(&self, name: &str) -> u8 {
        self.parameter(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// The parameters that we answer to those offered.
    pub fn answered_parameters(&self) -> String {
        let keep = |names: &[&str]| -> Vec<String> {
            let found = |name: &&str| Some(format!("{name}={}", self.parameter(name)?));
            names.iter().filter_map(found).collect()
        };
        let answered = match self.codec {
            None if self.is_red => return self.fmtp.clone(),
            Some(Codec::Opus) => return self.opus_parameters(),
            Some(Codec::H264) => {
                keep(&["level-asymmetry-allowed", "packetization-mode", "profile-level-id"])
            }
            Some(Codec::Vp9) => keep(&["profile-id"]),
            Some(Codec::Av1) => keep(&["profile", "level-idx", "tier"]),
            Some(Codec::Vp8 | Codec::G722 | Codec::Pcmu | Codec::Pcma) => Vec::new(),
            None => keep(&["apt"]),
        };
        answered.join(";")
    }

    /// RFC 7587 s7.1: what whoever writes them would like to receive. We take what the other side
    /// says that it will send, and loss concealment unless it does not want to.
    fn opus_parameters(&self) -> String {
        let has = |name: &str| self.parameter(name) == Some("1");
        let fec = u8::from(self.parameter("useinbandfec") != Some("0"));
        let minptime = self.parameter("minptime").and_then(|ms| ms.parse().ok()).unwrap_or(10);
        let mut out = format!("minptime={};useinbandfec={fec}", u8::clamp(minptime, 3, 120));
        if has("stereo") || has("sprop-stereo") {
            out.push_str(";stereo=1;sprop-stereo=1");
        }
        for name in ["usedtx", "cbr"] {
            if has(name) {
                out.push_str(&format!(";{name}=1"));
            }
        }
        let rate = self.parameter("maxaveragebitrate").and_then(|rate| rate.parse().ok());
        if let Some(rate) = rate {
            let rate = u32::clamp(rate, OPUS_RATE_MIN, OPUS_RATE_MAX);
            out.push_str(&format!(";maxaveragebitrate={rate}"));
        }
        out
    }
}

/// Clock rate in Hz and channels, as `a=rtpmap` must have them.
pub(crate) fn clock_of(codec: Codec) -> (u32, u8) {
    match codec {
        Codec::Opus => (48_000, 2),
        Codec::G722 | Codec::Pcmu | Codec::Pcma => (8000, 1),
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::H264 => (90_000, 1),
    }
}

/// A codec's name as `a=rtpmap` spells it.
pub(crate) fn encoding_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Vp8 => "VP8",
        Codec::Vp9 => "VP9",
        Codec::Av1 => "AV1",
        Codec::H264 => "H264",
        Codec::Opus => "opus",
        Codec::G722 => "G722",
        Codec::Pcmu => "PCMU",
        Codec::Pcma => "PCMA",
    }
}

/// Profiles of H.264 (RFC 6184 table 5), those that most can decode first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum H264Profile {
    /// Constrained baseline.
    ConstrainedBaseline,
    /// Baseline.
    Baseline,
    /// Main.
    Main,
    /// High, constrained or not.
    High,
    /// Others, which browsers have no decoder for.
    Other,
}

impl H264Profile {
    /// The profile of `a=fmtp` parameters: baseline unless said otherwise (RFC 6184 s8.1).
    pub(crate) fn of(fmtp: &str) -> Self {
        let Some(id) = parameter(fmtp, "profile-level-id") else {
            return Self::Baseline;
        };
        let byte = |at: usize| id.get(at..at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let (Some(idc), Some(iop)) = (byte(0), byte(2)) else {
            return Self::Other;
        };
        match idc {
            0x42 if iop & 0x40 != 0 => Self::ConstrainedBaseline,
            // Main and extended streams that keep to what baseline has too.
            0x4d if iop & 0x80 != 0 => Self::ConstrainedBaseline,
            0x58 if iop & 0xc0 == 0xc0 => Self::ConstrainedBaseline,
            0x42 => Self::Baseline,
            0x58 if iop & 0x80 != 0 => Self::Baseline,
            0x4d => Self::Main,
            0x64 => Self::High,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(codec: Codec, fmtp: &str) -> Format {
        let (clock_hz, channels) = clock_of(codec);
        let fmtp = fmtp.to_owned();
        Format { codec: Some(codec), clock_hz, channels, fmtp, ..Format::of_static_pt(100) }
    }

    #[test]
    fn opus_is_answered_as_offered() {
        for (offered, answered) in [
            ("", "minptime=10;useinbandfec=1"),
            ("minptime=10;useinbandfec=1", "minptime=10;useinbandfec=1"),
            ("useinbandfec=0;minptime=20", "minptime=20;useinbandfec=0"),
            ("stereo=1", "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"),
            ("sprop-stereo=1", "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"),
            ("stereo=0;usedtx=1", "minptime=10;useinbandfec=1;usedtx=1"),
            (
                "maxaveragebitrate=128000; UseDTX=1 ;cbr=1",
                "minptime=10;useinbandfec=1;usedtx=1;cbr=1;maxaveragebitrate=128000",
            ),
            ("maxaveragebitrate=9", "minptime=10;useinbandfec=1;maxaveragebitrate=6000"),
            ("maxaveragebitrate=x", "minptime=10;useinbandfec=1"),
        ] {
            let format = format(Codec::Opus, offered);
            assert_eq!(format.answered_parameters(), answered, "{offered}");
        }
    }

    #[test]
    fn h264_is_ranked_by_who_can_decode_it() {
        use H264Profile::{Baseline, ConstrainedBaseline, High, Main, Other};
        for (id, profile) in [
            ("42e01f", ConstrainedBaseline),
            ("42c01f", ConstrainedBaseline),
            ("42001f", Baseline),
            ("4d001f", Main),
            ("4de01f", ConstrainedBaseline),
            ("640c1f", High),
            ("64001f", High),
            ("f4001f", Other),
            ("x", Other),
        ] {
            assert_eq!(H264Profile::of(&format!("profile-level-id={id}")), profile, "{id}");
        }
        assert_eq!(H264Profile::of(""), Baseline);
        let rank = |fmtp| format(Codec::H264, fmtp).rank();
        assert!(rank("packetization-mode=1;profile-level-id=64001f") < rank(""));
        assert!(!format(Codec::H264, "packetization-mode=2").is_usable());
        assert!(format(Codec::H264, "").is_usable());
    }

    #[test]
    fn formats_must_have_the_codecs_clock_and_channels() {
        for (codec, clock_hz, channels) in
            [(Codec::Opus, 16_000, 2), (Codec::Pcmu, 16_000, 1), (Codec::Vp8, 48_000, 1)]
        {
            let format = Format { clock_hz, channels, ..format(codec, "") };
            assert!(!format.is_usable(), "{codec:?}");
        }
        assert!(!Format { pt: 72, ..format(Codec::Vp8, "") }.is_usable());
    }
}

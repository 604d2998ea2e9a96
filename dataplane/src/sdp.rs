//! What the packet path must know of a session description (RFC 8866, RFC 8829), and the limits
//! that a description must keep before any parser sees it. Negotiation itself is the peer
//! engine's; this module only reads what was agreed.

use crate::api::{Codec, MediaKind};
use crate::error::PeerError;
use crate::extension::ExtensionMap;

/// Janus PR-3414 and kin: no description of a browser comes near.
pub const SDP_BYTES_MAX: usize = 256 * 1024;
/// The longest line, `a=fmtp` of codecs with parameter sets included.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// m-sections of one description.
pub const M_SECTIONS_MAX: usize = 64;
/// Candidates of one description.
pub const CANDIDATES_MAX: usize = 64;
/// Attributes of one kind (formats, ssrcs, rids) read from one m-section; the rest is ignored.
const ATTRIBUTES_MAX: usize = 128;

/// An `a=rtpmap` with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Payload type.
    pub pt: u8,
    /// The codec, or `None` for `rtx` and what we do not know.
    pub codec: Option<Codec>,
    /// Whether it is RTX (RFC 4588).
    pub is_rtx: bool,
    /// Clock rate in Hz.
    pub clock_hz: u32,
    /// The `a=fmtp` parameters.
    pub fmtp: String,
    /// Whether `a=rtcp-fb` has generic `nack`.
    pub has_nack: bool,
    /// Whether `a=rtcp-fb` has `nack pli` or `ccm fir`.
    pub has_pli: bool,
    /// Whether `a=rtcp-fb` has `transport-cc`.
    pub has_twcc: bool,
}

impl Format {
    /// For RTX: the payload type it repairs.
    pub fn apt(&self) -> Option<u8> {
        let value = self.fmtp.split(';').find_map(|item| item.trim().strip_prefix("apt="))?;
        value.trim().parse().ok()
    }
}

/// An m-section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// `a=mid`, or empty.
    pub mid: String,
    /// Audio, video, or `None` for what carries no RTP.
    pub kind: Option<MediaKind>,
    /// Whether the port is not 0, or the section is `bundle-only`.
    pub is_active: bool,
    /// Whether its writer sends media.
    pub sends: bool,
    /// Whether its writer receives media.
    pub receives: bool,
    /// In the order of the `m=` line.
    pub formats: Vec<Format>,
    /// Header extensions.
    pub extensions: ExtensionMap,
    /// SSRCs in order of appearance.
    pub ssrcs: Vec<u32>,
    /// `a=ssrc-group:FID` pairs: media and its RTX.
    pub fid: Vec<(u32, u32)>,
    /// The `a=msid` stream and track ids.
    pub msid: (String, String),
    /// `a=rid` ids that are sent, in the order of `a=simulcast` where there is one.
    pub rids: Vec<String>,
}

/// A description as far as we read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The m-sections in order.
    pub sections: Vec<Section>,
}

/// Refuses a description over the limits of design.md section 3 before anything parses it.
pub fn check_limits(sdp: &str) -> Result<(), PeerError> {
    if sdp.len() > SDP_BYTES_MAX {
        return Err(PeerError::SdpTooLarge);
    }
    let (mut sections, mut candidates) = (0, 0);
    let mut mids: Vec<&str> = Vec::new();
    for (line, text) in (1..).zip(sdp.lines()) {
        if text.len() > LINE_BYTES_MAX {
            return Err(PeerError::SdpLineTooLong { line });
        }
        if let Some(media) = text.strip_prefix("m=") {
            sections += 1;
            if !is_media_line(media) {
                return Err(PeerError::SdpSyntax { line });
            }
        } else if text.starts_with("a=candidate:") {
            candidates += 1;
        } else if let Some(mid) = text.strip_prefix("a=mid:") {
            let mid = mid.trim_end();
            if !is_mid(mid) {
                return Err(PeerError::MidUnusable { line });
            }
            if mids.contains(&mid) {
                return Err(PeerError::DuplicateMid { line });
            }
            mids.push(mid);
        } else if let Some(map) = text.strip_prefix("a=rtpmap:") {
            let pt = map.split(' ').next().and_then(|pt| pt.parse::<u32>().ok());
            if pt.is_none_or(|pt| pt > 127) {
                return Err(PeerError::PayloadTypeRange { line });
            }
        } else if !is_plausible(line, text) {
            return Err(PeerError::SdpSyntax { line });
        }
        if sections > M_SECTIONS_MAX || mids.len() > M_SECTIONS_MAX {
            return Err(PeerError::TooManyMSections);
        }
        if candidates > CANDIDATES_MAX {
            return Err(PeerError::TooManyCandidates);
        }
    }
    Ok(())
}

/// RFC 8866 s5.14: media, port, protocol and at least one format.
fn is_media_line(media: &str) -> bool {
    let mut words = media.split_whitespace();
    let kind = words.next().is_some_and(|kind| kind.bytes().all(|b| b.is_ascii_alphanumeric()));
    let port = words.next().is_some_and(|port| port.parse::<u16>().is_ok());
    kind && port && words.count() >= 2
}

/// What the peer engine takes for a mid without changing it: it would take two that differ in
/// other characters, or behind the sixteenth, for one.
fn is_mid(mid: &str) -> bool {
    (1..=16).contains(&mid.len()) && mid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What a line must at least be, so that whoever wrote it learns which one is wrong.
fn is_plausible(line: usize, text: &str) -> bool {
    let Some((kind, value)) = text.split_once('=') else {
        return text.is_empty();
    };
    let word = |at: usize| value.split_whitespace().nth(at);
    match (line, kind) {
        (1, _) => text.trim_end() == "v=0",
        // RFC 8866 s5.2
        (_, "o") => value.split_whitespace().count() == 6,
        (_, "a") => match value.split_once(':') {
            // RFC 8122 s5
            Some(("fingerprint", print)) => {
                let digest = print.split_whitespace().nth(1).unwrap_or_default();
                digest.len() >= 2
                    && digest.split(':').all(|byte| u8::from_str_radix(byte, 16).is_ok())
            }
            Some(("setup", role)) => {
                matches!(role.trim_end(), "active" | "passive" | "actpass" | "holdconn")
            }
            Some(("ssrc", _)) => {
                word(0).and_then(|w| w.strip_prefix("ssrc:")?.parse::<u32>().ok()).is_some()
            }
            _ => true,
        },
        (_, kind) => kind.len() == 1,
    }
}

/// The description of a peer as the engine should see it: without candidates (an ICE-lite agent
/// never uses them, and they may name hosts), with `BUNDLE` naming only mids that exist (early
/// FFmpeg names an absent one), and with `sendrecv` narrowed to what this Transport is for.
pub fn normalise(sdp: &str, peer_publishes: bool) -> String {
    let mids: Vec<&str> = sdp.lines().filter_map(|line| line.strip_prefix("a=mid:")).collect();
    let mut out = String::with_capacity(sdp.len() + 64);
    for line in sdp.lines() {
        match line {
            "" => continue,
            "a=sendrecv" => {
                out.push_str(if peer_publishes { "a=sendonly" } else { "a=recvonly" });
            }
            _ if line.starts_with("a=candidate:") || line == "a=end-of-candidates" => continue,
            _ => match line.strip_prefix("a=group:BUNDLE") {
                Some(group) => {
                    out.push_str("a=group:BUNDLE");
                    for mid in group.split_whitespace().filter(|mid| mids.contains(mid)) {
                        out.push(' ');
                        out.push_str(mid);
                    }
                }
                None => out.push_str(line),
            },
        }
        out.push_str("\r\n");
    }
    out
}

impl Description {
    /// Reads a description that has passed [`check_limits`]. Lines that make no sense are
    /// skipped: refusing is the engine's part.
    pub fn read(sdp: &str) -> Self {
        let mut sections: Vec<Section> = Vec::new();
        for line in sdp.lines() {
            if let Some(media) = line.strip_prefix("m=") {
                sections.push(Section::from_media_line(media));
            } else if let (Some(section), Some(attribute)) =
                (sections.last_mut(), line.strip_prefix("a="))
            {
                section.read_attribute(attribute);
            }
        }
        Self { sections }
    }
}

impl Section {
    fn from_media_line(media: &str) -> Self {
        let mut words = media.split_whitespace();
        let kind = match words.next() {
            Some("audio") => Some(MediaKind::Audio),
            Some("video") => Some(MediaKind::Video),
            _ => None,
        };
        let is_active = words.next() != Some("0");
        let formats = words
            .skip(1)
            .filter_map(|pt| pt.parse().ok())
            .take(ATTRIBUTES_MAX)
            .map(Format::of_static_pt)
            .collect();
        // RFC 8866 s6.7: sendrecv unless said otherwise.
        Self { kind, is_active, formats, sends: true, receives: true, ..Self::default() }
    }

    fn read_attribute(&mut self, attribute: &str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "mid" => value.clone_into(&mut self.mid),
            "sendrecv" => (self.sends, self.receives) = (true, true),
            "sendonly" => (self.sends, self.receives) = (true, false),
            "recvonly" => (self.sends, self.receives) = (false, true),
            "inactive" => (self.sends, self.receives) = (false, false),
            "bundle-only" => self.is_active = true,
            "msid" => {
                let mut words = value.split_whitespace();
                let mut next = || words.next().unwrap_or_default().to_owned();
                self.msid = (next(), next());
            }
            "rtpmap" => self.read_rtpmap(value),
            "fmtp" => {
                if let Some((format, rest)) = self.format_and_rest(value) {
                    rest.clone_into(&mut format.fmtp);
                }
            }
            "rtcp-fb" => self.read_feedback(value),
            "extmap" => {
                let (id, uri) = value.split_once(' ').unwrap_or((value, ""));
                let id = id.split('/').next().and_then(|id| id.parse().ok());
                let uri = uri.split(' ').next().unwrap_or_default();
                self.extensions.insert(id.unwrap_or(0), uri);
            }
            "ssrc" => {
                let ssrc = value.split(' ').next().and_then(|ssrc| ssrc.parse().ok());
                if let Some(ssrc) = ssrc.filter(|ssrc| !self.ssrcs.contains(ssrc))
                    && self.ssrcs.len() < ATTRIBUTES_MAX
                {
                    self.ssrcs.push(ssrc);
                }
            }
            "ssrc-group" => self.read_ssrc_group(value),
            "rid" => {
                let mut words = value.split_whitespace();
                if let (Some(rid), Some("send")) = (words.next(), words.next())
                    && self.rids.len() < ATTRIBUTES_MAX
                    && !self.rids.iter().any(|known| known == rid)
                {
                    self.rids.push(rid.to_owned());
                }
            }
            "simulcast" => self.read_simulcast(value),
            _ => {}
        }
    }

    fn format_and_rest<'a>(&mut self, value: &'a str) -> Option<(&mut Format, &'a str)> {
        let (pt, rest) = value.split_once(' ')?;
        let pt: u8 = pt.parse().ok()?;
        let format = self.formats.iter_mut().find(|format| format.pt == pt)?;
        Some((format, rest.trim()))
    }

    fn read_rtpmap(&mut self, value: &str) {
        let Some((format, encoding)) = self.format_and_rest(value) else {
            return;
        };
        let mut parts = encoding.split('/');
        let name = parts.next().unwrap_or_default();
        format.codec = Codec::from_name(name);
        format.is_rtx = name.eq_ignore_ascii_case("rtx");
        format.clock_hz = parts.next().and_then(|hz| hz.parse().ok()).unwrap_or(90_000);
    }

    fn read_feedback(&mut self, value: &str) {
        let Some((pt, feedback)) = value.split_once(' ') else {
            return;
        };
        let feedback = feedback.trim();
        for format in &mut self.formats {
            if pt == "*" || pt.parse() == Ok(format.pt) {
                format.has_nack |= feedback == "nack";
                format.has_pli |= feedback == "nack pli" || feedback == "ccm fir";
                format.has_twcc |= feedback == "transport-cc";
            }
        }
    }

    fn read_ssrc_group(&mut self, value: &str) {
        let mut words = value.split_whitespace();
        if words.next() != Some("FID") || self.fid.len() >= ATTRIBUTES_MAX {
            return;
        }
        let mut next = || words.next().and_then(|ssrc| ssrc.parse().ok());
        if let (Some(media), Some(rtx)) = (next(), next()) {
            self.fid.push((media, rtx));
        }
    }

    /// RFC 8853: the rids of `send` in order; `~` marks one that starts paused, a comma an
    /// alternative.
    fn read_simulcast(&mut self, value: &str) {
        let mut words = value.split_whitespace();
        let Some(list) = words.by_ref().skip_while(|word| *word != "send").nth(1) else {
            return;
        };
        let order: Vec<String> = list
            .split([';', ','])
            .map(|rid| rid.trim_start_matches('~').to_owned())
            .filter(|rid| self.rids.contains(rid))
            .collect();
        if !order.is_empty() {
            self.rids = order;
        }
    }

    /// The format for a payload type.
    pub fn format(&self, pt: u8) -> Option<&Format> {
        self.formats.iter().find(|format| format.pt == pt)
    }

    /// The payload type of the RTX format that repairs `pt`.
    pub fn rtx_of(&self, pt: u8) -> Option<u8> {
        self.formats
            .iter()
            .find(|format| format.is_rtx && format.apt() == Some(pt))
            .map(|format| format.pt)
    }
}

impl Format {
    /// RFC 3551: some payload types need no `a=rtpmap`.
    fn of_static_pt(pt: u8) -> Self {
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
            clock_hz: if codec.is_some() { 8000 } else { 90_000 },
            fmtp: String::new(),
            has_nack: false,
            has_pli: false,
            has_twcc: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE 0 1 7\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 9\r\na=mid:0\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\n\
        a=fmtp:111 minptime=10;useinbandfec=1\r\na=msid:s a\r\na=ssrc:5 cname:x\r\n\
        a=candidate:1 1 udp 1 host.local 5 typ host\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96 97\r\na=bundle-only\r\na=mid:1\r\na=sendrecv\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:9/sendonly urn:3gpp:video-orientation\r\n\
        a=rid:l send\r\na=rid:h send\r\na=simulcast:send h;~l\r\n\
        a=ssrc-group:FID 7 8\r\na=ssrc:7 cname:x\r\na=ssrc:8 cname:x\r\n";

    #[test]
    fn the_parts_that_matter_are_read() {
        check_limits(OFFER).expect("within limits");
        let description = Description::read(OFFER);
        let [audio, video] = &description.sections[..] else { panic!("two sections") };
        assert_eq!(
            (audio.kind, audio.sends, audio.receives),
            (Some(MediaKind::Audio), true, false)
        );
        assert_eq!(audio.format(111).map(|f| f.codec), Some(Some(Codec::Opus)));
        assert_eq!(audio.format(9).map(|f| f.codec), Some(Some(Codec::G722)));
        assert_eq!(audio.format(111).map(|f| f.fmtp.as_str()), Some("minptime=10;useinbandfec=1"));
        assert_eq!(audio.msid, ("s".to_owned(), "a".to_owned()));
        assert!(video.is_active, "bundle-only is no rejection");
        assert_eq!(video.rtx_of(96), Some(97));
        assert!(video.format(96).is_some_and(|f| f.has_nack && f.has_pli));
        assert_eq!(video.rids, ["h", "l"]);
        assert_eq!(video.fid, [(7, 8)]);
        assert_eq!(video.extensions.get(9), Some(crate::extension::Extension::VideoOrientation));
    }

    #[test]
    fn normalising_drops_candidates_absent_mids_and_the_other_direction() {
        let sdp = normalise(OFFER, true);
        assert!(!sdp.contains("candidate"));
        assert!(sdp.contains("a=group:BUNDLE 0 1\r\n"));
        assert!(!sdp.contains("sendrecv"));
    }

    #[test]
    fn bombs_are_refused_by_line() {
        let many = |line: &str, n: usize| format!("v=0\r\n{}", line.repeat(n));
        assert_eq!(check_limits(&"x".repeat(300 << 10)), Err(PeerError::SdpTooLarge));
        let long = format!("v=0\r\na={}\r\n", "x".repeat(9000));
        assert_eq!(check_limits(&long), Err(PeerError::SdpLineTooLong { line: 2 }));
        assert_eq!(check_limits(&many("m=a 9 X 1\r\n", 65)), Err(PeerError::TooManyMSections));
        assert_eq!(check_limits(&many("a=candidate:1\r\n", 65)), Err(PeerError::TooManyCandidates));
        for mid in ["a-", "", "12345678901234567", "\u{e4}"] {
            let sdp = format!("v=0\r\na=mid:{mid}\r\n");
            assert_eq!(check_limits(&sdp), Err(PeerError::MidUnusable { line: 2 }), "{mid}");
        }
        assert_eq!(check_limits(&many("a=mid:0\r\n", 2)), Err(PeerError::DuplicateMid { line: 3 }));
        let pt = check_limits("v=0\r\na=rtpmap:128 VP8/90000\r\n");
        assert_eq!(pt, Err(PeerError::PayloadTypeRange { line: 2 }));
        for (text, line) in [
            ("hello", 1),
            ("v=1", 1),
            ("v=0\r\nhello", 2),
            ("v=0\r\no=- 1 1 IN IP4", 2),
            ("v=0\r\nm=audio 9 X\r\n", 2),
            ("v=0\r\nm=audio many X 1\r\n", 2),
            ("v=0\r\na=setup:maybe\r\n", 2),
            ("v=0\r\na=fingerprint:sha-256 no\r\n", 2),
            ("v=0\r\na=ssrc:x cname:y\r\n", 2),
        ] {
            assert_eq!(check_limits(text), Err(PeerError::SdpSyntax { line }), "{text:?}");
        }
    }
}

//! Reading session descriptions (RFC 8866, RFC 8829), and the limits that one must keep before it
//! is read. What is made of it is decided in `agree.rs`, and written in `describe.rs`.

use crate::codec::{Codec, MediaKind};
use crate::error::PeerError;
use crate::extension::ExtensionMap;
use crate::format::Format;

/// Janus PR-3414 and kin: no description of a browser comes near.
pub(crate) const SDP_BYTES_MAX: usize = 256 * 1024;
/// The longest line, `a=fmtp` of codecs with parameter sets included.
pub(crate) const LINE_BYTES_MAX: usize = 8 * 1024;
/// m-sections of one description.
pub(crate) const M_SECTIONS_MAX: usize = 64;
/// Attributes of one kind (formats, ssrcs, rids) read from one m-section; the rest is ignored.
const ATTRIBUTES_MAX: usize = 128;

/// How to reach whoever wrote a description: what belongs to ICE and DTLS, of an m-section or of
/// the whole session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// `a=ice-ufrag`.
    pub ufrag: Option<String>,
    /// `a=ice-pwd`.
    pub pwd: Option<String>,
    /// `a=fingerprint`: hash functions in lower case, and digests.
    pub fingerprints: Vec<(String, Vec<u8>)>,
    /// `a=setup`.
    pub setup: Option<String>,
    /// Whether RTP and RTCP may share a port (`a=rtcp-mux`, `a=rtcp-mux-only`).
    pub has_mux: bool,
    /// Whether RTCP packets may be incomplete (`a=rtcp-rsize`).
    pub has_rsize: bool,
}

/// The words of an `m=` line that an answer repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaLine {
    /// The kind of media, as it is spelt.
    pub media: String,
    /// The transport protocol, as it is spelt.
    pub proto: String,
    /// The first format.
    pub format: String,
    /// What `a=rtpmap` says of the first format; may be empty.
    pub rtpmap: String,
}

/// An m-section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The words of its `m=` line.
    pub line: MediaLine,
    /// `a=mid`, or empty.
    pub mid: String,
    /// Audio, video, or `None` for what carries no RTP.
    pub kind: Option<MediaKind>,
    /// Whether the port is not 0, or the section is `bundle-only` in a bundle.
    pub is_active: bool,
    /// Whether its writer sends media.
    pub sends: bool,
    /// Whether its writer receives media.
    pub receives: bool,
    /// In the order of the `m=` line.
    pub formats: Vec<Format>,
    /// Header extensions.
    pub extensions: ExtensionMap,
    /// Ids of extensions that its writer sends only, and receives only, as bits.
    pub one_way: (u16, u16),
    /// SSRCs in order of appearance.
    pub ssrcs: Vec<u32>,
    /// `a=ssrc-group:FID` pairs: media and its RTX.
    pub fid: Vec<(u32, u32)>,
    /// The `a=msid` stream and track ids.
    pub msid: (String, String),
    /// `a=rid` ids that are sent, in the order of `a=simulcast` where there is one.
    pub rids: Vec<String>,
    /// Restrictions of the rids, without `pt`; in the order of `rids`.
    pub rid_restrictions: Vec<String>,
    /// Whether `a=simulcast` sends.
    pub has_simulcast: bool,
    /// The list of `a=simulcast:send`, while it is being read.
    pub simulcast: String,
    /// Whether `a=bundle-only` is there.
    pub is_bundle_only: bool,
}

/// A description as far as we read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The m-sections in order.
    pub sections: Vec<Section>,
    /// ICE and DTLS of each m-section.
    pub links: Vec<Link>,
    /// The same of the whole session.
    pub session: Link,
    /// The mids of each `a=group:BUNDLE`.
    pub bundles: Vec<Vec<String>>,
    /// Whether `a=extmap-allow-mixed` is there.
    pub is_mixed: bool,
    /// Whether `a=ice-lite` is there.
    pub is_lite: bool,
}

fn lines(sdp: &str) -> std::str::Lines<'_> {
    // Programs in C may send the end of their text along.
    sdp.trim_end_matches('\0').lines()
}

/// Refuses a description over the limits of this file before anything parses it.
pub(crate) fn check_limits(sdp: &str) -> Result<(), PeerError> {
    if sdp.len() > SDP_BYTES_MAX {
        return Err(PeerError::SdpTooLarge);
    }
    let mut sections = 0;
    let mut mids: Vec<(usize, &str)> = Vec::new();
    for (line, text) in (1..).zip(lines(sdp)) {
        if text.len() > LINE_BYTES_MAX {
            return Err(PeerError::SdpLineTooLong { line });
        }
        if let Some(media) = text.strip_prefix("m=") {
            sections += 1;
            if !is_media_line(media) {
                return Err(PeerError::SdpSyntax { line });
            }
        } else if let Some(mid) = text.strip_prefix("a=mid:") {
            let mid = mid.trim();
            if !is_token(mid) {
                return Err(PeerError::MidUnusable { line });
            }
            // Said twice of one section it is no other section's.
            if mids.iter().any(|(of, known)| *known == mid && *of != sections) {
                return Err(PeerError::DuplicateMid { line });
            }
            mids.push((sections, mid));
        } else if !is_plausible(line, text) {
            return Err(PeerError::SdpSyntax { line });
        }
        if sections > M_SECTIONS_MAX || mids.len() > M_SECTIONS_MAX {
            return Err(PeerError::TooManyMSections);
        }
    }
    Ok(())
}

/// RFC 8866 s5.14: media, port (and how many), protocol and at least one format. The engine of a
/// client may number formats of RTP from 0 to 127 only.
fn is_media_line(media: &str) -> bool {
    let mut words = media.split_whitespace();
    let kind = words.next().is_some_and(is_token);
    let port = words.next().is_some_and(|port| {
        let mut parts = port.splitn(2, '/');
        parts.all(|part| part.parse::<u16>().is_ok())
    });
    let is_rtp = words.next().is_some_and(|proto| proto.to_ascii_uppercase().contains("RTP/"));
    let mut formats = words.peekable();
    kind && port
        && formats.peek().is_some()
        && (!is_rtp || formats.all(|pt| pt.parse::<u8>().is_ok_and(|pt| pt <= 127)))
}

/// RFC 8866 s9: what names are made of, mids (RFC 5888 s4) among them.
fn is_token(word: &str) -> bool {
    let is_token_char =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte);
    !word.is_empty() && word.bytes().all(is_token_char)
}

/// What a line must at least be, so that whoever wrote it learns which one is wrong.
fn is_plausible(line: usize, text: &str) -> bool {
    let Some((kind, value)) = text.split_once('=') else {
        return text.trim().is_empty();
    };
    match (line, kind) {
        (1, _) => text.trim_end() == "v=0",
        // RFC 8866 s5.2; some leave the user's name empty instead of writing `-`.
        (_, "o") => match value.split_whitespace().count() {
            5 => value.starts_with(' '),
            words => words == 6,
        },
        (_, "a") => match value.split_once(':') {
            // RFC 8122 s5
            Some(("fingerprint", print)) => {
                let mut words = print.split_whitespace();
                let mut next = || words.next().unwrap_or_default();
                let (hash, digest) = (next(), next());
                // Whoever does not know a hash does not know how its digests look.
                let is_known = hash.to_ascii_lowercase().starts_with("sha-");
                let is_digest = |digest: &str| {
                    digest.split(':').all(|byte| u8::from_str_radix(byte, 16).is_ok())
                };
                digest.len() >= 2 && (!is_known || is_digest(digest))
            }
            Some(("setup", role)) => {
                let role = role.trim().to_ascii_lowercase();
                matches!(role.as_str(), "active" | "passive" | "actpass" | "holdconn")
            }
            _ => true,
        },
        (_, kind) => kind.len() == 1,
    }
}

impl Description {
    /// Reads a description that has passed [`check_limits`]. Lines that make no sense are
    /// skipped.
    pub fn read(sdp: &str) -> Self {
        let mut description = Self::default();
        let mut direction = (true, true);
        for line in lines(sdp).map(str::trim_end) {
            if let Some(media) = line.strip_prefix("m=") {
                let mut section = Section::from_media_line(media);
                // RFC 8866 s6.7: sendrecv unless said otherwise, there or above.
                (section.sends, section.receives) = direction;
                description.sections.push(section);
                description.links.push(Link::default());
                continue;
            }
            let Some(attribute) = line.strip_prefix("a=") else { continue };
            let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
            match name {
                "group" => {
                    let mut words = value.split_whitespace();
                    if words.next() == Some("BUNDLE") && description.bundles.len() < ATTRIBUTES_MAX
                    {
                        description.bundles.push(words.map(str::to_owned).collect());
                    }
                }
                "extmap-allow-mixed" => description.is_mixed = true,
                "ice-lite" => description.is_lite = true,
                _ => {}
            }
            description.links.last_mut().unwrap_or(&mut description.session).read(name, value);
            match description.sections.last_mut() {
                Some(section) => section.read_attribute(name, value),
                None => direction = direction_of(name).unwrap_or(direction),
            }
        }
        description.finish();
        description
    }

    /// What only makes sense once everything is read.
    fn finish(&mut self) {
        for section in &mut self.sections {
            // RFC 9143 s6: outside of a bundle the attribute means nothing.
            let is_bundled = self.bundles.iter().flatten().any(|mid| *mid == section.mid);
            section.is_active |= section.is_bundle_only && is_bundled;
            section.order_rids();
        }
    }
}

impl Link {
    fn read(&mut self, name: &str, value: &str) {
        let value = value.trim();
        match name {
            "ice-ufrag" => self.ufrag = Some(value.to_owned()),
            "ice-pwd" => self.pwd = Some(value.to_owned()),
            "setup" => self.setup = Some(value.to_ascii_lowercase()),
            "rtcp-mux" | "rtcp-mux-only" => self.has_mux = true,
            "rtcp-rsize" => self.has_rsize = true,
            "fingerprint" if self.fingerprints.len() < ATTRIBUTES_MAX => {
                let mut words = value.split_whitespace();
                if let (Some(hash), Some(digest)) = (words.next(), words.next()) {
                    let bytes = digest.split(':').map(|byte| u8::from_str_radix(byte, 16).ok());
                    let bytes = bytes.collect::<Option<Vec<u8>>>();
                    self.fingerprints.extend(bytes.map(|bytes| (hash.to_ascii_lowercase(), bytes)));
                }
            }
            _ => {}
        }
    }
}

/// What a direction attribute means: whether its writer sends, and receives.
fn direction_of(name: &str) -> Option<(bool, bool)> {
    Some(match name {
        "sendrecv" => (true, true),
        "sendonly" => (true, false),
        "recvonly" => (false, true),
        "inactive" => (false, false),
        _ => return None,
    })
}

impl Section {
    fn from_media_line(media: &str) -> Self {
        let mut words = media.split_whitespace();
        let mut next = || words.next().unwrap_or_default();
        let (media, port, proto) = (next(), next(), next());
        let kind = match media {
            _ if media.eq_ignore_ascii_case("audio") => Some(MediaKind::Audio),
            _ if media.eq_ignore_ascii_case("video") => Some(MediaKind::Video),
            _ => None,
        };
        let is_active = port.split('/').next().and_then(|port| port.parse().ok()) != Some(0u16);
        let mut words = words.peekable();
        let line = MediaLine {
            media: media.to_owned(),
            proto: proto.to_owned(),
            format: words.peek().copied().unwrap_or_default().to_owned(),
            rtpmap: String::new(),
        };
        let mut section = Self { line, kind, is_active, ..Self::default() };
        for pt in words.filter_map(|pt| pt.parse().ok()) {
            if section.format(pt).is_none() && section.formats.len() < ATTRIBUTES_MAX {
                section.formats.push(Format::of_static_pt(pt));
            }
        }
        section
    }

    fn read_attribute(&mut self, name: &str, value: &str) {
        match name {
            "mid" => value.trim().clone_into(&mut self.mid),
            "bundle-only" => self.is_bundle_only = true,
            "sendrecv" | "sendonly" | "recvonly" | "inactive" => {
                (self.sends, self.receives) = direction_of(name).unwrap_or((true, true));
            }
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
            "extmap" => self.read_extmap(value),
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
                    let restrictions = words.flat_map(|word| word.split(';'));
                    let kept =
                        restrictions.filter(|one| !one.is_empty() && !one.starts_with("pt="));
                    self.rid_restrictions.push(kept.collect::<Vec<_>>().join(";"));
                }
            }
            // RFC 8853: the rids of `send` in order.
            "simulcast" => {
                let words = value.split_whitespace();
                let list = words.skip_while(|word| *word != "send").skip(1);
                // Some put blanks between streams, and drafts of it wrote `rid=` before the first.
                let list: String = list.take_while(|word| *word != "recv").collect();
                if self.simulcast.is_empty() {
                    list.strip_prefix("rid=").unwrap_or(&list).clone_into(&mut self.simulcast);
                }
            }
            _ => {}
        }
    }

    fn read_extmap(&mut self, value: &str) {
        let mut words = value.split_whitespace();
        let (id, uri) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (id, direction) = id.split_once('/').unwrap_or((id, "sendrecv"));
        let id: u8 = id.parse().unwrap_or(0);
        // RFC 8285 s6: `inactive` is negotiated, but not to be used.
        let Some((sends, receives)) = direction_of(direction).filter(|it| *it != (false, false))
        else {
            return;
        };
        self.extensions.insert(id, uri);
        if self.extensions.get(id).is_some() {
            self.one_way.0 |= u16::from(!receives) << id;
            self.one_way.1 |= u16::from(!sends) << id;
        }
    }

    fn format_and_rest<'a>(&mut self, value: &'a str) -> Option<(&mut Format, &'a str)> {
        let (pt, rest) = value.trim_start().split_once([' ', '\t'])?;
        let pt: u8 = pt.parse().ok()?;
        let format = self.formats.iter_mut().find(|format| format.pt == pt)?;
        Some((format, rest.trim()))
    }

    fn read_rtpmap(&mut self, value: &str) {
        if let Some((pt, rtpmap)) = value.trim_start().split_once([' ', '\t'])
            && pt == self.line.format
        {
            rtpmap.trim().clone_into(&mut self.line.rtpmap);
        }
        let Some((format, encoding)) = self.format_and_rest(value) else {
            return;
        };
        let mut parts = encoding.split('/').map(str::trim);
        let name = parts.next().unwrap_or_default();
        format.codec = Codec::from_name(name);
        format.is_rtx = name.eq_ignore_ascii_case("rtx");
        format.is_red = name.eq_ignore_ascii_case("red");
        format.clock_hz = parts.next().and_then(|hz| hz.parse().ok()).unwrap_or(0);
        format.channels = parts.next().and_then(|channels| channels.parse().ok()).unwrap_or(1);
    }

    fn read_feedback(&mut self, value: &str) {
        let mut words = value.split_whitespace();
        let pt = words.next().unwrap_or_default();
        let feedback = words.collect::<Vec<_>>().join(" ");
        for format in &mut self.formats {
            if pt == "*" || pt.parse() == Ok(format.pt) {
                format.feedback = format.feedback.with(&feedback);
                format.has_nack |= feedback == "nack";
                format.has_pli |= feedback == "nack pli" || feedback == "ccm fir";
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

    /// RFC 8853 s5.1: a semicolon stands between streams, a comma between alternatives of one, of
    /// which we take the first that there is, and `~` marks one that starts paused.
    fn order_rids(&mut self) {
        let simulcast = std::mem::take(&mut self.simulcast);
        let (mut rids, mut restrictions) = (Vec::new(), Vec::new());
        for stream in simulcast.split(';') {
            let alternatives = stream.split(',').map(|rid| rid.trim_start_matches('~'));
            let position = |rid: &str| self.rids.iter().position(|known| known == rid);
            let Some((at, rid)) = alternatives.filter_map(|rid| Some((position(rid)?, rid))).next()
            else {
                continue;
            };
            if !rids.iter().any(|known| known == rid) {
                rids.push(rid.to_owned());
                restrictions.push(self.rid_restrictions[at].clone());
            }
        }
        if !rids.is_empty() {
            self.has_simulcast = true;
            (self.rids, self.rid_restrictions) = (rids, restrictions);
        }
    }

    /// Its kind, where it is known to carry media.
    pub fn kind_or_video(&self) -> MediaKind {
        self.kind.unwrap_or(MediaKind::Video)
    }

    /// The format for a payload type.
    pub fn format(&self, pt: u8) -> Option<&Format> {
        self.formats.iter().find(|format| format.pt == pt)
    }

    /// The payload type of redundant audio made of `pt`.
    pub fn red_of(&self, pt: u8) -> Option<u8> {
        self.formats.iter().find(|format| format.is_red_of(pt)).map(|format| format.pt)
    }

    /// The payload type of the RTX format that repairs `pt`.
    pub fn rtx_of(&self, pt: u8) -> Option<u8> {
        self.formats
            .iter()
            .find(|format| format.is_rtx && format.apt() == Some(pt))
            .map(|format| format.pt)
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
    fn the_end_of_a_text_in_c_is_none_of_it() {
        let sent = format!("{OFFER}\0");
        check_limits(&sent).expect("within limits");
        let [found, meant] = [&sent, OFFER].map(|sdp| format!("{:?}", Description::read(sdp)));
        assert_eq!(found, meant);
        assert!(check_limits(&OFFER.replace("a=mid:1", "a=mid:1\0")).is_err(), "in the middle");
    }

    #[test]
    fn lists_of_simulcast_are_read_as_they_are_written() {
        for list in
            ["send h;~l", "send h; ~l", " send h ;l recv x", "recv x send h;l", "send rid=h;l"]
        {
            let offer = OFFER.replace("send h;~l", list);
            assert_eq!(Description::read(&offer).sections[1].rids, ["h", "l"], "{list}");
        }
    }

    #[test]
    fn bombs_are_refused_by_line() {
        let many = |line: &str, n: usize| format!("v=0\r\n{}", line.repeat(n));
        assert_eq!(check_limits(&"x".repeat(300 << 10)), Err(PeerError::SdpTooLarge));
        let long = format!("v=0\r\na={}\r\n", "x".repeat(9000));
        assert_eq!(check_limits(&long), Err(PeerError::SdpLineTooLong { line: 2 }));
        assert_eq!(check_limits(&many("m=a 9 X 1\r\n", 65)), Err(PeerError::TooManyMSections));
        assert_eq!(check_limits(&many("a=candidate:1\r\n", 4000)), Ok(()));
        for mid in ["a(", "", "a b", "\u{e4}"] {
            let sdp = format!("v=0\r\na=mid:{mid}\r\n");
            assert_eq!(check_limits(&sdp), Err(PeerError::MidUnusable { line: 2 }), "{mid}");
        }
        let twice = "m=audio 9 X 1\r\na=mid:0\r\n";
        assert_eq!(check_limits(&many(twice, 2)), Err(PeerError::DuplicateMid { line: 5 }));
        assert_eq!(check_limits(&format!("v=0\r\n{twice}a=mid:0\r\n")), Ok(()), "of one section");
        // What nothing needs does no harm.
        for line in ["a=rtpmap:200 VP8/90000", "a=rtpmap:x", "a=ssrc:-1234 cname:x", "a=ssrc:"] {
            assert_eq!(check_limits(&format!("v=0\r\n{line}\r\n")), Ok(()), "{line}");
        }
        for (text, line) in [
            ("hello", 1),
            ("v=1", 1),
            ("v=0\r\nhello", 2),
            ("v=0\r\no=- 1 1 IN IP4", 2),
            ("v=0\r\nm=audio 9 X\r\n", 2),
            ("v=0\r\nm=audio many X 1\r\n", 2),
            ("v=0\r\na=setup:maybe\r\n", 2),
            ("v=0\r\na=fingerprint:sha-256 no\r\n", 2),
        ] {
            assert_eq!(check_limits(text), Err(PeerError::SdpSyntax { line }), "{text:?}");
        }
    }
}

//! Writing session descriptions (RFC 8866): our answers, and our offers to viewers. Every line is
//! ours, so that an answer has the sections of its offer in their order, and none without a format.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::agree::{Agreement, Outcome, Role};
use crate::codec::{Codec, MediaKind};
use crate::extension::Extension;
use crate::format::{CCFB, FeedbackSet, Format, H264Profile, clock_of, encoding_name, parameter};
use crate::sdp::{Description, Section};

/// What is ours in a description.
pub(crate) struct Ours<'a> {
    /// The session's id and the version of this description.
    pub origin: (u64, u64),
    /// ICE user name fragment and password.
    pub credentials: (&'a str, &'a str),
    /// Our certificate's fingerprint, as `a=fingerprint` has it.
    pub fingerprint: &'a str,
    /// The value of `a=setup`.
    pub setup: &'a str,
    /// Our candidates.
    pub candidates: &'a Candidates,
}

/// What we send in an m-section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track<'a> {
    /// `a=msid`: the stream, which is the CNAME as well (RFC 8834 s4.9).
    pub stream: &'a str,
    /// `a=msid`: the track.
    pub track: &'a str,
    /// The SSRC.
    pub ssrc: u32,
    /// The SSRC of what repairs it.
    pub rtx: Option<u32>,
}

/// One m-section that we offer.
pub(crate) struct Offered<'a> {
    /// Audio or video.
    pub kind: MediaKind,
    /// Its mid.
    pub mid: &'a str,
    /// Whether we send.
    pub is_on: bool,
    /// What may be sent, best first.
    pub formats: &'a [Format],
    /// What it is.
    pub track: Track<'a>,
}

/// More are not told of: each costs every client a connection.
const TCP_CANDIDATES_MAX: usize = 4;

/// Where peers reach us, best first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    /// Over UDP.
    pub udp: Vec<SocketAddr>,
    /// Over TCP: we wait to be connected to (RFC 6544).
    pub tcp: Vec<SocketAddr>,
}

impl Candidates {
    /// With that of an address first, if it is among them: some clients try one only. A browser
    /// opens a connection to each of those of TCP, so that they are few: one for each family of
    /// addresses and each port.
    pub(crate) fn nearest_first(
        udp: &[SocketAddr],
        tcp: &[SocketAddr],
        near: Option<IpAddr>,
    ) -> Self {
        let sorted = |candidates: &[SocketAddr]| {
            let mut sorted = candidates.to_vec();
            sorted.sort_by_key(|candidate| Some(candidate.ip()) != near);
            sorted
        };
        let mut few: Vec<SocketAddr> = Vec::new();
        for candidate in sorted(tcp) {
            let is_like = |known: &SocketAddr| {
                known.is_ipv4() == candidate.is_ipv4() && known.port() == candidate.port()
            };
            if few.len() < TCP_CANDIDATES_MAX && !few.iter().any(is_like) {
                few.push(candidate);
            }
        }
        Self { udp: sorted(udp), tcp: few }
    }
}

/// Our answer to an offer of a peer that is to us what `role` says. `track` gives what we send in
/// an m-section.
pub(crate) fn answer<'a>(
    remote: &Description,
    agreement: &Agreement,
    role: Role,
    ours: &Ours<'_>,
    has_rsize: bool,
    track: impl Fn(usize) -> Option<Track<'a>>,
) -> String {
    let mids = agreement.bundle.iter().filter_map(|m_line| remote.sections.get(*m_line));
    let mids: Vec<&str> = mids.map(|section| section.mid.as_str()).collect();
    let stream = (0..agreement.outcomes.len()).find_map(|m_line| Some(track(m_line)?.stream));
    let mut out = session(ours, &mids, agreement.has_bundle, remote.is_mixed, stream);
    for (m_line, (outcome, offered)) in agreement.outcomes.iter().zip(&remote.sections).enumerate()
    {
        let is_first = agreement.bundle.first() == Some(&m_line);
        let section = match outcome {
            Outcome::Agreed(section) => section,
            Outcome::Idle(_) => {
                write_idle(&mut out, offered, role, (ours, is_first));
                continue;
            }
            Outcome::Off | Outcome::Refused(_) => {
                write_off(&mut out, offered);
                continue;
            }
        };
        let flows = role.flows(section);
        let direction = match role {
            _ if !flows => "inactive",
            Role::Publisher => "recvonly",
            Role::Viewer => "sendonly",
        };
        let words = (section.line.media.as_str(), section.line.proto.as_str());
        write_head(&mut out, words, &section.formats, &section.mid);
        write_link(&mut out, ours, is_first);
        let _ = write!(out, "a={direction}\r\na=rtcp-mux\r\n");
        if has_rsize {
            out.push_str("a=rtcp-rsize\r\n");
        }
        write_extensions(&mut out, section, role);
        write_formats(&mut out, &section.formats);
        write_rids(&mut out, section);
        if let Some(track) = track(m_line).filter(|_| flows) {
            write_track(&mut out, &track, section.formats.iter().any(|format| format.is_rtx));
        }
    }
    out
}

/// Our offer to a viewer. `stream` is the MediaStream of all that it sends.
pub(crate) fn offer(ours: &Ours<'_>, sections: &[Offered<'_>], stream: &str) -> String {
    let mids: Vec<&str> = sections.iter().map(|section| section.mid).collect();
    let mut out = session(ours, &mids, true, true, Some(stream));
    for (at, section) in sections.iter().enumerate() {
        let media = match section.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        };
        write_head(&mut out, (media, "UDP/TLS/RTP/SAVPF"), section.formats, section.mid);
        write_link(&mut out, ours, at == 0);
        out.push_str(if section.is_on { "a=sendonly\r\n" } else { "a=inactive\r\n" });
        out.push_str("a=rtcp-mux\r\na=rtcp-rsize\r\n");
        for extension in Extension::ALL.into_iter().filter(|e| is_offered(*e, section.kind)) {
            let _ = write!(out, "a=extmap:{} {}\r\n", extension.id(), extension.uri());
        }
        write_formats(&mut out, section.formats);
        let has_rtx = section.formats.iter().any(|format| format.is_rtx);
        write_track(&mut out, &section.track, has_rtx);
    }
    out
}

/// A viewer's stream has one Encoding and no rid.
fn is_offered(extension: Extension, kind: MediaKind) -> bool {
    extension.is_for(kind) && !matches!(extension, Extension::Rid | Extension::RepairedRid)
}

fn session(
    ours: &Ours<'_>,
    mids: &[&str],
    has_bundle: bool,
    is_mixed: bool,
    stream: Option<&str>,
) -> String {
    let (id, version) = ours.origin;
    let mut out = String::with_capacity(4096);
    let _ = write!(out, "v=0\r\no=- {id} {version} IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
    if has_bundle {
        let _ = write!(out, "a=group:BUNDLE {}\r\n", mids.join(" "));
    }
    if is_mixed {
        out.push_str("a=extmap-allow-mixed\r\n");
    }
    if let Some(stream) = stream {
        let _ = write!(out, "a=msid-semantic: WMS {}\r\n", msid(stream));
    }
    out.push_str("a=ice-lite\r\n");
    out
}

/// A section that is off: port 0, and a format, because there must be one (RFC 8866 s9).
fn write_off(out: &mut String, offered: &Section) {
    let line = &offered.line;
    let _ = write!(out, "m={} 0 {} {}\r\n", line.media, line.proto, line.format);
    out.push_str("c=IN IP4 0.0.0.0\r\n");
    if !offered.mid.is_empty() {
        let _ = write!(out, "a=mid:{}\r\n", offered.mid);
    }
    if offered.kind.is_some() {
        out.push_str("a=inactive\r\n");
    }
    if !line.rtpmap.is_empty() {
        let _ = write!(out, "a=rtpmap:{} {}\r\n", line.format, line.rtpmap);
    }
}

/// A section that carries nothing but the transport of its bundle.
fn write_idle(
    out: &mut String,
    offered: &Section,
    role: Role,
    (ours, is_first): (&Ours<'_>, bool),
) {
    let line = &offered.line;
    let _ = write!(out, "m={} 9 {} {}\r\n", line.media, line.proto, line.format);
    let _ = write!(out, "c=IN IP4 0.0.0.0\r\na=mid:{}\r\n", offered.mid);
    write_link(out, ours, is_first);
    out.push_str("a=inactive\r\na=rtcp-mux\r\n");
    // Chromium leaves out of later offers what is not answered, and cannot offer simulcast without rids then.
    write_extensions(out, offered, role);
    if !line.rtpmap.is_empty() {
        let _ = write!(out, "a=rtpmap:{} {}\r\n", line.format, line.rtpmap);
    }
}

fn write_head(out: &mut String, (media, proto): (&str, &str), formats: &[Format], mid: &str) {
    let _ = write!(out, "m={media} 9 {proto}");
    for format in formats {
        let _ = write!(out, " {}", format.pt);
    }
    out.push_str("\r\nc=IN IP4 0.0.0.0\r\n");
    if !mid.is_empty() {
        let _ = write!(out, "a=mid:{mid}\r\n");
    }
}

/// The priority of our candidate at this place, from 1: host candidates of the first component, in
/// our order (RFC 8445 s5.1.2).
pub(crate) fn host_priority(at: u32) -> u32 {
    (126 << 24) + (65_536_u32.saturating_sub(at) << 8) + 255
}

/// The same over TCP: below all of UDP, and as RFC 6544 s4.2 has it for passive ones.
pub(crate) fn tcp_priority(at: u32) -> u32 {
    const TYPE: u32 = 90;
    const PASSIVE: u32 = 4;
    let other = 8191_u32.saturating_sub(at);
    (TYPE << 24) + ((PASSIVE << 13 | other) << 8) + 255
}

fn write_link(out: &mut String, ours: &Ours<'_>, has_candidates: bool) {
    let Ours { credentials: (ufrag, pwd), fingerprint, setup, .. } = ours;
    let _ = write!(out, "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=ice-options:trickle\r\n");
    let _ = write!(out, "a=fingerprint:{fingerprint}\r\na=setup:{setup}\r\n");
    if !has_candidates {
        return;
    }
    for (at, candidate) in (1u32..).zip(&ours.candidates.udp) {
        let priority = host_priority(at);
        let (ip, port) = (candidate.ip(), candidate.port());
        let _ = write!(out, "a=candidate:{at} 1 udp {priority} {ip} {port} typ host\r\n");
    }
    for (at, candidate) in (1u32..).zip(&ours.candidates.tcp) {
        let (ip, port, priority) = (candidate.ip(), candidate.port(), tcp_priority(at));
        let foundation = ours.candidates.udp.len() as u32 + at;
        let _ = write!(
            out,
            "a=candidate:{foundation} 1 tcp {priority} {ip} {port} typ host tcptype passive\r\n"
        );
    }
    // There is no more to come: we do not trickle.
    out.push_str("a=end-of-candidates\r\n");
}

fn write_extensions(out: &mut String, section: &Section, role: Role) {
    for id in 1..15 {
        let Some(extension) = section.extensions.get(id) else { continue };
        let is_one_way = (section.one_way.0 | section.one_way.1) >> id & 1 != 0;
        let direction = match role {
            _ if !is_one_way => "",
            Role::Publisher => "/recvonly",
            Role::Viewer => "/sendonly",
        };
        let _ = write!(out, "a=extmap:{id}{direction} {}\r\n", extension.uri());
    }
}

fn write_formats(out: &mut String, formats: &[Format]) {
    if formats.iter().any(|format| format.feedback.has(CCFB)) {
        let _ = write!(out, "a=rtcp-fb:* {CCFB}\r\n");
    }
    for format in formats {
        let Format { pt, clock_hz, channels, fmtp, .. } = format;
        let name = match format.codec {
            Some(codec) => encoding_name(codec),
            None if format.is_red => "red",
            None => "rtx",
        };
        let _ = write!(out, "a=rtpmap:{pt} {name}/{clock_hz}");
        if *channels > 1 {
            let _ = write!(out, "/{channels}");
        }
        out.push_str("\r\n");
        for value in format.feedback.values().filter(|value| *value != CCFB) {
            let _ = write!(out, "a=rtcp-fb:{pt} {value}\r\n");
        }
        if !fmtp.is_empty() {
            let _ = write!(out, "a=fmtp:{pt} {fmtp}\r\n");
        }
    }
}

/// RFC 8853 s5.3.2: what we take of the simulcast streams that are offered.
fn write_rids(out: &mut String, section: &Section) {
    for (rid, restrictions) in section.rids.iter().zip(&section.rid_restrictions) {
        let space = if restrictions.is_empty() { "" } else { " " };
        let _ = write!(out, "a=rid:{rid} recv{space}{restrictions}\r\n");
    }
    if section.has_simulcast {
        let _ = write!(out, "a=simulcast:recv {}\r\n", section.rids.join(";"));
    }
}

fn write_track(out: &mut String, track: &Track<'_>, has_rtx: bool) {
    let Track { ssrc, rtx, .. } = track;
    let (stream, track) = (msid(track.stream), msid(track.track));
    let rtx = rtx.filter(|_| has_rtx);
    let _ = write!(out, "a=msid:{stream} {track}\r\n");
    if let Some(rtx) = rtx {
        let _ = write!(out, "a=ssrc-group:FID {ssrc} {rtx}\r\n");
    }
    for ssrc in std::iter::once(*ssrc).chain(rtx) {
        let _ =
            write!(out, "a=ssrc:{ssrc} cname:{stream}\r\na=ssrc:{ssrc} msid:{stream} {track}\r\n");
    }
}

/// RFC 8830 s2: what the ids of streams and tracks are made of, 64 characters at most.
fn msid(id: &str) -> String {
    let is_allowed = |c: &char| c.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]".contains(*c);
    let allowed: String = id.chars().filter(is_allowed).take(64).collect();
    if allowed.is_empty() { "-".to_owned() } else { allowed }
}

/// Our payload types towards viewers (those of Galene, where it has them), with those of RTX beside; a
/// codec's number means the same in every offer, because it must not change within a session.
pub(crate) fn offered_formats(codec: Codec, published: Option<&str>) -> Vec<Format> {
    let mut formats = Vec::new();
    let mut add = |pt: u8, rtx: Option<u8>, fmtp: &str| {
        formats.push(own_format(pt, codec, fmtp.to_owned()));
        formats.extend(rtx.map(|rtx| own_rtx(rtx, pt)));
    };
    match codec {
        Codec::Vp8 => add(96, Some(97), ""),
        Codec::Vp9 => {
            let profiles = [(98, "profile-id=0"), (100, "profile-id=2")];
            let wanted = published.map(|fmtp| parameter(fmtp, "profile-id").unwrap_or("0"));
            for (pt, fmtp) in profiles {
                if wanted.is_none_or(|wanted| parameter(fmtp, "profile-id") == Some(wanted)) {
                    add(pt, Some(pt + 1), fmtp);
                }
            }
        }
        Codec::Av1 => add(35, Some(36), published.unwrap_or_default()),
        Codec::H264 => {
            for (pt, fmtp) in h264_offered(published) {
                add(pt, Some(pt + 1), &fmtp);
            }
        }
        Codec::Opus => {
            let fmtp = published.filter(|fmtp| !fmtp.is_empty());
            add(111, None, fmtp.unwrap_or("minptime=10;useinbandfec=1"));
            formats.push(own_red(63, 111));
        }
        Codec::G722 => add(9, None, ""),
        Codec::Pcmu => add(0, None, ""),
        Codec::Pcma => add(8, None, ""),
    }
    formats
}

/// H.264 as it is published first, and then every profile that a viewer may list: decoders take
/// more than they name, and what a browser lists differs from build to build.
fn h264_offered(published: Option<&str>) -> Vec<(u8, String)> {
    let fmtp_of = |mode: u8, profile: &str| {
        format!("level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}")
    };
    let known =
        [(108, "42e01f"), (102, "42001f"), (123, "4d001f"), (114, "64001f"), (118, "640c1f")];
    let mut offered: Vec<(u8, String)> =
        known.into_iter().map(|(pt, profile)| (pt, fmtp_of(1, profile))).collect();
    let Some(published) = published else {
        return offered;
    };
    let profile = H264Profile::of(published);
    offered.sort_by_key(|(_, fmtp)| H264Profile::of(fmtp) != profile);
    let is_mode_0 = parameter(published, "packetization-mode") != Some("1");
    let id = parameter(published, "profile-level-id").unwrap_or("42000a").to_ascii_lowercase();
    if is_mode_0 || known.iter().all(|(_, profile)| *profile != id) {
        offered.insert(0, (125, fmtp_of(u8::from(!is_mode_0), &id)));
    }
    offered
}

fn own_format(pt: u8, codec: Codec, fmtp: String) -> Format {
    let (clock_hz, channels) = clock_of(codec);
    let feedback = FeedbackSet::offered(codec.kind());
    Format { codec: Some(codec), clock_hz, channels, fmtp, feedback, ..Format::of_static_pt(pt) }
}

fn own_rtx(pt: u8, apt: u8) -> Format {
    let fmtp = format!("apt={apt}");
    Format { codec: None, is_rtx: true, clock_hz: 90_000, fmtp, ..Format::of_static_pt(pt) }
}

/// Redundant audio, with one earlier packet or more (RFC 2198 s5).
fn own_red(pt: u8, of: u8) -> Format {
    let (clock_hz, channels) = clock_of(Codec::Opus);
    let fmtp = format!("{of}/{of}");
    Format { codec: None, is_red: true, clock_hz, channels, fmtp, ..Format::of_static_pt(pt) }
}

/// Which of a viewer's formats to send a Publication in: one that the viewer says it decodes.
/// With H.264 any profile will do if its own is not there.
pub(crate) fn format_for<'a>(
    section: &'a Section,
    codec: Codec,
    published: &str,
) -> Option<&'a Format> {
    let of_codec = section.formats.iter().filter(|format| format.codec == Some(codec));
    let is_same = |name: &str, format: &Format| {
        parameter(published, name).unwrap_or("0") == format.parameter(name).unwrap_or("0")
    };
    match codec {
        Codec::Vp9 => of_codec.into_iter().find(|format| is_same("profile-id", format)),
        Codec::Av1 => of_codec.into_iter().find(|format| is_same("profile", format)),
        Codec::H264 => {
            let profile = H264Profile::of(published);
            let mode = |fmtp| parameter(fmtp, "packetization-mode").unwrap_or("0") == "1";
            // Who takes fragments takes whole units as well, but not the other way round.
            let unpacks = of_codec.filter(|format| mode(&format.fmtp) || !mode(published));
            unpacks.min_by_key(|format| {
                let found = H264Profile::of(&format.fmtp);
                let is_less = found < profile;
                (found != profile, is_less, (found as u8).abs_diff(profile as u8))
            })
        }
        Codec::Vp8 | Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => {
            of_codec.into_iter().next()
        }
    }
}

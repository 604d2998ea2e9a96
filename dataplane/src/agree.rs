//! What we make of an offer (RFC 3264 s6, RFC 8829 s5.3): every m-section is agreed upon, off, or
//! refused for a reason that its writer is told.

use crate::codec::{Codec, MediaKind};
use crate::error::PeerError;
use crate::extension::{Extension, ExtensionMap};
use crate::format::{FeedbackSet, Format};
use crate::publication::ENCODINGS_MAX;
use crate::sdp::{Description, Link, Section};
use crate::unused::{Unused, Why};

/// What a peer is to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// It sends media.
    Publisher,
    /// It gets media.
    Viewer,
}

impl Role {
    /// Whether media flows in a section, as the peer has described it.
    pub(crate) fn flows(self, section: &Section) -> bool {
        match self {
            Self::Publisher => section.sends,
            Self::Viewer => section.receives,
        }
    }
}

/// What becomes of an m-section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It is answered, with these of its formats, extensions and rids.
    Agreed(Box<Section>),
    /// Its writer has turned it off.
    Off,
    /// It cannot be used.
    Refused(Why),
    /// Neither can it, but it leads its bundle: it is answered as inactive. Chromium takes a
    /// refusal of the first section for one of the whole bundle.
    Idle(Why),
}

/// What becomes of an offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Agreement {
    /// By m-section of the offer.
    pub outcomes: Vec<Outcome>,
    /// The m-sections that are agreed or idle, in the order of their bundle; ICE and DTLS are those
    /// of the first.
    pub bundle: Vec<usize>,
    /// Whether the offer bundles them.
    pub has_bundle: bool,
}

impl Agreement {
    /// The section at an index, if it is agreed.
    pub(crate) fn section(&self, m_line: usize) -> Option<&Section> {
        match self.outcomes.get(m_line) {
            Some(Outcome::Agreed(section)) => Some(section),
            _ => None,
        }
    }

    /// Those that are refused.
    pub(crate) fn unused(&self, remote: &Description) -> Vec<Unused> {
        let named = self.outcomes.iter().zip(&remote.sections).enumerate();
        let refused = named.filter_map(|(m_line, (outcome, section))| match outcome {
            Outcome::Refused(why) | Outcome::Idle(why) => {
                Some(Unused { m_line, media: section.line.media.clone(), why: why.clone() })
            }
            _ => None,
        });
        refused.collect()
    }
}

/// Decides on an offer. `kinds` are those that sections have had before, by m-line; empty if it is the first.
pub(crate) fn agree(
    remote: &Description,
    role: Role,
    codecs: &[Codec],
    kinds: &[Option<MediaKind>],
) -> Result<Agreement, PeerError> {
    // Who publishes already may pause everything (RFC 3264 s8.4), and go on later.
    let may_pause = role == Role::Publisher && !kinds.is_empty();
    let is_wanted = |s: &Section| s.is_active && s.kind.is_some() && (may_pause || role.flows(s));
    if !remote.sections.iter().any(is_wanted) {
        return Err(match role {
            Role::Publisher => PeerError::NoMedia,
            Role::Viewer => PeerError::NothingWanted,
        });
    }
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (m_line, section) in remote.sections.iter().enumerate() {
        let before = kinds.get(m_line).copied().flatten();
        outcomes.push(match usable(section, role, codecs) {
            _ if !section.is_active => Outcome::Off,
            Ok(_) if before.is_some() && before != section.kind => {
                Outcome::Refused(Why::KindChanged)
            }
            Ok(section) => Outcome::Agreed(Box::new(section)),
            Err(why) => Outcome::Refused(why),
        });
    }
    let (bundle, has_bundle) = bundle_of(remote, &mut outcomes);
    let agreement = Agreement { outcomes, bundle, has_bundle };
    let flows =
        |m_line: &usize| agreement.section(*m_line).is_some_and(|s| may_pause || role.flows(s));
    if !agreement.bundle.iter().any(flows) {
        let mut unused = agreement.unused(remote).into_iter();
        let is_media = |unused: &Unused| remote.sections.get(unused.m_line).is_some_and(is_wanted);
        return Err(match unused.find(is_media) {
            Some(unused) if unused.why != Why::Formats => PeerError::SectionUnusable(unused),
            _ => PeerError::NoCommonCodec,
        });
    }
    Ok(agreement)
}

/// The agreed sections that share the transport, in the order of their bundle. The others are
/// refused: there is one transport (RFC 9143 s7.3).
fn bundle_of(remote: &Description, outcomes: &mut [Outcome]) -> (Vec<usize>, bool) {
    let is_agreed = |outcome: &Outcome| matches!(outcome, Outcome::Agreed(_));
    let agreed: Vec<usize> = (0..outcomes.len()).filter(|at| is_agreed(&outcomes[*at])).collect();
    let mid = |at: usize| remote.sections.get(at).map_or("", |section| section.mid.as_str());
    let Some(first) = agreed.first().copied() else {
        return (Vec::new(), false);
    };
    let is_in = |group: &&Vec<String>, at: usize| {
        !mid(at).is_empty() && group.iter().any(|named| *named == mid(at))
    };
    let group = remote.bundles.iter().find(|group| is_in(group, first));
    let bundle: Vec<usize> = match group {
        Some(group) => {
            let mut bundle: Vec<usize> = Vec::new();
            for named in group {
                let at = (0..outcomes.len()).find(|at| mid(*at) == named);
                let Some(at) = at.filter(|at| !bundle.contains(at)) else { continue };
                match &outcomes[at] {
                    Outcome::Refused(why @ Why::Formats) if bundle.is_empty() => {
                        outcomes[at] = Outcome::Idle(why.clone());
                    }
                    Outcome::Agreed(_) => {}
                    _ => continue,
                }
                bundle.push(at);
            }
            bundle
        }
        None => vec![first],
    };
    for at in agreed {
        if !bundle.contains(&at) {
            outcomes[at] = Outcome::Refused(Why::NotBundled);
        }
    }
    (bundle, group.is_some())
}

/// A section narrowed to what we take of it.
fn usable(section: &Section, role: Role, codecs: &[Codec]) -> Result<Section, Why> {
    let kind = section.kind.ok_or(Why::Kind)?;
    if !is_rtp_over_dtls(&section.line.proto) {
        return Err(Why::Protocol(section.line.proto.clone()));
    }
    let formats = agreed_formats(section, role, kind, codecs);
    if formats.is_empty() {
        return Err(Why::Formats);
    }
    let mut agreed = Section { formats, ..section.clone() };
    agreed.extensions = ExtensionMap::default();
    for id in 1..15 {
        let extension = section.extensions.get(id).filter(|extension| {
            let (sends_only, receives_only) = section.one_way;
            let is_usable = match role {
                Role::Publisher => receives_only >> id & 1 == 0,
                Role::Viewer => {
                    sends_only >> id & 1 == 0
                        && !matches!(extension, Extension::Rid | Extension::RepairedRid)
                }
            };
            is_usable && extension.is_for(kind)
        });
        if let Some(extension) = extension {
            agreed.extensions.insert(id, extension.uri());
        }
    }
    // RFC 8852 s3: without the extension nothing tells the streams of a simulcast apart.
    let has_rids = role == Role::Publisher && agreed.extensions.id_of(Extension::Rid).is_some();
    let encodings_max = if has_rids { ENCODINGS_MAX } else { 0 };
    agreed.rids.truncate(encodings_max);
    agreed.rid_restrictions.truncate(encodings_max);
    agreed.has_simulcast &= has_rids;
    Ok(agreed)
}

/// RFC 8829 s5.1.2: all of these mean RTP over DTLS, whatever they say; some older ones besides.
fn is_rtp_over_dtls(proto: &str) -> bool {
    let proto = proto.to_ascii_uppercase();
    let prefixes = ["UDP/TLS/", "TCP/DTLS/", "TCP/TLS/", "DTLS/"];
    let profile = prefixes.iter().find_map(|prefix| proto.strip_prefix(prefix)).unwrap_or(&proto);
    matches!(profile, "RTP/AVP" | "RTP/AVPF" | "RTP/SAVP" | "RTP/SAVPF")
}

/// The formats that we take, those of the group's favourite codec first, each followed by what
/// repairs it.
fn agreed_formats(section: &Section, role: Role, kind: MediaKind, codecs: &[Codec]) -> Vec<Format> {
    let place = |codec: Codec| codecs.iter().position(|known| *known == codec);
    let mut usable: Vec<(usize, u8, &Format)> = section
        .formats
        .iter()
        .filter_map(|format| {
            let codec = format.codec.filter(|codec| codec.kind() == kind)?;
            let place = place(codec)?;
            format.is_usable().then(|| (place, format.rank(), format))
        })
        .collect();
    usable.sort_by_key(|(place, rank, _)| (*place, *rank));
    let mut agreed: Vec<Format> = Vec::new();
    for (_, _, format) in usable {
        let mut helpers = section
            .formats
            .iter()
            .filter(|helper| !helper.is_rtcp() && helper.clock_hz == format.clock_hz);
        let repair =
            helpers.clone().find(|repair| repair.is_rtx && repair.apt() == Some(format.pt));
        let redundant = helpers.find(|red| kind == MediaKind::Audio && red.is_red_of(format.pt));
        // Redundant audio: publishers send what they find first; we make it for viewers where it is needed.
        let (first, last) = match role {
            Role::Publisher => (redundant, None),
            Role::Viewer => (None, redundant),
        };
        let all = first.into_iter().chain([format]).chain(repair).chain(last);
        agreed.extend(all.map(|format| answered(format, kind)));
    }
    agreed
}

/// A format with what we answer of its parameters and feedback.
fn answered(format: &Format, kind: MediaKind) -> Format {
    let feedback = format.feedback.answered(kind);
    let is_helper = format.is_rtx || format.is_red;
    let feedback = if is_helper { FeedbackSet::default() } else { feedback };
    Format { fmtp: format.answered_parameters(), feedback, ..format.clone() }
}

/// What of ICE and DTLS holds for a bundle: its first section's, else the session's, else that of
/// any other section.
pub(crate) fn link_of(remote: &Description, bundle: &[usize]) -> Link {
    let of_bundle = || bundle.iter().filter_map(|m_line| remote.links.get(*m_line));
    let mut links: Vec<&Link> = of_bundle().take(1).collect();
    links.push(&remote.session);
    links.extend(of_bundle().skip(1));
    let has_credentials = |link: &&&Link| link.ufrag.is_some() && link.pwd.is_some();
    let credentials = links.iter().find(has_credentials);
    let prints = links.iter().find(|link| !link.fingerprints.is_empty());
    Link {
        ufrag: credentials.and_then(|link| link.ufrag.clone()),
        pwd: credentials.and_then(|link| link.pwd.clone()),
        fingerprints: prints.map(|link| link.fingerprints.clone()).unwrap_or_default(),
        setup: links.iter().find_map(|link| link.setup.clone()),
        has_mux: links.iter().any(|link| link.has_mux),
        has_rsize: links.iter().any(|link| link.has_rsize),
    }
}

//! Entries for the fuzz targets in `fuzz/`: every parser that a stranger or a member can reach.

use crate::agree::{Role, agree};
use crate::canonical::{HEADER_BYTES_MAX, MidBytes, PacketMeta, PerViewer, patch, write_header};
use crate::demux::{Class, classify};
use crate::describe::{Ours, answer};
use crate::extension::{Extension, ExtensionMap};
use crate::rtcp::{self, Feedback, Twcc};
use crate::rtp::RtpHeader;
use crate::stun::BindingRequest;
use crate::{Codec, descriptor, sdp, ufrag};

/// First byte, STUN gate, ufrag.
pub fn demux_stun(data: &[u8]) {
    if classify(data) != Class::Stun {
        return;
    }
    if let Some(request) = BindingRequest::parse(data) {
        // No input can know this password, so none may pass.
        assert!(!request.is_authentic("a password of 24 letters"));
        if let Some((shard, slot)) = ufrag::decode(request.local_ufrag) {
            assert!(slot < ufrag::SLOTS_MAX);
            assert!(shard.0 < 36);
        }
    }
}

/// Header, extensions, canonical form, payload descriptors.
pub fn rtp(data: &[u8]) {
    let Some(header) = RtpHeader::parse(data) else {
        return;
    };
    assert!(header.header_len <= data.len());
    let mut extensions = ExtensionMap::default();
    for extension in Extension::ALL {
        extensions.insert(extension.id(), extension.uri());
    }
    let mut out = [0; HEADER_BYTES_MAX];
    if let Some((len, is_two_byte)) = write_header(&header, data, &extensions, &mut out) {
        let meta = PacketMeta { is_two_byte, header_len: len as u16, ..PacketMeta::default() };
        let mid = MidBytes::new("abc");
        let viewer = PerViewer { ssrc: 3, mid, ..PerViewer::default() };
        patch(&mut out[..len], &meta, &viewer);
        // What we write, we can read.
        let written = RtpHeader::parse(&out[..len]);
        assert!(written.is_some_and(|written| written.header_len == len && written.ssrc == 3));
    }
    if let Some((start, end)) = header.payload(data) {
        let payload = &data[start..end];
        for codec in Codec::ALL {
            let frame = descriptor::parse(codec, payload);
            let mut edited = payload.to_vec();
            if let Some(id) = frame.picture_id {
                descriptor::write_picture_id(&mut edited, id, id.value.wrapping_add(1));
            }
            assert_eq!(edited.len(), payload.len());
        }
    }
}

/// Compound packets and transport-wide feedback.
pub fn rtcp(data: &[u8]) {
    rtcp::parse(data, |feedback| match feedback {
        Feedback::Bye(list) => assert!(list.iter().count() <= 31),
        Feedback::Twcc(body) => {
            if let Some(twcc) = Twcc::parse(body) {
                assert!(twcc.received <= twcc.packets);
            }
        }
        _ => {}
    });
}

/// The limits before the SDP parser, and our reader behind them.
pub fn sdp_limits(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if sdp::check_limits(text).is_err() {
        return;
    }
    let remote = sdp::Description::read(text);
    assert!(remote.sections.len() <= sdp::M_SECTIONS_MAX);
    for role in [Role::Publisher, Role::Viewer] {
        let Ok(agreement) = agree(&remote, role, &Codec::ALL, &[]) else { continue };
        let ours = Ours {
            origin: (1, 1),
            credentials: ("ufrag", "password"),
            fingerprint: "sha-256 00",
            setup: "passive",
            candidates: &[],
        };
        let answer = answer(&remote, &agreement, role, &ours, true, |_| None);
        // As many sections as were offered, each with a format.
        assert_eq!(sdp::check_limits(&answer), Ok(()));
        let written = sdp::Description::read(&answer);
        assert_eq!(written.sections.len(), remote.sections.len());
        assert!(written.sections.iter().all(|section| !section.line.format.is_empty()));
    }
}

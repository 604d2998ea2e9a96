//! Entries for the fuzz targets in `fuzz/`: every parser that a stranger or a member can reach.

use crate::agree::{Role, agree};
use crate::allocate::{Wish, allocate};
use crate::canonical::{
    Element, HEADER_BYTES_MAX, PACKET_BYTES_MAX, PacketMeta, PerViewer, Written, patch,
    write_header,
};
use crate::ccfb::SentNumbers;
use crate::checks::BindingRequest;
use crate::choose::Rung;
use crate::congestion::{Controller, Flow, RATE_MAX_BPS, RATE_MIN_BPS};
use crate::demux::{Class, classify};
use crate::dependency::{
    Dependencies, Descriptor, SPATIAL_MAX, SentFrames, best_target, target_bit,
};
use crate::describe::{Candidates, Ours, answer};
use crate::descriptor::FrameInfo;
use crate::extension::{Extension, ExtensionMap};
use crate::forward::Join;
use crate::framing::{Backlog, Deframer, FRAME_BYTES_MAX, FirstFrame, first_frame};
use crate::obu::write_joined;
use crate::red;
use crate::rtcp::{self, Feedback, Twcc};
use crate::rtp::RtpHeader;
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

/// The first bytes of a TCP connection, and all frames behind them, however they are cut: the first
/// octet says how.
pub fn framing(data: &[u8]) {
    let Some((step, stream)) = data.split_first() else {
        return;
    };
    let whole = first_frame(stream);
    // What has been decided is not decided otherwise when more comes.
    for cut in 0..stream.len().min(600) {
        let part = first_frame(&stream[..cut]);
        assert!(part == FirstFrame::Incomplete || part == whole);
    }
    let (mut at_once, mut in_parts) = (Vec::new(), Vec::new());
    let taken = Deframer::default().take(stream, |frame| at_once.push(frame.to_vec()));
    let mut deframer = Deframer::default();
    let mut parts = stream.chunks(1 + usize::from(*step));
    let cut = parts.try_for_each(|part| deframer.take(part, |frame| in_parts.push(frame.to_vec())));
    assert_eq!((taken, &at_once), (cut, &in_parts));
    assert!(at_once.iter().all(|frame| frame.len() <= FRAME_BYTES_MAX));
    // What was read can be written and read again.
    let mut backlog = Backlog::default();
    let kept: Vec<Vec<u8>> = at_once.into_iter().filter(|frame| backlog.push(frame, 1)).collect();
    let (mut again, mut deframer) = (Vec::new(), Deframer::default());
    while !backlog.is_empty() {
        let (next, _) = backlog.next();
        let next = next[..next.len().min(1 + usize::from(*step))].to_vec();
        backlog.advance(next.len());
        let taken = deframer.take(&next, |frame| again.push(frame.to_vec()));
        assert!(taken.is_ok());
    }
    assert_eq!(again, kept);
}

/// Dependency descriptors of one stream, each with its length before it, and what they lead to.
pub fn dependencies(mut data: &[u8]) {
    let (mut stream, mut sent) = (Dependencies::default(), SentFrames::default());
    let (mut ours, mut theirs) = (Dependencies::default(), Dependencies::default());
    while let Some((len, rest)) = data.split_first() {
        let (descriptor, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        data = rest;
        let read = stream.read(descriptor);
        let canonical = ours.canonical(descriptor);
        assert_eq!(read.is_some(), canonical.is_some());
        let (Some(read), Some((_, canonical))) = (read, canonical) else {
            // What cannot be read may have brought a structure all the same.
            theirs.read(descriptor);
            continue;
        };
        let dependency = read.dependency;
        // What viewers get says the same, and whatever they get, they can be told it.
        let again = theirs.read(canonical);
        let unmasked = |mut read: Descriptor| {
            read.dependency.mask = None;
            read
        };
        assert_eq!(again.map(unmasked), Some(unmasked(read)));
        if let Some(mask) = again.and_then(|again| again.dependency.mask)
            && canonical.get(3).is_some_and(|flags| flags & 0x40 != 0)
        {
            let least = dependency.active_for((0, 0)).unwrap_or(dependency.targets);
            let mut told = canonical.to_vec();
            mask.write(&mut told, least);
            assert_eq!(theirs.read(&told).map(|told| told.dependency.targets), Some(least));
            theirs.read(canonical);
        }
        assert!(read.sid <= SPATIAL_MAX && dependency.targets != 0);
        for layers in [(0, 0), (read.sid, read.tid), (u8::MAX, u8::MAX)] {
            let (sid, tid) = best_target(dependency.targets, layers.0, layers.1);
            assert!(dependency.targets & target_bit(sid, tid) != 0);
            let _ = (dependency.is_for(layers), dependency.leads_to(layers));
        }
        let _ = sent.has_all(dependency.frame_no, dependency.refs);
        sent.note(dependency.frame_no);
        assert!(sent.has_all(dependency.frame_no, 0));
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
    let id = Extension::DependencyDescriptor.id();
    let raw = header.element(data, id);
    let (mut stream, mut frame) = (Dependencies::default(), FrameInfo::default());
    let descriptor = raw.map(|raw| match stream.canonical(raw) {
        Some((described, canonical)) => {
            frame.describe(Codec::Av1, &described);
            canonical
        }
        None => raw,
    });
    if let Some(Written { len, is_two_byte, dependency_at, .. }) =
        write_header(&header, data, &extensions, descriptor, &mut out)
    {
        let header_len = len as u16;
        let meta =
            PacketMeta { is_two_byte, header_len, dependency_at, frame, ..PacketMeta::default() };
        let element = Element::mid("abc");
        let active = Some(1);
        let viewer = PerViewer { ssrc: 3, element, frame_delta: 1, active, ..PerViewer::default() };
        patch(&mut out[..len], &meta, &viewer);
        // What we write, we can read.
        let written = RtpHeader::parse(&out[..len]);
        assert!(written.is_some_and(|written| written.header_len == len && written.ssrc == 3));
    }
    if let Some((start, end)) = header.payload(data) {
        let payload = &data[start..end];
        if let Some(parts) = red::Parts::read(payload) {
            assert!(parts.earlier().all(|(back, distance, block)| {
                back > 0 && distance > 0 && (1..payload.len()).contains(&block.len())
            }));
        }
        let join = Join { to_previous: header.marker, to_next: header.seq_no & 1 != 0 };
        if let Some(len) = write_joined(&mut [0; PACKET_BYTES_MAX], payload, join) {
            assert!((payload.len()..=payload.len() + 6).contains(&len));
        }
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
            candidates: &Candidates::default(),
        };
        let answer = answer(&remote, &agreement, role, &ours, true, |_| None);
        // As many sections as were offered, each with a format.
        assert_eq!(sdp::check_limits(&answer), Ok(()));
        let written = sdp::Description::read(&answer);
        assert_eq!(written.sections.len(), remote.sections.len());
        assert!(written.sections.iter().all(|section| !section.line.format.is_empty()));
    }
}

/// A client that tells anything about its path: feedback of its own making, reports, estimates,
/// while time stands, runs or jumps.
pub fn congestion(data: &[u8]) {
    let (mut controller, mut flow) = (Controller::default(), Flow::default());
    let mut numbers = SentNumbers::default();
    let (mut now_us, mut results, mut rest) = (1u64, Vec::new(), data);
    controller.begin(now_us);
    while let Some((&[op, value], tail)) = rest.split_first_chunk::<2>() {
        let (body, tail) = tail.split_at((usize::from(value) % 64).min(tail.len()));
        rest = tail;
        match op % 8 {
            0 | 1 => {
                let number = flow.history.record(now_us, usize::from(value) * 8, op / 8);
                numbers.note(u32::from(value % 3), number, number);
            }
            2 => now_us += u64::from(value) * 1000,
            3 => now_us += 1 << (value % 48),
            4 => controller.take_report(value, now_us),
            5 => controller.take_remb(1 << (value % 64), now_us),
            6 => {
                let wanted_bps = 1 << (value % 64);
                if let Some(cluster) =
                    controller.begin_probe(wanted_bps, wanted_bps & 1 == 1, now_us)
                {
                    assert!(cluster.rate_bps <= RATE_MAX_BPS);
                }
            }
            _ => {
                results.clear();
                // The numbers of packets are told by either kind of feedback.
                if op & 8 == 0 {
                    flow.history.take_feedback(body, &mut results);
                } else {
                    numbers.take_report(body, |number, arrived_us| {
                        flow.history.take_one(number, arrived_us, &mut results);
                    });
                }
                results.sort_by_key(|result| result.sent_us);
                flow.delay.take(&results, |_| false);
                controller.take_results(flow.delay.usage(), &results, now_us);
            }
        }
        let estimate_bps = controller.estimate_bps(flow.history.oldest_us(), now_us);
        let bounds = RATE_MIN_BPS..=RATE_MAX_BPS;
        assert!(estimate_bps.is_none_or(|bps| bounds.contains(&bps)), "{estimate_bps:?}");
        let loss = controller.loss_beyond_queue();
        assert!((0.0..=1.0).contains(&loss), "{loss}");
    }
}

/// Any pictures within any budget: what is given fits it, and nobody goes without for somebody who
/// is less important.
pub fn allocation(data: &[u8]) {
    let Some((head, tail)) = data.split_first_chunk::<3>() else {
        return;
    };
    let budget_bps = u64::from(u16::from_be_bytes([head[0], head[1]])) * 1000;
    let is_strained = head[2] & 1 != 0;
    let mut wishes: Vec<Wish> = Vec::new();
    for chunk in tail.chunks(6).take(64) {
        let mut bits_per_second = 0;
        let rungs = chunk.get(2..).unwrap_or_default().iter().map(|step| {
            bits_per_second += u64::from(*step) * 1000 + 1;
            Rung { encoding: 0, spatial_max: 0, temporal_max: 0, bits_per_second }
        });
        let rungs: Vec<Rung> = rungs.collect();
        let now = chunk.get(1).map(|now| usize::from(*now)).filter(|now| *now < rungs.len());
        if !rungs.is_empty() {
            wishes.push(Wish { rungs, priority: chunk[0] % 3, now, ..Wish::default() });
        }
    }
    let next_bps = allocate(budget_bps, is_strained, &mut wishes);
    // What flows may be kept down to 80 % of its cost.
    let sum: u64 = wishes.iter().map(Wish::bits_per_second).sum();
    assert!(sum * 80 / 100 <= budget_bps + wishes.len() as u64, "{sum} of {budget_bps}");
    let is_full = wishes.iter().all(|wish| wish.then == Some(wish.rungs.len() - 1));
    assert_eq!(next_bps.is_none(), is_full);
}

#[cfg(test)]
mod tests {
    /// What the fuzz targets do for longer and better, for a moment in every run of the tests.
    #[test]
    fn pseudo_random_paths_and_pictures_keep_their_bounds() {
        let mut state = 7u64;
        for round in 0..3000usize {
            let data: Vec<u8> = (0..round % 900)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(3);
                    (state >> 56) as u8
                })
                .collect();
            super::congestion(&data);
            super::allocation(&data);
            super::dependencies(&data);
            super::framing(&data);
        }
    }
}

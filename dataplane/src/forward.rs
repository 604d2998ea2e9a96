//! The Forwarder of one Subscription (RFC 7667 s3.7): decides which packets of a Publication one
//! viewer gets, and under which sequence number, timestamp and picture id. It keeps one outgoing
//! SSRC for its whole life; a switch between Encodings shows only as a keyframe. Pure state: no
//! bytes, no clocks, no keys.

mod join;
mod segment;

use crate::canonical::PacketMeta;
use crate::choose::{Meanwhile, Target};
use crate::codec::{Codec, MediaKind};
use crate::dependency::{Dependency, SentFrames, Targets};
use crate::srtp::ReplayWindow;
use crate::stats::Switches;
pub(crate) use join::Join;
use join::Joins;
use segment::Segment;

/// Runs of packets with the same mapping that are remembered for retransmission. Each drop or
/// switch starts one; beyond that the oldest is forgotten and its packets cannot be asked for.
const SEGMENTS_MAX: usize = 128;
/// A longer gap is a break, not a loss: numbering goes on without it. Well below the 2^15 at which
/// a receiver would lose count of the rollover counter (RFC 3711 s3.3.1).
const GAP_MAX: u64 = 8192;

/// Where a packet goes in the outgoing stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Extended outgoing sequence number: rollover counter and sequence number.
    pub seq: u64,
    /// Outgoing timestamp.
    pub rtp_time: u32,
    /// Outgoing marker bit.
    pub marker: bool,
    /// To add to picture ids, modulo their width.
    pub picture_delta: u16,
    /// To add to TL0PICIDX, modulo 256.
    pub tl0_delta: u8,
    /// To add to the frame number of the dependency descriptor, modulo 2^16.
    pub frame_delta: u16,
    /// The decode targets that go out, if they are fewer than the descriptor says.
    pub active: Option<Targets>,
    /// How its payload is joined to those of its neighbours.
    pub join: Join,
}

/// Why a packet is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skip {
    /// It belongs to an Encoding or layer that the viewer does not get.
    NotWanted,
    /// It is too old to be mapped, or was dropped before.
    TooOld,
}

/// What a viewer waits for within an Encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// A higher spatial layer, which begins with a keyframe.
    Spatial,
    /// Higher temporal layers, which mostly come by themselves.
    Temporal,
    /// A place where a spatial layer can be left.
    Exit,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Forwarder {
    codec: Codec,
    clock_hz: u32,
    target: Target,
    /// Oldest first; the last one is the current one.
    segments: Vec<Segment>,
    /// The next outgoing sequence number.
    next_out: u64,
    /// The highest incoming sequence number of the current Encoding.
    highest_in: u64,
    /// The last packet sent: outgoing timestamp, arrival, picture id and TL0PICIDX sent.
    last: Option<LastSent>,
    /// When the last packet of this Publication that went out had arrived.
    seen_at_us: Option<u64>,
    /// The layers that go out of the current Encoding, and those that shall: down at the next
    /// picture, up where the codec allows it.
    sid_max: u8,
    tid_max: u8,
    wanted: (u8, u8),
    /// The timestamp of the picture that goes out.
    picture_time: Option<u32>,
    /// The frames that went out of the current Encoding, where they are numbered.
    frames: SentFrames,
    /// The picture id of what is being left out of it.
    left_out: Option<u16>,
    /// The current Encoding has broken off; only a switch goes on.
    is_cut: bool,
    /// Changes of what goes out, not told yet.
    switches: Switches,
    /// The outgoing numbers that have been used. Whatever else goes wrong, none is used again:
    /// under one key that would be fatal.
    sent: ReplayWindow,
    /// Where the receiver reads no dependency descriptors but needs them.
    joins: Option<Box<Joins>>,
}

/// Where an outgoing stream stopped: the next one on the same SSRCs goes on from there, because a
/// number must not be used twice under one key and the receiver must see one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parked {
    /// The next extended sequence number.
    pub next_out: u64,
    /// The next extended sequence number on the RTX SSRC.
    pub rtx_next: u64,
    last: Option<LastSent>,
    clock_hz: u32,
}

impl Parked {
    /// Fresh SSRCs. The numbers are random and below 2^15, so that the rollover counter starts at
    /// 0 and does not roll over at once.
    pub(crate) fn fresh(next_out: u64, rtx_next: u64) -> Self {
        Self { next_out: next_out & 0x7fff, rtx_next: rtx_next & 0x7fff, last: None, clock_hz: 0 }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct LastSent {
    rtp_time: u32,
    at_us: u64,
    picture_id: u16,
    tl0: u8,
    frame_no: u16,
}

impl Forwarder {
    /// A Forwarder that goes on where `parked` says and waits for what `target` names.
    pub(crate) fn new(codec: Codec, clock_hz: u32, target: Target, parked: Parked) -> Self {
        Self {
            codec,
            clock_hz,
            target,
            segments: Vec::new(),
            next_out: parked.next_out,
            highest_in: 0,
            // Timestamps of another clock say nothing about this one's.
            last: parked.last.filter(|_| parked.clock_hz == clock_hz),
            seen_at_us: None,
            sid_max: target.spatial_max,
            tid_max: target.temporal_max,
            wanted: (target.spatial_max, target.temporal_max),
            picture_time: None,
            frames: SentFrames::default(),
            left_out: None,
            is_cut: false,
            switches: Switches::default(),
            sent: ReplayWindow::default(),
            joins: None,
        }
    }

    /// The same for a receiver of AV1 that reads no dependency descriptors: see [`join`].
    pub(crate) fn joining(self) -> Self {
        Self { joins: Some(Box::default()), ..self }
    }

    /// Where another Forwarder on the same SSRCs goes on.
    pub(crate) fn park(&self, rtx_next: u64) -> Parked {
        let Self { next_out, last, clock_hz, .. } = *self;
        Parked { next_out, rtx_next, last, clock_hz }
    }

    /// The codec that was negotiated with the viewer.
    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// Audio or video.
    pub(crate) fn kind(&self) -> MediaKind {
        self.codec.kind()
    }

    /// The highest spatial and temporal layer that may go out.
    pub(crate) fn layers(&self) -> (u8, u8) {
        (self.sid_max, self.tid_max)
    }

    /// How often what goes out has changed since the last call.
    pub(crate) fn take_switches(&mut self) -> Switches {
        std::mem::take(&mut self.switches)
    }

    /// When the last packet that went out had arrived; `None` before the first.
    pub(crate) fn last_at_us(&self) -> Option<u64> {
        self.seen_at_us
    }

    /// The timestamp of the last packet that went out; 0 before the first.
    pub(crate) fn last_rtp_time(&self) -> u32 {
        self.last.map_or(0, |last| last.rtp_time)
    }

    /// The next outgoing sequence number.
    pub(crate) fn next_out(&self) -> u64 {
        self.next_out
    }

    /// The Encoding whose packets go out.
    pub(crate) fn current(&self) -> Option<u8> {
        self.segments.last().filter(|_| !self.is_cut).map(|segment| segment.encoding)
    }

    /// What is wanted.
    pub(crate) fn target(&self) -> Target {
        self.target
    }

    /// Whether a keyframe of the target is needed before anything (else) can go out.
    pub(crate) fn needs_keyframe(&self) -> bool {
        self.target.encoding.is_some() && self.current() != self.target.encoding
    }

    /// What keeps the current Encoding's wanted layers from going out, and no others: `max` are those
    /// that there are.
    pub(crate) fn lack(&self, max: (u8, u8)) -> Option<Lack> {
        if self.current().is_none() || self.current() != self.target.encoding {
            return None;
        }
        let ((sid, tid), wanted) = ((self.sid_max, self.tid_max), self.wanted);
        if sid < wanted.0.min(max.0) {
            Some(Lack::Spatial)
        } else if sid.min(max.0) > wanted.0 {
            Some(Lack::Exit)
        } else {
            (tid < wanted.1.min(max.1)).then_some(Lack::Temporal)
        }
    }

    /// Whether viewers of this codec ask for lost packets, which then go out on the same SSRC if
    /// there is no RTX.
    pub(crate) fn repairs_in_place(&self) -> bool {
        self.kind() == MediaKind::Video
    }

    /// Changes what is wanted.
    pub(crate) fn set_target(&mut self, target: Target) {
        self.target = target;
        let layers = (target.spatial_max, target.temporal_max);
        match (self.current(), target.encoding, target.meanwhile) {
            (Some(current), Some(wanted), _) if current == wanted => self.wanted = layers,
            (None, Some(_), _) => self.wanted = layers,
            (Some(_), Some(_), Meanwhile::All) => {}
            (Some(_), Some(_), Meanwhile::Temporal(tid_max)) => {
                self.wanted.1 = self.wanted.1.min(tid_max);
            }
            (_, None, _) | (_, _, Meanwhile::Nothing) => self.is_cut = true,
        }
    }

    /// Decides about a packet in the order of arrival.
    pub(crate) fn place(&mut self, encoding: u8, meta: &PacketMeta) -> Result<Placement, Skip> {
        let is_video = self.kind() == MediaKind::Video;
        self.cut_at_gap(encoding, meta);
        if self.current() != Some(encoding) {
            if self.target.encoding != Some(encoding) || (is_video && !meta.frame.is_keyframe) {
                return Err(Skip::NotWanted);
            }
            self.switch(encoding, meta);
            self.wanted = (self.target.spatial_max, self.target.temporal_max);
        } else if meta.seq <= self.highest_in {
            return self.place_late(encoding, meta);
        }
        self.follow_wish(meta);
        if self.is_above_cap(meta) {
            self.skip(meta);
            return Err(Skip::NotWanted);
        }
        let layers = (self.sid_max, self.tid_max);
        if self.segments.last().is_some_and(|last| (last.sid_max, last.tid_max) != layers) {
            self.split(meta.seq);
        }
        self.highest_in = meta.seq;
        // `switch` made a segment if there was none.
        let Some(segment) = self.segments.last() else {
            return Err(Skip::NotWanted);
        };
        let Some(seq) = segment.seq_out(meta.seq) else {
            return Err(Skip::TooOld);
        };
        let mut placement = segment.place(meta, seq);
        if !self.sent.is_new(seq) {
            return Err(Skip::TooOld);
        }
        self.join(meta, &mut placement);
        self.sent.record(seq);
        self.next_out = seq + 1;
        self.left_out = None;
        self.note_frame(meta);
        self.note_sent(&placement, meta);
        Ok(placement)
    }

    /// Leaves out a packet that has no payload for anybody, without leaving a gap.
    pub(crate) fn skip_empty(&mut self, encoding: u8, meta: &PacketMeta) {
        self.cut_at_gap(encoding, meta);
        if self.current() == Some(encoding) && meta.seq > self.highest_in {
            self.skip(meta);
        }
    }

    /// The packet that went out under a sequence number: its Encoding and incoming number.
    pub(crate) fn find(&self, seq_no: u16) -> Option<(u8, u64)> {
        let newest = self.next_out.checked_sub(1)?;
        let behind = (newest as u16).wrapping_sub(seq_no);
        let seq_out = newest.checked_sub(u64::from(behind))?;
        let segment = self.segments.iter().rev().find(|segment| segment.first_out <= seq_out)?;
        let seq_in = segment.first_in + (seq_out - segment.first_out);
        (seq_in < segment.end_in).then_some((segment.encoding, seq_in))
    }

    /// Where a packet found by [`Self::find`] went before; for retransmission.
    pub(crate) fn place_again(&self, encoding: u8, meta: &PacketMeta) -> Option<Placement> {
        let mut placement = self.place_as_before(encoding, meta)?;
        if let Some(joins) = &self.joins {
            placement.join = joins.recall(placement.seq)?;
        }
        Some(placement)
    }

    fn place_as_before(&self, encoding: u8, meta: &PacketMeta) -> Option<Placement> {
        self.segments
            .iter()
            .rev()
            .filter(|segment| segment.encoding == encoding)
            .find_map(|segment| Some(segment.place(meta, segment.seq_out(meta.seq)?)))
    }

    /// Decides how a packet that has not gone out yet is joined to its neighbours.
    fn join(&mut self, meta: &PacketMeta, placement: &mut Placement) {
        let Some(joins) = &mut self.joins else {
            return;
        };
        let is_open = meta.frame.is_layer_end && !placement.marker;
        placement.join = joins.decide(meta, placement.seq, is_open);
    }

    /// The outgoing timestamp for an instant of the current Encoding's clock.
    pub(crate) fn rtp_time(&self, encoding: u8, rtp_time_in: u32) -> Option<u32> {
        let segment = self.segments.last().filter(|segment| segment.encoding == encoding)?;
        Some(rtp_time_in.wrapping_add(segment.time_delta))
    }

    /// Steps to the layers that are wanted where that leaves no hole: down between two pictures, so
    /// that each one that goes out has its end, up at a keyframe or a switch point.
    fn follow_wish(&mut self, meta: &PacketMeta) {
        let is_new_picture = self.picture_time != Some(meta.rtp_time);
        self.picture_time = Some(meta.rtp_time);
        let (wanted, frame) = (self.wanted, &meta.frame);
        if frame.is_keyframe {
            return self.set_layers(wanted);
        }
        if let Some(dependency) = frame.dependency {
            // A layer that comes in the middle of a picture could not be joined to it.
            if is_new_picture || self.joins.is_none() {
                self.follow_targets(&dependency);
            }
            return;
        }
        let (mut sid_max, mut tid_max) = (self.sid_max, self.tid_max);
        if is_new_picture {
            (sid_max, tid_max) = (sid_max.min(wanted.0), tid_max.min(wanted.1));
        }
        if frame.is_switch_point {
            match self.codec {
                Codec::Vp8 if frame.tid <= wanted.1 => tid_max = tid_max.max(frame.tid),
                Codec::Vp9 if frame.sid <= wanted.0 && frame.sid == sid_max.saturating_add(1) => {
                    sid_max = frame.sid;
                }
                _ => {}
            }
        }
        self.set_layers((sid_max, tid_max));
    }

    /// The same where each frame says which decode targets can be gone on with from it: up and down
    /// alike, once all that it refers to has gone out.
    fn follow_targets(&mut self, dependency: &Dependency) {
        let wanted = self.wanted;
        let is_decodable = || self.frames.has_all(dependency.frame_no, dependency.refs);
        if wanted == (self.sid_max, self.tid_max) || !dependency.is_start || !is_decodable() {
            return;
        }
        let steps = [wanted, (self.sid_max, wanted.1)];
        if let Some(step) = steps.into_iter().find(|step| dependency.leads_to(*step)) {
            self.set_layers(step);
        }
    }

    fn note_frame(&mut self, meta: &PacketMeta) {
        if let Some(dependency) = &meta.frame.dependency {
            self.frames.note(dependency.frame_no);
        }
    }

    /// Changes the layers, and counts what is a change for the codec.
    fn set_layers(&mut self, (sid_max, tid_max): (u8, u8)) {
        if (sid_max, tid_max) == (self.sid_max, self.tid_max) {
            return;
        }
        let has_tid = self.codec.kind() == MediaKind::Video;
        let has_sid = matches!(self.codec, Codec::Vp9 | Codec::Av1);
        let spatial = has_sid.then_some((self.sid_max, sid_max));
        let temporal = has_tid.then_some((self.tid_max, tid_max));
        for (before, after) in spatial.into_iter().chain(temporal) {
            self.switches.up += u64::from(after > before);
            self.switches.down += u64::from(after < before);
        }
        (self.sid_max, self.tid_max) = (sid_max, tid_max);
    }

    fn is_above_cap(&self, meta: &PacketMeta) -> bool {
        match &meta.frame.dependency {
            Some(dependency) => !dependency.is_for((self.sid_max, self.tid_max)),
            None => meta.frame.sid > self.sid_max || meta.frame.tid > self.tid_max,
        }
    }

    fn cut_at_gap(&mut self, encoding: u8, meta: &PacketMeta) {
        self.is_cut |= self.current() == Some(encoding) && meta.seq > self.highest_in + GAP_MAX;
    }

    fn place_late(&mut self, encoding: u8, meta: &PacketMeta) -> Result<Placement, Skip> {
        if self.is_above_cap(meta) {
            return Err(Skip::NotWanted);
        }
        let mut placement = self.place_as_before(encoding, meta).ok_or(Skip::TooOld)?;
        if !self.sent.is_new(placement.seq) {
            return Err(Skip::TooOld);
        }
        self.join(meta, &mut placement);
        self.sent.record(placement.seq);
        self.note_frame(meta);
        // Late, but still the newest that goes out if all after it was skipped.
        self.next_out = self.next_out.max(placement.seq + 1);
        Ok(placement)
    }

    /// RFC 3550 s8: the receiver must see one continuous stream. The timestamp goes on by the
    /// time that passed between the two arrivals, picture ids by one.
    fn switch(&mut self, encoding: u8, meta: &PacketMeta) {
        // The best Encoding is the first one.
        if let Some(before) = self.segments.last().map(|segment| segment.encoding) {
            self.switches.up += u64::from(encoding < before);
            self.switches.down += u64::from(encoding > before);
        }
        let (mut time_delta, mut picture_delta, mut tl0_delta, mut frame_delta) = (0, 0, 0, 0);
        if let Some(last) = self.last {
            let passed_us = meta.at_us.saturating_sub(last.at_us).min(10_000_000);
            let ticks = (passed_us * u64::from(self.clock_hz) / 1_000_000).max(1) as u32;
            time_delta = last.rtp_time.wrapping_add(ticks).wrapping_sub(meta.rtp_time);
            if let Some(id) = meta.frame.picture_id {
                picture_delta = last.picture_id.wrapping_add(1).wrapping_sub(id.value);
            }
            if let Some((_, tl0)) = meta.frame.tl0 {
                tl0_delta = last.tl0.wrapping_add(1).wrapping_sub(tl0);
            }
            if let Some(dependency) = meta.frame.dependency {
                frame_delta = last.frame_no.wrapping_add(1).wrapping_sub(dependency.frame_no);
            }
        }
        // Numbers from here on belong to the new Encoding, and a number must never be used for two
        // packets: what of the old one has not gone out by now never will.
        for segment in &mut self.segments {
            let used = self.next_out.saturating_sub(segment.first_out);
            segment.end_in = segment.end_in.min(segment.first_in + used);
        }
        self.push_segment(Segment {
            encoding,
            first_in: meta.seq,
            first_out: self.next_out,
            end_in: u64::MAX,
            time_delta,
            picture_delta,
            tl0_delta,
            frame_delta,
            sid_max: self.sid_max,
            tid_max: self.tid_max,
        });
        self.frames = SentFrames::default();
        self.left_out = None;
        self.highest_in = meta.seq;
        self.is_cut = false;
    }

    /// Begins a segment at `seq` that goes on with the numbering but with today's layers, so that
    /// a retransmission repeats its packet bit by bit.
    fn split(&mut self, seq: u64) {
        let Some(last) = self.segments.last_mut() else {
            return;
        };
        let (sid_max, tid_max) = (self.sid_max, self.tid_max);
        let Some(first_out) = last.seq_out(seq).filter(|_| seq > last.first_in) else {
            (last.sid_max, last.tid_max) = (sid_max, tid_max);
            return;
        };
        let segment = Segment { first_in: seq, first_out, sid_max, tid_max, ..*last };
        last.end_in = seq;
        self.push_segment(segment);
    }

    /// Takes a packet out of the numbering: what follows closes ranks.
    fn skip(&mut self, meta: &PacketMeta) {
        let Some(&segment) = self.segments.last() else {
            return;
        };
        self.highest_in = meta.seq;
        let Some(gap) = segment.seq_out(meta.seq) else {
            return;
        };
        let picture_delta = segment.picture_delta.wrapping_sub(self.leave_out(meta).into());
        if meta.seq == segment.first_in {
            // Nothing went out in this segment yet: move it.
            if let Some(last) = self.segments.last_mut() {
                last.first_in += 1;
                last.picture_delta = picture_delta;
            }
            return;
        }
        if let Some(last) = self.segments.last_mut() {
            last.end_in = meta.seq;
        }
        let first_in = meta.seq + 1;
        self.push_segment(Segment { first_in, first_out: gap, picture_delta, ..segment });
    }

    /// Whether one more picture is missing among the ids. RFC 7741 s4.2: VP8's go up by one, and
    /// receivers wait for one that does not come. VP9's (RFC 9628 s4.2) are what pictures refer to each
    /// other by.
    fn leave_out(&mut self, meta: &PacketMeta) -> bool {
        let Some(id) = meta.frame.picture_id.filter(|_| self.codec == Codec::Vp8) else {
            return false;
        };
        self.left_out.replace(id.value) != Some(id.value)
    }

    fn push_segment(&mut self, segment: Segment) {
        if self.segments.len() >= SEGMENTS_MAX {
            self.segments.remove(0);
        }
        self.segments.push(segment);
    }

    fn note_sent(&mut self, placement: &Placement, meta: &PacketMeta) {
        self.seen_at_us = Some(meta.at_us);
        let last = self.last.get_or_insert_default();
        (last.rtp_time, last.at_us) = (placement.rtp_time, meta.at_us);
        if let Some(id) = meta.frame.picture_id {
            last.picture_id = id.value.wrapping_add(placement.picture_delta);
        }
        if let Some((_, tl0)) = meta.frame.tl0 {
            last.tl0 = tl0.wrapping_add(placement.tl0_delta);
        }
        if let Some(dependency) = &meta.frame.dependency {
            last.frame_no = dependency.frame_no.wrapping_add(placement.frame_delta);
        }
    }
}

#[cfg(test)]
mod tests;

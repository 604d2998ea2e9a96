//! What a viewer has received, and whether it is right: numbers without gaps or repetition, frames
//! in time, picture ids that go on.

use dataplane::client::{
    ArrivalLog, Description, Extension, ExtensionMap, Opener, ReplayWindow, ReportBlock, RtpHeader,
    parse_descriptor,
};

use dataplane::{Codec, MediaKind};

use crate::load::Checks;
use crate::media::{frame_number, read_stamp};
use crate::totals::Totals;

/// RTP streams of one connection; a viewer of more publishers over one WHEP session is unusual.
pub(crate) const STREAMS_MAX: usize = 64;

/// A stream without a packet for so long has stopped, in microseconds.
const SILENCE_US: u64 = 3_000_000;

/// A viewer's connection: one stream of the group, or all of them over WHEP.
pub(crate) struct Viewer {
    since_us: u64,
    first_at_us: Option<u64>,
    /// Publishers whose streams this connection carries.
    wanted: usize,
    formats: Box<[Format; 128]>,
    ids: ExtensionMap,
    streams: Vec<Incoming>,
    /// For transport-wide feedback.
    pub arrivals: ArrivalLog,
}

#[derive(Clone, Copy, Default)]
struct Format {
    codec: Option<Codec>,
    is_rtx: bool,
}

impl Viewer {
    /// A viewer of `wanted` publishers that began to join at `since_us`.
    pub(crate) fn new(since_us: u64, wanted: usize) -> Self {
        Self {
            since_us,
            first_at_us: None,
            wanted,
            formats: Box::new([Format::default(); 128]),
            ids: ExtensionMap::default(),
            streams: Vec::new(),
            arrivals: ArrivalLog::default(),
        }
    }

    /// Learns payload types and extension ids from the server's description.
    pub(crate) fn configure(&mut self, sdp: &str) {
        for section in Description::read(sdp).sections {
            // All sections have the same ids (RFC 8843 s9.2), and video has the most of them.
            if section.kind == Some(MediaKind::Video) || self.ids == ExtensionMap::default() {
                self.ids = section.extensions;
            }
            for format in &section.formats {
                if let Some(place) = self.formats.get_mut(usize::from(format.pt)) {
                    *place = Format { codec: format.codec, is_rtx: format.is_rtx };
                }
            }
        }
    }

    /// Takes an SRTP packet.
    pub(crate) fn receive(
        &mut self,
        datagram: &mut [u8],
        opener: &mut Opener,
        checks: &Checks,
        at_us: u64,
        totals: &mut Totals,
    ) {
        let Some(header) = RtpHeader::parse(datagram) else {
            totals.bad += 1;
            return;
        };
        if checks.feedback
            && let Some(id) = self.ids.id_of(Extension::Twcc)
            && let Some([high, low]) = header.element(datagram, id)
        {
            let seq_no = u16::from_be_bytes([*high, *low]);
            self.arrivals.record(seq_no, at_us, datagram.len());
        }
        let format = self.formats[usize::from(header.pt & 127)];
        if format.is_rtx {
            return;
        }
        let codec = format.codec.unwrap_or(Codec::Opus);
        let stream = match self.streams.iter().position(|s| s.ssrc == header.ssrc) {
            Some(at) => &mut self.streams[at],
            None if self.streams.len() < STREAMS_MAX => {
                self.streams.push(Incoming::new(&header, codec));
                let last = self.streams.len() - 1;
                &mut self.streams[last]
            }
            None => return,
        };
        if self.first_at_us.is_none() {
            self.first_at_us = Some(at_us);
            totals.join_ms.push(at_us.saturating_sub(self.since_us) / 1000);
        }
        let Some(seq) = stream.note(&header, checks, at_us) else {
            return;
        };
        if !stream.packets.is_multiple_of(checks.verify_every) {
            return;
        }
        // Every so many packets the tag is checked and the payload read.
        totals.verified += 1;
        let Some((len, _)) = opener.open_rtp(datagram, header.header_len) else {
            totals.bad += 1;
            return;
        };
        let packet = &datagram[..len];
        let payload = match header.payload(packet).and_then(|(from, to)| packet.get(from..to)) {
            // Only padding: authentic, and nobody's media.
            Some([]) => return,
            Some(payload) => payload,
            None => &[],
        };
        let Some(sent_us) = read_stamp(payload) else {
            totals.bad += 1;
            return;
        };
        totals.latency.add(at_us.saturating_sub(sent_us));
        let id = match codec {
            Codec::Vp8 | Codec::Vp9 => {
                parse_descriptor(codec, payload).picture_id.map(|id| (id.value, 15))
            }
            Codec::Av1 => {
                let id = self.ids.id_of(Extension::DependencyDescriptor);
                let value = id.and_then(|id| header.element(packet, id));
                value.and_then(frame_number).map(|number| (number, 16))
            }
            _ => None,
        };
        if let Some((id, bits)) = id {
            stream.check_id(seq, id, bits);
        }
    }

    /// Blocks of a receiver report; returns how many.
    pub(crate) fn report(&self, blocks: &mut [ReportBlock]) -> usize {
        for (stream, block) in self.streams.iter().zip(&mut *blocks) {
            *block = ReportBlock {
                ssrc: stream.ssrc,
                highest_seq: stream.highest as u32,
                ..ReportBlock::default()
            };
        }
        self.streams.len().min(blocks.len())
    }

    /// Counts from zero again.
    pub(crate) fn reset(&mut self) {
        for stream in &mut self.streams {
            (stream.base, stream.received) = (stream.highest + 1, 0);
            (stream.duplicate, stream.freezes, stream.breaks, stream.frames) = (0, 0, 0, 0);
        }
    }

    /// Adds which streams are there at this time, and which have fallen silent.
    pub(crate) fn count(&self, at_us: u64, totals: &mut Totals) {
        let of = |is_video| self.streams.iter().filter(|s| s.is_video() == is_video).count();
        totals.streams_up += of(true).max(of(false)).min(self.wanted);
        totals.flows += self.streams.len();
        let is_silent = |stream: &&Incoming| at_us > stream.last_at_us + SILENCE_US;
        totals.silent += self.streams.iter().filter(is_silent).count();
    }

    /// Adds the packets that have been counted.
    pub(crate) fn add_to(&self, totals: &mut Totals) {
        for stream in &self.streams {
            totals.expected += (stream.highest + 1).saturating_sub(stream.base);
            totals.received += stream.received;
            totals.duplicate += stream.duplicate;
            totals.freezes += stream.freezes;
            totals.breaks += stream.breaks;
            totals.frames += stream.frames;
        }
    }
}

struct Incoming {
    ssrc: u32,
    codec: Codec,
    base: u64,
    highest: u64,
    received: u64,
    duplicate: u64,
    window: ReplayWindow,
    /// All packets, before any reset.
    packets: u64,
    last_at_us: u64,
    frame: FrameState,
    frames: u64,
    freezes: u64,
    /// Sequence number and picture id of the last packet that was read.
    last_id: Option<(u64, u16)>,
    breaks: u64,
}

/// The frame that is arriving.
#[derive(Default)]
struct FrameState {
    rtp_time: u32,
    packets: u64,
    /// The last packet of the frame before, and of this one once it is here.
    before: Option<u64>,
    end: Option<u64>,
    complete_at_us: Option<u64>,
}

impl Incoming {
    fn new(header: &RtpHeader, codec: Codec) -> Self {
        // One cycle up, so that what was reordered at the start stays positive.
        let first = 1 << 16 | u64::from(header.seq_no);
        Self {
            ssrc: header.ssrc,
            codec,
            base: first,
            highest: first - 1,
            received: 0,
            duplicate: 0,
            window: ReplayWindow::default(),
            packets: 0,
            last_at_us: 0,
            frame: FrameState { before: Some(first - 1), ..FrameState::default() },
            frames: 0,
            freezes: 0,
            last_id: None,
            breaks: 0,
        }
    }

    fn is_video(&self) -> bool {
        !matches!(self.codec, Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma)
    }

    /// Accounts for a packet by its header. Returns its extended number, or `None` if it has been
    /// here before.
    fn note(&mut self, header: &RtpHeader, checks: &Checks, at_us: u64) -> Option<u64> {
        let ahead = header.seq_no.wrapping_sub(self.highest as u16) as i16;
        let seq = self.highest.saturating_add_signed(i64::from(ahead));
        if !self.window.is_new(seq) {
            self.duplicate += 1;
            return None;
        }
        self.window.record(seq);
        self.packets += 1;
        self.last_at_us = at_us;
        self.highest = self.highest.max(seq);
        // What comes late from before a reset counts for neither side.
        if seq >= self.base {
            self.received += 1;
        }
        if self.is_video() {
            self.note_frame(header, seq, checks, at_us);
        }
        Some(seq)
    }

    /// A frame is complete when every packet from the end of the one before to its own marker is
    /// here; a freeze is too long a pause between two complete ones.
    fn note_frame(&mut self, header: &RtpHeader, seq: u64, checks: &Checks, at_us: u64) {
        let frame = &mut self.frame;
        if header.rtp_time != frame.rtp_time {
            if header.rtp_time.wrapping_sub(frame.rtp_time) as i32 <= 0 && frame.packets > 0 {
                return; // Of an older frame.
            }
            let before = frame.end.or_else(|| frame.before.filter(|_| frame.packets == 0));
            *frame = FrameState {
                rtp_time: header.rtp_time,
                before,
                complete_at_us: frame.complete_at_us,
                ..FrameState::default()
            };
        }
        frame.packets += 1;
        if header.marker {
            frame.end = Some(seq);
        }
        let (Some(before), Some(end)) = (frame.before, frame.end) else {
            return;
        };
        if end.checked_sub(before) == Some(frame.packets) {
            let pause = frame.complete_at_us.map_or(0, |last| at_us.saturating_sub(last));
            frame.complete_at_us = Some(at_us);
            self.frames += 1;
            self.freezes += u64::from(pause > checks.freeze_us);
        }
    }

    /// Every frame has a packet at least, so between two packets the picture id moves the same way
    /// as the number and not further. VP9 and AV1 leave gaps where layers are dropped.
    fn check_id(&mut self, seq: u64, id: u16, bits: u32) {
        if let Some((last_seq, last_id)) = self.last_id.replace((seq, id)) {
            let unused = 16 - bits;
            let moved = i64::from(((id.wrapping_sub(last_id)) << unused) as i16 >> unused);
            let steps = seq as i64 - last_seq as i64;
            let (moved, steps) = if steps < 0 { (-moved, -steps) } else { (moved, steps) };
            let most = if self.codec == Codec::Vp8 { steps } else { i64::MAX };
            self.breaks += u64::from(!(0..=most).contains(&moved));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKS: Checks = Checks { verify_every: 1, freeze_us: 200_000, feedback: false };

    fn header(seq_no: u16, rtp_time: u32, marker: bool) -> RtpHeader {
        let mut packet = vec![0x80, u8::from(marker) << 7 | 96];
        packet.extend(seq_no.to_be_bytes());
        packet.extend(rtp_time.to_be_bytes());
        packet.extend([0, 0, 0, 1]);
        RtpHeader::parse(&packet).expect("RTP")
    }

    /// Frames of three packets each, 33 ms apart, without those that `lost` names.
    fn receive(frames: u64, lost: impl Fn(u64) -> bool) -> Incoming {
        let mut stream = Incoming::new(&header(65_500, 0, false), Codec::Vp8);
        for packet in (0..3 * frames).filter(|packet| !lost(*packet)) {
            let frame = packet / 3;
            let header =
                header(65_500u16.wrapping_add(packet as u16), frame as u32 * 3000, packet % 3 == 2);
            stream.note(&header, &CHECKS, frame * 33_333);
        }
        stream
    }

    #[test]
    fn loss_and_duplicates_are_counted_across_the_wrap() {
        let mut stream = receive(100, |packet| packet % 50 == 7);
        assert_eq!(stream.highest + 1 - stream.base, 300);
        assert_eq!((stream.received, stream.duplicate), (294, 0));
        assert_eq!(stream.note(&header(65_510, 0, false), &CHECKS, 0), None, "too old or twice");
        assert_eq!((stream.received, stream.duplicate), (294, 1));
    }

    #[test]
    fn whole_frames_are_counted_and_a_pause_of_them_is_a_freeze() {
        let stream = receive(100, |_| false);
        assert_eq!((stream.frames, stream.freezes), (100, 0));
        // A packet of every frame from 20 to 29 is lost: no whole frame for a third of a second.
        let stream = receive(100, |packet| (60..90).contains(&packet) && packet % 3 == 1);
        assert_eq!((stream.frames, stream.freezes), (90, 1));
        // A lost marker spoils the frame after it too: nobody knows where that one begins.
        let stream = receive(100, |packet| packet == 62);
        assert_eq!((stream.frames, stream.freezes), (98, 0));
    }

    #[test]
    fn a_frame_whose_packets_come_in_another_order_is_whole() {
        let mut stream = Incoming::new(&header(10, 0, false), Codec::Vp8);
        for (seq_no, rtp_time, marker) in
            [(10, 0, false), (12, 0, true), (11, 0, false), (13, 3000, true)]
        {
            stream.note(&header(seq_no, rtp_time, marker), &CHECKS, 1);
        }
        assert_eq!(stream.frames, 2);
    }

    #[test]
    fn picture_ids_must_move_with_the_numbers() {
        let breaks = |codec, ids: &[(u64, u16)]| {
            let mut stream = Incoming::new(&header(0, 0, false), codec);
            ids.iter().for_each(|(seq, id)| stream.check_id(*seq, *id, 15));
            stream.breaks
        };
        assert_eq!(breaks(Codec::Vp8, &[(1, 0x7fff), (2, 0), (5, 3), (4, 2), (4, 2)]), 0);
        assert_eq!(breaks(Codec::Vp8, &[(1, 5), (2, 4)]), 1, "back");
        assert_eq!(breaks(Codec::Vp8, &[(1, 5), (3, 8)]), 1, "too far");
        assert_eq!(breaks(Codec::Vp9, &[(1, 5), (3, 8)]), 0, "a dropped layer");
        assert_eq!(breaks(Codec::Vp9, &[(1, 5), (3, 4)]), 1);
    }
}

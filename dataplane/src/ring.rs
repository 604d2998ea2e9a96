//! The packet ring of one Encoding on one shard: the last packets in canonical form, shared by
//! retransmission and late joiners. Bounded in packets and bytes; the oldest go first.

use crate::canonical::PacketMeta;

/// Packets and bytes kept of a video Encoding: some seconds at class bitrates, so that a late
/// joiner can start at the last keyframe even of a publisher that takes no keyframe requests.
pub(crate) const VIDEO_PACKETS: usize = 1024;
/// See [`VIDEO_PACKETS`].
pub(crate) const VIDEO_BYTES: usize = 1 << 20;
/// A packet that is late comes within so many others.
const LATE_LOOK: u64 = 32;
/// Packets and bytes kept of an audio Encoding: a second or more.
pub(crate) const AUDIO_PACKETS: usize = 128;
/// See [`AUDIO_PACKETS`].
pub(crate) const AUDIO_BYTES: usize = 1 << 15;

/// See the module's documentation.
pub(crate) struct PacketRing {
    entries: Box<[Entry]>,
    arena: Box<[u8]>,
    /// Bytes ever written, including what was skipped at the arena's end.
    head: u64,
    /// The highest sequence number stored.
    newest: Option<u64>,
    /// Where the last keyframe begins, and its picture's timestamp.
    keyframe: Option<(PacketMeta, u32)>,
    /// The run of parameter sets that came last: where a decoder could begin, and the last one's
    /// number.
    parameters: Option<(PacketMeta, u64)>,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    meta: PacketMeta,
    /// Position in bytes ever written.
    at: u64,
    /// 0: empty.
    len: u32,
}

impl PacketRing {
    /// A ring for `packets` (a power of two) and `bytes`.
    pub(crate) fn new(packets: usize, bytes: usize) -> Self {
        debug_assert!(packets.is_power_of_two());
        Self {
            entries: vec![Entry::default(); packets].into_boxed_slice(),
            arena: vec![0; bytes].into_boxed_slice(),
            head: 0,
            newest: None,
            keyframe: None,
            parameters: None,
        }
    }

    /// Stores a packet: the canonical header and the payload. One larger than the arena is not
    /// stored.
    pub(crate) fn store(&mut self, meta: PacketMeta, header: &[u8], payload: &[u8]) {
        let len = header.len() + payload.len();
        let size = self.arena.len();
        if len > size {
            return;
        }
        let mut start = (self.head % size as u64) as usize;
        if start + len > size {
            self.head += (size - start) as u64;
            start = 0;
        }
        let target = &mut self.arena[start..start + len];
        target[..header.len()].copy_from_slice(header);
        target[header.len()..].copy_from_slice(payload);
        let index = self.index(meta.seq);
        self.entries[index] = Entry { meta, at: self.head, len: len as u32 };
        self.head += len as u64;
        if self.newest.is_none_or(|newest| meta.seq > newest) {
            self.newest = Some(meta.seq);
        }
        self.note_keyframe(meta);
    }

    /// Notes where a keyframe begins: at the parameter sets right before its picture, whatever
    /// timestamp they have, and else at the first of its packets.
    fn note_keyframe(&mut self, meta: PacketMeta) {
        if meta.frame.is_parameters {
            self.parameters = match self.parameters.take() {
                Some((first, last)) if meta.seq == last + 1 => Some((first, meta.seq)),
                // Only what counts as a keyframe's beginning is one for those who wait.
                _ if meta.frame.is_keyframe => Some((meta, meta.seq)),
                _ => None,
            };
            return;
        }
        let before = self.parameters.take().filter(|(_, last)| last + 1 == meta.seq);
        let is_new = self.keyframe.is_none_or(|(known, picture_time)| {
            meta.rtp_time != picture_time && meta.seq > known.seq
        });
        if meta.frame.is_keyframe && is_new {
            let first = before.map_or(meta, |(first, _)| first);
            self.keyframe = Some((first, meta.rtp_time));
        }
    }

    /// The packet with this sequence number, if it is still there.
    pub(crate) fn get(&self, seq: u64) -> Option<(&PacketMeta, &[u8])> {
        let entry = &self.entries[self.index(seq)];
        let is_there = entry.len > 0
            && entry.meta.seq == seq
            && entry.at + self.arena.len() as u64 >= self.head;
        if !is_there {
            return None;
        }
        let start = (entry.at % self.arena.len() as u64) as usize;
        Some((&entry.meta, &self.arena[start..start + entry.len as usize]))
    }

    /// How long after one behind it this packet has come, in microseconds; nothing if it is the newest one.
    pub(crate) fn late_us(&self, meta: &PacketMeta) -> Option<u64> {
        if self.newest.is_none_or(|newest| meta.seq > newest) {
            return None;
        }
        let behind = (1..=LATE_LOOK).find_map(|more| self.get(meta.seq + more));
        behind.and_then(|(behind, _)| meta.at_us.checked_sub(behind.at_us))
    }

    /// The highest sequence number stored.
    #[cfg(test)]
    pub(crate) fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// The first packet of the last keyframe, if it is still there.
    pub(crate) fn keyframe(&self) -> Option<PacketMeta> {
        self.keyframe.map(|(first, _)| first).filter(|first| self.get(first.seq).is_some())
    }

    /// The sequence numbers from the last keyframe to the newest packet; `None` if the keyframe is
    /// gone, or so far back that the ring cannot hold what followed (or the numbers have jumped).
    pub(crate) fn since_keyframe(&self) -> Option<std::ops::RangeInclusive<u64>> {
        let (first, newest) = (self.keyframe()?.seq, self.newest?);
        (newest - first < self.entries.len() as u64).then_some(first..=newest)
    }

    fn index(&self, seq: u64) -> usize {
        (seq % self.entries.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(seq: u64) -> PacketMeta {
        PacketMeta { seq, ..PacketMeta::default() }
    }

    #[test]
    fn what_is_stored_is_found_until_it_is_overwritten() {
        let mut ring = PacketRing::new(8, 100);
        for seq in 0..50u8 {
            ring.store(meta(u64::from(seq)), &[seq; 7], &[seq; 6]);
            for back in 0..=seq {
                let seq = seq - back;
                match ring.get(u64::from(seq)) {
                    Some((found, bytes)) => {
                        assert_eq!(found.seq, u64::from(seq));
                        assert_eq!(bytes, [seq; 13]);
                    }
                    None => assert!(back >= 6, "{back} back is gone"),
                }
            }
        }
        assert_eq!(ring.newest(), Some(49));
    }

    #[test]
    fn the_keyframe_is_the_first_of_its_packets() {
        let mut ring = PacketRing::new(8, 100);
        let key = |seq, rtp_time| {
            let mut meta = PacketMeta { rtp_time, ..meta(seq) };
            meta.frame.is_keyframe = true;
            meta
        };
        ring.store(key(1, 10), &[], &[1]);
        ring.store(key(2, 10), &[], &[2]);
        assert_eq!(ring.keyframe().map(|meta| meta.seq), Some(1));
        ring.store(key(5, 20), &[], &[5]);
        assert_eq!(ring.keyframe().map(|meta| meta.seq), Some(5));
        for seq in 6..14 {
            ring.store(meta(seq), &[], &[0]);
        }
        assert_eq!(ring.keyframe(), None);
    }

    /// Some encoders stamp parameter sets with the time of the picture before.
    #[test]
    fn a_keyframe_begins_at_its_parameter_sets_whatever_their_time() {
        let packet = |seq, rtp_time, is_keyframe, is_parameters| {
            let mut meta = PacketMeta { rtp_time, ..meta(seq) };
            (meta.frame.is_keyframe, meta.frame.is_parameters) = (is_keyframe, is_parameters);
            meta
        };
        let mut ring = PacketRing::new(32, 1000);
        let begin = |ring: &PacketRing| ring.keyframe().map(|meta| meta.seq);
        // SPS, PPS, and two slices of the picture.
        ring.store(packet(1, 10, true, true), &[], &[1]);
        ring.store(packet(2, 10, false, true), &[], &[1]);
        assert_eq!(begin(&ring), None, "nothing to show yet");
        ring.store(packet(3, 20, true, false), &[], &[1]);
        ring.store(packet(4, 20, true, false), &[], &[1]);
        assert_eq!(begin(&ring), Some(1));
        ring.store(packet(5, 30, false, false), &[], &[1]);
        // Delimiter, SPS and PPS in a time of their own each.
        ring.store(packet(6, 40, false, true), &[], &[1]);
        ring.store(packet(7, 41, true, true), &[], &[1]);
        ring.store(packet(8, 42, false, true), &[], &[1]);
        assert_eq!(begin(&ring), Some(1), "the last whole one");
        ring.store(packet(9, 43, true, false), &[], &[1]);
        assert_eq!(begin(&ring), Some(7));
        // Parameter sets that belong to no keyframe, then one without any.
        ring.store(packet(10, 50, true, true), &[], &[1]);
        ring.store(packet(11, 50, false, false), &[], &[1]);
        ring.store(packet(12, 60, true, false), &[], &[1]);
        assert_eq!(begin(&ring), Some(12));
        // All with one time, as it should be.
        ring.store(packet(13, 70, true, true), &[], &[1]);
        ring.store(packet(14, 70, true, false), &[], &[1]);
        assert_eq!(begin(&ring), Some(13));
    }

    #[test]
    fn a_jump_of_the_numbers_is_no_run_to_replay() {
        let mut ring = PacketRing::new(8, 100);
        let mut first = meta(1);
        first.frame.is_keyframe = true;
        ring.store(first, &[], &[1]);
        ring.store(meta(3), &[], &[3]);
        assert_eq!(ring.since_keyframe(), Some(1..=3));
        ring.store(meta(1 << 40), &[], &[4]);
        assert_eq!(ring.since_keyframe(), None);
    }

    #[test]
    fn a_packet_larger_than_the_arena_is_left_out() {
        let mut ring = PacketRing::new(8, 10);
        ring.store(meta(1), &[0; 6], &[0; 6]);
        assert!(ring.get(1).is_none());
    }
}

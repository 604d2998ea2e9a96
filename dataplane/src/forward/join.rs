//! Pictures of several spatial layers for receivers that read no dependency descriptors.
//!
//! Without them an AV1 receiver takes what begins and ends with whole OBUs for a frame (AV1 RTP
//! s4.4, the bits Z and Y). libwebrtc then has as many frames of one instant as a picture has
//! layers, cannot tell their order, and shows none. So the last packet of a layer that is not a
//! picture's last ends with the first octet of a padding OBU, and the next packet begins with its
//! rest: the layers become one frame, and no OBU of theirs is touched.

use crate::canonical::PacketMeta;

/// How many packets back it is known how they were joined: as many as wait for their turn and lie
/// in a ring.
const WINDOW_PACKETS: u64 = 2048;
const WORDS: usize = (WINDOW_PACKETS / 64) as usize;

/// How a packet's payload hangs together with those of its neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Join {
    /// It begins with the rest of a padding OBU.
    pub to_previous: bool,
    /// It ends with the beginning of one.
    pub to_next: bool,
}

/// How the last outgoing packets were joined, by extended sequence number.
#[derive(Clone, Debug)]
pub(crate) struct Joins {
    /// One above the highest number.
    next: u64,
    is_sent: [u64; WORDS],
    to_next: [u64; WORDS],
    to_previous: [u64; WORDS],
}

impl Default for Joins {
    fn default() -> Self {
        let none = [0; WORDS];
        Self { next: 0, is_sent: none, to_next: none, to_previous: none }
    }
}

impl Joins {
    /// Decides about a packet that goes out for the first time as `seq`. `is_open`: it ends a layer
    /// that another one of its picture is to follow.
    pub(super) fn decide(&mut self, meta: &PacketMeta, seq: u64, is_open: bool) -> Join {
        let frame = &meta.frame;
        let follows = frame.dependency.is_some_and(|dependency| {
            let is_next = match seq.checked_sub(1).and_then(|previous| self.recall(previous)) {
                Some(previous) => previous.to_next,
                // It was lost on its way to us, or is late: most likely the layer that this one
                // refers to.
                None => dependency.refs & 1 != 0,
            };
            // An OBU does not go on in the next picture (AV1 RTP s4.4).
            dependency.is_start && is_next && frame.sid > 0 && !frame.is_keyframe
        });
        let join = Join { to_previous: follows, to_next: is_open };
        self.note(seq, join);
        join
    }

    /// What was decided about a packet. `None` if it has not gone out yet, or is too old: under one
    /// sequence number only one payload may ever go out.
    pub(super) fn recall(&self, seq: u64) -> Option<Join> {
        let is_within = seq < self.next && seq + WINDOW_PACKETS >= self.next;
        (is_within && is_set(&self.is_sent, seq)).then(|| Join {
            to_previous: is_set(&self.to_previous, seq),
            to_next: is_set(&self.to_next, seq),
        })
    }

    fn note(&mut self, seq: u64, join: Join) {
        let from = self.next.max(seq.saturating_sub(WINDOW_PACKETS));
        for skipped in from..=seq {
            set(&mut self.is_sent, skipped, false);
        }
        self.next = self.next.max(seq + 1);
        set(&mut self.is_sent, seq, true);
        set(&mut self.to_next, seq, join.to_next);
        set(&mut self.to_previous, seq, join.to_previous);
    }
}

fn is_set(bits: &[u64; WORDS], seq: u64) -> bool {
    bits[(seq / 64) as usize % WORDS] >> (seq % 64) & 1 != 0
}

fn set(bits: &mut [u64; WORDS], seq: u64, is_set: bool) {
    let (word, bit) = (&mut bits[(seq / 64) as usize % WORDS], 1 << (seq % 64));
    *word = if is_set { *word | bit } else { *word & !bit };
}

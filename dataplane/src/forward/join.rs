//! Pictures of several spatial layers for receivers that read no dependency descriptors.
//!
//! Without them an AV1 receiver takes what begins and ends with whole OBUs for a frame (AV1 RTP s4.4, the
//! bits Z and Y). libwebrtc then has as many frames of one instant as a picture has layers, cannot
//! tell their order, and shows none. So the last packet of a layer that is not a picture's last
//! ends with the first octet of a padding OBU, and the next packet begins with its rest: the layers
//! become one frame, and no OBU of theirs is touched.

use crate::canonical::PacketMeta;
use crate::srtp::{ReplayWindow, WINDOW_PACKETS};

/// How a packet's payload hangs together with those of its neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Join {
    /// It begins with the rest of a padding OBU.
    pub to_previous: bool,
    /// It ends with the beginning of one.
    pub to_next: bool,
}

/// Which of the last outgoing packets were joined to which neighbour, by extended sequence number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joins {
    to_next: ReplayWindow,
    to_previous: ReplayWindow,
}

impl Joins {
    /// Decides about a packet that goes out for the first time as `seq`. `is_open`: it ends a layer
    /// that another one of its picture is to follow. `has_previous`: the packet before it has gone out.
    pub(super) fn decide(
        &mut self,
        meta: &PacketMeta,
        seq: u64,
        (is_open, has_previous): (bool, bool),
    ) -> Join {
        let frame = &meta.frame;
        let follows = frame.dependency.is_some_and(|dependency| {
            let is_next = match seq.checked_sub(1).filter(|_| has_previous) {
                // Whatever comes now: an encoder that is late leaves out a picture's last layer.
                Some(previous) => !self.to_next.is_new(previous),
                // It was lost on its way to us, or is late: most likely the layer that this one refers to.
                None => frame.sid > 0 && dependency.refs & 1 != 0,
            };
            dependency.is_start && is_next && !frame.is_keyframe
        });
        if is_open {
            self.to_next.record(seq);
        }
        if follows {
            self.to_previous.record(seq);
        }
        Join { to_previous: follows, to_next: is_open }
    }

    /// What was decided about a packet. `None` if it is too old: under one sequence number only one
    /// payload may ever go out.
    pub(super) fn recall(&self, seq: u64, next_out: u64) -> Option<Join> {
        let is_known = seq + WINDOW_PACKETS >= next_out;
        is_known.then(|| Join {
            to_previous: !self.to_previous.is_new(seq),
            to_next: !self.to_next.is_new(seq),
        })
    }
}

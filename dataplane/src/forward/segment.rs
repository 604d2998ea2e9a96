//! A run of incoming packets with one mapping.

use super::{Join, Placement};
use crate::canonical::PacketMeta;
use crate::dependency::best_target;

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) encoding: u8,
    pub(super) first_in: u64,
    pub(super) first_out: u64,
    /// Packets of the Encoding up to the next segment; `u64::MAX` for the last one.
    pub(super) end_in: u64,
    pub(super) time_delta: u32,
    pub(super) picture_delta: u16,
    pub(super) tl0_delta: u8,
    pub(super) frame_delta: u16,
    /// The highest layers that go out; the highest spatial one carries the marker.
    pub(super) sid_max: u8,
    pub(super) tid_max: u8,
}

impl Segment {
    pub(super) fn seq_out(&self, seq_in: u64) -> Option<u64> {
        (seq_in >= self.first_in && seq_in < self.end_in)
            .then(|| self.first_out + (seq_in - self.first_in))
    }

    /// The spatial layer that goes out as a picture's last.
    fn top(&self, meta: &PacketMeta) -> u8 {
        match &meta.frame.dependency {
            Some(dependency) => best_target(dependency.targets, self.sid_max, u8::MAX).0,
            None => self.sid_max,
        }
    }

    pub(super) fn place(&self, meta: &PacketMeta, seq: u64) -> Placement {
        Placement {
            seq,
            rtp_time: meta.rtp_time.wrapping_add(self.time_delta),
            // RFC 9628 s4.2, AV1 RTP s4.2: the marker belongs on the last layer that is sent. Only
            // descriptors of VP9 and AV1 say where a layer's frame ends.
            marker: meta.marker || (meta.frame.is_layer_end && meta.frame.sid == self.top(meta)),
            picture_delta: self.picture_delta,
            tl0_delta: self.tl0_delta,
            frame_delta: self.frame_delta,
            active: meta
                .frame
                .dependency
                .and_then(|dependency| dependency.active_for((self.sid_max, self.tid_max))),
            join: Join::default(),
        }
    }
}

//! What publishers send: video of four codecs and opus, valid by their payload formats, with the
//! frame sizes and the burst shape of real encoders. Every payload ends with the time of its
//! sending. The pictures are not decodable: no server looks that deep.

mod av1;
mod bits;
mod dependency;
mod encoder;
mod h264;
mod pacer;
mod stamp;
mod vp8;
mod vp9;

pub(crate) use dependency::frame_number;
pub(crate) use stamp::{read_stamp, write_stamp};

use dataplane::Codec;

use encoder::{Encoder, L1T1, L1T2, L1T3, Settings};
use pacer::Pacer;
use stamp::STAMP_BYTES;

/// The largest payload, so that with headers and tag a packet stays under 1,230 octets or so.
const PAYLOAD_BYTES_MAX: usize = 1150;

/// An RTP packet to be: its payload's stamp is written when it leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Units of 90 kHz.
    pub rtp_time: u32,
    pub marker: bool,
    /// Payload descriptor and data.
    pub payload: Vec<u8>,
    /// The dependency descriptor extension; empty if the codec has none here.
    pub dependency: Vec<u8>,
}

/// A video stream: encoder, packetiser and pacer.
#[derive(Debug)]
pub(crate) struct Video {
    codec: Codec,
    spatial: u8,
    encoder: Encoder,
    pacer: Pacer,
    interval_us: u64,
    frame_at_us: u64,
    tl0: u8,
    /// What it takes where nobody asks for less.
    full_bps: u64,
    /// Whether the next frame is a keyframe.
    pub keyframe_wanted: bool,
}

impl Video {
    /// `bitrate_bps` of encoded frames at `fps` (at least 1) frames per second, the first one at
    /// `at_us`. AV1 has one spatial layer, or three as VP9 if `is_svc`. The same seed makes the same
    /// stream.
    pub(crate) fn new(
        (codec, is_svc): (Codec, bool),
        bitrate_bps: u64,
        fps: u64,
        seed: u64,
        at_us: u64,
    ) -> Self {
        let (temporal, spatial) = match codec {
            Codec::Vp8 => (L1T2, 1),
            Codec::Vp9 => (L1T3, 3),
            Codec::Av1 => (L1T3, if is_svc { 3 } else { 1 }),
            _ => (L1T1, 1),
        };
        let settings = Settings { bitrate_bps, fps: fps.max(1), temporal, spatial, seed };
        Self {
            codec,
            spatial,
            encoder: Encoder::new(settings),
            pacer: Pacer::new(bitrate_bps),
            interval_us: 1_000_000 / fps.max(1),
            frame_at_us: at_us,
            tl0: 0,
            full_bps: bitrate_bps,
            keyframe_wanted: true,
        }
    }

    /// Keeps within what the receiver asks for. Browsers go up again step by step; here it is at once.
    pub(crate) fn bound(&mut self, bitrate_bps: u64) {
        let bitrate_bps = bitrate_bps.min(self.full_bps);
        self.encoder.set_rate(bitrate_bps);
        self.pacer.set_rate(bitrate_bps);
    }

    /// When something is to be done.
    pub(crate) fn next_at_us(&self) -> u64 {
        self.pacer.next_at_us().map_or(self.frame_at_us, |at_us| at_us.min(self.frame_at_us))
    }

    /// Encodes what is due and calls `send` for each packet that leaves now.
    pub(crate) fn poll(&mut self, at_us: u64, mut send: impl FnMut(&Packet)) {
        if at_us >= self.frame_at_us {
            self.frame_at_us = next_due(self.frame_at_us, self.interval_us, at_us);
            self.encode();
        }
        while let Some(mut packet) = self.pacer.pop(at_us) {
            write_stamp(&mut packet.payload, at_us);
            send(&packet);
        }
    }

    fn encode(&mut self) {
        let mut packets = Vec::new();
        for frame in self.encoder.next_picture(std::mem::take(&mut self.keyframe_wanted)) {
            if frame.tid == 0 && frame.sid == 0 {
                self.tl0 = self.tl0.wrapping_add(1);
            }
            match self.codec {
                Codec::Vp9 => vp9::packetise(&frame, self.tl0, &mut packets),
                Codec::H264 => h264::packetise(&frame, &mut packets),
                Codec::Av1 => av1::packetise(&frame, self.spatial, &mut packets),
                _ => vp8::packetise(&frame, self.tl0, &mut packets),
            }
        }
        packets.into_iter().for_each(|packet| self.pacer.push(packet));
    }
}

/// A stream of opus packets, one per 20 ms.
#[derive(Debug, Default)]
pub(crate) struct Audio {
    packet: u64,
}

/// Microseconds between opus packets.
pub(crate) const AUDIO_INTERVAL_US: u64 = 20_000;

impl Audio {
    /// The next packet: timestamp (48 kHz) and payload.
    pub(crate) fn next_packet(&mut self, at_us: u64) -> (u32, [u8; 80]) {
        let mut payload = [0x55; 80];
        // RFC 6716 s3.1: CELT, fullband, 20 ms, mono, one frame.
        payload[0] = 0xf8;
        write_stamp(&mut payload, at_us);
        let rtp_time = (self.packet * 960) as u32;
        self.packet += 1;
        (rtp_time, payload)
    }
}

/// The next due time: even steps, but after a stall no burst to make up for it.
pub(crate) fn next_due(due_us: u64, interval_us: u64, now_us: u64) -> u64 {
    let next = due_us + interval_us;
    if next + 10 * interval_us < now_us { now_us + interval_us } else { next }
}

/// Cuts data into parts of about equal length that fit into a payload beside `room` other octets,
/// each with place for a stamp.
fn split(data: &[u8], room: usize) -> Vec<&[u8]> {
    let most = PAYLOAD_BYTES_MAX - room;
    let count = data.len().div_ceil(most).max(1);
    let size = data.len().div_ceil(count).max(STAMP_BYTES);
    data.chunks(size).collect()
}

#[cfg(test)]
mod tests;

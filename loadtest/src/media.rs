//! What publishers send: valid VP8 (keyframes, picture ids, temporal layers) and opus packets with
//! the burst shape of real encoders, each stamped with its time of sending.

/// A payload's stamp: magic, then microseconds since the harness's epoch. It lies at the payload's
/// end, where no server looks.
pub const STAMP_BYTES: usize = 12;
const MAGIC: [u8; 4] = *b"aUlA";
/// The largest payload, so that with headers and tag a packet stays under 1,200 bytes or so.
const PAYLOAD_BYTES_MAX: usize = 1150;

/// Reads the stamp of a payload.
pub fn read_stamp(payload: &[u8]) -> Option<u64> {
    let stamp: &[u8; STAMP_BYTES] = payload.last_chunk()?;
    let (magic, time) = stamp.split_first_chunk()?;
    (*magic == MAGIC).then(|| u64::from_be_bytes(time.try_into().unwrap_or_default()))
}

fn write_stamp(payload: &mut [u8], at_us: u64) {
    if let Some(stamp) = payload.last_chunk_mut::<STAMP_BYTES>() {
        stamp[..4].copy_from_slice(&MAGIC);
        stamp[4..].copy_from_slice(&at_us.to_be_bytes());
    }
}

/// A stream of video frames at a set rate.
#[derive(Debug)]
pub struct Video {
    frame_bytes: usize,
    fps: u64,
    frame: u64,
    /// Whether the next frame is a keyframe.
    pub keyframe_wanted: bool,
}

/// Frames between keyframes that nobody asked for.
const KEYFRAME_EVERY: u64 = 300;

impl Video {
    /// `bitrate_bps` of payload at `fps` frames per second.
    pub fn new(bitrate_bps: u64, fps: u64) -> Self {
        let frame_bytes = (bitrate_bps / 8 / fps.max(1)) as usize;
        Self { frame_bytes: frame_bytes.max(64), fps: fps.max(1), frame: 0, keyframe_wanted: true }
    }

    /// Microseconds between frames.
    pub fn interval_us(&self) -> u64 {
        1_000_000 / self.fps
    }

    /// Calls `packet` with timestamp, marker and payload for each packet of the next frame.
    pub fn next_frame(&mut self, at_us: u64, mut packet: impl FnMut(u32, bool, &[u8])) {
        let is_keyframe =
            std::mem::take(&mut self.keyframe_wanted) || self.frame.is_multiple_of(KEYFRAME_EVERY);
        // A keyframe is several times larger than the frames after it.
        let bytes = if is_keyframe { self.frame_bytes * 4 } else { self.frame_bytes };
        let rtp_time = (self.frame * 90_000 / self.fps) as u32;
        let packets = bytes.div_ceil(PAYLOAD_BYTES_MAX).max(1);
        let tid = if is_keyframe { 0 } else { (self.frame % 2) as u8 };
        for i in 0..packets {
            let mut payload = [0u8; PAYLOAD_BYTES_MAX];
            let len = (bytes / packets).clamp(7 + STAMP_BYTES, PAYLOAD_BYTES_MAX);
            // RFC 7741: X and S, then I, L and T; picture id, TL0PICIDX, TID and Y.
            payload[0] = if i == 0 { 0x90 } else { 0x80 };
            payload[1] = 0xe0;
            let id = self.frame as u16 & 0x7fff;
            payload[2] = 0x80 | (id >> 8) as u8;
            payload[3] = id as u8;
            payload[4] = (self.frame / 2) as u8;
            payload[5] = tid << 6 | 0x20;
            payload[6] = u8::from(!is_keyframe);
            let payload = &mut payload[..len];
            write_stamp(payload, at_us);
            packet(rtp_time, i + 1 == packets, payload);
        }
        self.frame += 1;
    }
}

/// A stream of opus packets, one per 20 ms.
#[derive(Debug, Default)]
pub struct Audio {
    packet: u64,
}

/// Microseconds between opus packets.
pub const AUDIO_INTERVAL_US: u64 = 20_000;

impl Audio {
    /// The next packet: timestamp and payload.
    pub fn next_packet(&mut self, at_us: u64) -> (u32, [u8; 80]) {
        let mut payload = [0x55; 80];
        payload[0] = 0x78;
        write_stamp(&mut payload, at_us);
        let rtp_time = (self.packet * 960) as u32;
        self.packet += 1;
        (rtp_time, payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::Codec;
    use dataplane::client::parse_descriptor;

    #[test]
    fn frames_are_valid_vp8_at_the_set_rate_and_carry_stamps() {
        let mut video = Video::new(800_000, 25);
        let (mut bytes, mut keyframes) = (0, 0);
        for frame in 0..250u64 {
            let mut last = false;
            video.next_frame(frame, |_, marker, payload| {
                let info = parse_descriptor(Codec::Vp8, payload);
                keyframes += u32::from(info.is_keyframe);
                assert_eq!(info.picture_id.map(|id| u64::from(id.value)), Some(frame));
                assert_eq!(read_stamp(payload), Some(frame));
                bytes += payload.len();
                last = marker;
            });
            assert!(last, "a frame ends with the marker");
        }
        assert_eq!(keyframes, 1);
        let bps = bytes * 8 / 10;
        assert!((780_000..830_000).contains(&bps), "{bps}");
    }
}

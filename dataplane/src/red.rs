//! Redundant audio (RFC 2198): each packet of sound carries the one or two before it. Made here, from the
//! Source's ring, for viewers whose path loses packets; from publishers what was lost is taken out of it.

use crate::canonical::PACKET_BYTES_MAX;
use crate::egress::DATAGRAM_OVERHEAD_BYTES;
use crate::meter;

/// Earlier packets that one carries at most.
const BLOCKS_MAX: usize = 2;
/// RFC 2198 s3: 14 bits for the distance of timestamps, 10 for a block's length.
const DISTANCE_MAX: u32 = (1 << 14) - 1;
const BLOCK_BYTES_MAX: usize = (1 << 10) - 1;
/// A block's header, and the last one's.
const HEADER_BYTES: usize = 4;

/// How many earlier packets to carry, at a share of loss: none up to 1 %, two above 8 %. What was
/// begun goes on until little is lost.
pub(crate) fn blocks_for(loss: f64, now: u8) -> u8 {
    match (loss, now) {
        (loss, _) if loss > 0.08 => 2,
        (loss, now) if loss > 0.01 => now.max(1),
        (loss, now) if loss > 0.004 => now.min(1),
        _ => 0,
    }
}

/// What sound that costs `bits_per_second` with all headers costs with so many earlier packets in
/// each: those bring their payload only. Packets are taken to come 50 times a second.
pub(crate) fn cost_bps(bits_per_second: u64, blocks: u8) -> u64 {
    let headers_bps = 50 * 8 * (meter::HEADER_BYTES + DATAGRAM_OVERHEAD_BYTES) as u64;
    let payload_bps = bits_per_second.saturating_sub(headers_bps);
    bits_per_second + u64::from(blocks) * payload_bps
}

/// Writes the payload of a redundant packet: `earlier` (timestamp and payload), the oldest first,
/// then the packet's own. What cannot be said, or does not fit, is left out. Returns the length.
pub(crate) fn write<'a>(
    out: &mut [u8; PACKET_BYTES_MAX],
    pt: u8,
    (rtp_time, payload): (u32, &[u8]),
    earlier: impl Iterator<Item = (u32, &'a [u8])> + Clone,
) -> Option<usize> {
    let distance = |at: u32| rtp_time.wrapping_sub(at);
    let room = PACKET_BYTES_MAX / 2;
    let fits = |(at, block): &(u32, &[u8])| {
        (1..=DISTANCE_MAX).contains(&distance(*at))
            && block.len() <= BLOCK_BYTES_MAX.min(room / BLOCKS_MAX)
            && !block.is_empty()
    };
    let blocks = earlier.filter(fits);
    let mut at = 0;
    for (time, block) in blocks.clone() {
        let word = 1 << 31
            | u32::from(pt & 0x7f) << 24
            | distance(time) << 10
            | u32::try_from(block.len()).ok()?;
        out.get_mut(at..at + HEADER_BYTES)?.copy_from_slice(&word.to_be_bytes());
        at += HEADER_BYTES;
    }
    *out.get_mut(at)? = pt & 0x7f;
    at += 1;
    for block in blocks.map(|(_, block)| block).chain([payload]) {
        out.get_mut(at..at + block.len())?.copy_from_slice(block);
        at += block.len();
    }
    Some(at)
}

/// The payload of a redundant packet, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parts<'a> {
    /// The payload type of the packet's own sound, and that.
    pub own: (u8, &'a [u8]),
    /// The payloads of the packets before it, the nearest last: how much earlier they are, in units of
    /// the clock.
    earlier: [(u32, &'a [u8]); BLOCKS_MAX],
}

impl<'a> Parts<'a> {
    /// Takes a payload apart; `None` if it lies about lengths. Of the blocks before the packet's own those
    /// next to it are kept.
    pub(crate) fn read(payload: &'a [u8]) -> Option<Self> {
        let (mut headers, mut blocks) = (payload, payload);
        while blocks.first()? & 0x80 != 0 {
            blocks = blocks.get(HEADER_BYTES..)?;
        }
        let pt = *blocks.first()?;
        blocks = blocks.get(1..)?;
        let mut earlier: [(u32, &[u8]); BLOCKS_MAX] = [(0, &[]); BLOCKS_MAX];
        while let Some(header) = headers.first_chunk().filter(|header| header[0] & 0x80 != 0) {
            let word = u32::from_be_bytes(*header);
            let (block, rest) = blocks.split_at_checked(word as usize & BLOCK_BYTES_MAX)?;
            earlier.rotate_left(1);
            // A block of another type is not what we know the numbers of.
            let is_same = header[0] & 0x7f == pt;
            earlier[BLOCKS_MAX - 1] =
                if is_same { (word >> 10 & DISTANCE_MAX, block) } else { (0, &[]) };
            (headers, blocks) = (headers.get(HEADER_BYTES..)?, rest);
        }
        Some(Self { own: (pt, blocks), earlier })
    }

    /// The packets before it that it carries, the oldest first: how many before it each was if there are no
    /// gaps between them, how much earlier, and its payload.
    pub(crate) fn earlier(&self) -> impl Iterator<Item = (u64, u32, &'a [u8])> + use<'a> {
        let back = (1..=BLOCKS_MAX as u64).rev();
        let blocks =
            back.zip(self.earlier).map(|(back, (distance, block))| (back, distance, block));
        blocks.filter(|(_, distance, block)| *distance > 0 && !block.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut out = [0; PACKET_BYTES_MAX];
        let earlier = [(40, &[1, 2, 3][..]), (1000, &[4, 5][..])];
        let len = write(&mut out, 111, (1960, &[6, 7, 8, 9]), earlier.into_iter()).expect("room");
        let parts = Parts::read(&out[..len]).expect("well formed");
        assert_eq!(parts.own, (111, &[6, 7, 8, 9][..]));
        let found: Vec<_> = parts.earlier().collect();
        assert_eq!(found, [(2, 1920, &[1, 2, 3][..]), (1, 960, &[4, 5][..])]);
        let alone = Parts::read(&[111, 9]).expect("no block before it");
        assert_eq!((alone.own, alone.earlier().count()), ((111, &[9][..]), 0));
    }

    /// RFC 2198 s4: its example has DVI4 of 20 ms under type 5, and LPC of the 20 ms before under type 7.
    #[test]
    fn blocks_of_another_type_and_lies_are_left_out() {
        let mut packet = vec![0x87, 0x02, 0x80, 14, 5];
        packet.extend([7; 14]);
        packet.extend([5; 84]);
        let parts = Parts::read(&packet).expect("well formed");
        assert_eq!(parts.own, (5, &[5; 84][..]));
        assert_eq!(parts.earlier().count(), 0);
        for lie in [&[][..], &[0xef], &[0xef, 0, 0, 9], &[0xef, 0x0f, 0, 9, 111, 1, 2], &[0x80; 9]]
        {
            assert_eq!(Parts::read(lie), None, "{lie:?}");
        }
    }

    /// The layout of RFC 2198 s4's example: a primary of 20 ms and one block before it.
    #[test]
    fn blocks_are_headed_by_type_distance_and_length() {
        let mut out = [0; PACKET_BYTES_MAX];
        let earlier = [(40, &[1, 2, 3][..]), (1000, &[4, 5][..])];
        let len = write(&mut out, 111, (1960, &[6, 7, 8, 9]), earlier.into_iter());
        let header = |distance: u32, len: u32| (0xef00_0000 | distance << 10 | len).to_be_bytes();
        let expected =
            [&header(1920, 3)[..], &header(960, 2)[..], &[111, 1, 2, 3, 4, 5, 6, 7, 8, 9]];
        assert_eq!(out[..len.expect("it fits")], expected.concat());
    }

    #[test]
    fn what_cannot_be_said_is_left_out() {
        let mut out = [0; PACKET_BYTES_MAX];
        let long = [7; 1200];
        let earlier = [(5, &long[..]), (5u32.wrapping_sub(20_000), &[1][..]), (30, &[2][..])];
        let len = write(&mut out, 111, (20, &long), earlier.into_iter());
        assert_eq!((len, out[0]), (Some(1201), 111), "no block at all");
    }

    #[test]
    fn a_copy_costs_its_payload() {
        // 80 octets, 50 times a second.
        let alone = 50 * 8 * (80 + meter::HEADER_BYTES + DATAGRAM_OVERHEAD_BYTES) as u64;
        assert_eq!(cost_bps(alone, 0), alone);
        assert_eq!(cost_bps(alone, 2), alone + 2 * 32_000);
        assert_eq!(cost_bps(1_000, 2), 1_000, "hardly any sound");
    }

    #[test]
    fn loss_decides_how_much() {
        let walk = [(0.0, 0), (0.02, 1), (0.006, 1), (0.1, 2), (0.02, 2), (0.006, 1), (0.0, 0)];
        let mut now = 0;
        for (loss, expected) in walk {
            now = blocks_for(loss, now);
            assert_eq!(now, expected, "{loss}");
        }
    }
}

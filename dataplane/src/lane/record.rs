//! What travels in a lane: packets, clock relations, and datagrams that reached the wrong shard.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::ring::Producer;
use crate::canonical::PacketMeta;
use crate::clock::SenderClock;
use crate::codec::Codec;
use crate::dependency::{ActiveMask, Dependency};
use crate::descriptor::{FrameInfo, PictureId};
use crate::id::{PublicationId, TransportId};
use crate::path::Path;

const PACKET: u8 = 1;
const CLOCK: u8 = 2;
const DATAGRAM: u8 = 3;
const HEAD_BYTES: usize = 96;

/// A record as it comes out of a lane.
#[derive(Debug, PartialEq)]
pub(crate) enum Record<'a> {
    /// A packet in canonical form for the viewers on this shard.
    Packet {
        /// Of what.
        publication: PublicationId,
        /// Which of its Encodings.
        encoding: u8,
        /// The codec it carries.
        codec: Codec,
        /// Its properties.
        meta: PacketMeta,
        /// Its canonical header.
        header: &'a [u8],
        /// Its payload.
        payload: &'a [u8],
    },
    /// A new relation of a stream's timestamps to our clock.
    Clock {
        /// Of what.
        publication: PublicationId,
        /// Which of its Encodings.
        encoding: u8,
        /// The relation.
        clock: SenderClock,
    },
    /// A datagram for a Transport of this shard.
    Datagram {
        /// The way it came.
        path: Path,
        /// When, in microseconds since our epoch.
        at_us: u64,
        /// As received.
        bytes: &'a [u8],
    },
}

/// Puts a record into a lane; returns whether there was room.
pub(crate) fn push(lane: &mut Producer, record: &Record<'_>) -> bool {
    let mut head = Head { bytes: [0; HEAD_BYTES], len: 0 };
    match record {
        Record::Packet { publication, encoding, codec, meta, header, payload } => {
            head.put(&[PACKET, *encoding, *codec as u8]);
            head.publication(*publication);
            head.put(&meta.seq.to_le_bytes());
            head.put(&meta.rtp_time.to_le_bytes());
            head.put(&meta.at_us.to_le_bytes());
            head.put(&meta.header_len.to_le_bytes());
            let frame = &meta.frame;
            let flags = [
                meta.marker,
                meta.is_two_byte,
                frame.is_keyframe,
                frame.is_layer_end,
                frame.picture_id.is_some(),
                frame.picture_id.is_some_and(|id| id.is_long),
                frame.tl0.is_some(),
                frame.is_parameters,
            ];
            let flags = flags.iter().rev().fold(0u8, |all, flag| all << 1 | u8::from(*flag));
            let id = frame.picture_id.unwrap_or_default();
            let (tl0_at, tl0) = frame.tl0.unwrap_or_default();
            let more = [
                frame.is_switch_point,
                frame.dependency.is_some(),
                frame.dependency.is_some_and(|dependency| dependency.is_start),
            ];
            let more = more.iter().rev().fold(0u8, |all, flag| all << 1 | u8::from(*flag));
            head.put(&[flags, more, frame.tid, frame.sid, tl0]);
            head.put(&tl0_at.to_le_bytes());
            head.put(&id.at.to_le_bytes());
            head.put(&id.value.to_le_bytes());
            head.put(&meta.dependency_at.to_le_bytes());
            if let Some(dependency) = &frame.dependency {
                head.put(&dependency.frame_no.to_le_bytes());
                head.put(&dependency.refs.to_le_bytes());
                let mask =
                    dependency.mask.unwrap_or(ActiveMask { at: 0, all: 0, is_nested: false });
                let Dependency { present, switch, targets, .. } = *dependency;
                for targets in [present, switch, targets, mask.all] {
                    head.put(&targets.to_le_bytes());
                }
                head.put(&mask.at.to_le_bytes());
                head.put(&[u8::from(mask.is_nested)]);
            }
            lane.push(&[head.written(), header, payload])
        }
        Record::Clock { publication, encoding, clock } => {
            head.put(&[CLOCK, *encoding, 0]);
            head.publication(*publication);
            head.put(&clock.rtp_time.to_le_bytes());
            head.put(&clock.at_us.to_le_bytes());
            lane.push(&[head.written()])
        }
        Record::Datagram { path, at_us, bytes } => {
            head.put(&[DATAGRAM]);
            head.address(path.peer.ip());
            head.put(&path.peer.port().to_le_bytes());
            head.address(path.local.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
            head.put(&at_us.to_le_bytes());
            lane.push(&[head.written(), bytes])
        }
    }
}

/// Reads a record back; `None` for what [`push`] never wrote.
pub(crate) fn read(record: &[u8]) -> Option<Record<'_>> {
    let mut rest = Rest(record);
    match rest.byte()? {
        PACKET => {
            let encoding = rest.byte()?;
            let codec = *Codec::ALL.get(usize::from(rest.byte()?))?;
            let publication = rest.publication()?;
            let seq = u64::from_le_bytes(rest.take()?);
            let rtp_time = u32::from_le_bytes(rest.take()?);
            let at_us = u64::from_le_bytes(rest.take()?);
            let header_len = u16::from_le_bytes(rest.take()?);
            let [flags, more, tid, sid, tl0] = rest.take()?;
            let tl0_at = u16::from_le_bytes(rest.take()?);
            let at = u16::from_le_bytes(rest.take()?);
            let value = u16::from_le_bytes(rest.take()?);
            let dependency_at = u16::from_le_bytes(rest.take()?);
            let is_set = |bit: u8| flags >> bit & 1 != 0;
            let dependency =
                if more & 2 != 0 { Some(rest.dependency(more & 4 != 0)?) } else { None };
            let frame = FrameInfo {
                is_keyframe: is_set(2),
                is_parameters: is_set(7),
                tid,
                sid,
                is_layer_end: is_set(3),
                picture_id: is_set(4).then_some(PictureId { at, is_long: is_set(5), value }),
                tl0: is_set(6).then_some((tl0_at, tl0)),
                is_switch_point: more & 1 != 0,
                dependency,
            };
            let meta = PacketMeta {
                seq,
                rtp_time,
                at_us,
                marker: is_set(0),
                is_two_byte: is_set(1),
                header_len,
                dependency_at,
                frame,
            };
            let (header, payload) = rest.0.split_at_checked(usize::from(header_len))?;
            Some(Record::Packet { publication, encoding, codec, meta, header, payload })
        }
        CLOCK => {
            let encoding = rest.byte()?;
            rest.byte()?;
            let publication = rest.publication()?;
            let rtp_time = u32::from_le_bytes(rest.take()?);
            let at_us = u64::from_le_bytes(rest.take()?);
            Some(Record::Clock { publication, encoding, clock: SenderClock { rtp_time, at_us } })
        }
        DATAGRAM => {
            let ip = rest.address()?;
            let port = u16::from_le_bytes(rest.take()?);
            let local = rest.address()?;
            let at_us = u64::from_le_bytes(rest.take()?);
            let path = Path::udp(SocketAddr::new(ip, port), Some(local));
            Some(Record::Datagram { path, at_us, bytes: rest.0 })
        }
        _ => None,
    }
}

struct Head {
    bytes: [u8; HEAD_BYTES],
    len: usize,
}

impl Head {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn publication(&mut self, publication: PublicationId) {
        self.put(&publication.transport.as_u64().to_le_bytes());
        self.put(&[publication.m_line]);
    }

    fn address(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => {
                self.put(&[4]);
                self.put(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.put(&[6]);
                self.put(&ip.octets());
            }
        }
    }

    fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn publication(&mut self) -> Option<PublicationId> {
        let transport = TransportId::from_u64(u64::from_le_bytes(self.take()?));
        Some(PublicationId { transport, m_line: self.byte()? })
    }

    fn dependency(&mut self, is_start: bool) -> Option<Dependency> {
        let mut dependency = Dependency {
            frame_no: u16::from_le_bytes(self.take()?),
            refs: u64::from_le_bytes(self.take()?),
            present: u32::from_le_bytes(self.take()?),
            switch: u32::from_le_bytes(self.take()?),
            targets: u32::from_le_bytes(self.take()?),
            is_start,
            mask: None,
        };
        let all = u32::from_le_bytes(self.take()?);
        let at = u16::from_le_bytes(self.take()?);
        let is_nested = self.byte()? != 0;
        dependency.mask = (all != 0).then_some(ActiveMask { at, all, is_nested });
        Some(dependency)
    }

    fn address(&mut self) -> Option<IpAddr> {
        match self.byte()? {
            4 => Some(IpAddr::V4(Ipv4Addr::from(self.take::<4>()?))),
            6 => Some(IpAddr::V6(Ipv6Addr::from(self.take::<16>()?))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ShardId;

    #[test]
    fn every_record_reads_back_as_written() {
        let publication = PublicationId { transport: TransportId::new(ShardId(3), 77), m_line: 1 };
        let frame = FrameInfo {
            is_keyframe: true,
            is_parameters: true,
            tid: 1,
            sid: 2,
            is_layer_end: true,
            picture_id: Some(PictureId { at: 2, is_long: true, value: 0x1234 }),
            tl0: Some((4, 9)),
            is_switch_point: true,
            dependency: Some(Dependency {
                frame_no: 0x1234,
                refs: 1 << 50 | 3,
                present: 7,
                switch: 1 << 31,
                targets: 0x0707_0707,
                is_start: true,
                mask: Some(ActiveMask { at: 29, all: 0x0f0f_0707, is_nested: true }),
            }),
        };
        let meta = PacketMeta {
            seq: 1 << 40,
            rtp_time: 5,
            at_us: 6,
            marker: true,
            is_two_byte: false,
            header_len: 36,
            dependency_at: 30,
            frame,
        };
        let plain = PacketMeta::default();
        let (header, bytes) = (&[7; 36][..], &[1, 2, 3][..]);
        let codec = Codec::Av1;
        let clock = SenderClock { rtp_time: 8, at_us: 9 };
        let peer = "[2001:db8::1]:9".parse().expect("an address");
        let path = Path::udp(peer, Some("10.1.2.3".parse().expect("an address")));
        let records = [
            Record::Packet { publication, encoding: 2, codec, meta, header, payload: bytes },
            Record::Packet {
                publication,
                encoding: 0,
                codec,
                meta: plain,
                header: &[],
                payload: bytes,
            },
            Record::Clock { publication, encoding: 1, clock },
            Record::Datagram { path, at_us: 10, bytes },
        ];
        let (mut producer, mut consumer) = crate::lane::lane(4096);
        for record in &records {
            assert!(push(&mut producer, record));
        }
        producer.flush();
        let mut expected = records.iter();
        let taken = consumer.drain(9, |record| assert_eq!(read(record).as_ref(), expected.next()));
        assert_eq!(taken, records.len());
    }

    #[test]
    fn no_prefix_of_garbage_panics() {
        for first in 0..=255u8 {
            for len in 0..70 {
                let _ = read(&vec![first; len]);
            }
        }
    }
}

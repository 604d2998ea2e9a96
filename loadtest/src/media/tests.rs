//! The streams read back: by the server's own parsers, and by small ones after the specifications.

use std::collections::HashMap;

use dataplane::client::{FrameInfo, parse_descriptor};

use super::*;

const VIDEO: [Codec; 4] = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];
const SECONDS: u64 = 22;

/// All packets of a stream of 800 kbit/s and 25 frames per second.
fn stream(codec: Codec, seed: u64) -> Vec<(u64, Packet)> {
    let mut video = Video::new((codec, false), 800_000, 25, seed, 0);
    let mut packets = Vec::new();
    while video.next_at_us() < SECONDS * 1_000_000 {
        let at_us = video.next_at_us();
        video.poll(at_us, |packet| packets.push((at_us, packet.clone())));
    }
    packets
}

fn frames(packets: &[(u64, Packet)]) -> Vec<Vec<&Packet>> {
    let mut frames: Vec<Vec<&Packet>> = vec![Vec::new()];
    for (_, packet) in packets {
        if let Some(last) = frames.last_mut() {
            last.push(packet);
        }
        if packet.marker {
            frames.push(Vec::new());
        }
    }
    frames.retain(|frame| !frame.is_empty());
    frames
}

#[test]
fn streams_keep_their_rate_and_every_packet_carries_the_time_of_its_sending() {
    for codec in VIDEO {
        let packets = stream(codec, 1);
        let bytes: usize = packets.iter().map(|(_, packet)| packet.payload.len()).sum();
        let bps = bytes as u64 * 8 / SECONDS;
        assert!((740_000..880_000).contains(&bps), "{codec:?}: {bps}");
        for (at_us, packet) in &packets {
            assert_eq!(read_stamp(&packet.payload), Some(*at_us), "{codec:?}");
            assert!(packet.payload.len() <= PAYLOAD_BYTES_MAX, "{codec:?}");
        }
        assert_eq!(packets, stream(codec, 1), "{codec:?}: the same seed, the same stream");
        assert_ne!(packets, stream(codec, 2), "{codec:?}");
    }
}

#[test]
fn the_server_finds_the_keyframes_and_frames_end_with_the_marker() {
    for codec in VIDEO {
        let packets = stream(codec, 1);
        let frames = frames(&packets);
        assert_eq!(frames.len() as u64, SECONDS * 25, "{codec:?}");
        let mut keyframes = Vec::new();
        for (at, frame) in frames.iter().enumerate() {
            assert!(frame.iter().all(|packet| packet.rtp_time == frame[0].rtp_time));
            assert_eq!(frame[0].rtp_time, at as u32 * 3600);
            let infos = frame.iter().map(|packet| parse_descriptor(codec, &packet.payload));
            if infos.clone().any(|info| info.is_keyframe) {
                assert!(parse_descriptor(codec, &frame[0].payload).is_keyframe, "{codec:?}");
                keyframes.push(at);
            }
        }
        assert_eq!(keyframes, [0, 250, 500], "{codec:?}");
    }
}

#[test]
fn a_wanted_keyframe_comes_with_the_next_frame() {
    for codec in VIDEO {
        let mut video = Video::new((codec, false), 300_000, 10, 1, 0);
        let mut keyframe_at = Vec::new();
        while video.next_at_us() < 2_000_000 {
            let at_us = video.next_at_us();
            // Just before the frame of this instant.
            video.keyframe_wanted |= at_us == 700_000;
            video.poll(at_us, |packet| {
                if parse_descriptor(codec, &packet.payload).is_keyframe {
                    keyframe_at.push(packet.rtp_time / 9000);
                }
            });
        }
        // H.264 says it of the parameter sets and of the picture.
        keyframe_at.dedup();
        assert_eq!(keyframe_at, [0, 7], "{codec:?}");
    }
}

fn infos(codec: Codec) -> Vec<Vec<FrameInfo>> {
    let packets = stream(codec, 1);
    let parsed = |frame: &Vec<&Packet>| {
        frame.iter().map(|packet| parse_descriptor(codec, &packet.payload)).collect()
    };
    frames(&packets).iter().map(parsed).collect()
}

#[test]
fn vp8_and_vp9_picture_ids_and_layers_follow_the_pictures() {
    for (codec, tids) in [(Codec::Vp8, &[0, 1][..]), (Codec::Vp9, &[0, 2, 1, 2])] {
        for (at, frame) in infos(codec).iter().enumerate() {
            let tid = tids[at % 250 % tids.len()];
            for info in frame {
                assert_eq!(info.picture_id.map(|id| usize::from(id.value)), Some(at), "{codec:?}");
                assert_eq!(info.tid, tid, "{codec:?}");
            }
        }
    }
    for frame in infos(Codec::Vp9) {
        let ends: Vec<u8> = frame.iter().filter(|i| i.is_layer_end).map(|i| i.sid).collect();
        assert_eq!(ends, [0, 1, 2], "each spatial layer ends once, the lowest first");
        assert!(frame.windows(2).all(|pair| pair[0].sid <= pair[1].sid));
    }
}

#[test]
fn vp9_keyframes_describe_their_layers() {
    let packets = stream(Codec::Vp9, 1);
    for (at, frame) in frames(&packets).iter().enumerate() {
        let payload = &frame[0].payload;
        assert_eq!(payload[0] & 0x02 != 0, at % 250 == 0, "V");
        if at % 250 == 0 {
            // Three layers with sizes, a group of four pictures with one reference each.
            assert_eq!(payload[5], 0b0101_1000);
            assert_eq!(payload[6..18], [1, 64, 0, 180, 2, 128, 1, 104, 5, 0, 2, 208]);
            assert_eq!(payload[18], 4);
            let tids: Vec<u8> = payload[19..27].chunks(2).map(|entry| entry[0] >> 5).collect();
            assert_eq!(tids, [0, 2, 1, 2]);
            assert_eq!(payload[28..31], [0x49, 0x83, 0x42], "the sync code of a keyframe");
        }
    }
}

/// The NAL units of a frame's packets, put together after RFC 6184.
fn units(frame: &[&Packet]) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    let mut is_open = false;
    for Packet { payload, .. } in frame {
        match payload[0] & 0x1f {
            24 => {
                let mut rest = &payload[1..];
                while let [high, low, more @ ..] = rest {
                    let len = usize::from(*high) << 8 | usize::from(*low);
                    units.push(more[..len].to_vec());
                    rest = &more[len..];
                }
            }
            28 => {
                assert_eq!(payload[1] & 0x80 == 0, is_open, "S on the first fragment only");
                if !is_open {
                    units.push(vec![payload[0] & 0xe0 | payload[1] & 0x1f]);
                }
                units.last_mut().expect("begun").extend(&payload[2..]);
                is_open = payload[1] & 0x40 == 0;
            }
            1..=23 => units.push(payload.clone()),
            kind => panic!("type {kind}"),
        }
    }
    assert!(!is_open, "E on the last fragment");
    units
}

#[test]
fn h264_frames_are_whole_nal_units_without_start_codes() {
    let packets = stream(Codec::H264, 1);
    for (at, frame) in frames(&packets).iter().enumerate() {
        let units = units(frame);
        let kinds: Vec<u8> = units.iter().map(|unit| unit[0] & 0x1f).collect();
        assert_eq!(kinds, if at % 250 == 0 { &[7, 8, 6, 5][..] } else { &[1] });
        for unit in units {
            assert!(unit[0] & 0x80 == 0, "forbidden bit");
            assert!(!unit.windows(3).any(|w| w[0] == 0 && w[1] == 0 && w[2] < 4), "{unit:x?}");
            assert_ne!(unit.last(), Some(&0), "trailing bits");
        }
    }
}

/// The OBUs of a temporal unit's packets, put together after the AV1 payload format, s4.
fn obus(frame: &[&Packet]) -> Vec<Vec<u8>> {
    let mut obus: Vec<Vec<u8>> = Vec::new();
    let mut is_open = false;
    for (at, Packet { payload, .. }) in frame.iter().enumerate() {
        let header = payload[0];
        assert_eq!(header & 0x80 != 0, is_open, "Z");
        assert!(header & 0x08 == 0 || at == 0, "N in the first packet only");
        let count = header >> 4 & 3;
        let mut rest = &payload[1..];
        for element in 1..=count {
            let len = if element == count { rest.len() } else { usize::from(rest[0]) };
            if element < count {
                assert!(rest[0] < 0x80, "one octet of LEB128");
                rest = &rest[1..];
            }
            let (data, more) = rest.split_at(len);
            if element == 1 && is_open {
                obus.last_mut().expect("begun").extend(data);
            } else {
                obus.push(data.to_vec());
            }
            rest = more;
        }
        is_open = header & 0x40 != 0;
    }
    assert!(!is_open, "Y");
    obus
}

#[test]
fn av1_frames_are_whole_obus_with_a_sequence_header_before_keyframes() {
    let packets = stream(Codec::Av1, 1);
    for (at, frame) in frames(&packets).iter().enumerate() {
        let obus = obus(frame);
        let kinds: Vec<u8> = obus.iter().map(|obu| obu[0] >> 3 & 15).collect();
        assert_eq!(kinds, if at % 250 == 0 { &[1, 6][..] } else { &[6] });
        assert!(obus.iter().all(|obu| obu[0] & 0x82 == 0), "no size field in RTP");
        let tid = [0, 2, 1, 2][at % 250 % 4];
        assert_eq!(obus.last().map(|obu| obu[1] >> 5), Some(tid));
    }
}

/// Bits of a dependency descriptor.
struct Bits<'a>(&'a [u8], usize);

impl Bits<'_> {
    fn take(&mut self, bits: usize) -> u32 {
        (0..bits).fold(0, |all, _| {
            let bit = self.0[self.1 / 8] >> (7 - self.1 % 8) & 1;
            self.1 += 1;
            all << 1 | u32::from(bit)
        })
    }
}

/// Reads a template structure after A.8.3 and returns, per template, layer, indications, the
/// distances to references, and the chain's distance.
fn structure(bits: &mut Bits<'_>) -> Vec<(u32, Vec<u32>, Vec<u32>, u32)> {
    assert_eq!(bits.take(6), 0);
    let targets = bits.take(5) as usize + 1;
    let mut layers = vec![0];
    loop {
        match bits.take(2) {
            0 => layers.push(layers[layers.len() - 1]),
            1 => layers.push(layers[layers.len() - 1] + 1),
            3 => break,
            _ => panic!("spatial layers"),
        }
    }
    let indications: Vec<Vec<u32>> =
        layers.iter().map(|_| (0..targets).map(|_| bits.take(2)).collect()).collect();
    let mut references = Vec::new();
    for _ in &layers {
        let mut of = Vec::new();
        while bits.take(1) == 1 {
            of.push(bits.take(4) + 1);
        }
        references.push(of);
    }
    assert_eq!((targets, bits.take(2)), (3, 1), "one chain");
    let chains: Vec<u32> = layers.iter().map(|_| bits.take(4)).collect();
    assert_eq!((bits.take(1), bits.take(16), bits.take(16)), (1, 639, 359));
    layers.into_iter().zip(indications).zip(references).zip(chains).map(flat).collect()
}

type Nested = (((u32, Vec<u32>), Vec<u32>), u32);

fn flat((((layer, indications), references), chain): Nested) -> (u32, Vec<u32>, Vec<u32>, u32) {
    (layer, indications, references, chain)
}

#[test]
fn dependency_descriptors_say_what_each_frame_needs() {
    let packets = stream(Codec::Av1, 1);
    let mut templates = Vec::new();
    let mut seen: HashMap<u32, usize> = HashMap::new();
    for (at, frame) in frames(&packets).iter().enumerate() {
        for (i, packet) in frame.iter().enumerate() {
            let mut bits = Bits(&packet.dependency, 0);
            assert_eq!(bits.take(1) == 1, i == 0, "start of frame");
            assert_eq!(bits.take(1) == 1, i + 1 == frame.len(), "end of frame");
            let id = bits.take(6);
            assert_eq!(bits.take(16), at as u32, "frame number");
            assert_eq!(frame_number(&packet.dependency), Some(at as u16));
            let has_structure = i == 0 && at % 250 == 0;
            assert_eq!(packet.dependency.len() > 3, has_structure);
            if has_structure {
                assert_eq!(bits.take(5), 0b10000);
                templates = structure(&mut bits);
                assert!(packet.dependency.len() > 16, "needs the two-byte form");
            }
            let (tid, indications, references, chain) = &templates[id as usize];
            assert_eq!(*tid, [0, 2, 1, 2][at % 250 % 4]);
            for (target, indication) in indications.iter().enumerate() {
                assert_eq!(*indication == 0, target < *tid as usize, "absent from lower targets");
            }
            // References and chain lead to frames of no higher layer.
            for back in references {
                let referred = [0, 2, 1, 2][(at - *back as usize) % 250 % 4];
                assert!(referred < 2 && referred <= *tid);
            }
            assert_eq!(*chain as usize, if at % 250 == 0 { 0 } else { (at % 250 - 1) % 4 + 1 });
            *seen.entry(id).or_default() += 1;
        }
    }
    assert_eq!(seen.len(), 5, "every template is used");
}

#[test]
fn opus_packets_step_by_20_ms() {
    let mut audio = Audio::default();
    for at in 0..5u64 {
        let (rtp_time, payload) = audio.next_packet(at * AUDIO_INTERVAL_US);
        assert_eq!(u64::from(rtp_time), at * 960);
        assert_eq!(read_stamp(&payload), Some(at * AUDIO_INTERVAL_US));
    }
}

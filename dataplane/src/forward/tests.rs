//! What one viewer gets, packet by packet.

use super::*;
use crate::descriptor::{FrameInfo, PictureId};

fn packet(seq: u64, is_keyframe: bool) -> PacketMeta {
    PacketMeta {
        seq,
        rtp_time: seq as u32 * 3000,
        at_us: seq * 33_333,
        frame: FrameInfo { is_keyframe, ..FrameInfo::default() },
        ..PacketMeta::default()
    }
}

fn forwarder(codec: Codec) -> Forwarder {
    Forwarder::new(codec, 90_000, Target::all(0), Parked::fresh(100, 0))
}

#[test]
fn video_starts_at_a_keyframe_and_goes_on_in_step() {
    let mut forwarder = forwarder(Codec::Vp8);
    assert_eq!(forwarder.place(0, &packet(7, false)), Err(Skip::NotWanted));
    assert!(forwarder.needs_keyframe());
    assert_eq!(forwarder.place(0, &packet(8, true)).map(|p| p.seq), Ok(100));
    assert_eq!(forwarder.place(0, &packet(10, false)).map(|p| p.seq), Ok(102), "gap kept");
    assert_eq!(forwarder.place(0, &packet(9, false)).map(|p| p.seq), Ok(101), "late");
    assert_eq!(forwarder.place(0, &packet(7, false)), Err(Skip::TooOld), "before the start");
    assert_eq!(forwarder.find(101), Some((0, 9)));
    assert_eq!(forwarder.find(99), None);
    assert_eq!(forwarder.find(103), None);
}

#[test]
fn a_switch_keeps_numbers_times_and_picture_ids_continuous() {
    let mut forwarder = forwarder(Codec::Vp8);
    let with_id = |mut meta: PacketMeta, value| {
        meta.frame.picture_id = Some(PictureId { at: 2, is_long: true, value });
        meta
    };
    let first = forwarder.place(0, &with_id(packet(50, true), 7)).expect("starts");
    forwarder.set_target(Target::all(1));
    assert!(forwarder.needs_keyframe());
    let mut other = with_id(packet(9000, false), 0x7fff);
    other.at_us = 51 * 33_333;
    assert_eq!(forwarder.place(1, &other), Err(Skip::NotWanted));
    assert_eq!(forwarder.place(0, &packet(51, false)).map(|p| p.seq), Ok(101));
    other.seq += 1;
    other.at_us = 52 * 33_333;
    other.frame.is_keyframe = true;
    let next = forwarder.place(1, &other).expect("switches");
    assert_eq!(next.seq, 102);
    let step = next.rtp_time.wrapping_sub(first.rtp_time);
    assert!((5900..=6100).contains(&step), "{step}");
    assert_eq!(0x7fffu16.wrapping_add(next.picture_delta), 8);
    assert_eq!(forwarder.place(0, &packet(52, false)), Err(Skip::NotWanted));
    assert_eq!(forwarder.find(101), Some((0, 51)));
    assert_eq!(forwarder.find(102), Some((1, 9001)));
    assert_eq!(forwarder.place_again(0, &packet(51, false)).map(|p| p.seq), Some(101));
    assert_eq!(forwarder.take_switches(), Switches { up: 0, down: 1 });
    forwarder.set_target(Target::all(0));
    assert!(forwarder.place(0, &packet(60, true)).is_ok());
    assert_eq!(forwarder.take_switches(), Switches { up: 1, down: 0 });
}

#[test]
fn a_capped_viewer_gets_spatial_layer_0_without_gaps_and_with_markers() {
    let mut forwarder = forwarder(Codec::Vp9);
    let layer = |seq, sid, is_keyframe| {
        let mut meta = packet(seq, is_keyframe);
        meta.frame.sid = sid;
        meta.frame.is_layer_end = true;
        meta
    };
    forwarder.set_target(Target { spatial_max: 0, ..Target::all(0) });
    let mut out = Vec::new();
    for seq in 0..20 {
        if let Ok(placement) = forwarder.place(0, &layer(seq, (seq % 2) as u8, seq == 0)) {
            assert!(placement.marker);
            out.push(placement.seq);
            assert_eq!(forwarder.find(placement.seq as u16), Some((0, seq)));
        }
    }
    assert_eq!(out, (100..110).collect::<Vec<_>>());
    forwarder.set_target(Target::all(0));
    assert_eq!(forwarder.lack((1, 0)), Some(Lack::Spatial), "wants a keyframe to go up");
    assert_eq!(forwarder.place(0, &layer(21, 1, false)), Err(Skip::NotWanted));
    assert!(forwarder.place(0, &layer(22, 0, true)).is_ok());
    assert!(forwarder.place(0, &layer(23, 1, false)).is_ok());
    assert_eq!(forwarder.take_switches(), Switches { up: 1, down: 1 });
}

/// A picture cut in its middle would be shown by no decoder.
#[test]
fn spatial_layers_are_left_between_two_pictures() {
    let mut forwarder = forwarder(Codec::Vp9);
    let mut out = Vec::new();
    for seq in 0..24u64 {
        if seq == 13 {
            // In the middle of the picture of 12, 13 and 14.
            forwarder.set_target(Target { spatial_max: 0, ..Target::all(0) });
        }
        let mut meta = packet(seq, seq == 0);
        meta.rtp_time = (seq / 3) as u32 * 3000;
        meta.frame.sid = (seq % 3) as u8;
        meta.frame.is_layer_end = true;
        meta.marker = seq % 3 == 2;
        if let Ok(placement) = forwarder.place(0, &meta) {
            out.push((seq, placement.marker));
        }
    }
    let expected: Vec<(u64, bool)> =
        (0..15).map(|seq| (seq, seq % 3 == 2)).chain([15, 18, 21].map(|seq| (seq, true))).collect();
    assert_eq!(out, expected);
}

#[test]
fn a_temporal_layer_comes_back_where_it_depends_on_the_base_only() {
    let mut forwarder = forwarder(Codec::Vp8);
    let place = |forwarder: &mut Forwarder, seq: u64, tid, is_switch_point| {
        let mut meta = packet(seq, seq == 0);
        (meta.frame.tid, meta.frame.is_switch_point) = (tid, is_switch_point);
        forwarder.place(0, &meta).is_ok()
    };
    assert!(place(&mut forwarder, 0, 0, false));
    forwarder.set_target(Target { temporal_max: 0, ..Target::all(0) });
    assert!(!place(&mut forwarder, 1, 1, true));
    assert!(place(&mut forwarder, 2, 0, false));
    forwarder.set_target(Target::all(0));
    assert_eq!(forwarder.lack((0, 1)), Some(Lack::Temporal));
    assert!(!place(&mut forwarder, 3, 1, false), "may depend on what was left out");
    assert!(place(&mut forwarder, 4, 0, false));
    assert!(place(&mut forwarder, 5, 1, true));
    assert!(place(&mut forwarder, 6, 1, false));
}

/// Receivers wait for what an id is missing of.
#[test]
fn picture_ids_of_vp8_close_ranks_where_layers_are_left_out_and_those_of_vp9_do_not() {
    let sent = |codec| {
        let mut forwarder = forwarder(codec);
        forwarder.set_target(Target { temporal_max: 1, ..Target::all(0) });
        let mut sent = Vec::new();
        for seq in 0..24u64 {
            // Pictures of two packets; layers 0, 2, 1, 2.
            let picture = seq / 2;
            let mut meta = packet(seq, picture == 0);
            meta.rtp_time = picture as u32 * 3000;
            meta.frame.tid = [0, 2, 1, 2][(picture % 4) as usize];
            let value = 0x7ffe + picture as u16;
            meta.frame.picture_id = Some(PictureId { at: 2, is_long: true, value: value & 0x7fff });
            if let Ok(placement) = forwarder.place(0, &meta) {
                assert_eq!(forwarder.place_again(0, &meta), Some(placement));
                sent.push(value.wrapping_add(placement.picture_delta).wrapping_sub(0x7ffe));
            }
        }
        sent
    };
    assert_eq!(sent(Codec::Vp8), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
    assert_eq!(sent(Codec::Vp9), [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10]);
}

/// Short ids come round within seconds.
#[test]
fn the_same_picture_id_can_be_left_out_again() {
    let mut forwarder = forwarder(Codec::Vp8);
    let mut place = |seq: u64, tid| {
        let mut meta = packet(seq, seq == 0);
        meta.frame.tid = tid;
        let value = seq as u16 % 128;
        meta.frame.picture_id = Some(PictureId { at: 2, is_long: false, value });
        forwarder.set_target(Target { temporal_max: 0, ..Target::all(0) });
        forwarder.place(0, &meta).ok().map(|placement| placement.picture_delta)
    };
    assert_eq!(place(0, 0), Some(0));
    assert_eq!(place(1, 1), None);
    (2..129).for_each(|seq| assert_eq!(place(seq, 0), Some(u16::MAX)));
    assert_eq!(place(129, 1), None);
    assert_eq!(place(130, 0), Some(u16::MAX - 1));
}

#[test]
fn a_full_path_gets_nothing_until_the_keyframe_of_what_fits() {
    let mut forwarder = forwarder(Codec::Vp8);
    assert!(forwarder.place(0, &packet(1, true)).is_ok());
    forwarder.set_target(Target { meanwhile: Meanwhile::Nothing, ..Target::all(1) });
    assert_eq!(forwarder.place(0, &packet(2, false)), Err(Skip::NotWanted));
    assert_eq!(forwarder.place(1, &packet(70, false)), Err(Skip::NotWanted));
    assert_eq!(forwarder.place(1, &packet(71, true)).map(|p| p.seq), Ok(101));
    forwarder.set_target(Target::nothing());
    assert_eq!(forwarder.place(1, &packet(72, true)), Err(Skip::NotWanted));
    forwarder.set_target(Target::all(1));
    assert_eq!(forwarder.place(1, &packet(73, false)), Err(Skip::NotWanted));
    assert_eq!(forwarder.place(1, &packet(74, true)).map(|p| p.seq), Ok(102));
}

/// Row 21: whatever arrives, what goes out is numbered without repetition.
#[test]
fn no_outgoing_number_is_used_twice_on_a_random_walk() {
    let mut forwarder = forwarder(Codec::Vp9);
    let mut state = 99u64;
    let mut random = move |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (state >> 33) % n
    };
    let mut used = std::collections::HashMap::new();
    let mut next = [1000u64, 60_000];
    for round in 0..50_000u64 {
        let encoding = random(2) as u8;
        let base = &mut next[usize::from(encoding)];
        *base += match random(50) {
            0 => 40_000,
            1 => 3,
            _ => 1,
        };
        let seq = *base - random(4).min(*base);
        let mut meta = packet(seq, random(10) == 0);
        meta.frame.sid = random(3) as u8;
        meta.at_us = round * 1000;
        if random(100) == 0 {
            forwarder.set_target(Target::all(random(2) as u8));
        }
        if random(100) == 0 {
            let target = forwarder.target();
            let meanwhile = [Meanwhile::All, Meanwhile::Temporal(0), Meanwhile::Nothing];
            let meanwhile = meanwhile[random(3) as usize];
            let spatial_max = if random(2) == 0 { 0 } else { u8::MAX };
            forwarder.set_target(Target { spatial_max, meanwhile, ..target });
        }
        if let Ok(placement) = forwarder.place(encoding, &meta) {
            let before = used.insert(placement.seq, (encoding, seq));
            assert_eq!(before, None, "round {round}: {} twice", placement.seq);
        }
    }
    assert!(used.len() > 1000);
}

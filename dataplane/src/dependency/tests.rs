//! Structures as encoders write them, and what they lead to.

use super::*;

/// Writes bit by bit.
#[derive(Default)]
struct Writer(Vec<u8>, usize);

impl Writer {
    fn put(&mut self, value: u32, count: usize) {
        for bit in (0..count).rev() {
            if self.1.is_multiple_of(8) {
                self.0.push(0);
            }
            let last = self.0.len() - 1;
            self.0[last] |= ((value >> bit & 1) as u8) << (7 - self.1 % 8);
            self.1 += 1;
        }
    }
}

/// A template: layers, indications as the specification spells them, and references.
type Sketch = (u8, u8, &'static str, &'static [u32]);

/// Two spatial layers with one temporal layer each, in full and with the lower one at keyframes only,
/// and three temporal ones. In that of keyframes the delta pictures of the lower layer are for its
/// own viewers only.
const L2T1: &[Sketch] =
    &[(0, 0, "SS", &[]), (0, 0, "SR", &[2]), (1, 0, "-S", &[1]), (1, 0, "-S", &[2, 1])];
const L2T1_KEY: &[Sketch] =
    &[(0, 0, "SS", &[]), (0, 0, "S-", &[2]), (1, 0, "-S", &[1]), (1, 0, "-S", &[2])];
const L1T3: &[Sketch] =
    &[(0, 0, "SSS", &[]), (0, 0, "SSS", &[4]), (0, 1, "-DS", &[2]), (0, 2, "--D", &[1])];

fn put_structure(writer: &mut Writer, sketches: &[Sketch], id_offset: u32) {
    let targets = sketches[0].2.len() as u32;
    writer.put(id_offset, 6);
    writer.put(targets - 1, 5);
    for pair in sketches.windows(2) {
        let ((sid, tid, ..), (next_sid, next_tid, ..)) = (pair[0], pair[1]);
        let step = if next_sid > sid { 2 } else { u32::from(next_tid > tid) };
        writer.put(step, 2);
    }
    writer.put(3, 2);
    for indication in sketches.iter().flat_map(|sketch| sketch.2.chars()) {
        writer.put("-DSR".find(indication).expect("one of four") as u32, 2);
    }
    for (.., refs) in sketches {
        refs.iter().for_each(|diff| writer.put(0x10 | (diff - 1), 5));
        writer.put(0, 1);
    }
    // One chain, which protects all: numbers below one take no bits.
    match targets {
        2 => writer.put(0b10, 2),
        3 => writer.put(0b01, 2),
        _ => panic!("not spelt here"),
    }
    writer.put(0, 4 * sketches.len());
    writer.put(1, 1); // sizes follow
    for _ in 0..=sketches.iter().map(|sketch| sketch.0).max().unwrap_or(0) {
        writer.put(0x0280_0168, 32);
    }
}

fn descriptor(template: u32, frame_no: u32, structure: Option<&[Sketch]>) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.put(3, 2);
    writer.put(template, 6);
    writer.put(frame_no, 16);
    if let Some(sketches) = structure {
        writer.put(0x10, 5);
        put_structure(&mut writer, sketches, 0);
    }
    writer.0
}

#[test]
fn frames_are_described_by_the_structure_of_their_keyframe() {
    let mut stream = Dependencies::default();
    assert_eq!(stream.read(&descriptor(0, 7, None)), None, "no structure yet");
    let key = stream.read(&descriptor(0, 7, Some(L2T1))).expect("whole");
    assert!(key.has_structure && key.dependency.refs == 0 && key.is_end);
    assert_eq!(key.dependency.targets, target_bit(0, 0) | target_bit(1, 0));
    assert_eq!(key.dependency.switch, key.dependency.targets);
    let upper = stream.read(&descriptor(3, 8, None)).expect("known").dependency;
    assert_eq!((upper.present, upper.refs), (target_bit(1, 0), 0b11));
    let lower = stream.read(&descriptor(1, 9, None)).expect("known");
    assert_eq!((lower.sid, lower.dependency.switch), (0, target_bit(0, 0)));
    assert_eq!(stream.read(&descriptor(4, 10, None)), None, "no such template");
}

#[test]
fn a_descriptor_can_speak_for_itself() {
    let mut stream = Dependencies::default();
    stream.read(&descriptor(0, 7, Some(L1T3))).expect("whole");
    let mut writer = Writer::default();
    writer.put(0, 2);
    writer.put(3, 6);
    writer.put(9, 16);
    // Decode targets, indications and references of its own.
    writer.put(0b01110, 5);
    writer.put(0b011, 3);
    writer.put(0b00_10_00, 6);
    writer.put(2, 2);
    writer.put(19, 8);
    writer.put(3, 2);
    writer.put(99, 12);
    writer.put(0, 2);
    let read = stream.read(&writer.0).expect("whole").dependency;
    assert_eq!(read.targets, target_bit(0, 0) | target_bit(0, 1), "the third is off");
    assert_eq!((read.present, read.switch), (target_bit(0, 1), target_bit(0, 1)));
    assert_eq!(read.refs, 1 << 19 | 1 << 63, "one of them is out of sight");
    let next = stream.read(&descriptor(2, 10, None)).expect("known").dependency;
    assert_eq!(next.targets, read.targets, "until it is said otherwise");
}

#[test]
fn viewers_are_told_which_targets_they_get() {
    for (structure, layers, kept) in [
        (L2T1, (0, 0), target_bit(0, 0)),
        (L2T1_KEY, (0, 0), target_bit(0, 0)),
        // Of the lower layer only keyframes go out beside the upper one.
        (L2T1_KEY, (u8::MAX, u8::MAX), target_bit(1, 0)),
        (L1T3, (0, 1), target_bit(0, 0) | target_bit(0, 1)),
    ] {
        let (mut ours, mut theirs) = (Dependencies::default(), Dependencies::default());
        let frames = [(0, 7, Some(structure)), (1, 8, None), (2, 9, None)];
        for (template, frame_no, structure) in frames {
            let raw = descriptor(template, frame_no, structure);
            let (read, canonical) = ours.canonical(&raw).expect("whole");
            let mut told = canonical.to_vec();
            assert_eq!(
                theirs.read(&told).expect("whole").dependency.targets,
                read.dependency.targets
            );
            let active = read.dependency.active_for(layers).expect("not all");
            assert_eq!(active, kept);
            read.dependency.mask.expect("of use").write(&mut told, active);
            let again = theirs.read(&told).expect("whole");
            assert_eq!(again.dependency.targets, kept);
            assert_eq!((again.sid, again.tid), (read.sid, read.tid));
            let Dependency { frame_no, refs, present, switch, .. } = again.dependency;
            assert_eq!(
                (frame_no, refs, present, switch),
                (
                    read.dependency.frame_no,
                    read.dependency.refs,
                    read.dependency.present,
                    read.dependency.switch
                )
            );
        }
        let whole = ours.canonical(&descriptor(1, 10, None)).map(|(read, _)| read.dependency);
        let is_all = structure != L2T1_KEY;
        assert_eq!(whole.and_then(|all| all.active_for((7, 7))).is_none(), is_all);
    }
}

#[test]
fn nobody_is_told_of_targets_that_share_no_frames() {
    let apart: &[Sketch] = &[(0, 0, "S-", &[]), (0, 1, "-S", &[])];
    let mut ours = Dependencies::default();
    let raw = descriptor(0, 7, Some(apart));
    let (read, canonical) = ours.canonical(&raw).expect("whole");
    assert_eq!((read.dependency.mask, canonical), (None, &raw[..]));
}

/// What has a bitmask of its own keeps it, and goes on as it says.
#[test]
fn a_publishers_own_targets_are_those_of_viewers() {
    let mut ours = Dependencies::default();
    ours.canonical(&descriptor(0, 7, Some(L1T3))).expect("whole");
    let mut writer = Writer::default();
    writer.put(3, 2);
    writer.put(1, 6);
    writer.put(8, 16);
    writer.put(0b01000, 5);
    writer.put(0b011, 3);
    let (read, canonical) = ours.canonical(&writer.0).expect("whole");
    assert_eq!(canonical, writer.0);
    assert_eq!(read.dependency.active_for((0, 1)), None, "that is all of it");
    assert_eq!(read.dependency.active_for((0, 0)), Some(target_bit(0, 0)));
    let next = descriptor(1, 9, None);
    let (_, canonical) = ours.canonical(&next).expect("known");
    assert_eq!(canonical, [0xc1, 0, 9, 0b0100_0011], "two targets go on");
    // The second packet of a frame has nothing to say.
    let (read, canonical) = ours.canonical(&[0x41, 0, 9]).expect("known");
    assert_eq!((canonical, read.dependency.mask), (&[0x41, 0, 9][..], None));
}

#[test]
fn no_prefix_is_taken_for_a_whole_structure() {
    let whole = descriptor(0, 7, Some(L2T1_KEY));
    for len in 0..whole.len() {
        let mut stream = Dependencies::default();
        assert_eq!(stream.read(&whole[..len]), None, "{len} octets");
        assert_eq!(stream.read(&descriptor(0, 8, None)), None, "half a structure is none");
        assert!(stream.read(&whole).is_some());
        // What was known stays.
        let _ = stream.read(&whole[..len]);
        assert!(stream.read(&descriptor(0, 9, None)).is_some());
    }
}

#[test]
fn the_best_target_is_found_among_any() {
    let all = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1)];
    let targets = all.iter().fold(0, |bits, (sid, tid)| bits | target_bit(*sid, *tid));
    for (layers, best) in
        [((u8::MAX, u8::MAX), (2, 1)), ((2, 0), (1, 0)), ((1, 9), (1, 1)), ((0, 0), (0, 0))]
    {
        assert_eq!(best_target(targets, layers.0, layers.1), best, "{layers:?}");
    }
    assert_eq!(best_target(target_bit(2, 3), 0, 0), (2, 3), "there is no other");
    assert_eq!(best_target(u32::MAX, 255, 255), (3, 7));
}

#[test]
fn what_was_sent_is_remembered_across_the_wrap() {
    let mut sent = SentFrames::default();
    assert!(sent.has_all(5, 0) && !sent.has_all(5, 1));
    for frame in [0xfffe, 0xffff, 1, 2] {
        sent.note(frame);
    }
    assert!(sent.has_all(3, 0b11), "2 and 1");
    assert!(!sent.has_all(3, 0b100), "0 was left out");
    assert!(sent.has_all(3, 0b11000), "before the wrap");
    sent.note(0);
    assert!(sent.has_all(3, 0b111), "late");
    assert!(sent.has_all(2, 1) && sent.has_all(0, 0b11));
    assert!(!sent.has_all(3, 1 << 63), "too far back to know");
    sent.note(2000);
    assert!(!sent.has_all(2001, 0b10));
}

/// Every second frame of the upper layer, as a publisher sends them: template and number.
fn pictures(templates: [(u32, u32); 2], from: u32, count: u32) -> impl Iterator<Item = (u32, u32)> {
    (from..from + count).flat_map(move |at| {
        let (lower, upper) = if at == 0 { templates[0] } else { templates[1] };
        [(lower, 2 * at), (upper, 2 * at + 1)]
    })
}

mod forwarding {
    use super::*;
    use crate::canonical::PacketMeta;
    use crate::choose::Target;
    use crate::codec::Codec;
    use crate::descriptor::FrameInfo;
    use crate::forward::{Forwarder, Join, Lack, Parked};

    struct Sender {
        stream: Dependencies,
        structure: &'static [Sketch],
        forwarder: Forwarder,
        seq: u64,
        /// Frame numbers that went out, with the marker.
        out: Vec<(u32, bool)>,
        /// How they are joined.
        joins: Vec<Join>,
        metas: Vec<PacketMeta>,
    }

    impl Sender {
        fn new(structure: &'static [Sketch], target: Target) -> Self {
            let parked = Parked::fresh(100, 0);
            let forwarder = Forwarder::new(Codec::Av1, 90_000, target, parked);
            Self {
                stream: Dependencies::default(),
                structure,
                forwarder,
                seq: 0,
                out: Vec::new(),
                joins: Vec::new(),
                metas: Vec::new(),
            }
        }

        /// To a receiver that reads no descriptors.
        fn joining(structure: &'static [Sketch], target: Target) -> Self {
            let sender = Self::new(structure, target);
            Self { forwarder: sender.forwarder.joining(), ..sender }
        }

        fn frame(&mut self, template: u32, frame_no: u32, is_last: bool) {
            let meta = self.meta(template, frame_no, is_last);
            if let Ok(placement) = self.forwarder.place(0, &meta) {
                assert_eq!(placement.seq, 100 + self.out.len() as u64, "no gap");
                self.out.push((frame_no, placement.marker));
                self.joins.push(placement.join);
                self.metas.push(meta);
            }
        }

        fn meta(&mut self, template: u32, frame_no: u32, is_last: bool) -> PacketMeta {
            let structure = (template == 0).then_some(self.structure);
            let read = self.stream.read(&descriptor(template, frame_no, structure)).expect("whole");
            let mut frame = FrameInfo::default();
            frame.describe(Codec::Av1, &read);
            assert_eq!(frame.is_keyframe, template == 0);
            let (picture, seq) = (frame_no / 2, self.seq);
            let meta = PacketMeta {
                seq,
                rtp_time: picture * 3000,
                at_us: u64::from(picture) * 33_333,
                marker: is_last,
                frame,
                ..PacketMeta::default()
            };
            self.seq += 1;
            meta
        }

        fn pictures(&mut self, from: u32, count: u32) {
            for (template, frame_no) in pictures([(0, 2), (1, 3)], from, count) {
                self.frame(template, frame_no, frame_no % 2 == 1);
            }
        }
    }

    fn up_to(spatial_max: u8) -> Target {
        Target { spatial_max, ..Target::all(0) }
    }

    #[test]
    fn layers_are_left_between_pictures_and_entered_at_keyframes() {
        let mut sender = Sender::new(L2T1, Target::all(0));
        sender.pictures(0, 2);
        sender.forwarder.set_target(up_to(0));
        sender.pictures(2, 2);
        sender.forwarder.set_target(up_to(1));
        sender.pictures(4, 1);
        assert_eq!(sender.forwarder.lack((1, 0)), Some(Lack::Spatial));
        sender.pictures(0, 1);
        let expected = [(0, false), (1, true), (2, false), (3, true), (4, true), (6, true)];
        assert_eq!(sender.out[..6], expected, "the marker is on what is sent last");
        assert_eq!(sender.out[6..], [(8, true), (0, false), (1, true)]);
    }

    #[test]
    fn a_lower_layer_that_was_not_sent_is_entered_at_a_keyframe_only() {
        let mut sender = Sender::new(L2T1_KEY, Target::all(0));
        sender.pictures(0, 3);
        assert_eq!(sender.out.iter().map(|sent| sent.0).collect::<Vec<_>>(), [0, 1, 3, 5]);
        sender.forwarder.set_target(up_to(0));
        sender.pictures(3, 2);
        assert_eq!(sender.forwarder.lack((1, 0)), Some(Lack::Exit), "what it refers to is missing");
        sender.pictures(0, 2);
        let rest: Vec<_> = sender.out[4..].to_vec();
        assert_eq!(rest, [(7, true), (9, true), (0, true), (2, true)]);
    }

    #[test]
    fn temporal_layers_come_and_go_without_a_keyframe() {
        let mut sender = Sender::new(L1T3, Target::all(0));
        let frames = [(0, 0), (3, 1), (2, 2), (3, 3), (1, 4), (3, 5), (2, 6), (3, 7), (1, 8)];
        for (template, frame_no) in frames {
            if frame_no == 3 {
                sender.forwarder.set_target(Target { temporal_max: 0, ..Target::all(0) });
            }
            if frame_no == 5 {
                sender.forwarder.set_target(Target::all(0));
            }
            sender.frame(template, frame_no, true);
        }
        let sent: Vec<_> = sender.out.iter().map(|sent| sent.0).collect();
        assert_eq!(sent, [0, 1, 2, 3, 4, 6, 7, 8], "5 refers to what was sent, but is above");
    }

    const ALONE: Join = Join { to_previous: false, to_next: false };
    const FIRST: Join = Join { to_previous: false, to_next: true };
    const SECOND: Join = Join { to_previous: true, to_next: false };

    #[test]
    fn the_layers_of_a_picture_are_joined_for_who_reads_no_descriptors() {
        let mut sender = Sender::joining(L2T1, Target::all(0));
        sender.pictures(0, 2);
        sender.forwarder.set_target(up_to(0));
        sender.pictures(2, 2);
        sender.forwarder.set_target(up_to(1));
        sender.pictures(0, 2);
        let one_picture = [FIRST, SECOND];
        let expected =
            [one_picture, one_picture, [ALONE, ALONE], one_picture, one_picture].concat();
        assert_eq!(sender.joins, expected);
        for (meta, join) in sender.metas.iter().zip(&sender.joins).skip(6) {
            let again = sender.forwarder.place_again(0, meta).map(|placement| placement.join);
            assert_eq!(again, Some(*join), "the same when it is sent again");
        }
        let mut descriptors = Sender::new(L2T1, Target::all(0));
        descriptors.pictures(0, 2);
        assert_eq!(descriptors.joins, [ALONE; 4]);
    }

    #[test]
    fn layers_that_are_sent_without_lower_ones_are_joined_in_keyframes_only() {
        let mut sender = Sender::joining(L2T1_KEY, Target::all(0));
        sender.pictures(0, 3);
        assert_eq!(sender.joins, [FIRST, SECOND, ALONE, ALONE]);
    }

    #[test]
    fn no_picture_is_joined_to_the_next_one() {
        let mut sender = Sender::joining(L2T1, Target::all(0));
        sender.pictures(0, 1);
        sender.frame(1, 2, false);
        sender.pictures(2, 1);
        sender.frame(1, 6, false);
        sender.pictures(0, 1);
        // The last layer of the second and of the fourth never came.
        let expected = [FIRST, SECOND, FIRST, FIRST, SECOND, FIRST, FIRST, SECOND];
        assert_eq!(sender.joins, expected);
    }

    #[test]
    fn layers_that_come_late_are_joined_all_the_same() {
        let mut sender = Sender::joining(L2T1, Target::all(0));
        sender.pictures(0, 1);
        let lower = sender.meta(1, 2, false);
        let upper = sender.meta(3, 3, true);
        let joined = |sender: &mut Sender, meta| sender.forwarder.place(0, meta).map(|p| p.join);
        assert_eq!(joined(&mut sender, &upper), Ok(SECOND));
        assert_eq!(joined(&mut sender, &lower), Ok(FIRST));
        for (meta, join) in [(lower, FIRST), (upper, SECOND)] {
            assert_eq!(sender.forwarder.place_again(0, &meta).map(|p| p.join), Some(join));
        }
    }

    #[test]
    fn what_is_too_old_to_know_how_it_was_joined_is_not_sent_again() {
        let mut sender = Sender::joining(L2T1, Target::all(0));
        sender.pictures(0, 1100);
        let again = |at: usize| sender.forwarder.place_again(0, &sender.metas[at]);
        assert_eq!(again(150), None);
        assert_eq!(again(152).map(|p| p.join), Some(FIRST));
    }

    #[test]
    fn a_layer_does_not_come_in_the_middle_of_a_picture() {
        let mut sender = Sender::joining(L2T1, up_to(0));
        sender.frame(0, 0, false);
        sender.forwarder.set_target(up_to(1));
        sender.frame(2, 1, true);
        sender.pictures(0, 1);
        assert_eq!(sender.joins, [ALONE, FIRST, SECOND]);
    }

    /// Under one number only one payload may ever go out, whatever is lost, late, or asked for before
    /// it has gone out.
    #[test]
    fn what_goes_out_under_a_number_is_always_the_same() {
        let mut random = 1u64;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % n
        };
        let mut sender = Sender::joining(L2T1, Target::all(0));
        let mut out = std::collections::HashMap::new();
        let (mut late, mut seen): (Vec<PacketMeta>, Vec<PacketMeta>) = (Vec::new(), Vec::new());
        for at in 0..2000u32 {
            let is_key = at % 20 == 0;
            let (lower, upper) = if is_key { (0, 2) } else { (1, 3) };
            if below(40) == 0 {
                sender.forwarder.set_target(up_to(below(2) as u8));
            }
            let mut due =
                vec![sender.meta(lower, 2 * at, false), sender.meta(upper, 2 * at + 1, true)];
            if below(5) == 0 {
                late.push(due.remove(below(2) as usize));
            }
            while !late.is_empty() && below(3) == 0 {
                due.push(late.remove(0));
            }
            for meta in due {
                seen.push(meta);
                for asked in [meta, seen[below(seen.len() as u64) as usize]] {
                    if let Some(placement) = sender.forwarder.place_again(0, &asked) {
                        let first = out.get(&placement.seq);
                        assert_eq!(first, Some(&placement), "it has gone out before");
                    }
                }
                if let Ok(placement) = sender.forwarder.place(0, &meta) {
                    assert_eq!(out.insert(placement.seq, placement), None);
                }
            }
        }
        assert!(out.len() > 2000, "{}", out.len());
        let joined = out.values().filter(|placement| placement.join == SECOND).count();
        assert!(joined > 500, "{joined}");
    }
}

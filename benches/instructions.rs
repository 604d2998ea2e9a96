//! How many instructions does a forwarded packet take, and a recorded one? A fixed piece of work for
//! `benches/instructions`, which counts under Valgrind: 1 publisher, 100 viewers, AES-256-GCM.
//!
//! `fanout` keeps, decides, rewrites and seals; `bare_seal` only seals; `recorded` makes frames of
//! packets and fragments of frames, up to where the system writes them. The argument chooses; under
//! `cargo bench`, which gives none of them, all run once and nothing is counted.

use dataplane::bench::{BareSeal, Fanout};
use recording::{Assembler, Codec, Config, Film, Form, Packet, Sample, Track};

const VIEWERS: usize = 100;
const PAYLOAD_BYTES: usize = 1150;
/// Before the count begins: rings and tables have their size by then.
const WARM_UP: usize = 300;
/// Counted.
const PACKETS: usize = 100;

/// Valgrind counts inside of this function only.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    (0..PACKETS).for_each(|_| work());
}

fn run(work: &mut dyn FnMut()) {
    (0..WARM_UP).for_each(|_| work());
    measured(work);
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    if !["bare_seal", "recorded"].contains(&wanted.as_str()) {
        let mut fanout = Fanout::new(VIEWERS, PAYLOAD_BYTES, true);
        run(&mut || {
            std::hint::black_box(fanout.forward());
        });
    }
    if !["fanout", "recorded"].contains(&wanted.as_str()) {
        let mut bare = BareSeal::new(VIEWERS, PAYLOAD_BYTES, true);
        run(&mut || {
            std::hint::black_box(bare.seal());
        });
    }
    if !["fanout", "bare_seal"].contains(&wanted.as_str()) {
        let mut stream = Stream::new();
        // As many packets as there are copies of others.
        run(&mut || (0..VIEWERS).for_each(|_| stream.packet()));
    }
    // What the script divides by.
    println!("copies {}", VIEWERS * PACKETS);
}

/// A camera of VP8, 30 frames a second of three packets each, on its way into a file.
struct Stream {
    assembler: Assembler,
    film: Film,
    seq: u64,
    payload: Vec<u8>,
}

impl Stream {
    fn new() -> Self {
        let config = Config { codec: Codec::Vp8, size: (640, 480), record: Vec::new() };
        let (film, _) = Film::begin(Form::WebM, vec![Track { config }]);
        let assembler = Assembler::new(Codec::Vp8);
        Self { assembler, film, seq: 0, payload: vec![0; PAYLOAD_BYTES] }
    }

    fn packet(&mut self) {
        let (frame, part) = (self.seq / 3, self.seq % 3);
        // A frame begins with the first packet, and the first of all is a keyframe.
        let head: [u8; 11] = match (part, frame) {
            (0, 0) => [0x10, 0, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0xe0, 1],
            (0, _) => [0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            _ => [0; 11],
        };
        self.payload[..11].copy_from_slice(&head);
        let at_us = self.seq * 11_111;
        self.assembler.push(&Packet {
            seq: self.seq,
            rtp_time: frame as u32 * 3000,
            at_us,
            marker: part == 2,
            payload: &self.payload,
        });
        self.seq += 1;
        while let Some(frame) = self.assembler.poll(at_us) {
            let at_us = u64::from(frame.rtp_time) * 100 / 9;
            let (is_key, data) = (frame.is_key, frame.data);
            let sample = Sample { track: 0, at_us, duration_us: 0, is_key, data };
            std::hint::black_box(self.film.push(sample));
        }
    }
}

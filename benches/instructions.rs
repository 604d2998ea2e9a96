//! How many instructions does a forwarded packet take? A fixed piece of work for
//! `benches/instructions`, which counts under Valgrind: 1 publisher, 100 viewers, AES-256-GCM.
//!
//! `fanout` keeps, decides, rewrites and seals; `bare_seal` only seals. The argument chooses; under
//! `cargo bench`, which gives none of them, both run once and nothing is counted.

use dataplane::bench::{BareSeal, Fanout};

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
    if wanted != "bare_seal" {
        let mut fanout = Fanout::new(VIEWERS, PAYLOAD_BYTES, true);
        run(&mut || {
            std::hint::black_box(fanout.forward());
        });
    }
    if wanted != "fanout" {
        let mut bare = BareSeal::new(VIEWERS, PAYLOAD_BYTES, true);
        run(&mut || {
            std::hint::black_box(bare.seal());
        });
    }
    // What the script divides by.
    println!("copies {}", VIEWERS * PACKETS);
}

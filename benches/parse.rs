//! What does it cost to read a packet of each codec: RTP header, extensions, payload descriptor?
//!
//! Once per incoming packet, whatever the number of viewers. Expected: under 50 ns.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::{Codec, bench};

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    let payloads: [(Codec, &[u8]); 5] = [
        (Codec::Vp8, &[0x90, 0xe0, 0x81, 0x02, 9, 0x40, 0x00]),
        (Codec::Vp9, &[0xac, 0x81, 0x02, 0x12, 9]),
        (Codec::H264, &[0x7c, 0x85, 1]),
        (Codec::Av1, &[0x18, 0]),
        (Codec::Opus, &[0x78]),
    ];
    for (codec, payload) in payloads {
        let packet = bench::packet(payload);
        group.bench_function(codec.name(), |bencher| {
            bencher.iter(|| bench::parse(codec, black_box(&packet)));
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);

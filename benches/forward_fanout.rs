//! What does one forwarded copy cost, beside the bare seal of the same library?
//!
//! `fanout/N` is a packet of 1200 bytes kept, decided upon, rewritten and sealed for N viewers;
//! `bare_seal/N` seals it under as many keys and does nothing else. Divide by N for one copy; the
//! `elem/s` are copies. Expected: the fan-out takes at most 1.5 times the bare seal (docs/performance.md); both run interleaved by Criterion's sampling on the same machine, so that the ratio
//! means something where absolute times do not.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::bench::{BareSeal, Fanout};

/// A full video packet, less headers and tag.
const PAYLOAD_BYTES: usize = 1150;

fn forward_fanout(criterion: &mut Criterion) {
    for (suite, is_256) in [("aes128gcm", false), ("aes256gcm", true)] {
        let mut group = criterion.benchmark_group(format!("forward_fanout_{suite}"));
        for viewers in [1usize, 10, 100, 1000] {
            group.throughput(Throughput::Elements(viewers as u64));
            let mut bare = BareSeal::new(viewers, PAYLOAD_BYTES, is_256);
            group.bench_function(BenchmarkId::new("bare_seal", viewers), |bencher| {
                bencher.iter(|| bare.seal());
            });
            let mut fanout = Fanout::new(viewers, PAYLOAD_BYTES, is_256);
            group.bench_function(BenchmarkId::new("fanout", viewers), |bencher| {
                bencher.iter(|| fanout.forward());
            });
        }
        group.finish();
    }
}

criterion_group!(benches, forward_fanout);
criterion_main!(benches);

//! What does the first look at a datagram cost: its class, and whose it is if it is STUN?
//!
//! Expected: a few nanoseconds for media, some tens for STUN, which names its shard and slot.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::bench;

fn demux(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("demux");
    group.throughput(Throughput::Elements(1));
    let rtp = bench::packet(&[0x90]);
    let mut rtcp = vec![0x80, 200];
    rtcp.resize(28, 0);
    let mut dtls = vec![22, 254, 253];
    dtls.resize(100, 0);
    for (name, datagram) in
        [("rtp", rtp), ("rtcp", rtcp), ("dtls", dtls), ("stun", bench::binding_request())]
    {
        group.bench_function(name, |bencher| bencher.iter(|| bench::demux(black_box(&datagram))));
    }
    group.finish();
}

criterion_group!(benches, demux);
criterion_main!(benches);

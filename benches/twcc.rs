//! What does transport-wide feedback to a publisher cost per packet: arrivals recorded, and the
//! report about 20 and about 200 of them written?
//!
//! Expected: some tens of nanoseconds per packet received.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::bench::Arrivals;

fn twcc(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("twcc");
    for packets in [20u16, 200] {
        group.throughput(Throughput::Elements(u64::from(packets)));
        let mut arrivals = Arrivals::default();
        group.bench_function(BenchmarkId::from_parameter(packets), |bencher| {
            bencher.iter(|| arrivals.feedback(packets));
        });
    }
    group.finish();
}

criterion_group!(benches, twcc);
criterion_main!(benches);

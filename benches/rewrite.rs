//! What does rewriting cost: the canonical header, once per packet, and its patch, once per viewer?
//!
//! Expected: the patch takes a few nanoseconds, a hundredth of what the seal takes after it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::bench::Rewrite;

fn rewrite(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rewrite");
    group.throughput(Throughput::Elements(1));
    let Some(mut rewrite) = Rewrite::new() else {
        return;
    };
    group.bench_function("canonical", |bencher| bencher.iter(|| rewrite.canonical()));
    group.bench_function("patch", |bencher| bencher.iter(|| rewrite.patch()));
    group.finish();
}

criterion_group!(benches, rewrite);
criterion_main!(benches);

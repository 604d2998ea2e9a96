//! What does a packet's way from one shard to another cost, one at a time and 32 at a time?
//!
//! `one_thread` pushes, publishes and drains on one core: the work itself. `two_threads` has a
//! producer and a consumer that run freely: what the two cores' caches add. Expected: some tens of
//! nanoseconds for the copy of 1,200 octets, and less per packet the more travel together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::bench::{LANE_BYTES, lane};

const HEAD: [u8; 64] = [1; 64];
const PACKET: [u8; 1178] = [2; 1178];

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lane_hop_one_thread");
    for batch in [1usize, 32] {
        group.throughput(Throughput::Elements(batch as u64));
        let (mut producer, mut consumer) = lane(LANE_BYTES);
        group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
            bencher.iter(|| {
                for _ in 0..batch {
                    assert!(producer.push(&[&HEAD, &PACKET]));
                }
                producer.flush();
                consumer.drain(batch, |record| {
                    std::hint::black_box(record);
                })
            });
        });
    }
    group.finish();
}

fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lane_hop_two_threads");
    for batch in [1u64, 32] {
        group.throughput(Throughput::Elements(batch));
        group.bench_function(BenchmarkId::from_parameter(batch), |bencher| {
            bencher.iter_custom(|iterations| {
                let (mut producer, mut consumer) = lane(LANE_BYTES);
                let is_done = Arc::new(AtomicBool::new(false));
                let watched = Arc::clone(&is_done);
                let reader = std::thread::spawn(move || {
                    let mut seen = 0;
                    loop {
                        let is_last = watched.load(Ordering::Acquire);
                        let taken = consumer.drain(64, |record| {
                            std::hint::black_box(record);
                        });
                        seen += taken as u64;
                        if taken == 0 {
                            if is_last {
                                return seen;
                            }
                            std::thread::yield_now();
                        }
                    }
                });
                let start = Instant::now();
                for _ in 0..iterations {
                    for _ in 0..batch {
                        while !producer.push(&[&HEAD, &PACKET]) {
                            producer.flush();
                            std::thread::yield_now();
                        }
                    }
                    producer.flush();
                }
                is_done.store(true, Ordering::Release);
                let seen = reader.join().unwrap_or(0);
                let passed = start.elapsed();
                assert_eq!(seen, iterations * batch, "every packet crossed");
                passed
            });
        });
    }
    group.finish();
}

criterion_group!(benches, one_thread, two_threads);
criterion_main!(benches);

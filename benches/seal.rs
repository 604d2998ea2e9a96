//! What does our seal cost beside the bare AES-GCM of the library that it uses?
//!
//! Audio (100 octets) and video (1,150), AES-128-GCM and AES-256-GCM. Expected: the difference is
//! a few nanoseconds for nonce and bounds. `benches/providers` compares libraries.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::bench::Seal;

const HEADER_BYTES: usize = 28;

fn seal(criterion: &mut Criterion) {
    for (suite, algorithm) in [("aes128gcm", &AES_128_GCM), ("aes256gcm", &AES_256_GCM)] {
        let mut group = criterion.benchmark_group(format!("seal_{suite}"));
        for payload_bytes in [100usize, 1150] {
            group.throughput(Throughput::Bytes(payload_bytes as u64));
            let mut ours = Seal::new(payload_bytes, suite == "aes256gcm");
            group.bench_function(BenchmarkId::new("ours", payload_bytes), |bencher| {
                bencher.iter(|| ours.seal());
            });
            let key = vec![7; algorithm.key_len()];
            let Ok(key) = UnboundKey::new(algorithm, &key).map(LessSafeKey::new) else {
                continue;
            };
            let (header, payload) = ([0x80; HEADER_BYTES], vec![9; payload_bytes]);
            let (mut out, mut tag) = (vec![0; payload_bytes], [0; 16]);
            let mut count = 0u64;
            group.bench_function(BenchmarkId::new("bare", payload_bytes), |bencher| {
                bencher.iter(|| {
                    count += 1;
                    let mut nonce = [0; 12];
                    nonce[..8].copy_from_slice(&count.to_le_bytes());
                    let nonce = Nonce::assume_unique_for_key(nonce);
                    let aad = Aad::from(&header);
                    key.seal_out_of_place_scatter(nonce, aad, &payload, &mut out, &[], &mut tag)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, seal);
criterion_main!(benches);

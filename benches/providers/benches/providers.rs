//! Which library seals fastest on this processor: aws-lc-rs, ring, or RustCrypto's aes-gcm?
//!
//!     cargo bench --manifest-path benches/providers/Cargo.toml
//!
//! In place, 28 octets of header authenticated, 100 and 1,150 octets encrypted. aes-gcm is built
//! as it comes; it finds AES-NI by itself at run time.

use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const HEADER: [u8; 28] = [0x80; 28];
const SIZES: [usize; 2] = [100, 1150];

fn nonce(count: &mut u64) -> [u8; 12] {
    *count += 1;
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&count.to_le_bytes());
    nonce
}

fn providers(criterion: &mut Criterion) {
    for (suite, is_256) in [("aes128gcm", false), ("aes256gcm", true)] {
        let mut group = criterion.benchmark_group(suite);
        let key = vec![7; if is_256 { 32 } else { 16 }];
        for size in SIZES {
            group.throughput(Throughput::Bytes(size as u64));
            let mut count = 0;
            let mut data = vec![9; size];

            use aws_lc_rs::aead as aws;
            let algorithm = if is_256 { &aws::AES_256_GCM } else { &aws::AES_128_GCM };
            let sealer = aws::LessSafeKey::new(
                aws::UnboundKey::new(algorithm, &key).expect("a key of the right length"),
            );
            group.bench_function(BenchmarkId::new("aws-lc-rs", size), |bencher| {
                bencher.iter(|| {
                    let nonce = aws::Nonce::assume_unique_for_key(nonce(&mut count));
                    sealer.seal_in_place_separate_tag(nonce, aws::Aad::from(&HEADER), &mut data)
                });
            });

            use ring::aead as ring_aead;
            let algorithm = if is_256 { &ring_aead::AES_256_GCM } else { &ring_aead::AES_128_GCM };
            let sealer = ring_aead::LessSafeKey::new(
                ring_aead::UnboundKey::new(algorithm, &key).expect("a key of the right length"),
            );
            group.bench_function(BenchmarkId::new("ring", size), |bencher| {
                bencher.iter(|| {
                    let nonce = ring_aead::Nonce::assume_unique_for_key(nonce(&mut count));
                    let aad = ring_aead::Aad::from(&HEADER);
                    sealer.seal_in_place_separate_tag(nonce, aad, &mut data)
                });
            });

            let id = BenchmarkId::new("aes-gcm", size);
            if is_256 {
                let sealer = Aes256Gcm::new_from_slice(&key).expect("a key of the right length");
                group.bench_function(id, |bencher| {
                    bencher.iter(|| {
                        let nonce = nonce(&mut count).into();
                        sealer.encrypt_in_place_detached(&nonce, &HEADER, &mut data)
                    });
                });
            } else {
                let sealer = Aes128Gcm::new_from_slice(&key).expect("a key of the right length");
                group.bench_function(id, |bencher| {
                    bencher.iter(|| {
                        let nonce = nonce(&mut count).into();
                        sealer.encrypt_in_place_detached(&nonce, &HEADER, &mut data)
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, providers);
criterion_main!(benches);

//! Fuzzes the first bytes of a TCP connection and the framing of what follows (RFC 4571).
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    dataplane::fuzz::framing(data);
});

//! Fuzzes the RTP header, its extensions and the payload descriptors: what any publisher can send.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    dataplane::fuzz::rtp(data);
});

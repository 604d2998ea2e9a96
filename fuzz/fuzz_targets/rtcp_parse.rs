//! Fuzzes the RTCP parser: what any member can send.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    dataplane::fuzz::rtcp(data);
});

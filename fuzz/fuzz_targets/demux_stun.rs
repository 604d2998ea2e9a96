//! Fuzzes the first-byte demultiplexer and the STUN gate: what any host on the Internet can send.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    dataplane::fuzz::demux_stun(data);
});

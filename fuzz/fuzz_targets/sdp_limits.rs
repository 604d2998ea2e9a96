//! Fuzzes the limits that stand before the SDP parser.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    dataplane::fuzz::sdp_limits(data);
});

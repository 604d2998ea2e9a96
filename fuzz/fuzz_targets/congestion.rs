//! Fuzzes congestion control: whatever a client tells of its path, and clocks that jump.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    dataplane::fuzz::congestion(data);
});

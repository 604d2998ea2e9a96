//! Fuzzes the division of what a path takes among any pictures.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    dataplane::fuzz::allocation(data);
});

//! Fuzzes dependency descriptors of one stream and what they lead to.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    dataplane::fuzz::dependencies(data);
});

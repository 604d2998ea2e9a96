//! Fuzzes the readers of JSON: messages from clients, and group files.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = signalling::parse_description("fuzz.json", data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = signalling::wire::Incoming::parse(text);
    }
});

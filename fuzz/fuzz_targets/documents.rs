//! Fuzzes group files as the administration API edits them: the first line is a file, each of the
//! others a change, whose first byte says of what. No change may leave a file that cannot be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use signalling::{Document, Who, parse_description};

const CHANGES_MAX: usize = 16;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let file = lines.next().unwrap_or_default();
    let Ok(mut document) = Document::parse("fuzz.json", file) else {
        return;
    };
    check(&document);
    for line in lines.take(CHANGES_MAX) {
        let Some((what, body)) = line.split_first() else { continue };
        let Ok(body) = serde_json::from_slice::<Value>(body) else { continue };
        let who = match what / 8 % 3 {
            0 => Who::Named("ann".to_owned()),
            1 => Who::Named(String::new()),
            _ => Who::Wildcard,
        };
        let before = document.clone();
        let password = document.user(&who).is_some();
        let changed = match what % 6 {
            0 => document.set_settings(body),
            1 => document.set_user(&who, body),
            2 => document.set_password(&who, Some(body)),
            3 => document.set_password(&who, None),
            4 => document.set_keys(body.as_array().cloned().unwrap_or_default()),
            _ => {
                assert_eq!(document.remove_user(&who), password);
                Ok(())
            }
        };
        if changed.is_err() {
            assert_eq!(document, before, "a refused change changes nothing");
        }
        check(&document);
    }
});

/// It prints as a group file, and is the same when it is read again.
fn check(document: &Document) {
    let text = document.to_text();
    parse_description("again.json", text.as_bytes()).expect("it is a group file");
    let again = Document::parse("again.json", text.as_bytes()).expect("so it can be edited");
    assert_eq!(again, *document);
    assert_eq!(again.settings(), document.settings());
    for name in again.user_names() {
        assert!(again.user(&Who::Named(name)).is_some());
    }
}

//! Names of files: when it began, and whose it is, as Galene has them.

use std::time::{SystemTime, UNIX_EPOCH};

/// A file name has at most 255 octets; this leaves room for a number and an extension.
const NAME_BYTES_MAX: usize = 200;

/// What names end with.
const EXTENSIONS: [&str; 4] = [".mp4", ".webm", ".mkv", ".timeline.jsonl"];

/// `2026-11-29T10:15:00.123`, local time.
pub(super) fn stamp(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() as libc::time_t;
    // SAFETY: an all-zero `tm` is a valid one (its zone name may be null).
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right type.
    let is_known = unsafe { !libc::localtime_r(&raw const seconds, &raw mut parts).is_null() };
    if !is_known {
        return format!("{}.{:03}", since.as_secs(), since.subsec_millis());
    }
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}",
        i64::from(parts.tm_year) + 1900,
        parts.tm_mon + 1,
        parts.tm_mday,
        parts.tm_hour,
        parts.tm_min,
        parts.tm_sec,
        since.subsec_millis()
    )
}

/// The name without its extension.
pub(super) fn stem(at: SystemTime, username: &str) -> String {
    let mut stem = stamp(at);
    if !username.is_empty() {
        stem.push('-');
        stem.push_str(&tame(username));
    }
    let end = (0..=stem.len().min(NAME_BYTES_MAX)).rev().find(|end| stem.is_char_boundary(*end));
    stem.truncate(end.unwrap_or_default());
    stem
}

/// The `number`th attempt at a name: the first is the stem itself.
pub(super) fn attempt(stem: &str, number: u32, extension: &str) -> String {
    match number {
        0 => format!("{stem}.{extension}"),
        number => format!("{stem}-{number:02}.{extension}"),
    }
}

/// Whether a file has a name as ours have them.
pub(super) fn is_ours(name: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000";
    let begins = name.len() > FORM.len()
        && name.bytes().zip(FORM).all(|(found, form)| match form {
            b'0' => found.is_ascii_digit(),
            form => found == *form,
        });
    begins && EXTENSIONS.iter().any(|extension| name.ends_with(extension))
}

/// A name without what would lead elsewhere, or turn a listing around.
fn tame(name: &str) -> String {
    let mut tame = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '/' => tame.push_str("-slash-"),
            '\\' => tame.push_str("-backslash-"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            letter if letter.is_control() => tame.push('_'),
            letter => tame.push(letter),
        }
    }
    tame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere() {
        let at = UNIX_EPOCH;
        for name in ["../../etc/passwd", "a\0b", "\u{202e}gpj.exe", "a\\b\nc", &"ä".repeat(9999)] {
            let name = attempt(&stem(at, name), 3, "webm");
            assert!(!name.contains(['/', '\\', '\0', '\n', '\u{202e}']), "{name:?}");
            assert!(name.len() <= 255 && !name.starts_with('.'), "{name:?}");
        }
        assert!(stem(at, "a/b").ends_with("-a-slash-b"));
        assert!(attempt(&stem(at, ""), 0, "mp4").ends_with(".000.mp4"));
        assert!(is_ours(&attempt(&stem(at, "a"), 7, "webm")));
        for name in ["notes.mp4", "2026-11-29T10:15:00.123-ann.txt", "2026-11-29.mp4", ""] {
            assert!(!is_ours(name), "{name}");
        }
    }
}

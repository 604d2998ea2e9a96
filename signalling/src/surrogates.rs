//! Halves of characters in JSON text: whoever cuts text in JavaScript may cut an emoji in two, and
//! writes what is left as an escape that no UTF-8 can hold.

use std::borrow::Cow;

/// The same text with `\ufffd` in the place of every escaped surrogate that stands alone, as Go's
/// reader and browsers take it (RFC 8259 s8.2 leaves open what becomes of one). Lines and columns
/// stay as they are.
pub fn without_lone_surrogates(text: &[u8]) -> Cow<'_, [u8]> {
    let mut mended = Cow::Borrowed(text);
    let mut at = 0;
    while let Some(found) =
        text.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\'))
    {
        let escape = at.saturating_add(found);
        let next = escape.saturating_add(6);
        at = match escaped_unit(text, escape) {
            Some(0xd800..=0xdbff) if matches!(escaped_unit(text, next), Some(0xdc00..=0xdfff)) => {
                next.saturating_add(6)
            }
            Some(0xd800..=0xdfff) => {
                if let Some(digits) = mended.to_mut().get_mut(escape.saturating_add(2)..next) {
                    digits.copy_from_slice(b"fffd");
                }
                next
            }
            Some(_) => next,
            // Of another escape the second character may be a backslash, too.
            None => escape.saturating_add(2),
        };
    }
    mended
}

/// The UTF-16 code unit of an escape `\uXXXX` that begins there.
fn escaped_unit(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..)?.strip_prefix(br"\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_and_nothing_else_are_replaced() {
        for (text, mended) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uDE00x\uD83D""#, r#""\ufffdx\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\u0041\\\ud83d""#, r#""\ufffd\u0041\\\ufffd""#),
            (r#""\ud83d\n""#, r#""\ufffd\n""#),
        ] {
            let found = without_lone_surrogates(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), mended);
            assert!(serde_json::from_slice::<String>(&found).is_ok(), "{text}");
        }
        for text in [
            r#""\ud83d\ude00 \\ud83d \\\\udc00 \u00e4 \n""#,
            "{}",
            r"\",
            r"\u",
            r"\ud8",
            r#""\udg00"#,
        ] {
            let found = without_lone_surrogates(text.as_bytes());
            assert!(matches!(found, Cow::Borrowed(_)), "{text}");
            assert_eq!(found, text.as_bytes());
        }
    }
}

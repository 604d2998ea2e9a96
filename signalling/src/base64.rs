//! Base64 of RFC 4648, in both alphabets.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC 4648 s4, with padding.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = encode_with(STANDARD, bytes);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// RFC 4648 s5, without padding.
pub fn encode_url(bytes: &[u8]) -> String {
    encode_with(URL, bytes)
}

/// RFC 4648 s4; padding may be missing. Nothing on any other character.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    decode_with(STANDARD, text.trim_end_matches('=')).map(|(bytes, _)| bytes)
}

/// RFC 4648 s5 without padding, strictly: two different texts are never the same bytes.
pub fn decode_url(text: &str) -> Option<Vec<u8>> {
    decode_with(URL, text).filter(|(_, is_strict)| *is_strict).map(|(bytes, _)| bytes)
}

/// The same for what people and their tools write: unused bits may be set, and lines may be broken.
pub fn decode_url_written(text: &str) -> Option<Vec<u8>> {
    let text = text.replace(['\r', '\n'], "");
    decode_with(URL, &text).map(|(bytes, _)| bytes)
}

fn encode_with(alphabet: &[u8; 64], bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for position in 0..=chunk.len() {
            let index = (group >> (18 - 6 * position)) & 63;
            text.extend(alphabet.get(index as usize).map(|symbol| char::from(*symbol)));
        }
    }
    text
}

/// The bytes, and whether the unused bits of the last character are zero.
fn decode_with(alphabet: &[u8; 64], text: &str) -> Option<(Vec<u8>, bool)> {
    let [.., plus, slash] = alphabet;
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0u32, 0u32);
    for character in text.bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            character if character == *plus => 62,
            character if character == *slash => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    (count < 6).then_some((bytes, bits & ((1 << count) - 1) == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_match_rfc_4648() {
        for (bytes, text, url) in [
            (&b""[..], "", ""),
            (b"f", "Zg==", "Zg"),
            (b"fo", "Zm8=", "Zm8"),
            (b"foo", "Zm9v", "Zm9v"),
            (b"foob", "Zm9vYg==", "Zm9vYg"),
            (&[0xfb, 0xff], "+/8=", "-_8"),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(encode_url(bytes), url);
            assert_eq!(decode(text).as_deref(), Some(bytes));
            assert_eq!(decode(text.trim_end_matches('=')).as_deref(), Some(bytes));
            assert_eq!(decode_url(url).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in ["!", "Z", "Zm9vY", "Zg==x", "Zm 9v", "Zü"] {
            assert_eq!(decode(text), None, "{text}");
            assert_eq!(decode_url(text), None, "{text}");
        }
        assert_eq!(decode_url("Zg=="), None);
        assert_eq!(decode_url("Zh"), None, "the unused bits are not zero");
    }
}

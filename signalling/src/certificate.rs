//! When a certificate ends: as much of DER (X.690) and X.509 (RFC 5280 s4.1) as that takes.

use crate::time::UnixMs;

/// One value: its tag, its contents, and what follows it.
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((*tag, contents, rest))
}

/// The `notAfter` of a certificate in DER; nothing if it cannot be read.
pub fn not_after(certificate: &[u8]) -> Option<UnixMs> {
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = value(certificate)?;
    let (_, signed, _) = value(certificate)?;
    let (tag, _, after_version) = value(signed)?;
    let mut rest = if tag == VERSION { after_version } else { signed };
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        (_, _, rest) = value(rest)?;
    }
    let (_, validity, _) = value(rest)?;
    let (_, _, rest) = value(validity)?;
    let (tag, text, _) = value(rest)?;
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        // UTCTime: years from 50 on are of the last century (RFC 5280 s4.1.2.5.1).
        0x17 if text >= "50" => format!("19{text}"),
        0x17 => format!("20{text}"),
        0x18 => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| text.get(from..to);
    UnixMs::parse(&format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outer shape of a certificate with this validity.
    fn certificate(tag: u8, not_after: &str) -> Vec<u8> {
        let wrap = |tag: u8, contents: &[u8]| {
            let mut der = vec![tag, contents.len() as u8];
            der.extend(contents);
            der
        };
        let date = |tag: u8, text: &str| wrap(tag, text.as_bytes());
        let validity = [date(0x17, "200101000000Z"), date(tag, not_after)].concat();
        let signed = [
            wrap(0xa0, &wrap(2, &[2])),
            wrap(2, &[1]),
            wrap(0x30, &[]),
            wrap(0x30, &[]),
            wrap(0x30, &validity),
        ];
        wrap(0x30, &wrap(0x30, &signed.concat()))
    }

    #[test]
    fn both_forms_of_dates() {
        for (tag, text, date) in [
            (0x17, "260131235959Z", "2026-01-31T23:59:59Z"),
            (0x17, "991231235959Z", "1999-12-31T23:59:59Z"),
            (0x18, "20991231235959Z", "2099-12-31T23:59:59Z"),
        ] {
            let found = not_after(&certificate(tag, text));
            assert_eq!(found.map(UnixMs::to_rfc3339).as_deref(), Some(date));
        }
        let whole = certificate(0x17, "260131235959Z");
        for length in 0..whole.len() {
            assert_eq!(not_after(whole.get(..length).unwrap()), None, "{length}");
        }
        assert_eq!(not_after(&certificate(0x17, "26")), None);
    }
}

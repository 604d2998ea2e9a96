//! The OBU elements of an AV1 payload (RTP Payload Format For AV1 v1.0.0, s4.3 to 4.5), as far as
//! joining packets takes it.

use crate::forward::Join;

/// Aggregation header: the first element goes on from the packet before.
const Z: u8 = 0x80;
/// The last element goes on in the next packet.
const Y: u8 = 0x40;
/// How many elements there are, if they are one to three: then the last one has no length.
const W: u8 = 0x30;
/// AV1 s5.3.2: the header of a padding OBU (type 15), without extension and size.
const PADDING_HEADER: u8 = 15 << 3;
/// AV1 s5.7: its payload ends with a one and zeros up to the octet's end.
const PADDING_PAYLOAD: u8 = 0x80;

/// Writes `payload` into `out`, joined to its neighbours by halves of padding OBUs, and returns how many
/// octets that are: at most six more. `None`, and anything in `out`, if there is no room, if it is no
/// AV1 payload, or if its own OBUs go on there.
pub(crate) fn write_joined(out: &mut [u8], payload: &[u8], join: Join) -> Option<usize> {
    let header = *payload.first()?;
    if (join.to_previous && header & Z != 0) || (join.to_next && header & Y != 0) {
        return None;
    }
    let last_at = last_without_length(payload)?;
    let mut writer = Writer { out, at: 0 };
    // Every element with its length: then it does not matter how many there are.
    let z = if join.to_previous { Z } else { 0 };
    let y = if join.to_next { Y } else { 0 };
    writer.put(&[header & !W | z | y])?;
    if join.to_previous {
        writer.put(&[1, PADDING_PAYLOAD])?;
    }
    writer.put(payload.get(1..last_at)?)?;
    let last = payload.get(last_at..)?;
    if !last.is_empty() {
        writer.put_length(last.len())?;
        writer.put(last)?;
    }
    if join.to_next {
        writer.put(&[1, PADDING_HEADER])?;
    }
    Some(writer.at)
}

/// Where the element without a length begins; the payload's end if all have one.
fn last_without_length(payload: &[u8]) -> Option<usize> {
    let count = (*payload.first()? & W) >> 4;
    if count == 0 {
        return Some(payload.len());
    }
    (1..count).try_fold(1, |at, _| {
        let (length, octets) = read_length(payload.get(at..)?)?;
        (at + octets).checked_add(length).filter(|next| *next <= payload.len())
    })
}

/// AV1 s4.10.5 `leb128`; no element of a packet is longer than two octets can say.
fn read_length(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes {
        [low, ..] if low & 0x80 == 0 => Some((usize::from(low), 1)),
        [low, high, ..] if high & 0x80 == 0 => {
            Some((usize::from(low & 0x7f) | usize::from(high) << 7, 2))
        }
        _ => None,
    }
}

struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.out.get_mut(self.at..self.at + bytes.len())?.copy_from_slice(bytes);
        self.at += bytes.len();
        Some(())
    }

    fn put_length(&mut self, length: usize) -> Option<()> {
        match length {
            0..0x80 => self.put(&[length as u8]),
            _ => self.put(&[length as u8 | 0x80, u8::try_from(length >> 7).ok()?]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Join = Join { to_previous: true, to_next: true };
    const NEXT: Join = Join { to_previous: false, to_next: true };
    const PREVIOUS: Join = Join { to_previous: true, to_next: false };

    fn joined(payload: &[u8], join: Join) -> Option<Vec<u8>> {
        let mut out = [0; 1500];
        let len = write_joined(&mut out, payload, join)?;
        Some(out[..len].to_vec())
    }

    #[test]
    fn a_packet_is_joined_to_its_neighbours_whatever_number_of_elements_it_has() {
        let two = [0x20, 2, 0x0a, 1, 0x30, 7, 8];
        assert_eq!(
            joined(&two, BOTH).as_deref(),
            Some(&[0xc0, 1, 0x80, 2, 0x0a, 1, 3, 0x30, 7, 8, 1, 0x78][..])
        );
        let any = [0x00, 2, 0x0a, 1, 3, 0x30, 7, 8];
        assert_eq!(joined(&any, BOTH), joined(&two, BOTH));
        let three = [0x38, 1, 5, 1, 6, 7];
        let expected = [0x48, 1, 5, 1, 6, 1, 7, 1, 0x78];
        assert_eq!(joined(&three, NEXT).as_deref(), Some(&expected[..]), "N stays");
        let fragment = [0x50, 9];
        assert_eq!(joined(&fragment, PREVIOUS).as_deref(), Some(&[0xc0, 1, 0x80, 1, 9][..]));
    }

    /// The elements of a payload, read by the letter of s4.4 with lengths of any size.
    fn elements(payload: &[u8]) -> Option<Vec<Vec<u8>>> {
        let (header, mut rest) = payload.split_first()?;
        let count = usize::from(header >> 4 & 3);
        let mut elements = Vec::new();
        while !rest.is_empty() {
            let mut len = rest.len();
            if count == 0 || elements.len() + 1 < count {
                let octets = rest.iter().position(|octet| octet & 0x80 == 0)? + 1;
                let digits = rest[..octets].iter().rev();
                len = digits.fold(0, |all, digit| all << 7 | usize::from(digit & 0x7f));
                rest = &rest[octets..];
            }
            elements.push(rest.get(..len)?.to_vec());
            rest = &rest[len..];
        }
        (count == 0 || elements.len() == count).then_some(elements)
    }

    #[test]
    fn what_the_packet_brought_is_between_the_halves_of_padding() {
        let mut random = 7u64;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % n
        };
        let mut joined_so_far = 0;
        for _ in 0..20_000 {
            let mut payload: Vec<u8> = (0..1 + below(300)).map(|_| below(256) as u8).collect();
            // Lengths are small, mostly.
            for at in (1..payload.len()).step_by(3) {
                payload[at] %= 16;
            }
            let join = Join { to_previous: below(2) == 0, to_next: below(2) == 0 };
            let Some(before) = elements(&payload) else { continue };
            let Some(after) = joined(&payload, join) else { continue };
            let first = join.to_previous.then(|| vec![PADDING_PAYLOAD]);
            let last = join.to_next.then(|| vec![PADDING_HEADER]);
            let expected: Vec<Vec<u8>> = first.into_iter().chain(before).chain(last).collect();
            assert_eq!(elements(&after), Some(expected), "{payload:02x?} {join:?}");
            joined_so_far += 1;
        }
        assert!(joined_so_far > 500, "{joined_so_far}");
    }

    #[test]
    fn a_long_element_gets_a_long_length() {
        let payload: Vec<u8> = [0x10, 0x30].into_iter().chain([1; 999]).collect();
        let joined = joined(&payload, PREVIOUS).expect("fits");
        assert_eq!(joined[..6], [0x80, 1, 0x80, 0xe8, 0x07, 0x30], "1000 is 0x68 + 7 * 128");
        assert_eq!(joined.len(), payload.len() + 4);
    }

    #[test]
    fn what_goes_on_by_itself_or_is_no_av1_is_left_as_it_is() {
        assert_eq!(joined(&[0x90, 1], PREVIOUS), None, "Z");
        assert_eq!(joined(&[0x50, 1], NEXT), None, "Y");
        for odd in [&[][..], &[0x20], &[0x20, 9, 1], &[0x20, 0x80], &[0x30, 1, 1, 0xff, 0xff, 1]] {
            assert_eq!(joined(odd, BOTH), None, "{odd:?}");
        }
        assert_eq!(write_joined(&mut [0; 4], &[0x10, 1, 2], BOTH), None, "no room");
    }
}

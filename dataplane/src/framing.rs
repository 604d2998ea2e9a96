//! Datagrams over TCP (RFC 4571, as ICE-TCP has them: RFC 6544 s10): each has its length before it.
//! Sans-IO: bytes come in as they come, and leave as the connection takes them.

use std::collections::VecDeque;

use crate::checks::BindingRequest;
use crate::demux::{Class, classify};
use crate::id::ShardId;

/// A longer frame than this is nobody's whom we know: media, DTLS and STUN fit into an MTU.
pub const FRAME_BYTES_MAX: usize = 2048;
/// What may wait for a connection: a second of a good picture. Pictures stop long before that; who does
/// not even read what is left is closed.
const BACKLOG_BYTES_MAX: usize = 256 * 1024;
/// When the oldest that waits is older, pictures wait no longer behind it: the newest are dropped.
const LATE_US: u64 = 150_000;
const HEAD_BYTES: usize = 2;

/// A frame that is longer than [`FRAME_BYTES_MAX`]: the connection makes no sense any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameTooLong;

/// Takes a byte stream apart.
#[derive(Debug, Default)]
pub(crate) struct Deframer {
    /// The beginning of a frame.
    partial: Vec<u8>,
}

impl Deframer {
    /// Calls `each` with every frame that is whole, in order; an empty one is a frame, too.
    ///
    /// # Errors
    /// [`FrameTooLong`]; those before it have been taken.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(&mut [u8]),
    ) -> Result<(), FrameTooLong> {
        while !bytes.is_empty() {
            let wanted = match self.partial.first_chunk() {
                Some(head) => HEAD_BYTES + usize::from(u16::from_be_bytes(*head)),
                None => HEAD_BYTES,
            };
            let (taken, rest) = bytes.split_at(bytes.len().min(wanted - self.partial.len()));
            self.partial.extend_from_slice(taken);
            bytes = rest;
            // The head alone, just now.
            if let ([high, low], HEAD_BYTES) = (self.partial.as_slice(), wanted) {
                let len = usize::from(u16::from_be_bytes([*high, *low]));
                if len > FRAME_BYTES_MAX {
                    return Err(FrameTooLong);
                }
                if len > 0 {
                    continue;
                }
            }
            if self.partial.len() == wanted {
                each(&mut self.partial[HEAD_BYTES..]);
                self.partial.clear();
            }
        }
        Ok(())
    }
}

/// What the first bytes of a connection say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstFrame {
    /// The first frame is not there yet.
    Incomplete,
    /// It is no check of a peer of ours.
    Foreign,
    /// It names this shard; whether it is authentic that one knows.
    For(ShardId),
}

/// Looks at the first frame of a connection.
pub fn first_frame(bytes: &[u8]) -> FirstFrame {
    let Some((head, rest)) = bytes.split_first_chunk() else {
        return FirstFrame::Incomplete;
    };
    let len = usize::from(u16::from_be_bytes(*head));
    // RFC 8489 s5: a STUN message has 20 octets at least and begins with two zero bits.
    if !(20..=FRAME_BYTES_MAX).contains(&len) || rest.first().is_some_and(|first| *first > 3) {
        return FirstFrame::Foreign;
    }
    let Some(frame) = rest.get(..len) else {
        return FirstFrame::Incomplete;
    };
    if classify(frame) != Class::Stun {
        return FirstFrame::Foreign;
    }
    let request = BindingRequest::parse(frame);
    let named = request.and_then(|request| crate::ufrag::decode(request.local_ufrag));
    named.map_or(FirstFrame::Foreign, |(shard, _)| FirstFrame::For(shard))
}

/// What waits for a connection to take it: frames, the first of which may have left in part.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: VecDeque<u8>,
    /// Where each frame ends, in octets since the beginning, and when it came.
    frames: VecDeque<(u64, u64)>,
    /// Octets that have left.
    left: u64,
}

impl Backlog {
    /// Adds a frame; says whether there was room.
    pub(crate) fn push(&mut self, datagram: &[u8], now_us: u64) -> bool {
        let Ok(len) = u16::try_from(datagram.len()) else {
            return false;
        };
        if self.bytes.len() + HEAD_BYTES + datagram.len() > BACKLOG_BYTES_MAX {
            return false;
        }
        self.bytes.extend(len.to_be_bytes());
        self.bytes.extend(datagram);
        self.frames.push_back((self.left + self.bytes.len() as u64, now_us));
        true
    }

    /// What comes next, in two parts.
    pub(crate) fn next(&self) -> (&[u8], &[u8]) {
        self.bytes.as_slices()
    }

    /// So many octets have left.
    pub(crate) fn advance(&mut self, octets: usize) {
        let octets = octets.min(self.bytes.len());
        self.bytes.drain(..octets);
        self.left += octets as u64;
        while self.frames.front().is_some_and(|(end, _)| *end <= self.left) {
            self.frames.pop_front();
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the oldest has waited so long that pictures had better not come.
    pub(crate) fn is_late(&self, now_us: u64) -> bool {
        self.frames.front().is_some_and(|(_, at_us)| now_us.saturating_sub(*at_us) > LATE_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests::request;

    fn framed(datagram: &[u8]) -> Vec<u8> {
        let mut bytes = (datagram.len() as u16).to_be_bytes().to_vec();
        bytes.extend(datagram);
        bytes
    }

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let datagrams: Vec<Vec<u8>> =
            [0, 1, 20, 1200, 0, FRAME_BYTES_MAX, 3].map(|len| vec![len as u8; len]).to_vec();
        let stream: Vec<u8> = datagrams.iter().flat_map(|datagram| framed(datagram)).collect();
        for step in [1, 2, 3, 7, 1000, stream.len()] {
            let (mut deframer, mut got) = (Deframer::default(), Vec::new());
            for part in stream.chunks(step) {
                deframer.take(part, |frame| got.push(frame.to_vec())).expect("short frames");
            }
            assert_eq!(got, datagrams, "in steps of {step}");
        }
    }

    #[test]
    fn a_long_frame_is_refused_by_its_head_alone() {
        let mut got = 0;
        for len in [FRAME_BYTES_MAX as u16 + 1, u16::MAX] {
            let mut deframer = Deframer::default();
            let bytes = [framed(&[1; 9]), len.to_be_bytes().to_vec()].concat();
            assert_eq!(deframer.take(&bytes, |_| got += 1), Err(FrameTooLong));
            assert!(deframer.partial.capacity() <= 64, "nothing is kept for it");
        }
        assert_eq!(got, 2, "those before it count");
    }

    #[test]
    fn the_first_frame_names_a_shard_or_the_connection_is_not_ours() {
        let ufrag = crate::ufrag::encode(ShardId(3), 5, 9);
        let ours = framed(&request(&format!("{ufrag}:x"), "any", false));
        for cut in 0..ours.len() {
            assert_eq!(first_frame(&ours[..cut]), FirstFrame::Incomplete, "{cut}");
        }
        assert_eq!(first_frame(&ours), FirstFrame::For(ShardId(3)));
        let more = [ours, vec![0, 9, 1]].concat();
        assert_eq!(first_frame(&more), FirstFrame::For(ShardId(3)));
        let foreign = [
            framed(&request("other:x", "any", false)),
            framed(&[]),
            framed(&[0; 19]),
            framed(&[22; 40]),
            vec![0xff, 0xff],
            vec![8, 1],
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        ];
        for bytes in foreign {
            assert_eq!(first_frame(&bytes), FirstFrame::Foreign, "{bytes:?}");
        }
    }

    #[test]
    fn a_backlog_leaves_in_order_and_never_by_half() {
        let mut backlog = Backlog::default();
        let (mut sent, mut pushed) = (Vec::new(), Vec::new());
        for round in 0..300usize {
            let datagram = vec![round as u8; round * 7 % 1200];
            assert!(backlog.push(&datagram, round as u64));
            pushed.push(datagram);
            // The connection takes what it likes.
            let (first, second) = backlog.next();
            let next: Vec<u8> = first.iter().chain(second).copied().take(round * 5).collect();
            backlog.advance(next.len());
            sent.extend(next);
        }
        let (first, second) = backlog.next();
        sent.extend(first.iter().chain(second));
        backlog.advance(usize::MAX);
        assert!(backlog.is_empty() && backlog.frames.is_empty());
        let mut got = Vec::new();
        Deframer::default().take(&sent, |frame| got.push(frame.to_vec())).expect("frames");
        assert_eq!(got, pushed);
    }

    #[test]
    fn what_has_waited_long_makes_pictures_late_until_it_has_left() {
        let mut backlog = Backlog::default();
        assert!(!backlog.is_late(1_000_000));
        assert!(backlog.push(&[1; 100], 1_000_000) && backlog.push(&[2; 100], 1_100_000));
        assert!(!backlog.is_late(1_150_000));
        assert!(backlog.is_late(1_150_001));
        backlog.advance(101);
        assert!(backlog.is_late(1_150_001), "a part of the first still waits");
        backlog.advance(1);
        assert!(!backlog.is_late(1_150_001));
        while backlog.push(&[0; 1200], 0) {}
        assert!(backlog.bytes.len() <= BACKLOG_BYTES_MAX);
    }
}

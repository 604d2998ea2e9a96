//! A lane: the lock-free queue that carries records from one shard to another. One producer, one
//! consumer, a ring of bytes; the producer copies in, the consumer reads in place. A full lane
//! refuses the record, which the producer then drops and counts: nobody ever waits.
//!
//! Indices only grow; `tail` is written by the producer alone, `head` by the consumer alone, each
//! on a cache line of its own. Each side keeps its last view of the other's index, so that the
//! shared lines are touched once per batch.

#[cfg(loom)]
use loom::{
    cell::UnsafeCell,
    sync::{Arc, atomic::AtomicUsize},
};
#[cfg(not(loom))]
use std::{
    cell::UnsafeCell,
    sync::{Arc, atomic::AtomicUsize},
};

use std::sync::atomic::Ordering;

/// Bytes of one lane. 1 MiB holds about 800 video packets: some frames of every publisher, or what
/// a ring has since the last keyframe.
pub const LANE_BYTES: usize = 1 << 20;
/// A record's length prefix.
const PREFIX_BYTES: usize = 4;
/// The prefix that says "go on at the start of the ring".
const WRAP: u32 = u32::MAX;

#[repr(align(64))]
struct Aligned(AtomicUsize);

/// The ring's bytes. Who may touch which is the business of the two ends.
struct Bytes(Box<[UnsafeCell<u8>]>);

#[cfg(not(loom))]
impl Bytes {
    /// Copies `bytes` in at `at`; panics if they do not fit.
    ///
    /// # Safety
    /// Nobody else may reach these bytes meanwhile.
    unsafe fn write(&self, at: usize, bytes: &[u8]) {
        let target = &self.0[at..at + bytes.len()];
        if bytes.is_empty() {
            return;
        }
        // SAFETY: the slice above checked the bounds, the caller vouches for the rest;
        // `UnsafeCell<u8>` has the layout of `u8`.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                UnsafeCell::raw_get(target.as_ptr()),
                bytes.len(),
            );
        }
    }

    /// Shows `len` bytes at `at`; panics if there are fewer.
    ///
    /// # Safety
    /// Nobody may write these bytes meanwhile.
    unsafe fn read<T>(&self, at: usize, len: usize, show: impl FnOnce(&[u8]) -> T) -> T {
        let source = &self.0[at..at + len];
        // SAFETY: the slice checked the bounds, the caller vouches for the rest.
        show(unsafe { std::slice::from_raw_parts(UnsafeCell::raw_get(source.as_ptr()), len) })
    }
}

/// Byte by byte, so that the model checker sees every access.
#[cfg(loom)]
impl Bytes {
    /// # Safety
    /// As above; loom proves it.
    unsafe fn write(&self, at: usize, bytes: &[u8]) {
        for (cell, byte) in self.0[at..at + bytes.len()].iter().zip(bytes) {
            // SAFETY: loom fails if anybody else reaches the byte meanwhile.
            cell.with_mut(|target| unsafe { *target = *byte });
        }
    }

    /// # Safety
    /// As above; loom proves it.
    unsafe fn read<T>(&self, at: usize, len: usize, show: impl FnOnce(&[u8]) -> T) -> T {
        let cells = self.0[at..at + len].iter();
        // SAFETY: loom fails if anybody writes the byte meanwhile.
        let bytes: Vec<u8> = cells.map(|cell| cell.with(|source| unsafe { *source })).collect();
        show(&bytes)
    }
}

struct Ring {
    bytes: Bytes,
    tail: Aligned,
    head: Aligned,
}

// SAFETY: `bytes` is only reached through the one `Producer` and the one `Consumer` made with the
// ring. The producer writes bytes in `tail..head + len` and publishes them by a release store of
// `tail`; the consumer reads bytes in `head..tail` after an acquire load of `tail` and gives them
// back by a release store of `head`, which the producer acquires before it writes there again. So
// no byte is ever reached from both sides at once; `dataplane/loom` checks it.
unsafe impl Sync for Ring {}
// SAFETY: the bytes are plain values.
unsafe impl Send for Ring {}

/// The writing end.
pub struct Producer {
    ring: Arc<Ring>,
    /// Written but not yet published.
    tail: usize,
    head_seen: usize,
    is_dirty: bool,
}

/// The reading end.
pub struct Consumer {
    ring: Arc<Ring>,
    head: usize,
    tail_seen: usize,
}

/// Makes a lane of `bytes` (a power of two).
pub fn lane(bytes: usize) -> (Producer, Consumer) {
    debug_assert!(bytes.is_power_of_two());
    let ring = Arc::new(Ring {
        bytes: Bytes((0..bytes).map(|_| UnsafeCell::new(0)).collect()),
        tail: Aligned(AtomicUsize::new(0)),
        head: Aligned(AtomicUsize::new(0)),
    });
    let producer = Producer { ring: Arc::clone(&ring), tail: 0, head_seen: 0, is_dirty: false };
    (producer, Consumer { ring, head: 0, tail_seen: 0 })
}

impl Producer {
    /// Copies a record, given in parts, into the lane; it becomes visible with [`Self::flush`].
    /// Returns whether there was room.
    #[must_use]
    pub fn push(&mut self, parts: &[&[u8]]) -> bool {
        let size = self.ring.bytes.0.len();
        let len: usize = parts.iter().map(|part| part.len()).sum();
        // Records start at multiples of 4, so that a prefix never wraps.
        let record = (PREFIX_BYTES + len).next_multiple_of(4);
        let offset = self.tail & (size - 1);
        let skip = if offset + record > size { size - offset } else { 0 };
        if record > size || !self.has_room(skip + record) {
            return false;
        }
        if skip > 0 {
            self.write(offset, &WRAP.to_le_bytes());
            self.tail += skip;
        }
        let mut at = self.tail & (size - 1);
        self.write(at, &(len as u32).to_le_bytes());
        at += PREFIX_BYTES;
        for part in parts {
            self.write(at, part);
            at += part.len();
        }
        self.tail += record;
        self.is_dirty = true;
        true
    }

    /// Publishes what was pushed. Returns whether there was anything, so that the caller knows
    /// whether to wake the other side.
    pub fn flush(&mut self) -> bool {
        if self.is_dirty {
            self.ring.tail.0.store(self.tail, Ordering::Release);
        }
        std::mem::take(&mut self.is_dirty)
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        let size = self.ring.bytes.0.len();
        if self.tail + bytes - self.head_seen > size {
            self.head_seen = self.ring.head.0.load(Ordering::Acquire);
        }
        self.tail + bytes - self.head_seen <= size
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        // SAFETY: `has_room` made sure that the consumer has given these bytes back.
        unsafe { self.ring.bytes.write(at, bytes) }
    }
}

impl Consumer {
    /// Calls `each` for up to `max` records and returns how many there were.
    pub fn drain(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> usize {
        let size = self.ring.bytes.0.len();
        let mut taken = 0;
        while taken < max {
            if self.head == self.tail_seen {
                self.tail_seen = self.ring.tail.0.load(Ordering::Acquire);
                if self.head == self.tail_seen {
                    break;
                }
            }
            let offset = self.head & (size - 1);
            let prefix = self.read(offset, PREFIX_BYTES, |bytes| bytes.try_into().ok());
            let Some(len) = prefix.map(u32::from_le_bytes) else {
                break;
            };
            if len == WRAP {
                self.head += size - offset;
                continue;
            }
            let len = len as usize;
            self.read(offset + PREFIX_BYTES, len, &mut each);
            self.head += (PREFIX_BYTES + len).next_multiple_of(4);
            taken += 1;
        }
        self.ring.head.0.store(self.head, Ordering::Release);
        taken
    }

    fn read<T>(&self, at: usize, len: usize, show: impl FnOnce(&[u8]) -> T) -> T {
        // SAFETY: the bytes lie between `head` and the acquired `tail`, where the producer does
        // not write until `drain` gives them back, which it does at its end.
        unsafe { self.ring.bytes.read(at, len, show) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_whole_and_in_order_across_threads() {
        let (mut producer, mut consumer) = lane(4096);
        const RECORDS: u32 = 200_000;
        let writer = std::thread::spawn(move || {
            let mut next = 0u32;
            while next < RECORDS {
                let fill = vec![next as u8; (next % 700) as usize];
                if producer.push(&[&next.to_le_bytes(), &fill]) {
                    next += 1;
                } else {
                    std::thread::yield_now();
                }
                if next.is_multiple_of(3) {
                    producer.flush();
                }
            }
            producer.flush();
        });
        let mut expected = 0u32;
        while expected < RECORDS {
            let taken = consumer.drain(32, |record| {
                assert_eq!(record[..4], expected.to_le_bytes());
                assert_eq!(record.len(), 4 + (expected % 700) as usize);
                assert!(record[4..].iter().all(|byte| *byte == expected as u8));
                expected += 1;
            });
            if taken == 0 {
                std::thread::yield_now();
            }
        }
        writer.join().expect("the writer ends");
    }

    #[test]
    fn a_full_lane_refuses_and_recovers() {
        let (mut producer, mut consumer) = lane(256);
        let mut pushed = 0;
        while producer.push(&[&[7; 50]]) {
            pushed += 1;
        }
        assert!((3..=5).contains(&pushed), "{pushed}");
        assert_eq!(consumer.drain(9, |_| {}), 0, "not flushed yet");
        assert!(producer.flush());
        assert!(!producer.flush());
        assert_eq!(consumer.drain(9, |record| assert_eq!(record, [7; 50])), pushed);
        assert!(producer.push(&[&[8; 200]]));
        assert!(!producer.push(&[&[8; 300]]), "larger than the lane");
    }
}

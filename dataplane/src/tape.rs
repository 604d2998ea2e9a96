//! The recorder's end of its lanes: what the shards put in comes out here, on a thread that may
//! wait for a disk. It slows no shard: what does not fit into a lane is dropped there and counted.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Sender;
use mio::Waker;

use crate::codec::Codec;
use crate::handle::{Busy, DataPlane};
use crate::id::{PublicationId, ReaderId};
use crate::lane::record::{self, Record};
use crate::lane::{self, Consumer, PeerMessage};
use crate::run::ShardInput;

/// Bytes of each shard's lane to the recorder: a second of a thousand voices or of ten cameras.
const TAPE_BYTES: usize = 4 << 20;

/// What comes off a tape.
#[derive(Clone, Copy, Debug)]
pub enum Taped<'a> {
    /// A packet.
    Packet(TapedPacket<'a>),
    /// A stream's timestamps in relation to [`Tape::now_us`].
    Clock {
        /// Of what.
        publication: PublicationId,
        /// Which of its Encodings.
        encoding: u8,
        /// A timestamp.
        rtp_time: u32,
        /// What it stands for, in microseconds.
        at_us: u64,
    },
}

/// A packet off a tape.
#[derive(Clone, Copy, Debug)]
pub struct TapedPacket<'a> {
    /// Of what.
    pub publication: PublicationId,
    /// Which of its Encodings.
    pub encoding: u8,
    /// What it carries.
    pub codec: Codec,
    /// Its number in its Encoding; never wraps.
    pub seq: u64,
    /// The publisher's timestamp.
    pub rtp_time: u32,
    /// When it came, on the clock of [`Tape::now_us`].
    pub at_us: u64,
    /// The marker bit.
    pub marker: bool,
    /// Without header, extensions and padding; may be empty.
    pub payload: &'a [u8],
}

/// See the module's documentation.
pub struct Tape {
    shards: Vec<(Sender<ShardInput>, Arc<Waker>)>,
    /// Of all shards.
    epoch: Instant,
}

/// What comes off: one lane of each shard.
pub struct Lanes {
    lanes: Vec<Consumer>,
    epoch: Instant,
}

impl DataPlane {
    /// The recorder's end: what it asks of shards, and what it gets. The shards keep one: it is to be
    /// asked for once.
    ///
    /// # Errors
    /// [`Busy`] when a shard's queue is full.
    pub fn tape(&self) -> Result<(Tape, Lanes), Busy> {
        let (ends, epoch) = (self.ends(), self.epoch());
        let mut lanes = Vec::new();
        for (inputs, waker) in &ends {
            let (producer, consumer) = lane::lane(TAPE_BYTES);
            inputs.try_send(ShardInput::Recorder(producer)).map_err(|_| Busy)?;
            let _ = waker.wake();
            lanes.push(consumer);
        }
        Ok((Tape { shards: ends, epoch }, Lanes { lanes, epoch }))
    }
}

impl Tape {
    /// Takes a Publication up, beginning with what its shard has since the last keyframe.
    ///
    /// # Errors
    /// [`Busy`] when its shard's queue is full: to be tried again.
    pub fn attach(&self, publication: PublicationId) -> Result<(), Busy> {
        self.tell(publication, PeerMessage::Attach { publication, from: ReaderId::Recorder })
    }

    /// Has no use for it any more.
    ///
    /// # Errors
    /// As for [`Self::attach`].
    pub fn detach(&self, publication: PublicationId) -> Result<(), Busy> {
        self.tell(publication, PeerMessage::Detach { publication, from: ReaderId::Recorder })
    }

    /// Asks its publisher for a keyframe.
    ///
    /// # Errors
    /// As for [`Self::attach`].
    pub fn want_keyframe(&self, publication: PublicationId, encoding: u8) -> Result<(), Busy> {
        self.tell(publication, PeerMessage::KeyframeWanted { publication, encoding })
    }

    fn tell(&self, publication: PublicationId, message: PeerMessage) -> Result<(), Busy> {
        let home = publication.transport.shard();
        let (inputs, waker) = self.shards.get(home.index()).ok_or(Busy)?;
        inputs.try_send(ShardInput::Message(message)).map_err(|_| Busy)?;
        let _ = waker.wake();
        Ok(())
    }

    /// The time on the shards' clock, in microseconds.
    pub fn now_us(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64 + 1
    }

    /// What the wall clock shows at a time on the shards' clock, as it goes now.
    pub fn wall_at(&self, at_us: u64) -> SystemTime {
        let (wall, now_us) = (SystemTime::now(), self.now_us());
        let before = wall.checked_sub(Duration::from_micros(now_us.saturating_sub(at_us)));
        before.unwrap_or(wall) + Duration::from_micros(at_us.saturating_sub(now_us))
    }
}

impl Lanes {
    /// The same as [`Tape::now_us`].
    pub fn now_us(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64 + 1
    }

    /// Calls `each` for up to `max` things of each shard; returns how many there were.
    pub fn drain(&mut self, max: usize, mut each: impl FnMut(Taped<'_>)) -> usize {
        let mut taken = 0;
        for lane in &mut self.lanes {
            taken += lane.drain(max, |bytes| {
                if let Some(taped) = record::read(bytes).and_then(taped) {
                    each(taped);
                }
            });
        }
        taken
    }
}

fn taped(record: Record<'_>) -> Option<Taped<'_>> {
    match record {
        Record::Packet { publication, encoding, codec, meta, payload, .. } => {
            let (seq, rtp_time, at_us, marker) = (meta.seq, meta.rtp_time, meta.at_us, meta.marker);
            Some(Taped::Packet(TapedPacket {
                publication,
                encoding,
                codec,
                seq,
                rtp_time,
                at_us,
                marker,
                payload,
            }))
        }
        Record::Clock { publication, encoding, clock } => Some(Taped::Clock {
            publication,
            encoding,
            rtp_time: clock.rtp_time,
            at_us: clock.at_us,
        }),
        Record::Datagram { .. } => None,
    }
}

//! Fragmented MP4 (ISO/IEC 14496-12, CMAF): a header without samples, then fragments that stand for
//! themselves.

use crate::container::{Patch, Sample, Track};
use crate::{Codec, opus};

/// Ticks per second of the whole film.
const FILM_HZ: u32 = 1000;
const SYNC: u32 = 0x0200_0000;
const NO_SYNC: u32 = 0x0101_0000;

/// What the index at the end needs of each fragment that begins with, or has, a keyframe.
struct Entry {
    time: u64,
    moof_at: u64,
    traf: u32,
    sample: u32,
}

/// The writer of one file, which remembers what its index will need.
#[derive(Default)]
pub(crate) struct Mp4 {
    tracks: Vec<Track>,
    sequence: u32,
    duration_at: u64,
    entries: Vec<Vec<Entry>>,
}

/// Writes a box, whose contents `fill` adds.
fn put(out: &mut Vec<u8>, name: &[u8; 4], fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(name);
    fill(out);
    let len = (out.len() - start) as u32;
    set_u32(out, start, len);
}

/// Fills in what was not known when its place was written.
fn set_u32(out: &mut [u8], at: usize, value: u32) {
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// The same with version and flags.
fn put_full(
    out: &mut Vec<u8>,
    name: &[u8; 4],
    (version, flags): (u8, u32),
    fill: impl FnOnce(&mut Vec<u8>),
) {
    put(out, name, |out| {
        out.extend_from_slice(&(u32::from(version) << 24 | flags).to_be_bytes());
        fill(out);
    });
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn zeros(out: &mut Vec<u8>, count: usize) {
    out.resize(out.len() + count, 0);
}

fn matrix(out: &mut Vec<u8>) {
    for value in [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000] {
        put_u32(out, value);
    }
}

fn ticks(track: &Track, us: u64) -> u64 {
    let hz = u64::from(track.config.codec.clock_hz());
    (us * hz + 500_000) / 1_000_000
}

/// The beginning of a stream for players, which get the rest by [`chunk`].
pub fn head(tracks: &[Track]) -> Vec<u8> {
    Mp4::default().begin(tracks)
}

/// A piece of such a stream that stands for itself; `sequence` grows from one to the next.
pub fn chunk(tracks: &[Track], sequence: u32, samples: &[Sample]) -> Vec<u8> {
    let entries = tracks.iter().map(|_| Vec::new()).collect();
    let mut mp4 = Mp4 { tracks: tracks.to_vec(), sequence, duration_at: 0, entries };
    mp4.fragment(0, samples)
}

impl Mp4 {
    /// The beginning of the file.
    pub(crate) fn begin(&mut self, tracks: &[Track]) -> Vec<u8> {
        self.tracks = tracks.to_vec();
        self.entries = tracks.iter().map(|_| Vec::new()).collect();
        let mut out = Vec::with_capacity(2048);
        put(&mut out, b"ftyp", |out| {
            out.extend_from_slice(b"iso6\0\0\0\0iso6cmfcmp41");
        });
        let mut duration_at = 0;
        put(&mut out, b"moov", |out| {
            put_full(out, b"mvhd", (0, 0), |out| {
                zeros(out, 8);
                put_u32(out, FILM_HZ);
                put_u32(out, 0);
                put_u32(out, 0x1_0000);
                put_u16(out, 0x100);
                zeros(out, 10);
                matrix(out);
                zeros(out, 24);
                put_u32(out, tracks.len() as u32 + 1);
            });
            for (at, track) in tracks.iter().enumerate() {
                put(out, b"trak", |out| trak(out, at as u32 + 1, track));
            }
            put(out, b"mvex", |out| {
                put_full(out, b"mehd", (1, 0), |out| {
                    duration_at = out.len() as u64;
                    put_u64(out, 0);
                });
                for at in 0..tracks.len() {
                    put_full(out, b"trex", (0, 0), |out| {
                        put_u32(out, at as u32 + 1);
                        put_u32(out, 1);
                        zeros(out, 12);
                    });
                }
            });
        });
        self.duration_at = duration_at;
        out
    }

    /// A fragment that begins at `at` in the file.
    pub(crate) fn fragment(&mut self, at: u64, samples: &[Sample]) -> Vec<u8> {
        self.sequence += 1;
        let mut out =
            Vec::with_capacity(1024 + samples.iter().map(|s| s.data.len() + 16).sum::<usize>());
        // Where the offsets of the data stand, to be filled in once it is known where that lies.
        let mut offsets = Vec::new();
        let tracks = self.tracks.iter().enumerate();
        let with: Vec<(usize, &Track, Vec<&Sample>)> = tracks
            .map(|(at, track)| (at, track, samples.iter().filter(|s| s.track == at).collect()))
            .filter(|(_, _, samples): &(_, _, Vec<&Sample>)| !samples.is_empty())
            .collect();
        put(&mut out, b"moof", |out| {
            put_full(out, b"mfhd", (0, 0), |out| put_u32(out, self.sequence));
            for (at, track, samples) in &with {
                put(out, b"traf", |out| offsets.push(traf(out, *at as u32 + 1, track, samples)));
            }
        });
        for (number, (track_at, track, samples)) in with.iter().enumerate() {
            let is_video = !track.config.codec.is_audio();
            let keys = samples.iter().enumerate().filter(|(_, s)| s.is_key && is_video);
            let found = keys.map(|(number_in, sample)| Entry {
                time: ticks(track, sample.at_us),
                moof_at: at,
                traf: number as u32 + 1,
                sample: number_in as u32 + 1,
            });
            if let Some(entries) = self.entries.get_mut(*track_at) {
                entries.extend(found);
            }
        }
        let mut data_at = out.len() as u32 + 8;
        for (offset_at, (_, _, samples)) in offsets.into_iter().zip(&with) {
            set_u32(&mut out, offset_at, data_at);
            data_at += samples.iter().map(|sample| sample.data.len() as u32).sum::<u32>();
        }
        put(&mut out, b"mdat", |out| {
            for (_, _, samples) in &with {
                for sample in samples {
                    out.extend_from_slice(&sample.data);
                }
            }
        });
        out
    }

    /// What is appended at the end, and what is filled in at the beginning.
    pub(crate) fn end(&self, duration_us: u64) -> (Vec<u8>, Vec<Patch>) {
        let mut out = Vec::new();
        put(&mut out, b"mfra", |out| {
            for (at, entries) in self.entries.iter().enumerate().filter(|(_, e)| !e.is_empty()) {
                put_full(out, b"tfra", (1, 0), |out| {
                    put_u32(out, at as u32 + 1);
                    put_u32(out, 0x3f);
                    put_u32(out, entries.len() as u32);
                    for entry in entries {
                        put_u64(out, entry.time);
                        put_u64(out, entry.moof_at);
                        for number in [entry.traf, 1, entry.sample] {
                            put_u32(out, number);
                        }
                    }
                });
            }
            let len = out.len() as u32 + 16;
            put_full(out, b"mfro", (0, 0), |out| put_u32(out, len));
        });
        let duration = (duration_us / 1000).to_be_bytes().to_vec();
        (out, vec![Patch { at: self.duration_at, bytes: duration }])
    }
}

/// Returns where the offset of the data stands.
fn traf(out: &mut Vec<u8>, id: u32, track: &Track, samples: &[&Sample]) -> usize {
    put_full(out, b"tfhd", (0, 0x02_0000), |out| put_u32(out, id));
    let first = samples.first().map_or(0, |sample| ticks(track, sample.at_us));
    put_full(out, b"tfdt", (1, 0), |out| put_u64(out, first));
    let mut offset_at = 0;
    put_full(out, b"trun", (0, 0x701), |out| {
        put_u32(out, samples.len() as u32);
        offset_at = out.len();
        put_u32(out, 0);
        for (number, sample) in samples.iter().enumerate() {
            // Only the first has a time of its own: what came unevenly, or after a gap, would come to be
            // in the wrong place.
            let next = samples.get(number + 1).map(|next| next.at_us);
            let end = ticks(track, next.unwrap_or(sample.at_us + sample.duration_us));
            put_u32(out, (end - ticks(track, sample.at_us)) as u32);
            put_u32(out, sample.data.len() as u32);
            put_u32(out, if sample.is_key { SYNC } else { NO_SYNC });
        }
    });
    offset_at
}

fn trak(out: &mut Vec<u8>, id: u32, track: &Track) {
    let config = &track.config;
    let is_audio = config.codec.is_audio();
    let (width, height) = config.size;
    put_full(out, b"tkhd", (0, 3), |out| {
        zeros(out, 8);
        put_u32(out, id);
        zeros(out, 8 + 8 + 4);
        put_u16(out, if is_audio { 0x100 } else { 0 });
        zeros(out, 2);
        matrix(out);
        put_u32(out, u32::from(width) << 16);
        put_u32(out, u32::from(height) << 16);
    });
    put(out, b"mdia", |out| {
        put_full(out, b"mdhd", (0, 0), |out| {
            zeros(out, 8);
            put_u32(out, config.codec.clock_hz());
            put_u32(out, 0);
            // "und", in five bits a letter.
            put_u16(out, 0x55c4);
            zeros(out, 2);
        });
        put_full(out, b"hdlr", (0, 0), |out| {
            zeros(out, 4);
            out.extend_from_slice(if is_audio { b"soun" } else { b"vide" });
            zeros(out, 12);
            out.push(0);
        });
        put(out, b"minf", |out| {
            match is_audio {
                true => put_full(out, b"smhd", (0, 0), |out| zeros(out, 4)),
                false => put_full(out, b"vmhd", (0, 1), |out| zeros(out, 8)),
            }
            put(out, b"dinf", |out| {
                put_full(out, b"dref", (0, 0), |out| {
                    put_u32(out, 1);
                    put_full(out, b"url ", (0, 1), |_| {});
                });
            });
            put(out, b"stbl", |out| {
                put_full(out, b"stsd", (0, 0), |out| {
                    put_u32(out, 1);
                    entry(out, track);
                });
                put_full(out, b"stts", (0, 0), |out| zeros(out, 4));
                put_full(out, b"stsc", (0, 0), |out| zeros(out, 4));
                put_full(out, b"stsz", (0, 0), |out| zeros(out, 8));
                put_full(out, b"stco", (0, 0), |out| zeros(out, 4));
            });
        });
    });
}

fn entry(out: &mut Vec<u8>, track: &Track) {
    let config = &track.config;
    let name = match config.codec {
        Codec::H264 => b"avc1",
        Codec::Av1 => b"av01",
        Codec::Vp9 => b"vp09",
        Codec::Vp8 => b"vp08",
        Codec::Opus => b"Opus",
    };
    put(out, name, |out| {
        zeros(out, 6);
        put_u16(out, 1);
        if config.codec.is_audio() {
            zeros(out, 8);
            put_u16(out, 2);
            put_u16(out, 16);
            zeros(out, 4);
            put_u32(out, 48_000 << 16);
            put(out, b"dOps", |out| out.extend_from_slice(&opus::record()));
            return;
        }
        zeros(out, 16);
        put_u16(out, config.size.0);
        put_u16(out, config.size.1);
        // 72 dpi.
        put_u32(out, 0x48_0000);
        put_u32(out, 0x48_0000);
        zeros(out, 4);
        put_u16(out, 1);
        zeros(out, 32);
        put_u16(out, 0x18);
        put_u16(out, 0xffff);
        match config.codec {
            Codec::H264 => put(out, b"avcC", |out| out.extend_from_slice(&config.record)),
            Codec::Av1 => put(out, b"av1C", |out| out.extend_from_slice(&config.record)),
            _ => put_full(out, b"vpcC", (1, 0), |out| out.extend_from_slice(&config.record)),
        }
    });
}

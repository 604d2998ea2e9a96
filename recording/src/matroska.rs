//! WebM and Matroska (RFC 9559): a header of known size, then clusters that stand for themselves.

use crate::container::{Patch, Sample, Track};
use crate::{Codec, opus};

const VOID: u32 = 0xec;
const SEEK_HEAD: u32 = 0x114d_9b74;
const INFO: u32 = 0x1549_a966;
const TRACKS: u32 = 0x1654_ae6b;
const CUES: u32 = 0x1c53_bb6b;
/// Room for what tells where things are, filled in at the end.
const SEEK_BYTES: usize = 96;
/// A size that is not known yet, in eight octets.
const UNKNOWN: [u8; 8] = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
/// Opus decoders want to hear so much before a place that is sought (RFC 7845 s4.6).
const PRE_ROLL_NS: u64 = 80_000_000;
/// Relative times of blocks have 16 bits.
const BLOCK_MS_MAX: i64 = 30_000;

/// The writer of one file, which remembers what its index will need.
#[derive(Default)]
pub(crate) struct Matroska {
    tracks: Vec<Track>,
    /// Where the segment's contents begin: positions count from there.
    segment_at: u64,
    info_at: u64,
    tracks_at: u64,
    duration_at: u64,
    /// Time in milliseconds, track and cluster of keyframes.
    cues: Vec<(u64, usize, u64)>,
}

fn put_id(out: &mut Vec<u8>, id: u32) {
    let bytes = id.to_be_bytes();
    out.extend(bytes.into_iter().skip(id.leading_zeros() as usize / 8));
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    match len {
        0..0x7f => out.push(0x80 | len as u8),
        0x7f..0x3fff => out.extend_from_slice(&(0x4000 | len as u16).to_be_bytes()),
        _ => out.extend_from_slice(&(0x0100_0000_0000_0000 | len as u64).to_be_bytes()),
    }
}

fn put(out: &mut Vec<u8>, id: u32, contents: &[u8]) {
    put_id(out, id);
    put_len(out, contents.len());
    out.extend_from_slice(contents);
}

fn put_uint(out: &mut Vec<u8>, id: u32, value: u64) {
    let bytes = value.to_be_bytes();
    let zeros = (value.leading_zeros() as usize / 8).min(7);
    put(out, id, bytes.get(zeros..).unwrap_or_default());
}

fn put_float(out: &mut Vec<u8>, id: u32, value: f64) {
    put(out, id, &value.to_be_bytes());
}

/// An element whose contents `fill` writes.
fn put_all(out: &mut Vec<u8>, id: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut contents = Vec::new();
    fill(&mut contents);
    put(out, id, &contents);
}

impl Matroska {
    /// The beginning of the file.
    pub(crate) fn begin(&mut self, tracks: &[Track]) -> Vec<u8> {
        self.tracks = tracks.to_vec();
        let is_webm = tracks.iter().all(|track| track.config.codec != Codec::H264);
        let mut out = Vec::with_capacity(1024);
        put_all(&mut out, 0x1a45_dfa3, |out| {
            put_uint(out, 0x4286, 1);
            put_uint(out, 0x42f7, 1);
            put_uint(out, 0x42f2, 4);
            put_uint(out, 0x42f3, 8);
            put(out, 0x4282, if is_webm { b"webm" } else { b"matroska" });
            put_uint(out, 0x4287, 4);
            put_uint(out, 0x4285, 2);
        });
        put_id(&mut out, 0x1853_8067);
        out.extend_from_slice(&UNKNOWN);
        self.segment_at = out.len() as u64;
        out.extend(filled(&[]));
        self.info_at = out.len() as u64;
        put_all(&mut out, INFO, |out| {
            put_uint(out, 0x2a_d7b1, 1_000_000);
            put(out, 0x4d80, b"Aula");
            put(out, 0x5741, b"Aula");
            put_float(out, 0x4489, 0.0);
        });
        self.duration_at = out.len() as u64 - 8;
        self.tracks_at = out.len() as u64;
        put_all(&mut out, TRACKS, |out| {
            for (at, track) in tracks.iter().enumerate() {
                put_all(out, 0xae, |out| entry(out, at as u64 + 1, track));
            }
        });
        out
    }

    /// A cluster that begins at `at` in the file.
    pub(crate) fn fragment(&mut self, at: u64, samples: &[Sample]) -> Vec<u8> {
        let mut sorted: Vec<&Sample> = samples.iter().collect();
        sorted.sort_by_key(|sample| sample.at_us);
        let start_ms = sorted.first().map_or(0, |sample| sample.at_us / 1000);
        let size = samples.iter().map(|sample| sample.data.len() + 16).sum();
        let mut contents = Vec::with_capacity(size);
        put_uint(&mut contents, 0xe7, start_ms);
        for sample in sorted {
            let at_ms = sample.at_us / 1000;
            let relative = (at_ms as i64 - start_ms as i64).min(BLOCK_MS_MAX) as i16;
            let Some(track) = self.tracks.get(sample.track) else { continue };
            if sample.is_key && !track.config.codec.is_audio() {
                self.cues.push((at_ms, sample.track, at - self.segment_at));
            }
            put_id(&mut contents, 0xa3);
            put_len(&mut contents, sample.data.len() + 4);
            contents.push(0x80 | (sample.track as u8 + 1));
            contents.extend_from_slice(&relative.to_be_bytes());
            contents.push(if sample.is_key { 0x80 } else { 0 });
            contents.extend_from_slice(&sample.data);
        }
        let mut out = Vec::with_capacity(contents.len() + 12);
        put(&mut out, 0x1f43_b675, &contents);
        out
    }

    /// What is appended at the end `at`, and what is filled in at the beginning.
    pub(crate) fn end(&self, at: u64, duration_us: u64) -> (Vec<u8>, Vec<Patch>) {
        let mut out = Vec::new();
        let mut seeks = vec![(INFO, self.info_at), (TRACKS, self.tracks_at)];
        if !self.cues.is_empty() {
            seeks.push((CUES, at));
            put_all(&mut out, CUES, |out| {
                for (time, track, cluster) in &self.cues {
                    put_all(out, 0xbb, |out| {
                        put_uint(out, 0xb3, *time);
                        put_all(out, 0xb7, |out| {
                            put_uint(out, 0xf7, *track as u64 + 1);
                            put_uint(out, 0xf1, *cluster);
                        });
                    });
                }
            });
        }
        let whole = at + out.len() as u64 - self.segment_at;
        let seeks: Vec<(u32, u64)> =
            seeks.into_iter().map(|(id, at)| (id, at - self.segment_at)).collect();
        let duration = duration_us as f64 / 1000.0;
        let patches = vec![
            Patch { at: self.segment_at, bytes: filled(&seeks) },
            Patch { at: self.duration_at, bytes: duration.to_be_bytes().to_vec() },
            Patch {
                at: self.segment_at - 8,
                bytes: (0x0100_0000_0000_0000 | whole).to_be_bytes().to_vec(),
            },
        ];
        (out, patches)
    }
}

/// Where things are, in always the same number of octets.
fn filled(seeks: &[(u32, u64)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(SEEK_BYTES);
    if !seeks.is_empty() {
        put_all(&mut out, SEEK_HEAD, |out| {
            for (id, at) in seeks {
                put_all(out, 0x4dbb, |out| {
                    put(out, 0x53ab, &id.to_be_bytes());
                    put_uint(out, 0x53ac, *at);
                });
            }
        });
    }
    let rest = SEEK_BYTES.saturating_sub(out.len() + 2);
    put(&mut out, VOID, &vec![0; rest]);
    out
}

fn entry(out: &mut Vec<u8>, number: u64, track: &Track) {
    let config = &track.config;
    let is_audio = config.codec.is_audio();
    put_uint(out, 0xd7, number);
    put_uint(out, 0x73c5, number);
    put_uint(out, 0x83, if is_audio { 2 } else { 1 });
    put_uint(out, 0x9c, 0);
    let name: &[u8] = match config.codec {
        Codec::Vp8 => b"V_VP8",
        Codec::Vp9 => b"V_VP9",
        Codec::Av1 => b"V_AV1",
        Codec::H264 => b"V_MPEG4/ISO/AVC",
        Codec::Opus => b"A_OPUS",
    };
    put(out, 0x86, name);
    match config.codec {
        Codec::Opus => {
            put(out, 0x63a2, &opus::head());
            put_uint(out, 0x56bb, PRE_ROLL_NS);
        }
        Codec::H264 | Codec::Av1 => put(out, 0x63a2, &config.record),
        Codec::Vp8 | Codec::Vp9 => {}
    }
    if is_audio {
        put_all(out, 0xe1, |out| {
            put_float(out, 0xb5, 48_000.0);
            put_uint(out, 0x9f, 2);
        });
    } else {
        put_all(out, 0xe0, |out| {
            put_uint(out, 0xb0, config.size.0.into());
            put_uint(out, 0xba, config.size.1.into());
        });
    }
}

//! Makes what players load of the files on the disk: one picture and one voice, on the clock of the
//! recording. Nothing is decoded.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use recording::{SILENCE, Sample, Track};

use super::cast::{Film, Piece};
use super::programme::Part;

/// 20 ms of Opus.
const SILENCE_US: u64 = 20_000;
/// Sound that is missing for less is stretched over: clocks differ, and packets come unevenly.
const STRETCH_US: u64 = 60_000;
/// Two samples are at least so far apart.
const STEP_US: u64 = 100;
/// Larger fragments are none of ours: half a second at 500 Mbit/s.
const FRAGMENT_BYTES_MAX: u32 = 32 << 20;

/// Parts, one after the other, for a stream that has these tracks: a picture, if `has_picture`, and sound.
pub(super) fn parts(
    folder: &Path,
    parts: &[Part],
    tracks: &[Track],
    has_picture: bool,
) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for part in parts {
        let mut samples = if has_picture { pictures(folder, part)? } else { Vec::new() };
        samples.extend(sounds(folder, part, tracks.len() - 1)?);
        out.extend(recording::chunk(tracks, part.serial, &samples));
    }
    Ok(out)
}

/// The samples of one track of a piece, on the clock of the recording.
fn read(
    folder: &Path,
    piece: &Piece,
    track: impl Fn(&Film) -> Option<usize>,
) -> io::Result<Vec<Sample>> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let film = &piece.film;
    if piece.length > FRAGMENT_BYTES_MAX {
        return Err(damaged());
    }
    let mut bytes = vec![0; piece.length as usize];
    File::open(folder.join(&film.name))?.read_exact_at(&mut bytes, piece.offset)?;
    let mut samples = recording::samples(film.form, &film.tracks, &bytes).ok_or_else(damaged)?;
    let track = track(film);
    samples.retain(|sample| Some(sample.track) == track);
    for sample in &mut samples {
        sample.at_us += film.at_us;
    }
    Ok(samples)
}

fn pictures(folder: &Path, part: &Part) -> io::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for piece in &part.pictures {
        samples.extend(read(folder, piece, |film| film.video)?);
    }
    if part.is_held {
        samples.retain(|sample| sample.is_key);
        samples.truncate(1);
    }
    // The first picture is shown from the beginning of the part, each one until the next.
    let mut next_us = part.span.0;
    for (at, sample) in samples.iter_mut().enumerate() {
        sample.track = 0;
        sample.at_us = if at == 0 { part.span.0 } else { sample.at_us.max(next_us) };
        next_us = sample.at_us + STEP_US;
    }
    last_until(&mut samples, part.span.1);
    Ok(samples)
}

/// Lets each sample last until the next begins, and the last one up to `end_us`.
fn last_until(samples: &mut [Sample], end_us: u64) {
    let ends: Vec<u64> =
        samples.iter().skip(1).map(|sample| sample.at_us).chain([end_us]).collect();
    for (sample, end_us) in samples.iter_mut().zip(ends) {
        sample.duration_us = end_us.saturating_sub(sample.at_us).max(STEP_US);
    }
}

fn sounds(folder: &Path, part: &Part, track: usize) -> io::Result<Vec<Sample>> {
    let (from_us, to_us) = part.sound_span;
    let mut found = Vec::new();
    for piece in &part.sounds {
        found.extend(read(folder, piece, |film| film.audio)?);
    }
    found.retain(|sample| (from_us..to_us).contains(&sample.at_us));
    let (mut samples, mut cursor_us) = (Vec::with_capacity(64), from_us);
    for sample in found {
        fill(&mut samples, track, &mut cursor_us, sample.at_us);
        let at_us = match samples.last() {
            Some(last) => sample.at_us.max(last.at_us + STEP_US),
            None => from_us,
        };
        cursor_us = at_us + sample.duration_us.max(STEP_US);
        samples.push(Sample { track, at_us, ..sample });
    }
    fill(&mut samples, track, &mut cursor_us, to_us);
    if samples.is_empty() && to_us > from_us {
        // A hole in the sound would cost pictures, too: browsers go on with the next keyframe.
        let (at_us, data) = (from_us, SILENCE.to_vec());
        samples.push(Sample { track, at_us, duration_us: SILENCE_US, is_key: true, data });
    }
    last_until(&mut samples, to_us.max(cursor_us));
    Ok(samples)
}

/// Silence up to some time, or nothing if that is soon.
fn fill(samples: &mut Vec<Sample>, track: usize, cursor_us: &mut u64, until_us: u64) {
    if until_us < *cursor_us + STRETCH_US {
        return;
    }
    while *cursor_us + SILENCE_US <= until_us {
        let (at_us, data) = (*cursor_us, SILENCE.to_vec());
        samples.push(Sample { track, at_us, duration_us: SILENCE_US, is_key: true, data });
        *cursor_us += SILENCE_US;
    }
}

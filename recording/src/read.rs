//! Reads fragments back that [`crate::Film`] has written, for those who watch while it records. Files
//! may have been damaged since: what is not as we write it is nothing.

use crate::container::{Sample, Track};
use crate::film::Form;
use crate::opus;

/// Samples of one fragment; more were never written.
const SAMPLES_MAX: u32 = 100_000;
/// Longest time that a sample may have, in ticks: a hundred days.
const TICKS_MAX: u64 = 90_000 * 86_400 * 100;

/// The samples of a fragment of a file with these tracks, by track; `None` if it is damaged.
pub fn samples(form: Form, tracks: &[Track], fragment: &[u8]) -> Option<Vec<Sample>> {
    match form {
        Form::Mp4 => of_mp4(tracks, fragment),
        Form::WebM => of_matroska(tracks, fragment),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The first box: its name, its contents, and what follows.
fn split_box(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let len = u32_at(bytes, 0)? as usize;
    let (whole, rest) = bytes.split_at_checked(len)?;
    Some((whole.get(4..8)?, whole.get(8..)?, rest))
}

fn of_mp4(tracks: &[Track], fragment: &[u8]) -> Option<Vec<Sample>> {
    let (b"moof", mut moof, _) = split_box(fragment)? else {
        return None;
    };
    let mut samples = Vec::new();
    while !moof.is_empty() {
        let (name, contents, rest) = split_box(moof)?;
        moof = rest;
        if name == b"traf" {
            of_traf(tracks, contents, fragment, &mut samples)?;
        }
    }
    Some(samples)
}

fn of_traf(
    tracks: &[Track],
    mut traf: &[u8],
    fragment: &[u8],
    samples: &mut Vec<Sample>,
) -> Option<()> {
    let (mut id, mut ticks) = (0, 0);
    while !traf.is_empty() {
        let (name, contents, rest) = split_box(traf)?;
        traf = rest;
        match name {
            b"tfhd" => id = u32_at(contents, 4)? as usize,
            b"tfdt" => ticks = u64::from_be_bytes(*contents.get(4..)?.first_chunk()?),
            b"trun" => {
                let track = id.checked_sub(1)?;
                let hz = u64::from(tracks.get(track)?.config.codec.clock_hz());
                let us = |ticks: u64| (ticks * 1_000_000 + hz / 2) / hz;
                let count = u32_at(contents, 4)?;
                let mut at = u32_at(contents, 8)? as usize;
                if count > SAMPLES_MAX {
                    return None;
                }
                for number in 0..count as usize {
                    let entry = contents.get(12 + number * 12..)?;
                    let duration = u64::from(u32_at(entry, 0)?);
                    let size = u32_at(entry, 4)? as usize;
                    let is_key = u32_at(entry, 8)? & 0x1_0000 == 0;
                    if ticks > TICKS_MAX {
                        return None;
                    }
                    let at_us = us(ticks);
                    ticks += duration;
                    let duration_us = us(ticks) - at_us;
                    let data = fragment.get(at..)?.get(..size)?.to_vec();
                    at += size;
                    samples.push(Sample { track, at_us, duration_us, is_key, data });
                }
            }
            _ => {}
        }
    }
    Some(())
}

/// The first element: its id, its contents, and what follows.
fn split_element(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let id_len = bytes.first()?.leading_zeros() as usize + 1;
    let (id, rest) = bytes.split_at_checked(id_len)?;
    let id = (id_len <= 4).then(|| id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte)))?;
    let first = *rest.first()?;
    let len_len = first.leading_zeros() as usize + 1;
    let (len, rest) = rest.split_at_checked(len_len)?;
    let (_, more) = len.split_first()?;
    let first = u64::from(first) & !(0x80 >> (len_len - 1));
    let len = more.iter().fold(first, |len, byte| len << 8 | u64::from(*byte));
    let (contents, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    Some((id, contents, rest))
}

fn of_matroska(tracks: &[Track], fragment: &[u8]) -> Option<Vec<Sample>> {
    let (0x1f43_b675, mut cluster, _) = split_element(fragment)? else {
        return None;
    };
    let (mut start_ms, mut samples) = (0u64, Vec::new());
    while !cluster.is_empty() {
        let (id, contents, rest) = split_element(cluster)?;
        cluster = rest;
        match id {
            0xe7 => start_ms = contents.iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte)),
            0xa3 => {
                let track = usize::from(contents.first()? & 0x7f).checked_sub(1)?;
                let codec = tracks.get(track)?.config.codec;
                let relative = i64::from(i16::from_be_bytes(*contents.get(1..)?.first_chunk()?));
                let is_key = contents.get(3)? & 0x80 != 0;
                let data = contents.get(4..)?.to_vec();
                let at_us = start_ms.checked_add_signed(relative)?.checked_mul(1000)?;
                let ticks = if codec.is_audio() { opus::samples(&data)? } else { 0 };
                let duration_us = u64::from(ticks) * 1_000_000 / 48_000;
                samples.push(Sample { track, at_us, duration_us, is_key, data });
            }
            _ => {}
        }
    }
    samples.sort_by_key(|sample| sample.track);
    Some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Codec, Config, Film};

    fn tracks(codec: Codec) -> Vec<Track> {
        let config = Config { codec, size: (640, 480), record: vec![1; 8] };
        vec![Track { config }, Track { config: Config::opus() }]
    }

    fn film(form: Form, tracks: &[Track]) -> (Vec<Sample>, Vec<u8>) {
        let (mut film, _) = Film::begin(form, tracks.to_vec());
        let mut put = Vec::new();
        for at in 0..12u64 {
            let at_us = 3_600_000_000 + at * 40_000;
            let picture = vec![at as u8; 300];
            put.push(Sample { track: 0, at_us, duration_us: 0, is_key: at == 0, data: picture });
            for at_us in [at_us, at_us + 20_000] {
                let data = vec![0x78, at as u8];
                put.push(Sample { track: 1, at_us, duration_us: 20_000, is_key: true, data });
            }
        }
        for sample in &put {
            assert_eq!(film.push(sample.clone()), None, "less than a fragment");
        }
        put.sort_by_key(|sample| sample.track);
        (put, film.flush().expect("it waits").bytes)
    }

    #[test]
    fn what_was_written_comes_back() {
        for (form, codec) in [(Form::Mp4, Codec::H264), (Form::WebM, Codec::Vp8)] {
            let tracks = tracks(codec);
            let (put, bytes) = film(form, &tracks);
            let found = samples(form, &tracks, &bytes).expect("it is whole");
            assert_eq!(found.len(), put.len());
            for (found, put) in found.iter().zip(&put) {
                let of = |s: &Sample| (s.track, s.at_us, s.is_key, s.data.clone());
                assert_eq!(of(found), of(put));
                let lasts_us = [20_000, 40_000, 0][match (form, put.track) {
                    (_, 1) => 0,
                    (Form::Mp4, _) => 1,
                    (Form::WebM, _) => 2,
                }];
                assert_eq!(found.duration_us, lasts_us, "{form:?} {}", put.track);
            }
        }
    }

    #[test]
    fn what_came_unevenly_stays_where_it_is() {
        let tracks = tracks(Codec::H264);
        let (mut film, _) = Film::begin(Form::Mp4, tracks.clone());
        // Late, all at once, and after a gap.
        let times = [0, 20_000, 21_000, 22_000, 60_000, 200_000, 220_000];
        for at_us in times {
            let data = vec![0x78];
            let sample = Sample { track: 1, at_us, duration_us: 20_000, is_key: true, data };
            assert_eq!(film.push(sample), None);
        }
        let bytes = film.flush().expect("it waits").bytes;
        let found = samples(Form::Mp4, &tracks, &bytes).expect("it is whole");
        assert_eq!(found.iter().map(|sample| sample.at_us).collect::<Vec<_>>(), times);
    }

    #[test]
    fn damage_is_nothing_and_no_panic() {
        let mut state = 7u64;
        for (form, codec) in [(Form::Mp4, Codec::H264), (Form::WebM, Codec::Vp8)] {
            let tracks = tracks(codec);
            let (_, bytes) = film(form, &tracks);
            for len in 0..bytes.len() {
                assert_eq!(samples(form, &tracks, &bytes[..len]), None, "{form:?} {len}");
            }
            for _ in 0..20_000 {
                let mut bytes = bytes.clone();
                for _ in 0..3 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = (state >> 33) as usize % 400;
                    bytes[at] = (state >> 24) as u8;
                }
                let _ = samples(form, &tracks, &bytes);
            }
            assert_eq!(samples(form, &[], &bytes), None, "of tracks that it has not");
        }
    }
}

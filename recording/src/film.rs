//! A film: one file with the tracks of one stream, made fragment by fragment.

use crate::Codec;
use crate::container::{Patch, Sample, Track};
use crate::matroska::Matroska;
use crate::mp4::Mp4;

/// How long a fragment is: what may be lost at the end when the server dies.
const FRAGMENT_US: u64 = 500_000;
/// So much longer sound waits for the next picture, which knows how long the one before it was shown.
const PICTURE_WITHIN_US: u64 = 60_000;
/// Two samples of a track are at least so far apart, whatever their timestamps say.
const STEP_US: u64 = 1000;
/// How long a picture is shown whose successor is not known.
const PICTURE_US: u64 = 33_333;
/// The longest that one sample lasts: longer ones are gaps.
const SAMPLE_US_MAX: u64 = 600_000_000;

/// The form of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Fragmented MP4, which browsers play from a growing file.
    Mp4,
    /// WebM, or Matroska for what WebM does not know.
    WebM,
}

impl Form {
    /// The form for these tracks; `webm` where it is wished for all.
    pub fn of(tracks: &[Track], webm: bool) -> Self {
        let has_vp8 = tracks.iter().any(|track| track.config.codec == Codec::Vp8);
        if webm || has_vp8 { Self::WebM } else { Self::Mp4 }
    }

    /// What its names end with.
    pub fn extension(self, tracks: &[Track]) -> &'static str {
        let has_h264 = tracks.iter().any(|track| track.config.codec == Codec::H264);
        match self {
            Self::Mp4 => "mp4",
            Self::WebM if has_h264 => "mkv",
            Self::WebM => "webm",
        }
    }
}

/// What is appended to the file at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Where in the file.
    pub at: u64,
    /// What is to be written there.
    pub bytes: Vec<u8>,
    /// What it covers, in microseconds since the film began.
    pub span_us: (u64, u64),
    /// The same of its pictures, and of its sound.
    pub video_us: Option<(u64, u64)>,
    /// The same of its sound.
    pub audio_us: Option<(u64, u64)>,
    /// Whether its pictures begin with a keyframe: one that follows others begins a fragment.
    pub has_key: bool,
}

/// How a film ends in good order. Without it, it plays as well, but is sought slowly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ending {
    /// The last fragment, if anything waited.
    pub last: Option<Fragment>,
    /// The index, to be appended after that.
    pub index: Vec<u8>,
    /// To be written once that is safe.
    pub patches: Vec<Patch>,
}

enum Container {
    Mp4(Mp4),
    Matroska(Matroska),
}

/// See the module's documentation.
pub struct Film {
    container: Container,
    tracks: Vec<Track>,
    /// The last sample of each track: where it began, and how long the one before lasted.
    last: Vec<Option<(u64, u64)>>,
    waiting: Vec<Sample>,
    length: u64,
    end_us: u64,
}

impl Film {
    /// A film, and the first bytes of its file.
    pub fn begin(form: Form, tracks: Vec<Track>) -> (Self, Vec<u8>) {
        let (container, head) = match form {
            Form::Mp4 => {
                let mut mp4 = Mp4::default();
                let head = mp4.begin(&tracks);
                (Container::Mp4(mp4), head)
            }
            Form::WebM => {
                let mut matroska = Matroska::default();
                let head = matroska.begin(&tracks);
                (Container::Matroska(matroska), head)
            }
        };
        let last = tracks.iter().map(|_| None).collect();
        let (waiting, length) = (Vec::new(), head.len() as u64);
        (Self { container, tracks, last, waiting, length, end_us: 0 }, head)
    }

    /// The tracks, as they were at its beginning.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Bytes so far, without what waits.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Adds a sample; returns the fragment that has become complete before it.
    pub fn push(&mut self, mut sample: Sample) -> Option<Fragment> {
        let last = *self.last.get(sample.track)?;
        if let Some((at_us, _)) = last {
            sample.at_us = sample.at_us.max(at_us + STEP_US);
        }
        let is_due = self.is_due(&sample);
        // The one before lasts until this one begins.
        let usual_us = last.map_or(PICTURE_US, |(_, usual_us)| usual_us);
        let mut lasted_us = usual_us;
        if let Some((at_us, _)) = last {
            let before = self.waiting.iter_mut().rev().find(|other| other.track == sample.track);
            let step_us = sample.at_us - at_us;
            if let Some(before) = before
                && before.duration_us == 0
            {
                before.duration_us = step_us.min(SAMPLE_US_MAX);
            }
            lasted_us = step_us.min(1_000_000);
        }
        if let Some(last) = self.last.get_mut(sample.track) {
            *last = Some((sample.at_us, lasted_us));
        }
        let fragment = if is_due { self.flush() } else { None };
        self.waiting.push(sample);
        fragment
    }

    /// Whether what waits is a fragment without this sample. Pictures decide, where there are any.
    fn is_due(&self, sample: &Sample) -> bool {
        let earliest_us = self.waiting.iter().map(|sample| sample.at_us).min();
        let is_picture = self.is_video(sample);
        let patience_us = match is_picture || !self.waiting.iter().any(|s| self.is_video(s)) {
            true => 0,
            false => PICTURE_WITHIN_US,
        };
        let is_long = |us| sample.at_us >= us + FRAGMENT_US + patience_us;
        let begins = is_picture && sample.is_key && self.waiting.iter().any(|s| self.is_video(s));
        begins || earliest_us.is_some_and(is_long)
    }

    fn is_video(&self, sample: &Sample) -> bool {
        self.tracks.get(sample.track).is_some_and(|track| !track.config.codec.is_audio())
    }

    /// What waits, as a fragment.
    pub fn flush(&mut self) -> Option<Fragment> {
        let mut samples = std::mem::take(&mut self.waiting);
        let start_us = samples.iter().map(|sample| sample.at_us).min()?;
        for sample in samples.iter_mut().filter(|sample| sample.duration_us == 0) {
            let usual = self.last.get(sample.track).copied().flatten();
            sample.duration_us = usual.map_or(PICTURE_US, |(_, usual_us)| usual_us);
        }
        let ends = samples.iter().map(|sample| sample.at_us + sample.duration_us);
        let end_us = ends.max().unwrap_or(start_us);
        self.end_us = self.end_us.max(end_us);
        let has_key = samples.iter().find(|s| self.is_video(s)).is_some_and(|s| s.is_key);
        let video_us = span(samples.iter().filter(|s| self.is_video(s)));
        let audio_us = span(samples.iter().filter(|s| !self.is_video(s)));
        let at = self.length;
        let bytes = match &mut self.container {
            Container::Mp4(mp4) => mp4.fragment(at, &samples),
            Container::Matroska(matroska) => matroska.fragment(at, &samples),
        };
        self.length += bytes.len() as u64;
        Some(Fragment { at, bytes, span_us: (start_us, end_us), video_us, audio_us, has_key })
    }

    /// Writes what waits, and what makes the file quick to seek in.
    pub fn end(&mut self) -> Ending {
        let last = self.flush();
        let (index, patches) = match &self.container {
            Container::Mp4(mp4) => mp4.end(self.end_us),
            Container::Matroska(matroska) => matroska.end(self.length, self.end_us),
        };
        Ending { last, index, patches }
    }
}

fn span<'a>(samples: impl Iterator<Item = &'a Sample>) -> Option<(u64, u64)> {
    let spans = samples.map(|sample| (sample.at_us, sample.at_us + sample.duration_us));
    spans.reduce(|(start, end), (other, until)| (start.min(other), end.max(until)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn tracks(codec: Codec) -> Vec<Track> {
        let config = |codec, size| Track { config: Config { codec, size, record: vec![1; 8] } };
        vec![config(codec, (640, 480)), config(Codec::Opus, (0, 0))]
    }

    fn sample(track: usize, at_us: u64, is_key: bool) -> Sample {
        let duration_us = if track == 1 { 20_000 } else { 0 };
        Sample { track, at_us, duration_us, is_key, data: vec![track as u8; 100] }
    }

    /// Names and spans of the boxes in some bytes.
    fn boxes(bytes: &[u8]) -> Vec<(String, std::ops::Range<usize>)> {
        let (mut at, mut found) = (0, Vec::new());
        while at < bytes.len() {
            let len = u32::from_be_bytes(bytes[at..at + 4].try_into().expect("a length")) as usize;
            found.push((
                String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned(),
                at + 8..at + len,
            ));
            at += len;
        }
        found
    }

    #[test]
    fn a_fragment_is_half_a_second_and_says_where_it_is() {
        let (mut film, head) = Film::begin(Form::Mp4, tracks(Codec::Av1));
        let names: Vec<String> = boxes(&head).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["ftyp", "moov"]);
        let mut file = head;
        for at in 0..100 {
            let fragments = [
                film.push(sample(0, at * 40_000, at % 50 == 0)),
                film.push(sample(1, at * 40_000, true)),
                film.push(sample(1, at * 40_000 + 20_000, true)),
            ];
            for fragment in fragments.into_iter().flatten() {
                assert_eq!(fragment.at, file.len() as u64);
                let (start_us, end_us) = fragment.span_us;
                assert!((400_000..600_000).contains(&(end_us - start_us)), "{start_us} {end_us}");
                assert_eq!(fragment.has_key, start_us.is_multiple_of(2_000_000), "{start_us}");
                assert_eq!(fragment.video_us.map(|(start_us, _)| start_us), Some(start_us));
                file.extend(fragment.bytes);
            }
        }
        let Ending { last, index, patches } = film.end();
        file.extend(last.expect("some wait").bytes);
        file.extend(index);
        for patch in patches {
            let at = patch.at as usize;
            file[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
        }
        let names: Vec<String> = boxes(&file).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names[..4], ["ftyp", "moov", "moof", "mdat"]);
        assert_eq!(names.last().map(String::as_str), Some("mfra"));
        let mdats: usize = boxes(&file)
            .iter()
            .filter(|(name, _)| name == "mdat")
            .map(|(_, span)| span.len())
            .sum();
        assert_eq!(mdats, 300 * 100, "no sample is lost");
    }

    #[test]
    fn the_head_of_a_webm_keeps_its_length_when_it_is_filled_in() {
        let (mut film, head) = Film::begin(Form::WebM, tracks(Codec::Vp8));
        for at in 0..300 {
            film.push(sample(0, at * 40_000, at % 50 == 0));
        }
        let length = film.length();
        let Ending { last, index, patches } = film.end();
        let last = last.expect("some wait");
        assert_eq!(last.at, length);
        assert!(!index.is_empty());
        for patch in &patches {
            assert!(patch.at as usize + patch.bytes.len() <= head.len());
        }
        // EBML: the void that is replaced is as long as what replaces it.
        let at = patches[0].at as usize;
        assert_eq!((head[at], patches[0].bytes.len()), (0xec, 96));
        assert_eq!(head[at + 96..at + 100], 0x1549_a966u32.to_be_bytes());
    }

    #[test]
    fn lying_timestamps_keep_their_order() {
        let (mut film, _) = Film::begin(Form::Mp4, tracks(Codec::H264));
        for at_us in [5_000_000, 0, 0, 4_000_000, 5_000_500, u64::MAX / 2_000_000] {
            let _ = film.push(sample(0, at_us, true));
            let times: Vec<u64> = film.waiting.iter().map(|sample| sample.at_us).collect();
            assert!(times.is_sorted_by(|one, other| one < other), "{times:?}");
        }
    }

    #[test]
    fn vp8_and_whoever_wishes_so_get_webm() {
        assert_eq!(Form::of(&tracks(Codec::Vp8), false), Form::WebM);
        assert_eq!(Form::of(&tracks(Codec::Vp9), false), Form::Mp4);
        assert_eq!(Form::of(&tracks(Codec::Vp9), true), Form::WebM);
        assert_eq!(Form::WebM.extension(&tracks(Codec::H264)), "mkv");
        assert_eq!(Form::WebM.extension(&tracks(Codec::Vp8)), "webm");
    }
}

//! One stream on its way into files: the packets of its sections become frames, the frames get
//! their places in time, and a file holds both tracks as long as neither changes what it is.

use std::collections::HashMap;
use std::io;

use dataplane::{PublicationId, TapedPacket};
use recording::{
    Assembler, Codec, Config, Ending, Film, Form, Fragment, Frame, Packet, Sample, Track,
};
use serde_json::{Value, json};

use super::file::{Disk, Growing};
use super::names;
use super::place::Place;
use super::{Stream, Tally};

/// Between two requests for a keyframe: a keyframe costs all viewers a worse picture.
const KEYFRAME_EVERY_US: u64 = 4_000_000;
/// So long sound waits for the pictures beside it, before it gets a file of its own.
const PICTURE_WITHIN_US: u64 = 3_000_000;
/// So long what has not become a whole fragment may wait for more.
const FLUSH_AFTER_US: u64 = 1_500_000;
/// Between two looks at which Encoding is the best.
const CHOOSE_EVERY_US: u64 = 2_000_000;
/// Another Encoding is better if it has so much more, in percent.
const BETTER_PERCENT: u64 = 120;
/// What a report says may differ by so much from what timestamps say, before it is believed.
const DRIFT_US: u64 = 40_000;
/// Timestamps that lead so far away from when packets come are not believed at all.
const LIE_US: u64 = 10_000_000;
/// Timestamps are counted on from one that is no older than this: they wrap.
const ANCHOR_US_MAX: u64 = 600_000_000;
/// A change of the file that follows the one before so soon is early.
const REOPEN_AFTER_US: u64 = 2_000_000;
/// Early changes within [`EARLY_WITHIN_US`]: an encoder that begins may try some sizes, but who changes
/// its codec all the time gets gaps, not thousands of files.
const EARLY_MAX: u32 = 4;
const EARLY_WITHIN_US: u64 = 60_000_000;

/// One Encoding of a section.
struct Layer {
    assembler: Assembler,
    clock: Option<(u32, u64)>,
    /// A timestamp, and the time that it stands for.
    anchor: Option<(u32, u64)>,
    bytes: u64,
    gaps_told: u64,
}

impl Layer {
    fn new(codec: Codec) -> Self {
        let assembler = Assembler::new(codec);
        Self { assembler, clock: None, anchor: None, bytes: 0, gaps_told: 0 }
    }

    /// When a frame belongs, on the shards' clock.
    fn time_of(&mut self, rtp_time: u32, came_us: u64) -> u64 {
        let hz = i64::from(self.assembler.codec().clock_hz());
        let from = |(known, at_us): (u32, u64)| {
            let ticks = i64::from(rtp_time.wrapping_sub(known) as i32);
            at_us.saturating_add_signed(ticks * 1_000_000 / hz)
        };
        let told = self.clock.map(from).filter(|us| us.abs_diff(came_us) < LIE_US);
        let counted = self.anchor.map(from).filter(|us| us.abs_diff(came_us) < LIE_US);
        let is_near =
            |us: u64| self.anchor.is_some_and(|(_, known)| us.abs_diff(known) < ANCHOR_US_MAX);
        let at_us = match (counted, told) {
            (Some(counted), Some(told)) if counted.abs_diff(told) > DRIFT_US => told,
            (Some(counted), _) if is_near(counted) => return counted,
            (counted, told) => counted.or(told).unwrap_or(came_us),
        };
        self.anchor = Some((rtp_time, at_us));
        at_us
    }
}

/// One section of the stream.
struct Section {
    publication: PublicationId,
    is_video: bool,
    layers: HashMap<u8, Layer>,
    chosen: u8,
    /// A better one that takes over with its first keyframe.
    next: Option<u8>,
    chosen_at_us: u64,
    asked_at_us: Option<u64>,
    /// When the last keyframe was written.
    keyed_at_us: Option<u64>,
    /// What its pictures are at present.
    config: Option<Config>,
}

impl Section {
    fn new((publication, is_video): (PublicationId, bool)) -> Self {
        Self {
            publication,
            is_video,
            layers: HashMap::new(),
            chosen: 0,
            next: None,
            chosen_at_us: 0,
            asked_at_us: None,
            keyed_at_us: None,
            config: None,
        }
    }

    /// Looks which Encoding brings most, from time to time.
    fn choose(&mut self, now_us: u64) {
        if now_us.saturating_sub(self.chosen_at_us) < CHOOSE_EVERY_US {
            return;
        }
        self.chosen_at_us = now_us;
        let own = self.layers.get(&self.chosen).map_or(0, |layer| layer.bytes);
        let best = self.layers.iter().max_by_key(|(_, layer)| layer.bytes);
        let best = best.map(|(encoding, layer)| (*encoding, layer.bytes));
        for layer in self.layers.values_mut() {
            layer.bytes = 0;
        }
        if let Some((encoding, bytes)) = best {
            let is_better = encoding != self.chosen && bytes * 100 > own * BETTER_PERCENT;
            self.next = is_better.then_some(encoding);
        }
    }

    /// Frames of the Encoding that is recorded, with their times.
    fn frames(&mut self, now_us: u64) -> Vec<(u64, Frame)> {
        let mut frames = Vec::new();
        if let Some(next) = self.next {
            let layer = self.layers.get_mut(&next);
            let first = layer.and_then(|layer| layer.assembler.poll(now_us));
            if let Some(first) = first {
                (self.chosen, self.next) = (next, None);
                if let Some(layer) = self.layers.get_mut(&next) {
                    frames.push((layer.time_of(first.rtp_time, first.at_us), first));
                }
            }
        }
        if let Some(layer) = self.layers.get_mut(&self.chosen) {
            while let Some(frame) = layer.assembler.poll(now_us) {
                frames.push((layer.time_of(frame.rtp_time, frame.at_us), frame));
            }
        }
        frames
    }
}

/// A file that is being written.
struct Open {
    film: Film,
    file: Growing,
    /// What the film's time zero is, on the shards' clock.
    start_us: u64,
    /// By the index of the section, its track in the film.
    track_of: Vec<Option<usize>>,
    written_at_us: u64,
}

/// See the module's documentation.
pub(super) struct Reel {
    pub(super) stream: Stream,
    sections: Vec<Section>,
    open: Option<Open>,
    opened_at_us: Option<u64>,
    /// Changes of the file that came early, and since when they count.
    early: u32,
    early_since_us: u64,
    /// Frames that wait for the others' beginning: section, time, frame.
    waiting: Vec<(usize, u64, Frame)>,
    began_us: u64,
    /// What came before is not recorded: shards give what they have since the last keyframe, and nobody
    /// had been told then.
    from_us: u64,
    pub(super) is_over: bool,
    pub(super) notice: Option<String>,
    has_warned: bool,
}

impl Reel {
    pub(super) fn new(stream: Stream, now_us: u64, from_us: u64) -> Self {
        Self {
            sections: stream.sections.iter().copied().map(Section::new).collect(),
            stream,
            open: None,
            opened_at_us: None,
            early: 0,
            early_since_us: 0,
            waiting: Vec::new(),
            began_us: now_us,
            from_us,
            is_over: false,
            notice: None,
            has_warned: false,
        }
    }

    /// Nothing can be written for a while: what comes after it begins with a keyframe, in a file of
    /// its own.
    pub(super) fn interrupt(&mut self, now_us: u64) {
        self.open = None;
        self.waiting.clear();
        self.began_us = now_us;
        for section in &mut self.sections {
            (section.config, section.next, section.asked_at_us) = (None, None, None);
            section.layers.values_mut().for_each(|layer| {
                layer.assembler = Assembler::new(layer.assembler.codec());
                layer.gaps_told = 0;
            });
        }
    }

    /// Looks whether the file is still there: who has deleted it gets another one.
    pub(super) fn check(&mut self, now_us: u64, place: &mut Place) {
        let name = self.open.as_ref().map(|open| open.file.name());
        if let Some(name) = name
            && place.find(name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            place.timeline.put_json(now_us, json!({ "event": "file-deleted", "file": name }));
            self.interrupt(now_us);
        }
    }

    /// More sections, or others.
    pub(super) fn update(&mut self, stream: Stream) {
        for section in &stream.sections {
            if !self.sections.iter().any(|known| known.publication == section.0) {
                self.sections.push(Section::new(*section));
            }
        }
        self.stream = stream;
    }

    pub(super) fn packet(&mut self, packet: &TapedPacket<'_>) {
        if packet.at_us < self.from_us {
            return;
        }
        let section = self.sections.iter_mut().find(|s| s.publication == packet.publication);
        let Some(section) = section else {
            return;
        };
        let Some(codec) = codec_of(packet.codec) else {
            if !std::mem::replace(&mut self.has_warned, true) {
                let (name, codec) = (&self.stream.username, packet.codec.name());
                self.notice = Some(format!("{codec} of {name:?} cannot be recorded."));
            }
            return;
        };
        let layer = section.layers.entry(packet.encoding).or_insert_with(|| Layer::new(codec));
        if layer.assembler.codec() != codec {
            *layer = Layer { clock: None, ..Layer::new(codec) };
        }
        layer.bytes += packet.payload.len() as u64;
        if packet.encoding != section.chosen && section.next != Some(packet.encoding) {
            return;
        }
        layer.assembler.push(&Packet {
            seq: packet.seq,
            rtp_time: packet.rtp_time,
            at_us: packet.at_us,
            marker: packet.marker,
            payload: packet.payload,
        });
    }

    /// What a sender report says.
    pub(super) fn clock(
        &mut self,
        publication: PublicationId,
        encoding: u8,
        clock: (u32, u64),
        place: &mut Place,
    ) {
        let section = self.sections.iter_mut().find(|s| s.publication == publication);
        let Some(section) = section else {
            return;
        };
        let is_video = section.is_video;
        if let Some(layer) = section.layers.get_mut(&encoding) {
            let is_new = layer.clock != Some(clock);
            layer.clock = Some(clock);
            if is_new && encoding == section.chosen {
                let (rtp_time, at_us) = clock;
                place.timeline.put_json(
                    at_us,
                    json!({
                        "event": "clock", "stream": self.stream.id, "kind": kind(is_video),
                        "rtp_time": rtp_time,
                    }),
                );
            }
        }
    }

    /// What a keyframe is needed of, if it is time to ask. Who watches meanwhile gets one from time to
    /// time: players can begin with nothing else.
    pub(super) fn wanted_keyframe(
        &mut self,
        now_us: u64,
        is_watched: bool,
    ) -> Option<(PublicationId, u8)> {
        for section in self.sections.iter_mut().filter(|section| section.is_video) {
            let encoding = section.next.unwrap_or(section.chosen);
            let is_long = |at: Option<u64>| {
                at.is_none_or(|us| now_us.saturating_sub(us) >= KEYFRAME_EVERY_US)
            };
            let needs =
                section.layers.get(&encoding).is_none_or(|layer| layer.assembler.needs_keyframe())
                    || (is_watched && is_long(section.keyed_at_us));
            let is_time = is_long(section.asked_at_us);
            if needs && is_time {
                section.asked_at_us = Some(now_us);
                return Some((section.publication, encoding));
            }
        }
        None
    }

    /// Takes the frames that have become complete, and writes what is due.
    pub(super) fn work(&mut self, now_us: u64, place: &mut Place, disk: &Disk) -> io::Result<()> {
        let mut frames = Vec::new();
        for (at, section) in self.sections.iter_mut().enumerate() {
            section.choose(now_us);
            let before = section.chosen;
            frames.extend(section.frames(now_us).into_iter().map(|(us, frame)| (at, us, frame)));
            if section.chosen != before {
                place.timeline.put_json(
                    now_us,
                    json!({
                        "event": "layer", "stream": self.stream.id, "kind": kind(section.is_video),
                        "encoding": section.chosen,
                    }),
                );
            }
            if let Some(layer) = section.layers.get_mut(&section.chosen) {
                let gaps = layer.assembler.gaps() - layer.gaps_told;
                layer.gaps_told += gaps;
                if gaps > 0 {
                    Tally::add(&place.tally.gaps, gaps);
                    let is_video = section.is_video;
                    place.timeline.put_json(
                        now_us,
                        json!({
                            "event": "gap", "stream": self.stream.id, "kind": kind(is_video),
                        }),
                    );
                }
            }
        }
        frames.sort_by_key(|(_, us, _)| *us);
        for (at, us, frame) in frames {
            self.frame(at, us, frame, now_us, place, disk)?;
        }
        if let Some(open) = &mut self.open
            && now_us.saturating_sub(open.written_at_us) >= FLUSH_AFTER_US
        {
            let fragment = open.film.flush();
            write(open, fragment, now_us, place)?;
        }
        if let Some(open) = &mut self.open {
            open.file.sync(now_us, disk);
        }
        Ok(())
    }

    fn frame(
        &mut self,
        at: usize,
        us: u64,
        frame: Frame,
        now_us: u64,
        place: &mut Place,
        disk: &Disk,
    ) -> io::Result<()> {
        let Some(section) = self.sections.get_mut(at) else {
            return Ok(());
        };
        let is_video = section.is_video;
        if frame.is_key {
            section.keyed_at_us = Some(now_us);
        }
        let has_changed = frame.config.is_some() && frame.config != section.config;
        if has_changed {
            // Until the next file may begin, pictures of another form are left out.
            let is_early = self.open.is_some()
                && is_video
                && self.opened_at_us.is_some_and(|us| now_us.saturating_sub(us) < REOPEN_AFTER_US);
            if is_early && now_us.saturating_sub(self.early_since_us) > EARLY_WITHIN_US {
                (self.early, self.early_since_us) = (0, now_us);
            }
            self.early += u32::from(is_early);
            if is_early && self.early > EARLY_MAX {
                section.layers.values_mut().for_each(|layer| {
                    layer.assembler = Assembler::new(layer.assembler.codec());
                    layer.gaps_told = 0;
                });
                return Ok(());
            }
            section.config = frame.config.clone();
            if is_video {
                self.close(now_us, place, disk)?;
            }
        }
        let track = self.open.as_ref().map(|open| open.track_of.get(at).copied().flatten());
        match track {
            Some(Some(track)) => return self.add(track, us, frame, now_us, place),
            // A section that has come later.
            Some(None) => self.close(now_us, place, disk)?,
            None => {}
        }
        self.waiting.push((at, us, frame));
        let lacks_pictures = self.sections.iter().any(|s| s.is_video && s.config.is_none());
        if lacks_pictures && now_us.saturating_sub(self.began_us) < PICTURE_WITHIN_US {
            return Ok(());
        }
        self.begin(now_us, place)
    }

    /// Opens a file for what waits.
    fn begin(&mut self, now_us: u64, place: &mut Place) -> io::Result<()> {
        let mut tracks = Vec::new();
        let mut track_of = Vec::new();
        for section in &mut self.sections {
            // Sound that comes later must find its track: another file could only begin with a
            // keyframe.
            if !section.is_video && section.config.is_none() {
                section.config = Some(Config::opus());
            }
            track_of.push(section.config.clone().map(|config| {
                tracks.push(Track { config });
                tracks.len() - 1
            }));
        }
        let waiting = std::mem::take(&mut self.waiting);
        let Some(start_us) = waiting.iter().map(|(_, us, _)| *us).min() else {
            return Ok(());
        };
        // The first frames may have been sampled a moment before; a file that began before its
        // session would be put in the wrong place.
        let start_us = start_us.max(place.start_us);
        let form = Form::of(&tracks, place.is_webm);
        let extension = form.extension(&tracks);
        let stem = names::stem(place.wall, &self.stream.username);
        let (storage, home) = (&*place.storage, (&*place.folder, &*place.group));
        let mut file = Growing::create(storage, home, &stem, extension)?;
        Tally::add(&place.tally.files, 1);
        let described: Vec<Value> = tracks.iter().map(described).collect();
        let (film, head) = Film::begin(form, tracks);
        file.append(&head)?;
        place.timeline.put_json(
            start_us,
            json!({
                "event": "file", "file": file.name(), "stream": self.stream.id,
                "tracks": described, "head": head.len(),
            }),
        );
        self.open = Some(Open { film, file, start_us, track_of, written_at_us: now_us });
        self.opened_at_us = Some(now_us);
        for (at, us, frame) in waiting {
            let track =
                self.open.as_ref().and_then(|open| open.track_of.get(at).copied().flatten());
            if let Some(track) = track {
                self.add(track, us, frame, now_us, place)?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        track: usize,
        us: u64,
        frame: Frame,
        now_us: u64,
        place: &mut Place,
    ) -> io::Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let Frame { ticks, is_key, data, .. } = frame;
        let at_us = us.saturating_sub(open.start_us);
        let duration_us = u64::from(ticks) * 1_000_000 / 48_000;
        let fragment = open.film.push(Sample { track, at_us, duration_us, is_key, data });
        write(open, fragment, now_us, place)
    }

    /// Ends the file, if there is one.
    pub(super) fn close(&mut self, now_us: u64, place: &mut Place, disk: &Disk) -> io::Result<()> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let Ending { last, index, patches } = open.film.end();
        write(&mut open, last, now_us, place)?;
        let ending = Ending { last: None, index, patches };
        open.file.end(&ending, now_us, disk)?;
        place.timeline.put_json(now_us, json!({ "event": "file-end", "file": open.file.name() }));
        Ok(())
    }
}

/// Appends a fragment to its file, and tells where it is.
fn write(
    open: &mut Open,
    fragment: Option<Fragment>,
    now_us: u64,
    place: &mut Place,
) -> io::Result<()> {
    let Some(fragment) = fragment else {
        return Ok(());
    };
    open.written_at_us = now_us;
    open.file.fragment(&fragment)?;
    place.has_written = true;
    place.tally.usage.add(&place.group, fragment.bytes.len() as u64);
    Tally::add(&place.tally.fragments, 1);
    Tally::add(&place.tally.bytes, fragment.bytes.len() as u64);
    let base_us = open.start_us.saturating_sub(place.start_us);
    let moved = |(start_us, end_us): (u64, u64)| [base_us + start_us, base_us + end_us];
    let [start_us, end_us] = moved(fragment.span_us);
    let mut line = json!({
        "event": "fragment", "file": open.file.name(), "offset": fragment.at,
        "length": fragment.bytes.len(), "has_key": fragment.has_key,
        "start_us": start_us, "end_us": end_us,
    });
    for (kind, span) in [("video_us", fragment.video_us), ("audio_us", fragment.audio_us)] {
        if let (Some(span), Some(fields)) = (span, line.as_object_mut()) {
            fields.insert(kind.to_owned(), json!(moved(span)));
        }
    }
    place.timeline.put_json(now_us, line);
    Ok(())
}

fn described(track: &Track) -> Value {
    let Config { codec, size: (width, height), record } = &track.config;
    let (codec, mime) = (codec.name(), track.config.mime_codec());
    let record: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
    match track.config.codec.is_audio() {
        true => json!({ "kind": "audio", "codec": codec, "mime": mime, "record": record }),
        false => json!({
            "kind": "video", "codec": codec, "width": width, "height": height, "mime": mime,
            "record": record,
        }),
    }
}

fn kind(is_video: bool) -> &'static str {
    if is_video { "video" } else { "audio" }
}

fn codec_of(codec: dataplane::Codec) -> Option<Codec> {
    match codec {
        dataplane::Codec::Vp8 => Some(Codec::Vp8),
        dataplane::Codec::Vp9 => Some(Codec::Vp9),
        dataplane::Codec::Av1 => Some(Codec::Av1),
        dataplane::Codec::H264 => Some(Codec::H264),
        dataplane::Codec::Opus => Some(Codec::Opus),
        dataplane::Codec::G722 | dataplane::Codec::Pcmu | dataplane::Codec::Pcma => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_tell_the_time_unless_they_lie() {
        let mut layer = Layer::new(Codec::Vp8);
        let start_us = 50_000_000;
        assert_eq!(layer.time_of(u32::MAX - 10, start_us), start_us, "nothing else is known");
        // They wrap, and packets come late.
        assert_eq!(layer.time_of(9000 - 11, start_us + 300_000), start_us + 100_000);
        layer.clock = Some((9000 - 11, start_us + 90_000));
        assert_eq!(layer.time_of(18_000 - 11, start_us + 200_000), start_us + 200_000, "jitter");
        layer.clock = Some((9000 - 11, start_us));
        assert_eq!(layer.time_of(18_000 - 11, start_us + 200_000), start_us + 100_000, "a report");
        layer.clock = None;
        let came_us = start_us + 400_000;
        assert_eq!(layer.time_of(2_000_000_000, came_us), came_us, "hours ahead");
        assert_eq!(layer.time_of(2_000_009_000, came_us + 1), came_us + 100_000);
    }
}

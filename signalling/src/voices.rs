//! Who speaks in a group, and of whom the others hear: in a large group only of the loudest.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{MediaId, PublicationKey, StreamId};

/// Groups of more members than this send on the sound of the loudest only.
pub(crate) const LARGE_ABOVE: usize = 50;
/// How many those are where the group's file does not say.
pub(crate) const LOUDEST_DEFAULT: usize = 8;
/// So many speakers are told at most.
const TOLD_MAX: usize = 16;
/// Who is heard stays so until another one is louder by so many dB, so that places do not flap.
const LOUDER_DB: u8 = 6;
/// Speakers whose loudness differs by less are told in the order in which they began.
const TOLD_STEP_DB: u8 = 12;

/// The sound of one section, as far as its levels tell.
#[derive(Clone, Debug)]
struct Voice {
    stream: StreamId,
    /// It is heard however loud others are.
    is_exempt: bool,
    loudness: u8,
    is_speaking: bool,
    /// Counts up: when it last began to speak.
    began: u64,
    is_heard: bool,
}

/// All of a group whose sound carries levels.
#[derive(Debug, Default)]
pub(crate) struct Voices {
    voices: BTreeMap<PublicationKey, Voice>,
    /// How often somebody has begun to speak: the order of the latest.
    begun: u64,
    /// Who speaks, as members were told last.
    told: Vec<StreamId>,
}

impl Voices {
    /// Sound has become so loud. Exempt is what must be heard in any case. Returns whether somebody begins
    /// to speak.
    pub(crate) fn note(
        &mut self,
        key: PublicationKey,
        stream: &StreamId,
        is_exempt: bool,
        (loudness, is_speaking): (u8, bool),
    ) -> bool {
        let voice = self.voices.entry(key).or_insert_with(|| Voice {
            stream: stream.clone(),
            is_exempt,
            loudness: 0,
            is_speaking: false,
            began: 0,
            is_heard: true,
        });
        let has_begun = is_speaking && !voice.is_speaking;
        if has_begun {
            self.begun += 1;
            voice.began = self.begun;
        }
        (voice.loudness, voice.is_speaking, voice.is_exempt) = (loudness, is_speaking, is_exempt);
        has_begun
    }

    /// A stream has ended. Returns whether anything was known of its sound.
    pub(crate) fn forget(&mut self, media: MediaId) -> bool {
        let before = self.voices.len();
        self.voices.retain(|key, _| key.media != media);
        self.voices.len() != before
    }

    /// Chooses who is heard: all, or so many that are not exempt. Returns for whom that changes.
    pub(crate) fn choose(&mut self, heard_max: Option<usize>) -> Vec<(PublicationKey, bool)> {
        let mut rank: Vec<(bool, u8, bool, u64, PublicationKey)> = self
            .voices
            .iter()
            .filter(|(_, voice)| !voice.is_exempt)
            .map(|(key, voice)| {
                let margin = if voice.is_heard { LOUDER_DB } else { 0 };
                // Of those who are silent, whoever spoke last is most likely to go on.
                let loudness = if voice.is_speaking { voice.loudness + margin } else { 0 };
                (voice.is_speaking, loudness, voice.is_heard, voice.began, *key)
            })
            .collect();
        rank.sort_unstable_by(|left, right| right.cmp(left));
        let heard_max = heard_max.unwrap_or(usize::MAX);
        let heard: BTreeSet<PublicationKey> =
            rank.into_iter().take(heard_max).map(|(.., key)| key).collect();
        let mut changed = Vec::new();
        for (key, voice) in &mut self.voices {
            let is_heard = voice.is_exempt || heard.contains(key);
            if std::mem::replace(&mut voice.is_heard, is_heard) != is_heard {
                changed.push((*key, is_heard));
            }
        }
        changed
    }

    /// The streams of those who speak, the loudest first.
    pub(crate) fn speakers(&self) -> Vec<StreamId> {
        let mut speaking: Vec<&Voice> =
            self.voices.values().filter(|voice| voice.is_speaking && voice.is_heard).collect();
        speaking.sort_by_key(|voice| (u8::MAX - voice.loudness / TOLD_STEP_DB, voice.began));
        let mut streams: Vec<StreamId> = Vec::new();
        for voice in speaking {
            if !streams.contains(&voice.stream) && streams.len() < TOLD_MAX {
                streams.push(voice.stream.clone());
            }
        }
        streams
    }

    /// The speakers, if that is news to the members.
    pub(crate) fn news(&mut self) -> Option<Vec<StreamId>> {
        let speakers = self.speakers();
        (speakers != self.told).then(|| {
            self.told.clone_from(&speakers);
            speakers
        })
    }

    /// Whether [`Self::news`] would give any.
    pub(crate) fn has_news(&self) -> bool {
        self.speakers() != self.told
    }

    /// What members know already.
    pub(crate) fn told(&self) -> &[StreamId] {
        &self.told
    }

    /// When a stream last began to speak, for those who cannot show all; the highest is the latest.
    pub(crate) fn began(&self, media: MediaId) -> u64 {
        let keys = PublicationKey { media, m_line: 0 }..=PublicationKey { media, m_line: u8::MAX };
        self.voices.range(keys).map(|(_, voice)| voice.began).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(media: u64) -> PublicationKey {
        PublicationKey { media: MediaId(media), m_line: 0 }
    }

    fn note(voices: &mut Voices, media: u64, level: (u8, bool)) {
        let stream = StreamId::parse(&format!("s{media}")).unwrap();
        voices.note(key(media), &stream, false, level);
    }

    fn speakers(voices: &Voices) -> Vec<String> {
        voices.speakers().iter().map(|stream| stream.as_str().to_owned()).collect()
    }

    #[test]
    fn only_the_loudest_are_heard_and_places_do_not_flap() {
        let mut voices = Voices::default();
        for media in 0..5 {
            note(&mut voices, media, (0, false));
        }
        assert_eq!(voices.choose(None), []);
        let changed = voices.choose(Some(2));
        assert_eq!(changed.iter().filter(|(_, is_heard)| !is_heard).count(), 3);
        note(&mut voices, 0, (90, true));
        note(&mut voices, 1, (90, true));
        voices.choose(Some(2));
        // As loud as another one is not loud enough.
        note(&mut voices, 2, (95, true));
        assert_eq!(voices.choose(Some(2)), []);
        note(&mut voices, 2, (97, true));
        assert_eq!(voices.choose(Some(2)), [(key(0), false), (key(2), true)]);
        assert_eq!(speakers(&voices), ["s2", "s1"]);
        // Whoever falls silent keeps the place until somebody else speaks.
        note(&mut voices, 1, (20, false));
        assert_eq!(voices.choose(Some(2)), [(key(0), true), (key(1), false)]);
        note(&mut voices, 0, (20, false));
        note(&mut voices, 2, (20, false));
        assert_eq!(voices.choose(Some(2)), []);
        assert_eq!(voices.choose(None).len(), 3, "all again");
    }

    #[test]
    fn who_is_exempt_is_heard_and_takes_no_place() {
        let mut voices = Voices::default();
        let stream = StreamId::parse("film").unwrap();
        voices.note(key(9), &stream, true, (10, false));
        for media in 0..3 {
            note(&mut voices, media, (90, true));
        }
        let changed = voices.choose(Some(1));
        assert_eq!(changed.len(), 2);
        assert!(changed.iter().all(|(changed, is_heard)| *changed != key(9) && !is_heard));
    }

    #[test]
    fn speakers_are_told_once_and_end_with_their_streams() {
        let mut voices = Voices::default();
        assert_eq!(voices.news(), None);
        note(&mut voices, 1, (85, true));
        note(&mut voices, 2, (90, true));
        assert!(voices.has_news());
        assert_eq!(voices.news().map(|streams| streams.len()), Some(2));
        assert_eq!(voices.news(), None);
        note(&mut voices, 2, (94, true));
        assert_eq!(voices.news(), None, "about as loud as before");
        voices.forget(MediaId(1));
        assert_eq!(voices.news().map(|streams| streams.len()), Some(1));
        assert!(voices.began(MediaId(2)) > 0 && voices.began(MediaId(1)) == 0);
    }
}

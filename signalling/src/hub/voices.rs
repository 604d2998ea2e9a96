//! Who speaks: members are told, in large groups the sound of the others is withheld, and views show
//! who spoke last.

use std::time::Duration;

use super::{Event, MediaRequest, Shared};
use crate::group::Group;
use crate::ids::{ConnId, MediaId, PublicationKey, StreamId};
use crate::permission::OP;
use crate::stream::CAMERA_LABEL;
use crate::time::Now;
use crate::voices::{LARGE_ABOVE, LOUDEST_DEFAULT};

/// Between two messages to a group's members about who speaks.
const TELL_EVERY: Duration = Duration::from_millis(500);

impl Group {
    /// How many of the loudest are heard; nothing if all are.
    fn heard_max(&self) -> Option<usize> {
        let loudest = self.description.loudest.unwrap_or(LOUDEST_DEFAULT);
        (self.members.len() > LARGE_ABOVE && loudest > 0).then_some(loudest)
    }

    /// Those who want to know who speaks.
    fn listeners(&self) -> Vec<ConnId> {
        let listening = self.members.iter().filter(|(_, member)| member.traits.follows_speakers);
        listening.map(|(conn, _)| *conn).collect()
    }

    /// The levels of a stream's sound have changed.
    pub(super) fn note_voice(
        &mut self,
        shared: &mut Shared,
        (conn, stream): (ConnId, &StreamId),
        key: PublicationKey,
        level: (u8, bool),
    ) {
        let Some(member) = self.members.get(&conn) else {
            return;
        };
        let is_camera = member.ups.get(stream).is_some_and(|up| up.label == CAMERA_LABEL);
        // Whatever else a member shows, it shows on purpose.
        let is_exempt = !is_camera || member.may(OP);
        let has_begun = self.voices.note(key, stream, is_exempt, level);
        self.settle_voices(shared);
        if has_begun {
            self.refresh_views(shared);
        }
    }

    /// Who speaks, or how many are there, is not what it was.
    pub(super) fn settle_voices(&mut self, shared: &mut Shared) {
        let heard_max = self.heard_max();
        let changed = self.voices.choose(heard_max);
        if self.voices.has_news() && self.tell_speakers_at.is_none() {
            let at = self.told_speakers_at.map_or(Duration::ZERO, |at| at + TELL_EVERY);
            self.tell_speakers_at = Some(at);
            shared.speeches.insert((at, self.name.clone()));
        }
        for (publication, is_heard) in changed {
            shared.want_media(MediaRequest::SetHeard { publication, is_heard });
        }
    }

    /// A stream has ended.
    pub(super) fn forget_voices(&mut self, shared: &mut Shared, media: MediaId) {
        if self.voices.forget(media) {
            self.settle_voices(shared);
        }
    }

    /// Tells the members who speaks, if it is still news.
    pub(super) fn tell_speakers(&mut self, shared: &mut Shared, now: Now) {
        self.tell_speakers_at = None;
        if let Some(streams) = self.voices.news() {
            self.told_speakers_at = Some(now.mono);
            self.note_speakers(shared, &streams);
            shared.tell_many(self.listeners(), Event::Speakers { streams });
        }
    }

    /// Tells a newcomer what the others know.
    pub(super) fn tell_speakers_to(&self, shared: &mut Shared, conn: ConnId) {
        let follows = self.members.get(&conn).is_some_and(|m| m.traits.follows_speakers);
        let streams = self.voices.told().to_vec();
        if follows && !streams.is_empty() {
            shared.tell(conn, Event::Speakers { streams });
        }
    }
}

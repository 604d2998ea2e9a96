//! Who speaks: members are told, in large groups the sound of the others is withheld, and views show
//! who spoke last.

use std::time::Duration;

use super::{Event, Hub, MediaRequest};
use crate::group::Group;
use crate::ids::{ConnId, MediaId, PublicationKey, StreamId};
use crate::name::GroupName;
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
}

impl Hub {
    /// The levels of a stream's sound have changed.
    pub(super) fn note_voice(
        &mut self,
        name: &GroupName,
        (conn, stream): (ConnId, &StreamId),
        key: PublicationKey,
        level: (u8, bool),
    ) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(member) = group.members.get(&conn) else {
            return;
        };
        let is_camera = member.ups.get(stream).is_some_and(|up| up.label == CAMERA_LABEL);
        // Whatever else a member shows, it shows on purpose.
        let is_exempt = !is_camera || member.may(OP);
        let has_begun = group.voices.note(key, stream, is_exempt, level);
        self.settle_voices(name);
        if has_begun {
            self.refresh_views(name);
        }
    }

    /// Who speaks, or how many are there, is not what it was.
    pub(super) fn settle_voices(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let heard_max = group.heard_max();
        let changed = group.voices.choose(heard_max);
        if group.voices.has_news() && group.tell_speakers_at.is_none() {
            let at = group.told_speakers_at.map_or(Duration::ZERO, |at| at + TELL_EVERY);
            group.tell_speakers_at = Some(at);
            self.speeches.insert((at, name.clone()));
        }
        for (publication, is_heard) in changed {
            self.want_media(MediaRequest::SetHeard { publication, is_heard });
        }
    }

    /// A stream has ended.
    pub(super) fn forget_voices(&mut self, name: &GroupName, media: MediaId) {
        if self.groups.get_mut(name).is_some_and(|group| group.voices.forget(media)) {
            self.settle_voices(name);
        }
    }

    /// Tells the members who speaks, if it is still news.
    pub(super) fn tell_speakers(&mut self, name: &GroupName, now: Now) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        group.tell_speakers_at = None;
        if let Some(streams) = group.voices.news() {
            group.told_speakers_at = Some(now.mono);
            let listeners = group.listeners();
            self.note_speakers(name, &streams);
            self.tell_many(listeners, Event::Speakers { streams });
        }
    }

    /// Tells a newcomer what the others know.
    pub(super) fn tell_speakers_to(&mut self, name: &GroupName, conn: ConnId) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let follows = group.members.get(&conn).is_some_and(|m| m.traits.follows_speakers);
        let streams = group.voices.told().to_vec();
        if follows && !streams.is_empty() {
            self.tell(conn, Event::Speakers { streams });
        }
    }
}

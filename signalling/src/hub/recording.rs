//! Recording, as far as members are concerned: who starts and ends it, who is told, and what of the
//! group's life the recorder learns. The recorder is a member that everybody sees, as in Galene.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::action::Refusal::{self, Error};
use super::{ActionRequest, Event, Hub, Message, Place, Shared, Traits, UserKind, user_event};
use crate::group::Group;
use crate::ids::{ClientId, ConnId, MediaId, PublicationKey, StreamId};
use crate::member::Member;
use crate::name::{GroupName, Username};
use crate::permission::{OP, Permissions};
use crate::recording_rules::Consent;
use crate::stream::{MediaKind, Up};
use crate::time::Now;

/// The name of the member that records.
const USERNAME: &str = "RECORDING";

/// What the recorder is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordOrder {
    /// A recording begins.
    Begin {
        /// The group that is recorded.
        group: GroupName,
        /// The name of who has started it; may be empty.
        by: String,
        /// WebM is wished for whatever it can hold.
        is_webm: bool,
    },
    /// A stream is there, or has changed.
    Stream(RecordedStream),
    /// A stream is over.
    StreamEnded {
        /// The group that is recorded.
        group: GroupName,
        /// The transport that brought it.
        media: MediaId,
    },
    /// Something was said or has happened, for the timeline.
    Note {
        /// The group that is recorded.
        group: GroupName,
        /// A line of the timeline, without its time.
        what: Map<String, Value>,
    },
    /// The recording is over.
    End {
        /// The group that is recorded.
        group: GroupName,
    },
}

/// A stream that is to be recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedStream {
    /// The group that is recorded.
    pub group: GroupName,
    /// The publisher's client id.
    pub client: String,
    /// Its name; may be empty.
    pub username: String,
    /// The id of the stream, as its publisher gave it.
    pub stream: String,
    /// Its label, such as `camera`.
    pub label: String,
    /// Its publisher has only just agreed: nothing from before is to be recorded.
    pub is_from_now: bool,
    /// Its media sections, as far as they have brought anything.
    pub sections: Vec<(PublicationKey, MediaKind)>,
}

impl Group {
    /// Whether a member is to be recorded at present.
    pub(super) fn records(&self, conn: ConnId, member: &Member) -> bool {
        let may = match self.description.recording.consent {
            Consent::Everybody => true,
            Consent::Asked => member.consent == Some(true),
            Consent::Operators => member.may(OP) || member.may(super::RECORD),
        };
        may && self.recorder.is_some_and(|recorder| recorder != conn)
    }

    /// Begins to record, with a member that shows it.
    pub(super) fn record(
        &mut self,
        shared: &mut Shared,
        starter: ConnId,
        now: Now,
    ) -> Result<(), Refusal> {
        if self.recorder.is_some() {
            return Err(Error("already recording"));
        }
        let id = shared.entropy.hex_id();
        let (Ok(id), Ok(username)) = (ClientId::parse(&id), Username::parse(USERNAME)) else {
            return Err(Error("the recording could not be started"));
        };
        let by = self.members.get(&starter).map(|member| member.username.as_str().to_owned());
        let (group, is_webm) = (self.name.clone(), self.description.recording.is_webm);
        shared.order(RecordOrder::Begin { group, by: by.unwrap_or_default(), is_webm });
        let conn = shared.connect(Traits::default());
        if let Some(client) = shared.clients.get_mut(&conn) {
            client.place = Place::In(self.name.clone());
        }
        // Clients know a recorder by this and by its name.
        let permissions = Permissions::from_list(&["system".to_owned()]);
        let member = Member::new(id, username, Traits::default(), permissions, now.mono);
        self.recorder = Some(conn);
        let event = user_event(UserKind::Add, &member);
        self.members.insert(conn, member);
        // Who presses the button knows what it does.
        if let Some(member) = self.members.get_mut(&starter) {
            member.consent.get_or_insert(true);
        }
        shared.tell_many(self.chatting(), event);
        // Before all learn that it records: who is recorded already need not be asked.
        self.follow_all_consents(shared);
        self.tell_changed(shared, false);
        Ok(())
    }

    /// A member says whether it may be recorded.
    pub(super) fn consent(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        action: &ActionRequest,
    ) -> Result<(), Refusal> {
        let member = self.members.get_mut(&conn).ok_or(Error("join a group first"))?;
        if action.dest != member.id.as_str() {
            return Err(Refusal::NOT_AUTHORISED);
        }
        let Some(Value::Bool(agrees)) = action.value else {
            return Err(Error("Bad value in consent"));
        };
        member.consent = Some(agrees);
        self.follow_consent(shared, conn);
        Ok(())
    }

    /// Records whom the group's rules let it record, and nobody else.
    pub(super) fn follow_all_consents(&mut self, shared: &mut Shared) {
        let members: Vec<ConnId> = self.members.keys().copied().collect();
        for conn in members {
            self.follow_consent(shared, conn);
        }
    }

    /// The same for one member, whose standing may have changed.
    pub(super) fn follow_consent(&mut self, shared: &mut Shared, conn: ConnId) {
        let Some(member) = self.members.get(&conn) else {
            return;
        };
        let is_wanted = self.records(conn, member);
        // Where everybody is recorded, telling everybody of everybody would be a message for each
        // pair: the group's status says it.
        let is_told = self.description.recording.consent != Consent::Everybody;
        match (member.is_recorded, is_wanted) {
            (false, true) => self.begin_recording(shared, conn, is_told),
            (true, false) => self.end_recording(shared, conn),
            (false, false) | (true, true) => return,
        }
        if is_told {
            self.tell_user_changed(shared, conn, false);
        }
    }

    /// A member is recorded from now on, with the streams that it has.
    fn begin_recording(&mut self, shared: &mut Shared, conn: ConnId, is_from_now: bool) {
        if let Some(member) = self.members.get_mut(&conn) {
            member.is_recorded = true;
        }
        self.note_member(shared, conn, "joined");
        let Some(member) = self.members.get(&conn) else {
            return;
        };
        for (stream, up) in &member.ups {
            self.record_up(shared, member, (stream, up), is_from_now);
        }
    }

    fn end_recording(&mut self, shared: &mut Shared, conn: ConnId) {
        self.note_member(shared, conn, "left");
        let Some(member) = self.members.get_mut(&conn) else {
            return;
        };
        // Only now: what is written down of it before still belongs to the recording.
        member.is_recorded = false;
        let medias: Vec<MediaId> = member.ups.values().map(|up| up.media).collect();
        for media in medias {
            self.recorded_stream_ended(shared, media);
        }
    }

    /// Ends the recording, if there is one.
    pub(super) fn unrecord(&mut self, shared: &mut Shared, now: Now) {
        if let Some(conn) = self.recorder {
            self.remove_member(shared, conn, now);
        }
    }

    /// A member is gone: if it was the recorder, the recording is over; so it is when nobody else is
    /// left.
    pub(super) fn recording_after(&mut self, shared: &mut Shared, gone: ConnId, now: Now) {
        let Some(recorder) = self.recorder else {
            return;
        };
        if recorder == gone {
            self.recorder = None;
            shared.clients.remove(&gone);
            shared.order(RecordOrder::End { group: self.name.clone() });
            self.tell_changed(shared, false);
            self.follow_all_consents(shared);
        } else if self.members.len() == 1 {
            self.remove_member(shared, recorder, now);
        }
    }

    /// A stream is there for others, or has changed.
    pub(super) fn record_stream(&self, shared: &mut Shared, conn: ConnId, stream: &StreamId) {
        if let Some(member) = self.members.get(&conn)
            && let Some(up) = member.ups.get(stream)
        {
            self.record_up(shared, member, (stream, up), false);
        }
    }

    /// Has a stream recorded, if others know it and its publisher is recorded.
    fn record_up(
        &self,
        shared: &mut Shared,
        member: &Member,
        (stream, up): (&StreamId, &Up),
        is_from_now: bool,
    ) {
        if self.recorder.is_none() || !up.is_announced || !member.is_recorded {
            return;
        }
        let section = |(m_line, kind): &(u8, MediaKind)| {
            (PublicationKey { media: up.media, m_line: *m_line }, *kind)
        };
        let recorded = RecordedStream {
            group: self.name.clone(),
            client: member.id.as_str().to_owned(),
            username: member.username.as_str().to_owned(),
            stream: stream.as_str().to_owned(),
            label: up.label.clone(),
            is_from_now,
            sections: up.publications.iter().map(section).collect(),
        };
        shared.order(RecordOrder::Stream(recorded));
    }

    /// A stream is over.
    pub(super) fn recorded_stream_ended(&self, shared: &mut Shared, media: MediaId) {
        if self.recorder.is_some() {
            shared.order(RecordOrder::StreamEnded { group: self.name.clone(), media });
        }
    }

    /// Somebody has come or gone.
    pub(super) fn note_member(&self, shared: &mut Shared, conn: ConnId, event: &str) {
        let member = self.members.get(&conn).filter(|member| member.is_recorded);
        let Some(member) = member.filter(|_| self.recorder.is_some()) else {
            return;
        };
        let what = json!({
            "event": event,
            "client": member.id.as_str(),
            "username": member.username.as_str(),
        });
        self.note_for_recorder(shared, what);
    }

    /// Others speak than before.
    pub(super) fn note_speakers(&self, shared: &mut Shared, streams: &[StreamId]) {
        if self.recorder.is_none() {
            return;
        }
        let is_recorded = |stream: &&StreamId| {
            let mut members = self.members.values();
            members.any(|member| member.is_recorded && member.ups.contains_key(*stream))
        };
        let streams: Vec<&str> = streams.iter().filter(is_recorded).map(StreamId::as_str).collect();
        self.note_for_recorder(shared, json!({ "event": "speakers", "streams": streams }));
    }

    /// Something was said to all.
    pub(super) fn note_chat(&self, shared: &mut Shared, message: &Message) {
        if self.recorder.is_none() {
            return;
        }
        // What the server says is nobody's.
        let source = message.source.as_ref().and_then(|id| self.find(id.as_str()));
        let member = source.and_then(|conn| self.members.get(&conn));
        if member.is_some_and(|member| !member.is_recorded) {
            return;
        }
        let what = json!({
            "event": "chat",
            "kind": message.kind,
            "id": message.id,
            "client": message.source.as_ref().map(ClientId::as_str),
            "username": message.username.as_ref().map(Username::as_str),
            "value": message.value,
        });
        self.note_for_recorder(shared, what);
    }

    fn note_for_recorder(&self, shared: &mut Shared, what: Value) {
        if let Value::Object(what) = what {
            shared.order(RecordOrder::Note { group: self.name.clone(), what });
        }
    }

    /// Tells operators, and whoever may record, what the recorder has to say.
    fn tell_recorders(&self, shared: &mut Shared, text: &str) {
        let may_know = |member: &Member| member.may(OP) || member.may(super::RECORD);
        let members = self.members.iter();
        let told = members.filter(|(_, member)| member.traits.chats && may_know(member));
        let message = Message {
            kind: "warning".to_owned(),
            is_privileged: true,
            error: "recording",
            value: Some(text.into()),
            ..Message::default()
        };
        let told = told.map(|(conn, _)| *conn).collect();
        shared.tell_many(told, Event::UserMessage(Arc::new(message)));
    }
}

impl Hub {
    /// The recorder has something to say to operators and to whoever may record; `is_over` if it has
    /// given up.
    pub fn recorder_says(&mut self, name: &GroupName, text: &str, is_over: bool, now: Now) {
        self.within(name, |group, shared| {
            group.tell_recorders(shared, text);
            if is_over {
                group.unrecord(shared, now);
            }
        });
    }
}

//! Recording, as far as members are concerned: who starts and ends it, who is told, and what of the
//! group's life the recorder learns. The recorder is a member that everybody sees, as in Galene.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::action::Refusal::{self, Error};
use super::{ActionRequest, Event, Hub, Message, Output, Place, Traits, user_event};
use crate::group::{Group, Member};
use crate::hub::UserKind;
use crate::ids::{ClientId, ConnId, MediaId, PublicationKey, StreamId};
use crate::limit::TokenBucket;
use crate::name::{GroupName, Username};
use crate::permission::{OP, Permissions};
use crate::recording_rules::Consent;
use crate::stream::{MediaKind, Request};
use crate::time::Now;

/// The name of the member that records.
const USERNAME: &str = "RECORDING";

/// What the recorder shall do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordOrder {
    /// A recording begins.
    Begin {
        /// Of which group.
        group: GroupName,
        /// Who started it.
        by: String,
        /// WebM is wished for whatever it can hold.
        is_webm: bool,
    },
    /// A stream is there, or has changed.
    Stream(RecordedStream),
    /// A stream is over.
    StreamEnded {
        /// Of which group.
        group: GroupName,
        /// Its transport.
        media: MediaId,
    },
    /// Something was said or has happened, for the timeline.
    Note {
        /// In which group.
        group: GroupName,
        /// What.
        what: Map<String, Value>,
    },
    /// The recording is over.
    End {
        /// Of which group.
        group: GroupName,
    },
}

/// A stream that is to be recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedStream {
    /// The group.
    pub group: GroupName,
    /// The publisher's client id.
    pub client: String,
    /// Its name; may be empty.
    pub username: String,
    /// The stream's id.
    pub stream: String,
    /// Its label, such as `camera`.
    pub label: String,
    /// Its publisher has only just agreed: nothing from before is to be recorded.
    pub is_from_now: bool,
    /// Its sections.
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
}

impl Hub {
    fn order(&mut self, order: RecordOrder) {
        self.outputs.push_back(Output::Record(Box::new(order)));
    }

    /// Begins to record, with a member that shows it.
    pub(super) fn record(&mut self, name: &GroupName, by: ConnId, now: Now) -> Result<(), Refusal> {
        let Some(group) = self.groups.get(name) else {
            return Err(Error("join a group first"));
        };
        if group.recorder.is_some() {
            return Err(Error("already recording"));
        }
        let starter = by;
        let by = group.members.get(&by).map(|member| member.username.as_str().to_owned());
        let is_webm = group.description.recording.is_webm;
        let id = self.entropy.hex_id();
        let (Ok(id), Ok(username)) = (ClientId::parse(&id), Username::parse(USERNAME)) else {
            return Err(Error("the recording could not be started"));
        };
        let by = by.unwrap_or_default();
        self.order(RecordOrder::Begin { group: name.clone(), by, is_webm });
        let conn = self.connect(Traits::default());
        if let Some(client) = self.clients.get_mut(&conn) {
            client.place = Place::In(name.clone());
        }
        let budget = || TokenBucket::new(1, 1, now.mono);
        let member = Member {
            id,
            username,
            traits: Traits::default(),
            permissions: Permissions::from_list(&["system".to_owned()]),
            data: Map::new(),
            request: Request::default(),
            ups: Default::default(),
            downs: Default::default(),
            view: None,
            failures: Default::default(),
            restarted_at: None,
            asked_numbers_at: None,
            consent: None,
            is_recorded: false,
            chat_budget: budget(),
            offer_budget: budget(),
            request_budget: budget(),
        };
        let Some(group) = self.groups.get_mut(name) else {
            return Ok(());
        };
        group.recorder = Some(conn);
        let event = user_event(UserKind::Add, &member);
        group.members.insert(conn, member);
        let everyone = group.chatting();
        // Who presses the button knows what it does.
        if let Some(member) = group.members.get_mut(&starter) {
            member.consent.get_or_insert(true);
        }
        self.tell_many(everyone, event);
        // Before all learn that it records: who is recorded already need not be asked.
        self.follow_all_consents(name);
        self.tell_changed(name, false);
        Ok(())
    }

    /// A member says whether it may be recorded.
    pub(super) fn consent(
        &mut self,
        name: &GroupName,
        conn: ConnId,
        action: &ActionRequest,
    ) -> Result<(), Refusal> {
        let group = self.groups.get_mut(name).ok_or(Error("join a group first"))?;
        let member = group.members.get_mut(&conn).ok_or(Error("join a group first"))?;
        if action.dest != member.id.as_str() {
            return Err(Error(super::NOT_AUTHORISED));
        }
        let Some(Value::Bool(agrees)) = action.value else {
            return Err(Error("Bad value in consent"));
        };
        member.consent = Some(agrees);
        self.follow_consent(name, conn);
        Ok(())
    }

    /// Records whom the group's rules let it record, and nobody else.
    pub(super) fn follow_all_consents(&mut self, name: &GroupName) {
        let members = self.groups.get(name).map(|group| group.members.keys().copied().collect());
        let members: Vec<ConnId> = members.unwrap_or_default();
        for conn in members {
            self.follow_consent(name, conn);
        }
    }

    /// The same for one member, whose standing may have changed.
    pub(super) fn follow_consent(&mut self, name: &GroupName, conn: ConnId) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(is_wanted) = group.members.get(&conn).map(|member| group.records(conn, member))
        else {
            return;
        };
        // Where everybody is recorded, telling everybody of everybody would be a message for each
        // pair: the group's status says it.
        let is_told = group.description.recording.consent != Consent::Everybody;
        let Some(member) = group.members.get_mut(&conn) else {
            return;
        };
        if member.is_recorded == is_wanted {
            return;
        }
        if !is_wanted {
            let medias: Vec<MediaId> = member.ups.values().map(|up| up.media).collect();
            self.note_member(name, conn, "left");
            for media in medias {
                self.recorded_stream_ended(name, media);
            }
            self.set_recorded(name, conn, false);
        } else {
            let streams: Vec<StreamId> = member.ups.keys().cloned().collect();
            self.set_recorded(name, conn, true);
            self.note_member(name, conn, "joined");
            for stream in streams {
                self.record_stream_from(name, conn, &stream, is_told);
            }
        }
        if is_told {
            self.tell_user_changed(name, conn, false);
        }
    }

    fn set_recorded(&mut self, name: &GroupName, conn: ConnId, is_recorded: bool) {
        let group = self.groups.get_mut(name);
        if let Some(member) = group.and_then(|group| group.members.get_mut(&conn)) {
            member.is_recorded = is_recorded;
        }
    }

    /// Ends the recording of a group, if there is one.
    pub(super) fn unrecord(&mut self, name: &GroupName, now: Now) {
        if let Some(conn) = self.groups.get(name).and_then(|group| group.recorder) {
            self.remove_member(name, conn, now);
        }
    }

    /// A member is gone: if it was the recorder, the recording is over; so it is when nobody else is
    /// left.
    pub(super) fn recording_after(&mut self, name: &GroupName, gone: ConnId, now: Now) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let Some(recorder) = group.recorder else {
            return;
        };
        if recorder == gone {
            group.recorder = None;
            self.clients.remove(&gone);
            self.order(RecordOrder::End { group: name.clone() });
            self.tell_changed(name, false);
            self.follow_all_consents(name);
        } else if group.members.len() == 1 {
            self.remove_member(name, recorder, now);
        }
    }

    /// A stream is there for others, or has changed.
    pub(super) fn record_stream(&mut self, name: &GroupName, conn: ConnId, stream: &StreamId) {
        self.record_stream_from(name, conn, stream, false);
    }

    fn record_stream_from(
        &mut self,
        name: &GroupName,
        conn: ConnId,
        stream: &StreamId,
        is_from_now: bool,
    ) {
        let Some(group) = self.groups.get(name).filter(|group| group.recorder.is_some()) else {
            return;
        };
        let Some(member) = group.members.get(&conn) else {
            return;
        };
        let Some(up) = member.ups.get(stream).filter(|up| up.is_announced && member.is_recorded)
        else {
            return;
        };
        let section = |(m_line, kind): &(u8, MediaKind)| {
            (PublicationKey { media: up.media, m_line: *m_line }, *kind)
        };
        let recorded = RecordedStream {
            group: name.clone(),
            client: member.id.as_str().to_owned(),
            username: member.username.as_str().to_owned(),
            stream: stream.as_str().to_owned(),
            label: up.label.clone(),
            is_from_now,
            sections: up.publications.iter().map(section).collect(),
        };
        self.order(RecordOrder::Stream(recorded));
    }

    /// A stream is over.
    pub(super) fn recorded_stream_ended(&mut self, name: &GroupName, media: MediaId) {
        if self.groups.get(name).is_some_and(|group| group.recorder.is_some()) {
            self.order(RecordOrder::StreamEnded { group: name.clone(), media });
        }
    }

    /// Somebody has come or gone.
    pub(super) fn note_member(&mut self, name: &GroupName, conn: ConnId, event: &str) {
        let Some(group) = self.groups.get(name).filter(|group| group.recorder.is_some()) else {
            return;
        };
        let Some(member) = group.members.get(&conn).filter(|member| member.is_recorded) else {
            return;
        };
        let what = json!({
            "event": event,
            "client": member.id.as_str(),
            "username": member.username.as_str(),
        });
        self.note_for_recorder(name, what);
    }

    /// Others speak than before.
    pub(super) fn note_speakers(&mut self, name: &GroupName, streams: &[StreamId]) {
        let Some(group) = self.groups.get(name).filter(|group| group.recorder.is_some()) else {
            return;
        };
        let is_recorded = |stream: &&StreamId| {
            let mut members = group.members.values();
            members.any(|member| member.is_recorded && member.ups.contains_key(*stream))
        };
        let streams: Vec<&str> = streams.iter().filter(is_recorded).map(StreamId::as_str).collect();
        self.note_for_recorder(name, json!({ "event": "speakers", "streams": streams }));
    }

    /// Something was said to all.
    pub(super) fn note_chat(&mut self, name: &GroupName, message: &Message) {
        let Some(group) = self.groups.get(name).filter(|group| group.recorder.is_some()) else {
            return;
        };
        // What the server says is nobody's.
        let source = message.source.as_ref().and_then(|id| group.find(id.as_str()));
        let member = source.and_then(|conn| group.members.get(&conn));
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
        self.note_for_recorder(name, what);
    }

    fn note_for_recorder(&mut self, name: &GroupName, what: Value) {
        if let Value::Object(what) = what {
            self.order(RecordOrder::Note { group: name.clone(), what });
        }
    }

    /// The recorder has something to say to operators and to whoever may record; `is_over` if it has
    /// given up.
    pub fn recorder_says(&mut self, name: &GroupName, text: &str, is_over: bool, now: Now) {
        if let Some(group) = self.groups.get(name) {
            let may_know = |member: &Member| member.may(OP) || member.may(super::RECORD);
            let members = group.members.iter();
            let told = members.filter(|(_, member)| member.traits.chats && may_know(member));
            let told: Vec<ConnId> = told.map(|(conn, _)| *conn).collect();
            let message = Message {
                kind: "warning".to_owned(),
                is_privileged: true,
                error: "recording",
                value: Some(text.into()),
                ..Message::default()
            };
            self.tell_many(told, Event::UserMessage(Arc::new(message)));
        }
        if is_over {
            self.unrecord(name, now);
        }
    }
}

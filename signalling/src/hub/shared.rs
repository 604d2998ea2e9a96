//! What all groups of a hub share: connections, transports, what is due when, and what is still to be
//! done. A verb of a group takes it beside the group.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::join::Joining;
use super::{Cause, Event, MediaRequest, Message, Output, Recipients, RecordOrder, Traits};
use crate::entropy::Entropy;
use crate::group::Group;
use crate::ids::{ConnId, MediaId, StreamId};
use crate::name::GroupName;

/// Whom a transport serves.
#[derive(Clone, Debug)]
pub(super) struct MediaOwner {
    pub(super) group: GroupName,
    pub(super) conn: ConnId,
    pub(super) stream: StreamId,
    pub(super) role: MediaRole,
}

/// What a transport is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MediaRole {
    /// A stream of its owner.
    Up,
    /// A stream of somebody else.
    Down,
    /// Its owner's view of the group.
    View,
}

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Place {
    Outside,
    Joining(Box<Joining>),
    /// At the locked door of a group.
    Waiting(GroupName),
    In(GroupName),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) traits: Traits,
    pub(super) place: Place,
    /// Its entry in [`Shared::expiries`].
    pub(super) expires_at: Option<Duration>,
}

/// See the module.
pub(super) struct Shared {
    pub(super) clients: HashMap<ConnId, Client>,
    pub(super) media: HashMap<MediaId, MediaOwner>,
    /// When viewers learn of streams, or that these have ended.
    pub(super) announcements: BTreeSet<(Duration, MediaId)>,
    /// When streams that did not get through are offered again.
    pub(super) retries: BTreeSet<(Duration, ConnId, StreamId)>,
    /// When groups are told who speaks.
    pub(super) speeches: BTreeSet<(Duration, GroupName)>,
    /// When connections end that were lost, as who had them has come back on others.
    pub(super) successions: BTreeSet<(Duration, ConnId)>,
    /// When groups let more of those in who wait at an open door.
    pub(super) openings: BTreeSet<(Duration, GroupName)>,
    /// When those who neither chat nor hear of it lose their token.
    pub(super) expiries: BTreeSet<(Duration, ConnId)>,
    /// The secrets of the kept tokens that let these in.
    pub(super) bearers: HashMap<ConnId, String>,
    pub(super) outputs: VecDeque<Output>,
    pub(super) entropy: Entropy,
    next_conn: u64,
    next_media: u64,
    /// Whether users may change their passwords over the administration API.
    pub(super) is_writable: bool,
}

impl Shared {
    /// Without connections; random ids follow from `seed`.
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self {
            clients: HashMap::new(),
            media: HashMap::new(),
            announcements: BTreeSet::new(),
            retries: BTreeSet::new(),
            speeches: BTreeSet::new(),
            openings: BTreeSet::new(),
            successions: BTreeSet::new(),
            expiries: BTreeSet::new(),
            bearers: HashMap::new(),
            outputs: VecDeque::new(),
            entropy: Entropy::new(seed),
            next_conn: 0,
            next_media: 0,
            is_writable: false,
        }
    }

    /// When the first of all that is planned is due.
    pub(super) fn next_at(&self) -> Option<Duration> {
        let announcement = self.announcements.first().map(|(at, _)| *at);
        let retry = self.retries.first().map(|(at, _, _)| *at);
        let expiry = self.expiries.first().map(|(at, _)| *at);
        let speech = self.speeches.first().map(|(at, _)| *at);
        let opening = self.openings.first().map(|(at, _)| *at);
        let succession = self.successions.first().map(|(at, _)| *at);
        let times = [announcement, retry, expiry, speech, opening, succession];
        times.into_iter().flatten().min()
    }

    /// A connection is there, in no group so far.
    pub(super) fn connect(&mut self, traits: Traits) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.clients.insert(conn, Client { traits, place: Place::Outside, expires_at: None });
        conn
    }

    /// The group that a connection is in.
    pub(super) fn place_of(&self, conn: ConnId) -> Option<&GroupName> {
        match &self.clients.get(&conn)?.place {
            Place::In(name) => Some(name),
            Place::Outside | Place::Joining(_) | Place::Waiting(_) => None,
        }
    }

    /// A connection is in no group any more, and nothing is planned for it there.
    pub(super) fn put_outside(&mut self, conn: ConnId) {
        self.bearers.remove(&conn);
        if let Some(Client { place, expires_at, .. }) = self.clients.get_mut(&conn) {
            *place = Place::Outside;
            if let Some(expires_at) = expires_at.take() {
                self.expiries.remove(&(expires_at, conn));
            }
        }
    }

    /// Gives a transport its number, by which the data plane speaks of it.
    pub(super) fn new_media(&mut self, owner: MediaOwner) -> MediaId {
        self.next_media += 1;
        let media = MediaId(self.next_media);
        self.media.insert(media, owner);
        media
    }

    /// Ends a transport. News of it that is still on its way is ignored.
    pub(super) fn close_media(&mut self, media: MediaId) {
        self.media.remove(&media);
        self.want_media(MediaRequest::Close { media });
    }

    pub(super) fn want_media(&mut self, request: MediaRequest) {
        self.outputs.push_back(Output::Media(request));
    }

    /// Tells the recorder what to do.
    pub(super) fn order(&mut self, order: RecordOrder) {
        self.outputs.push_back(Output::Record(Box::new(order)));
    }

    pub(super) fn tell(&mut self, conn: ConnId, event: Event) {
        self.outputs.push_back(Output::Event(Recipients::One(conn), event));
    }

    pub(super) fn tell_many(&mut self, conns: Vec<ConnId>, event: Event) {
        if !conns.is_empty() {
            self.outputs.push_back(Output::Event(Recipients::Many(conns), event));
        }
    }

    pub(super) fn tell_error(&mut self, conn: ConnId, text: impl Into<String>) {
        self.tell(conn, Event::Error { text: text.into(), cause: Cause::Other });
    }

    /// A message from the server to one member's user interface.
    pub(super) fn tell_as_server(&mut self, conn: ConnId, kind: &str, value: Value) {
        let message = Message {
            kind: kind.to_owned(),
            is_privileged: true,
            value: Some(value),
            ..Message::default()
        };
        self.tell(conn, Event::UserMessage(Arc::new(message)));
    }

    /// What members of a group may know of it, and of what they may do there.
    pub(super) fn status_of(&self, group: &Group) -> Map<String, Value> {
        let mut status = group.member_status();
        if self.is_writable {
            status.insert("canChangePassword".into(), true.into());
        }
        status
    }
}

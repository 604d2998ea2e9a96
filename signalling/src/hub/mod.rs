//! The hub: single writer of all groups. It takes wishes of members, news of the world and the
//! time, and puts out events for members and wishes to the world, in order.
//!
//! Call order: any method, then [`Hub::poll_output`] until it returns nothing.
//! [`Hub::poll_timeout`] may change with every call.

mod action;
mod admission;
mod cause;
mod credential;
mod event;
mod files;
mod invitation;
mod join;
mod leave;
mod live;
mod media;
mod publish;
mod recording;
mod speak;
mod stats;
mod subscribe;
mod view;
mod voices;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::entropy::Entropy;
use crate::group::{Group, Lock};
use crate::ids::{ConnId, MediaId, StreamId, Ticket};
use crate::member::Member;
use crate::message::Message;
use crate::name::{GroupName, Username};
use crate::permission::RECORD;
use crate::status::StatusView;
use crate::time::Now;
use crate::traits::Traits;

pub use action::Refusal;
pub use cause::Cause;
pub use credential::{Bearer, CredentialCheck, Credentials, Proof, Secret, Verdict};
pub use event::{
    ActionRequest, Caller, Event, Failure, GroupFile, Happening, JoinRequest, Joined, JoinedKind,
    Output, Recipients, StatusReply, UserKind, What, Whose,
};
use join::Joining;
pub use live::{NotDone, Operation};
pub use media::{MediaEvent, MediaRequest};
pub use recording::{RecordOrder, RecordedStream};
pub use speak::Utterance;
pub use stats::{Census, Sent};

/// The most groups in memory; a name beyond that is answered like a broken file until idle
/// groups have been evicted.
const GROUPS_MAX: usize = 10_000;
/// The largest `data` of one client, as JSON. Every joiner gets that of every member.
const USER_DATA_BYTES_MAX: usize = 4 * 1024;
/// The largest `data` of a group, as JSON.
const GROUP_DATA_BYTES_MAX: usize = 64 * 1024;
/// How often idle groups are looked for.
const EVICTION_INTERVAL: Duration = Duration::from_secs(60);

/// Whom a transport serves.
#[derive(Clone, Debug)]
struct MediaOwner {
    group: GroupName,
    conn: ConnId,
    stream: StreamId,
    role: MediaRole,
}

/// What a transport is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum MediaRole {
    /// A stream of its owner.
    Up,
    /// A stream of somebody else.
    Down,
    /// Its owner's view of the group.
    View,
}

#[derive(Debug)]
enum Place {
    Outside,
    Joining(Box<Joining>),
    In(GroupName),
}

#[derive(Debug)]
struct Client {
    traits: Traits,
    place: Place,
    /// Its entry in [`Hub::expiries`].
    expires_at: Option<Duration>,
}

#[derive(Debug)]
enum Waiting {
    Join(ConnId),
    Status(Ticket),
    Nobody,
}

/// All groups with their members, and what is still to be done. See the module for how to call it.
pub struct Hub {
    groups: HashMap<GroupName, Group>,
    clients: HashMap<ConnId, Client>,
    media: HashMap<MediaId, MediaOwner>,
    loads: HashMap<GroupName, Vec<Waiting>>,
    announcements: BTreeSet<(Duration, MediaId)>,
    retries: BTreeSet<(Duration, ConnId, StreamId)>,
    /// When groups are told who speaks.
    speeches: BTreeSet<(Duration, GroupName)>,
    /// When those who neither chat nor hear of it lose their token.
    expiries: BTreeSet<(Duration, ConnId)>,
    /// The secrets of the kept tokens that let these in.
    bearers: HashMap<ConnId, String>,
    outputs: VecDeque<Output>,
    entropy: Entropy,
    next_conn: u64,
    next_media: u64,
    next_eviction: Duration,
    /// Set when shutting down: what would-be members are told.
    closing: Option<String>,
    /// Whether users may change their passwords over the administration API.
    is_writable: bool,
}

impl Hub {
    /// A hub without groups, whose random ids follow from `seed`.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            groups: HashMap::new(),
            clients: HashMap::new(),
            media: HashMap::new(),
            loads: HashMap::new(),
            announcements: BTreeSet::new(),
            retries: BTreeSet::new(),
            speeches: BTreeSet::new(),
            expiries: BTreeSet::new(),
            bearers: HashMap::new(),
            outputs: VecDeque::new(),
            entropy: Entropy::new(seed),
            next_conn: 0,
            next_media: 0,
            next_eviction: EVICTION_INTERVAL,
            closing: None,
            is_writable: false,
        }
    }

    /// The next thing to be done.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::tick`] next at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Duration {
        let announcement = self.announcements.first().map(|(at, _)| *at);
        let retry = self.retries.first().map(|(at, _, _)| *at);
        let expiry = self.expiries.first().map(|(at, _)| *at);
        let speech = self.speeches.first().map(|(at, _)| *at);
        let all = announcement.into_iter().chain(retry).chain(expiry).chain(speech);
        all.fold(self.next_eviction, Duration::min)
    }

    /// Time has passed. Spurious calls do nothing.
    pub fn tick(&mut self, now: Now) {
        while let Some((at, media)) = self.announcements.first().copied() {
            if at > now.mono {
                break;
            }
            self.announcements.remove(&(at, media));
            self.announce_media(media);
        }
        while let Some((at, _, _)) = self.retries.first() {
            if *at > now.mono {
                break;
            }
            if let Some((_, viewer, stream)) = self.retries.pop_first() {
                self.retry(viewer, &stream);
            }
        }
        while let Some((at, _)) = self.speeches.first() {
            if *at > now.mono {
                break;
            }
            if let Some((_, name)) = self.speeches.pop_first() {
                self.tell_speakers(&name, now);
            }
        }
        while let Some((at, conn)) = self.expiries.first().copied() {
            if at > now.mono {
                break;
            }
            self.expiries.remove(&(at, conn));
            if let Some(name) = self.place_of(conn).cloned() {
                self.kick(&name, conn, None, leave::EXPIRED_TEXT.to_owned(), now);
                self.settle(&name, now);
            }
        }
        if now.mono >= self.next_eviction {
            self.next_eviction = now.mono + EVICTION_INTERVAL;
            // Public groups are listed, so that they stay. Others stay for as long as there is chat in
            // them that a newcomer would be shown.
            self.groups.retain(|_, group| {
                let age = Duration::from_millis(group.description.history_age_ms);
                let is_idle = group.members.is_empty() && group.touched_at + age < now.mono;
                !(is_idle && (group.is_orphan || !group.description.listing.is_public))
            });
        }
    }

    /// Whether users may change their passwords over the administration API: members are told.
    pub fn set_writable(&mut self, is_writable: bool) {
        self.is_writable = is_writable;
    }

    fn member_status(&self, group: &Group) -> Map<String, Value> {
        let mut status = group.member_status();
        if self.is_writable {
            status.insert("canChangePassword".into(), true.into());
        }
        status
    }

    /// Random ids for adapters.
    pub fn entropy(&mut self) -> &mut Entropy {
        &mut self.entropy
    }

    /// A connection is there, in no group so far.
    pub fn connect(&mut self, traits: Traits) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.clients.insert(conn, Client { traits, place: Place::Outside, expires_at: None });
        conn
    }

    /// What a connection can do, to be changed before it joins a group.
    pub fn traits_mut(&mut self, conn: ConnId) -> Option<&mut Traits> {
        self.clients.get_mut(&conn).map(|client| &mut client.traits)
    }

    /// What a connection can do, as long as it is there.
    pub fn traits(&self, conn: ConnId) -> Option<&Traits> {
        self.clients.get(&conn).map(|client| &client.traits)
    }

    /// A connection is gone, with all that hangs on it.
    pub fn disconnect(&mut self, conn: ConnId, now: Now) {
        let Some(client) = self.clients.remove(&conn) else {
            return;
        };
        if let Some(expires_at) = client.expires_at {
            self.expiries.remove(&(expires_at, conn));
        }
        if let Place::In(name) = client.place {
            self.remove_member(&name, conn, now);
            self.settle(&name, now);
        }
    }

    /// Whether a join of this connection is being decided.
    pub fn is_joining(&self, conn: ConnId) -> bool {
        matches!(self.clients.get(&conn), Some(Client { place: Place::Joining(_), .. }))
    }

    /// Asks for a group's status, answered by [`Output::Status`].
    pub fn status(&mut self, ticket: Ticket, name: &str) {
        match GroupName::parse(name) {
            Ok(name) => self.load(name, Waiting::Status(ticket)),
            Err(_) => self.outputs.push_back(Output::Status(ticket, StatusReply::Missing)),
        }
    }

    /// A group's file may have changed: asks for it again.
    pub fn refresh(&mut self, name: GroupName) {
        self.load(name, Waiting::Nobody);
    }

    /// The groups in memory.
    pub fn groups(&self) -> impl Iterator<Item = &GroupName> {
        self.groups.keys()
    }

    /// Public groups in memory, sorted by name.
    pub fn public_groups(&self) -> Vec<StatusView> {
        let public = self.groups.values();
        let public = public.filter(|group| group.description.listing.is_public && !group.is_orphan);
        // Without an order lists would jump each time that they are read.
        let mut views: Vec<StatusView> = public.map(Group::view).collect();
        views.sort_by(|left, right| left.name.cmp(&right.name));
        views
    }

    /// Lets nobody in any more, and tells members how long they may stay.
    pub fn announce_end(&mut self, text: &str, seconds: u32) {
        self.closing = Some(text.to_owned());
        let everybody: Vec<Vec<ConnId>> = self.groups.values().map(Group::chatting).collect();
        for conns in everybody {
            self.tell_many(conns, Event::Stopping { seconds });
        }
    }

    /// Whose a transport is, while it is known.
    pub fn whose(&self, media: MediaId) -> Option<Whose> {
        let owner = self.media.get(&media)?;
        let member = self.groups.get(&owner.group)?.members.get(&owner.conn)?;
        Some(Whose {
            group: owner.group.as_str().to_owned(),
            client: member.id.as_str().to_owned(),
            username: member.username.as_str().to_owned(),
            stream: owner.stream.as_str().to_owned(),
        })
    }

    /// Notes what has happened to a member.
    fn note(&mut self, name: &GroupName, conn: ConnId, what: What) {
        let Some(member) = self.groups.get(name).and_then(|group| group.members.get(&conn)) else {
            return;
        };
        let happening = Happening {
            what,
            group: name.as_str().to_owned(),
            client: member.id.as_str().to_owned(),
            username: member.username.as_str().to_owned(),
        };
        self.outputs.push_back(Output::Happened(Box::new(happening)));
    }

    /// Locks every group and kicks every member, with `text` as the reason.
    pub fn shut_down(&mut self, text: &str, now: Now) {
        self.closing = Some(text.to_owned());
        let names: Vec<GroupName> = self.groups.keys().cloned().collect();
        for name in names {
            if let Some(group) = self.groups.get_mut(&name) {
                group.lock = Some(Lock::BySomebody(text.to_owned()));
            }
            self.tell_changed(&name, true);
            let conns: Vec<ConnId> = match self.groups.get(&name) {
                Some(group) => group.members.keys().copied().collect(),
                None => Vec::new(),
            };
            for conn in conns {
                self.kick(&name, conn, None, text.to_owned(), now);
            }
        }
    }

    /// How many connections there are, in groups or not.
    pub fn connections(&self) -> usize {
        self.clients.len()
    }

    fn tell(&mut self, conn: ConnId, event: Event) {
        self.outputs.push_back(Output::Event(Recipients::One(conn), event));
    }

    fn tell_many(&mut self, conns: Vec<ConnId>, event: Event) {
        if !conns.is_empty() {
            self.outputs.push_back(Output::Event(Recipients::Many(conns), event));
        }
    }

    fn tell_error(&mut self, conn: ConnId, text: impl Into<String>) {
        self.tell(conn, Event::Error { text: text.into(), cause: Cause::Other });
    }

    fn want_media(&mut self, request: MediaRequest) {
        self.outputs.push_back(Output::Media(request));
    }

    fn place_of(&self, conn: ConnId) -> Option<&GroupName> {
        match &self.clients.get(&conn)?.place {
            Place::In(name) => Some(name),
            Place::Outside | Place::Joining(_) => None,
        }
    }

    /// The group that a connection is in, with its name.
    fn group_of(&mut self, conn: ConnId) -> Option<(GroupName, &mut Group)> {
        let name = self.place_of(conn)?.clone();
        let group = self.groups.get_mut(&name)?;
        Some((name, group))
    }

    fn member(&self, conn: ConnId) -> Option<&Member> {
        self.groups.get(self.place_of(conn)?)?.members.get(&conn)
    }

    /// A member of a group that is known.
    fn member_in(&mut self, name: &GroupName, conn: ConnId) -> Option<&mut Member> {
        self.groups.get_mut(name)?.members.get_mut(&conn)
    }

    /// Gives a transport its number, by which the data plane speaks of it.
    fn new_media(&mut self, owner: MediaOwner) -> MediaId {
        self.next_media += 1;
        let media = MediaId(self.next_media);
        self.media.insert(media, owner);
        media
    }

    fn member_of(&mut self, conn: ConnId) -> Option<(GroupName, &mut Member)> {
        let (name, group) = self.group_of(conn)?;
        let member = group.members.get_mut(&conn)?;
        Some((name, member))
    }

    /// The name and group a connection has joined under.
    pub fn membership(&self, conn: ConnId) -> Option<(&GroupName, &Username)> {
        let name = self.place_of(conn)?;
        let member = self.groups.get(name)?.members.get(&conn)?;
        Some((name, &member.username))
    }

    /// Whether a connection is a member with this permission.
    pub fn may(&self, conn: ConnId, permission: &str) -> bool {
        self.member(conn).is_some_and(|member| member.may(permission))
    }

    /// Tells every member of its standing and the group's, each with its own permissions.
    fn tell_changed(&mut self, name: &GroupName, with_data: bool) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let status = self.member_status(group);
        let data = if with_data { group.data.clone() } else { Map::new() };
        let chatting = group.members.iter().filter(|(_, member)| member.traits.chats);
        let changes: Vec<(ConnId, Event)> = chatting
            .map(|(conn, member)| (*conn, changed(name, member, status.clone(), data.clone())))
            .collect();
        for (conn, event) in changes {
            self.tell(conn, event);
        }
    }

    /// Tells one member of its own standing, and everyone of that member.
    fn tell_user_changed(&mut self, name: &GroupName, conn: ConnId, is_permissions: bool) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let Some(member) = group.members.get(&conn) else {
            return;
        };
        let own = changed(name, member, self.member_status(group), Map::new());
        let everyone = group.chatting();
        let event = user_event(UserKind::Change, member);
        if is_permissions && member.traits.chats {
            self.tell(conn, own);
        }
        self.tell_many(everyone, event);
    }

    /// Locks or empties a group that has lost its last op, if its file says so.
    fn settle(&mut self, name: &GroupName, now: Now) {
        if self.groups.get_mut(name).is_some_and(Group::lock_without_op) {
            self.tell_changed(name, true);
        }
        let Some(group) = self.groups.get(name).filter(|group| !group.has_op()) else {
            return;
        };
        if group.description.is_autokick && !group.members.is_empty() {
            let conns: Vec<ConnId> = group.members.keys().copied().collect();
            for conn in conns {
                self.kick(name, conn, None, admission::NO_OP_TEXT.to_owned(), now);
            }
        }
    }
}

fn changed(
    name: &GroupName,
    member: &Member,
    status: Map<String, Value>,
    data: Map<String, Value>,
) -> Event {
    Event::Joined(Box::new(Joined {
        kind: JoinedKind::Change,
        group: name.as_str().to_owned(),
        username: Some(member.username.clone()),
        permissions: member.permissions.clone(),
        status: Some(status),
        data,
        failure: None,
        value: None,
    }))
}

fn user_event(kind: UserKind, member: &Member) -> Event {
    let is_delete = kind == UserKind::Delete;
    Event::User {
        kind,
        id: member.id.clone(),
        username: member.username.clone(),
        permissions: if is_delete { Default::default() } else { member.permissions.clone() },
        data: if is_delete { Map::new() } else { member.public_data() },
    }
}

/// Merges `update` into `data`; `null` deletes. Refuses (false) what would grow beyond
/// `bytes_max`.
fn merge(data: &mut Map<String, Value>, update: &Map<String, Value>, bytes_max: usize) -> bool {
    let mut merged = data.clone();
    for (key, value) in update {
        if value.is_null() {
            merged.remove(key);
        } else {
            merged.insert(key.clone(), value.clone());
        }
    }
    if serde_json::to_string(&merged).map_or(usize::MAX, |text| text.len()) > bytes_max {
        return false;
    }
    *data = merged;
    true
}

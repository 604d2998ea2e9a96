//! The hub: the single writer of all groups. It takes what members ask for, what others report, and the
//! time; it puts out events for members and requests to others, in order.
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
mod knock;
mod leave;
mod live;
mod media;
mod publish;
mod recording;
mod refused;
mod shared;
mod speak;
mod standing;
mod stats;
mod subscribe;
mod view;
mod voices;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::entropy::Entropy;
use crate::group::{Group, Lock};
use crate::ids::{ConnId, MediaId, Ticket};
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
pub use live::{NotDone, Operation};
pub use media::{MediaEvent, MediaRequest};
pub use recording::{RecordOrder, RecordedStream};
use refused::Refused;
use shared::{Client, MediaOwner, MediaRole, Place, Shared};
pub use speak::Utterance;
use standing::user_event;
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

#[derive(Debug)]
enum Waiting {
    Join(ConnId),
    Status(Ticket),
    Nobody,
}

/// All groups with their members, and what is still to be done. See the module for how to call it.
pub struct Hub {
    groups: HashMap<GroupName, Group>,
    shared: Shared,
    /// Who waits for which group's file.
    loads: HashMap<GroupName, Vec<Waiting>>,
    next_eviction: Duration,
    /// Set when shutting down: what would-be members are told.
    closing: Option<String>,
}

impl Hub {
    /// A hub without groups, whose random ids follow from `seed`.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            groups: HashMap::new(),
            shared: Shared::new(seed),
            loads: HashMap::new(),
            next_eviction: EVICTION_INTERVAL,
            closing: None,
        }
    }

    /// The next thing to be done.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.shared.outputs.pop_front()
    }

    /// When to call [`Self::tick`] next at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Duration {
        self.shared.next_at().into_iter().fold(self.next_eviction, Duration::min)
    }

    /// Time has passed. Spurious calls do nothing.
    pub fn tick(&mut self, now: Now) {
        let Self { groups, shared, .. } = self;
        while let Some((_, media)) = due(&mut shared.announcements, |(at, _)| *at <= now.mono) {
            let owner = shared.media.get(&media).cloned();
            if let Some(MediaOwner { group, conn, stream, .. }) = owner
                && let Some(group) = groups.get_mut(&group)
            {
                group.announce(shared, conn, &stream);
            }
        }
        while let Some((_, viewer, stream)) = due(&mut shared.retries, |(at, ..)| *at <= now.mono) {
            if let Some(group) = shared.place_of(viewer).and_then(|name| groups.get_mut(name)) {
                group.retry(shared, viewer, &stream);
            }
        }
        while let Some((_, name)) = due(&mut shared.speeches, |(at, _)| *at <= now.mono) {
            if let Some(group) = groups.get_mut(&name) {
                group.tell_speakers(shared, now);
            }
        }
        while let Some((_, name)) = due(&mut shared.openings, |(at, _)| *at <= now.mono) {
            if let Some(group) = groups.get_mut(&name) {
                group.open_door(shared, now);
            }
        }
        while let Some((_, conn)) = due(&mut self.shared.successions, |(at, _)| *at <= now.mono) {
            self.send_out(conn, leave::BACK_TEXT, now);
        }
        while let Some((_, conn)) = due(&mut self.shared.expiries, |(at, _)| *at <= now.mono) {
            self.send_out(conn, leave::EXPIRED_TEXT, now);
        }
        if now.mono >= self.next_eviction {
            self.next_eviction = now.mono + EVICTION_INTERVAL;
            self.evict(now);
        }
    }

    /// Forgets groups that nobody has been in for long. Public groups are listed, so that they stay.
    /// Others stay for as long as there is chat in them that a newcomer would be shown.
    fn evict(&mut self, now: Now) {
        self.groups.retain(|_, group| {
            group.door.forget(now.mono);
            let age = Duration::from_millis(group.description.history_age_ms);
            let is_idle = group.is_deserted() && group.touched_at + age < now.mono;
            !(is_idle && (group.is_orphan || !group.description.listing.is_public))
        });
    }

    /// Whether users may change their passwords over the administration API: members are told.
    pub fn set_writable(&mut self, is_writable: bool) {
        self.shared.is_writable = is_writable;
    }

    /// Random ids for adapters.
    pub fn entropy(&mut self) -> &mut Entropy {
        &mut self.shared.entropy
    }

    /// A connection is there, in no group so far.
    pub fn connect(&mut self, traits: Traits) -> ConnId {
        self.shared.connect(traits)
    }

    /// What a connection can do, to be changed before it joins a group.
    pub fn traits_mut(&mut self, conn: ConnId) -> Option<&mut Traits> {
        self.shared.clients.get_mut(&conn).map(|client| &mut client.traits)
    }

    /// What a connection can do, as long as it is there.
    pub fn traits(&self, conn: ConnId) -> Option<&Traits> {
        self.shared.clients.get(&conn).map(|client| &client.traits)
    }

    /// A connection is gone, with all that hangs on it.
    pub fn disconnect(&mut self, conn: ConnId, now: Now) {
        self.stop_waiting(conn);
        let Some(client) = self.shared.clients.remove(&conn) else {
            return;
        };
        if let Some(expires_at) = client.expires_at {
            self.shared.expiries.remove(&(expires_at, conn));
        }
        if let Place::In(name) = client.place {
            self.within(&name, |group, shared| {
                if let Some(member) = group.members.get(&conn) {
                    group.door.remember(member, now.mono);
                }
                group.remove_member(shared, conn, now);
                group.settle(shared, now);
            });
        }
    }

    /// Whether a join of this connection is being decided.
    pub fn is_joining(&self, conn: ConnId) -> bool {
        matches!(self.shared.clients.get(&conn), Some(Client { place: Place::Joining(_), .. }))
    }

    /// Asks for a group's status, answered by [`Output::Status`].
    pub fn status(&mut self, ticket: Ticket, name: &str) {
        match GroupName::parse(name) {
            Ok(name) => self.load(name, Waiting::Status(ticket)),
            Err(_) => self.shared.outputs.push_back(Output::Status(ticket, StatusReply::Missing)),
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
        for group in self.groups.values_mut() {
            group.close_door(&mut self.shared, &Refused::new(Failure::Closed, text));
            self.shared.tell_many(group.chatting(), Event::Stopping { seconds });
        }
    }

    /// Whose a transport is, while it is known.
    pub fn whose(&self, media: MediaId) -> Option<Whose> {
        let owner = self.shared.media.get(&media)?;
        let member = self.groups.get(&owner.group)?.members.get(&owner.conn)?;
        Some(Whose {
            group: owner.group.as_str().to_owned(),
            client: member.id.as_str().to_owned(),
            username: member.username.as_str().to_owned(),
            stream: owner.stream.as_str().to_owned(),
        })
    }

    /// Locks every group and kicks every member, with `text` as the reason.
    pub fn shut_down(&mut self, text: &str, now: Now) {
        self.closing = Some(text.to_owned());
        for group in self.groups.values_mut() {
            group.lock = Some(Lock::BySomebody(text.to_owned()));
            group.tell_changed(&mut self.shared, true);
            group.kick_all(&mut self.shared, text, now);
        }
        self.groups.retain(|_, group| !group.is_over());
    }

    /// How many connections there are, in groups or not.
    pub fn connections(&self) -> usize {
        self.shared.clients.len()
    }

    /// The group that a connection is in, and what its verbs need beside it.
    fn at(&mut self, conn: ConnId) -> Option<(&mut Group, &mut Shared)> {
        let name = self.shared.place_of(conn)?;
        let group = self.groups.get_mut(name)?;
        Some((group, &mut self.shared))
    }

    /// Has a group do what may cost it its members: if its file is gone, it goes with the last of them.
    fn within<T>(
        &mut self,
        name: &GroupName,
        verb: impl FnOnce(&mut Group, &mut Shared) -> T,
    ) -> Option<T> {
        let group = self.groups.get_mut(name)?;
        let result = verb(group, &mut self.shared);
        if group.is_over() {
            self.groups.remove(name);
        }
        Some(result)
    }

    /// Sends somebody out of its group, with all that follows from that.
    fn send_out(&mut self, conn: ConnId, text: &str, now: Now) {
        if let Some(name) = self.shared.place_of(conn).cloned() {
            self.within(&name, |group, shared| {
                group.kick(shared, conn, None, text.to_owned(), now);
                group.settle(shared, now);
            });
        }
    }

    /// The group that a connection is in, to look at.
    fn group(&self, conn: ConnId) -> Option<&Group> {
        self.groups.get(self.shared.place_of(conn)?)
    }

    fn member(&self, conn: ConnId) -> Option<&Member> {
        self.group(conn)?.members.get(&conn)
    }

    /// The name and group a connection has joined under.
    pub fn membership(&self, conn: ConnId) -> Option<(&GroupName, &Username)> {
        let group = self.group(conn)?;
        Some((&group.name, &group.members.get(&conn)?.username))
    }

    /// Whether a connection is a member with this permission.
    pub fn may(&self, conn: ConnId, permission: &str) -> bool {
        self.member(conn).is_some_and(|member| member.may(permission))
    }
}

/// The first of what is planned, taken off the plan if it is due.
fn due<T: Ord>(plan: &mut BTreeSet<T>, is_due: impl Fn(&T) -> bool) -> Option<T> {
    plan.first().filter(|first| is_due(first))?;
    plan.pop_first()
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

//! A group in memory: its members, lock, data and chat history. One writer, the hub; no locks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::description::{Description, Listing};
use crate::hub::{Message, Traits, View};
use crate::ids::{ClientId, ConnId, PublicationKey, StreamId};
use crate::limit::TokenBucket;
use crate::name::{GroupName, Username};
use crate::permission::{OP, Permissions};
use crate::recording_rules::Consent;
use crate::stream::{Down, Request, Up};
use crate::time::UnixMs;
use crate::voices::Voices;

/// How many chat messages a group keeps.
const HISTORY_MESSAGES_MAX: usize = 50;
/// How many bytes of chat a group keeps; the oldest go first. Every joiner gets all of it.
const HISTORY_BYTES_MAX: usize = 256 * 1024;

/// What members read when a group without an op is locked.
pub(crate) const LOCKED_TEXT: &str = "this group is locked";

/// A client in a group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: ClientId,
    pub(crate) username: Username,
    pub(crate) traits: Traits,
    pub(crate) permissions: Permissions,
    pub(crate) data: Map<String, Value>,
    pub(crate) request: Request,
    pub(crate) ups: BTreeMap<StreamId, Up>,
    pub(crate) downs: BTreeMap<StreamId, Down>,
    /// How it watches the whole group, if it does.
    pub(crate) view: Option<View>,
    /// How often in a row a stream did not reach this member.
    pub(crate) failures: BTreeMap<StreamId, u32>,
    /// When all its transports were last told to restart ICE.
    pub(crate) restarted_at: Option<Duration>,
    /// When it last asked how its streams fare.
    pub(crate) asked_numbers_at: Option<Duration>,
    /// Whether it may be recorded, if it has said so.
    pub(crate) consent: Option<bool>,
    /// Whether it is.
    pub(crate) is_recorded: bool,
    pub(crate) chat_budget: TokenBucket,
    /// Offers and restarts, which cost the data plane a handshake each.
    pub(crate) offer_budget: TokenBucket,
    /// Changes of the whole request; each may make as many transports as there are streams.
    pub(crate) request_budget: TokenBucket,
}

impl Member {
    /// The sections that its view carries.
    pub(crate) fn carried(&self) -> impl Iterator<Item = &PublicationKey> {
        self.view.iter().flat_map(View::carried)
    }

    pub(crate) fn may(&self, permission: &str) -> bool {
        self.permissions.has(permission)
    }

    /// Whether it has raised its hand, in the way of Galene's client and ours.
    pub(crate) fn has_hand_up(&self) -> bool {
        self.data.get("raisehand").is_some_and(|value| value != &Value::Bool(false))
    }

    /// What others see: what it says of itself, and what we say of it.
    pub(crate) fn public_data(&self) -> Map<String, Value> {
        let mut data = self.data.clone();
        data.remove(RECORDED);
        if self.is_recorded {
            data.insert(RECORDED.to_owned(), true.into());
        }
        data
    }
}

/// The key of members' data that says whether they are recorded; they cannot set it.
const RECORDED: &str = "recorded";

/// Chat as new members see it.
#[derive(Debug, Default)]
pub(crate) struct History {
    messages: VecDeque<(UnixMs, usize, Arc<Message>)>,
    bytes: usize,
}

impl History {
    pub(crate) fn push(&mut self, at: UnixMs, bytes: usize, message: Arc<Message>) {
        self.messages.push_back((at, bytes, message));
        self.bytes += bytes;
        while self.messages.len() > HISTORY_MESSAGES_MAX || self.bytes > HISTORY_BYTES_MAX {
            if let Some((_, bytes, _)) = self.messages.pop_front() {
                self.bytes -= bytes;
            }
        }
    }

    /// Oldest first, after forgetting what is older than `oldest`.
    pub(crate) fn recent(&mut self, oldest: UnixMs) -> Vec<Arc<Message>> {
        self.retain(|at, _| at >= oldest);
        self.messages.iter().map(|(_, _, message)| message.clone()).collect()
    }

    pub(crate) fn forget(&mut self, is_meant: impl Fn(&Message) -> bool) {
        self.retain(|_, message| !is_meant(message));
    }

    fn retain(&mut self, keep: impl Fn(UnixMs, &Message) -> bool) {
        self.messages.retain(|(at, _, message)| keep(*at, message));
        self.bytes = self.messages.iter().map(|(_, bytes, _)| bytes).sum();
    }
}

/// A group in memory.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: GroupName,
    pub(crate) description: Arc<Description>,
    /// The file has vanished: present members stay, nobody new gets in.
    pub(crate) is_orphan: bool,
    /// What would-be members are told; nothing if unlocked.
    pub(crate) lock: Option<String>,
    pub(crate) data: Map<String, Value>,
    pub(crate) history: History,
    pub(crate) members: BTreeMap<ConnId, Member>,
    /// Who speaks.
    pub(crate) voices: Voices,
    /// When members are told of that next, if there is news, and when they last were.
    pub(crate) tell_speakers_at: Option<Duration>,
    pub(crate) told_speakers_at: Option<Duration>,
    /// The member that records.
    pub(crate) recorder: Option<ConnId>,
    /// The last time someone came or left.
    pub(crate) touched_at: Duration,
    /// The broken file that ops have been told about.
    pub(crate) told_broken: Option<String>,
}

impl Group {
    pub(crate) fn new(name: GroupName, description: Arc<Description>, now: Duration) -> Self {
        Self {
            name,
            description,
            is_orphan: false,
            lock: None,
            data: Map::new(),
            history: History::default(),
            members: BTreeMap::new(),
            voices: Voices::default(),
            tell_speakers_at: None,
            told_speakers_at: None,
            recorder: None,
            touched_at: now,
            told_broken: None,
        }
    }

    pub(crate) fn has_op(&self) -> bool {
        self.members.values().any(|member| member.may(OP))
    }

    pub(crate) fn find(&self, id: &str) -> Option<ConnId> {
        self.members.iter().find(|(_, member)| member.id.as_str() == id).map(|(conn, _)| *conn)
    }

    /// Those who take chat and notifications.
    pub(crate) fn chatting(&self) -> Vec<ConnId> {
        let chatting = self.members.iter().filter(|(_, member)| member.traits.chats);
        chatting.map(|(conn, _)| *conn).collect()
    }

    /// What a member may know.
    pub(crate) fn member_status(&self) -> Map<String, Value> {
        let mut status = Map::new();
        status.insert("name".into(), self.name.as_str().into());
        let listing = &self.description.listing;
        for (key, text) in [
            ("displayName", &listing.display_name),
            ("description", &listing.description),
            ("authServer", &listing.auth_server),
            ("authPortal", &listing.auth_portal),
        ] {
            if !text.is_empty() {
                status.insert(key.into(), text.as_str().into());
            }
        }
        if let Some(url) = &listing.redirect {
            status.insert("redirect".into(), url.as_str().into());
        }
        if self.lock.is_some() {
            status.insert("locked".into(), true.into());
        }
        if self.recorder.is_some() {
            status.insert("recording".into(), true.into());
        }
        let consent = self.description.recording.consent;
        if consent != Consent::Everybody {
            status.insert("recordingConsent".into(), consent.name().into());
        }
        status.insert("clientCount".into(), self.members.len().into());
        status
    }

    pub(crate) fn view(&self) -> StatusView {
        StatusView {
            name: self.name.clone(),
            listing: self.description.listing.clone(),
            is_locked: self.lock.is_some(),
            clients: self.members.len(),
        }
    }
}

/// What the world may know of a group, before it becomes JSON.
#[derive(Clone, Debug)]
pub struct StatusView {
    /// Its name.
    pub name: GroupName,
    /// From its file.
    pub listing: Listing,
    /// Whether it is locked; told only if the group is public.
    pub is_locked: bool,
    /// How many are in; told only if the group is public.
    pub clients: usize,
}

/// The status that anyone may see. `location` and `endpoint` are its URLs.
pub fn unauthenticated_status(
    view: &StatusView,
    location: &str,
    endpoint: &str,
) -> Map<String, Value> {
    let mut status = Map::new();
    let mut put = |key: &str, value: Value| {
        status.insert(key.to_owned(), value);
    };
    put("name", view.name.as_str().into());
    let listing = &view.listing;
    let put_text = |put: &mut dyn FnMut(&str, Value), key: &str, text: &str| {
        if !text.is_empty() {
            put(key, text.into());
        }
    };
    put_text(&mut put, "displayName", &listing.display_name);
    put_text(&mut put, "description", &listing.description);
    if let Some(url) = &listing.redirect {
        put("redirect", url.as_str().into());
        return status;
    }
    put("location", location.into());
    put("endpoint", endpoint.into());
    put_text(&mut put, "authServer", &listing.auth_server);
    put_text(&mut put, "authPortal", &listing.auth_portal);
    if listing.is_public {
        if view.is_locked {
            put("locked", true.into());
        }
        put("clientCount", view.clients.into());
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str) -> Arc<Message> {
        Arc::new(Message { id: id.to_owned(), ..Message::default() })
    }

    #[test]
    fn history_is_bounded_by_count_bytes_and_age() {
        let mut history = History::default();
        for index in 0..60 {
            history.push(UnixMs(index), 10, message(&index.to_string()));
        }
        assert_eq!(history.recent(UnixMs(0)).len(), 50);
        assert_eq!(history.recent(UnixMs(58)).len(), 2);
        for _ in 0..10 {
            history.push(UnixMs(100), 100 * 1024, message("big"));
        }
        assert_eq!(history.recent(UnixMs(0)).len(), 2);
        history.forget(|message| message.id == "big");
        assert!(history.recent(UnixMs(0)).is_empty());
        assert_eq!(history.bytes, 0);
    }

    #[test]
    fn counts_are_told_only_for_public_groups() {
        let mut view = StatusView {
            name: GroupName::parse("a").unwrap(),
            listing: Listing::default(),
            is_locked: true,
            clients: 0,
        };
        let keys = |view: &StatusView| {
            unauthenticated_status(view, "l", "e").keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(keys(&view), ["endpoint", "location", "name"]);
        view.listing.is_public = true;
        assert_eq!(keys(&view), ["clientCount", "endpoint", "location", "locked", "name"]);
        view.listing.redirect = Some("https://x/".into());
        assert_eq!(keys(&view), ["name", "redirect"]);
    }
}

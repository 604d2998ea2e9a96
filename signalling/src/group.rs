//! A group in memory: its members, lock, data and chat history. One writer, the hub; no locks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::description::Description;
use crate::door::Door;
use crate::history::History;
use crate::ids::ConnId;
use crate::member::Member;
use crate::name::GroupName;
use crate::permission::OP;
use crate::recording_rules::Consent;
use crate::status::StatusView;
use crate::voices::Voices;

/// What would-be members read unless somebody has found other words.
const LOCKED_TEXT: &str = "this group is locked";

/// Why nobody but operators gets in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Lock {
    /// The group's file wants that while no operator is there.
    ByFile,
    /// Somebody has said so, in these words; they may be empty.
    BySomebody(String),
}

impl Lock {
    /// What would-be members read.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::BySomebody(text) if !text.is_empty() => text,
            Self::BySomebody(_) | Self::ByFile => LOCKED_TEXT,
        }
    }
}

/// A group in memory.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: GroupName,
    pub(crate) description: Arc<Description>,
    /// The file has vanished: present members stay, nobody new gets in.
    pub(crate) is_orphan: bool,
    /// Nothing if it is open.
    pub(crate) lock: Option<Lock>,
    pub(crate) data: Map<String, Value>,
    pub(crate) history: History,
    pub(crate) members: BTreeMap<ConnId, Member>,
    /// Who waits to be let in.
    pub(crate) door: Door,
    /// Who speaks, who has lately, and what members have been told of it.
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
            door: Door::default(),
            voices: Voices::default(),
            tell_speakers_at: None,
            told_speakers_at: None,
            recorder: None,
            touched_at: now,
            told_broken: None,
        }
    }

    /// Brings it in line with its file. Says whether that has changed anything.
    pub(crate) fn adopt(&mut self, description: Arc<Description>) -> bool {
        self.is_orphan = false;
        self.told_broken = None;
        if self.description == description {
            return false;
        }
        if !description.is_autolock && self.lock == Some(Lock::ByFile) {
            self.lock = None;
        }
        self.description = description;
        true
    }

    /// Locks it if its file wants that, as no operator is there. Says whether that is news.
    pub(crate) fn lock_without_op(&mut self) -> bool {
        let locks = self.description.is_autolock && self.lock.is_none() && !self.has_op();
        if locks {
            self.lock = Some(Lock::ByFile);
        }
        locks
    }

    /// Whether nobody can come in any more, and nobody is left.
    pub(crate) fn is_over(&self) -> bool {
        self.is_orphan && self.members.is_empty()
    }

    /// Whether nobody is in it or waits for it.
    pub(crate) fn is_deserted(&self) -> bool {
        self.members.is_empty() && self.door.is_free()
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

//! The door of a group: who waits to be let in, and who has just gone and may come back unasked.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::ids::{ClientId, ConnId};
use crate::member::Member;
use crate::name::Username;
use crate::password::hex;
use crate::permission::Permissions;
use crate::time::UnixMs;

/// The most who wait; operators would not find anybody among more.
const WAITING_MAX: usize = 200;
/// The most who are remembered: those of a large class whose network has failed.
const GONE_MAX: usize = 1000;
/// For how long.
const GONE_FOR_MAX: Duration = Duration::from_secs(600);

/// Why somebody may pass a locked door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Title {
    /// For no reason.
    None,
    /// An operator says so.
    Admitted,
    /// It was in until its connection was lost.
    Back,
}

/// Somebody whose credentials are good, on the way in.
#[derive(Clone, Debug)]
pub(crate) struct Entrant {
    pub(crate) id: ClientId,
    /// The group, as the client spelt it.
    pub(crate) group: String,
    pub(crate) username: Username,
    pub(crate) permissions: Permissions,
    /// Whether the group's file says what it may do, and not a token.
    pub(crate) is_of_file: bool,
    /// When the token that lets it in ends, and its secret if the server keeps it.
    pub(crate) token: (Option<UnixMs>, Option<String>),
    /// What others are to know of it.
    pub(crate) data: Map<String, Value>,
    pub(crate) title: Title,
}

/// A member whose connection was lost.
#[derive(Debug)]
struct Gone {
    id: ClientId,
    username: Username,
    mark: Mark,
    at: Duration,
}

/// What a member publishes so that it can show later who it was: the SHA-256 of a text.
type Mark = [u8; 32];

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Door {
    /// The first to have knocked first.
    waiting: Vec<(ConnId, Entrant)>,
    gone: VecDeque<Gone>,
}

impl Door {
    /// Whether nobody waits.
    pub(crate) fn is_free(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Somebody waits from now on. False if there are too many.
    #[must_use]
    pub(crate) fn wait(&mut self, conn: ConnId, entrant: Entrant) -> bool {
        let has_room = self.waiting.len() < WAITING_MAX;
        if has_room {
            self.waiting.push((conn, entrant));
        }
        has_room
    }

    /// Those who wait, the first first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (ConnId, &Entrant)> {
        self.waiting.iter().map(|(conn, entrant)| (*conn, entrant))
    }

    /// The same, to be changed.
    pub(crate) fn waiting_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut Entrant)> {
        self.waiting.iter_mut().map(|(conn, entrant)| (*conn, entrant))
    }

    /// Who waits under this id.
    pub(crate) fn find(&self, id: &str) -> Option<ConnId> {
        self.waiting().find(|(_, entrant)| entrant.id.as_str() == id).map(|(conn, _)| conn)
    }

    /// Somebody waits no longer.
    pub(crate) fn take(&mut self, conn: ConnId) -> Option<Entrant> {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == conn)?;
        Some(self.waiting.remove(at).1)
    }

    /// A member's connection was lost: it may come back.
    pub(crate) fn remember(&mut self, member: &Member, now: Duration) {
        self.forget(now);
        let Some(mark) = mark_of(member) else {
            return;
        };
        if self.gone.len() == GONE_MAX {
            self.gone.pop_front();
        }
        let (id, username) = (member.id.clone(), member.username.clone());
        self.gone.push_back(Gone { id, username, mark, at: now });
    }

    /// Those who have been gone for long do not come back.
    pub(crate) fn forget(&mut self, now: Duration) {
        while self.gone.front().is_some_and(|gone| gone.at + GONE_FOR_MAX <= now) {
            self.gone.pop_front();
        }
    }

    /// Nobody of this name comes back.
    pub(crate) fn forget_name(&mut self, name: &Username) {
        self.gone.retain(|gone| gone.username != *name);
    }

    /// Whether the entrant shows that it has just been here. That can be shown once.
    pub(crate) fn is_back(&mut self, entrant: &Entrant, now: Duration) -> bool {
        self.forget(now);
        let position = self.gone.iter().position(|gone| {
            gone.username == entrant.username && proves(&entrant.data, gone.id.as_str(), &gone.mark)
        });
        position.and_then(|position| self.gone.remove(position)).is_some()
    }
}

/// Whether the entrant shows to be `member`, whose connection is lost without our knowledge so far.
pub(crate) fn succeeds(entrant: &Entrant, member: &Member) -> bool {
    member.username == entrant.username
        && mark_of(member).is_some_and(|mark| proves(&entrant.data, member.id.as_str(), &mark))
}

/// A member's mark, unless it has served: all have read the proof by then.
fn mark_of(member: &Member) -> Option<Mark> {
    let mark = member.data.get("mark").filter(|_| !member.is_succeeded)?.as_str()?;
    hex(mark)?.try_into().ok()
}

/// Whether `data` names this id, and the text whose SHA-256 is the mark.
fn proves(data: &Map<String, Value>, id: &str, mark: &Mark) -> bool {
    let text = |key| data.get(key).and_then(Value::as_str);
    let (Some(was), Some(proof)) = (text("was"), text("proof")) else {
        return false;
    };
    was == id && Sha256::digest(proof.as_bytes()).as_slice() == mark
}

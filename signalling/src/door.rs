//! The door of a group: who waits to be let in, and who has just gone and may come back unasked.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::ids::{ClientId, ConnId};
use crate::member::Member;
use crate::name::Username;
use crate::permission::Permissions;
use crate::time::UnixMs;

/// The most who wait; operators would not find anybody among more.
const WAITING_MAX: usize = 200;
/// The most who are remembered: those of a large class whose network has failed.
const GONE_MAX: usize = 1000;
/// For how long.
const GONE_FOR_MAX: Duration = Duration::from_secs(600);

/// Somebody whose credentials are good, on the way in.
#[derive(Clone, Debug)]
pub(crate) struct Entrant {
    pub(crate) id: ClientId,
    /// The group, as the client spelt it.
    pub(crate) group: String,
    pub(crate) username: Username,
    pub(crate) permissions: Permissions,
    /// When the token that lets it in ends, and its secret if the server keeps it.
    pub(crate) token: (Option<UnixMs>, Option<String>),
    /// What others are to know of it.
    pub(crate) data: Map<String, Value>,
}

/// A member whose connection was lost.
#[derive(Debug)]
struct Gone {
    id: ClientId,
    username: Username,
    mark: String,
    at: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Door {
    waiting: BTreeMap<ConnId, Entrant>,
    gone: VecDeque<Gone>,
}

impl Door {
    /// Nobody waits.
    pub(crate) fn is_free(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Somebody waits from now on. False if there are too many.
    #[must_use]
    pub(crate) fn wait(&mut self, conn: ConnId, entrant: Entrant) -> bool {
        let has_room = self.waiting.len() < WAITING_MAX;
        if has_room {
            self.waiting.insert(conn, entrant);
        }
        has_room
    }

    /// Those who wait, the first first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (ConnId, &Entrant)> {
        self.waiting.iter().map(|(conn, entrant)| (*conn, entrant))
    }

    /// Who waits under this id.
    pub(crate) fn find(&self, id: &str) -> Option<ConnId> {
        self.waiting().find(|(_, entrant)| entrant.id.as_str() == id).map(|(conn, _)| conn)
    }

    /// Somebody waits no longer.
    pub(crate) fn take(&mut self, conn: ConnId) -> Option<Entrant> {
        self.waiting.remove(&conn)
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
        self.gone.push_back(Gone {
            id: member.id.clone(),
            username: member.username.clone(),
            mark: mark.to_owned(),
            at: now,
        });
    }

    fn forget(&mut self, now: Duration) {
        while self.gone.front().is_some_and(|gone| gone.at + GONE_FOR_MAX <= now) {
            self.gone.pop_front();
        }
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

/// Whether the entrant shows to be `member`, whose connection is lost without our knowledge so far. That
/// can be shown once.
pub(crate) fn succeeds(entrant: &Entrant, member: &mut Member) -> bool {
    let is_it = member.username == entrant.username
        && mark_of(member).is_some_and(|mark| proves(&entrant.data, member.id.as_str(), mark));
    if is_it {
        member.data.remove("mark");
    }
    is_it
}

/// What a member has published so that it can show later who it was.
fn mark_of(member: &Member) -> Option<&str> {
    member.data.get("mark")?.as_str()
}

/// Whether `data` names this id, and the secret whose SHA-256 in hexadecimal is the mark.
fn proves(data: &Map<String, Value>, id: &str, mark: &str) -> bool {
    let text = |key| data.get(key).and_then(Value::as_str);
    let (Some(was), Some(proof)) = (text("was"), text("proof")) else {
        return false;
    };
    was == id && hex(&Sha256::digest(proof.as_bytes())) == mark
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! Joining: group files, credentials, admission.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;

use super::{
    CredentialCheck, Credentials, Event, Failure, GROUPS_MAX, GroupFile, Happening, Hub,
    JoinRequest, Joined, JoinedKind, Message, Output, Place, Proof, Secret, StatusReply,
    USER_DATA_BYTES_MAX, UserKind, Verdict, Waiting, What, user_event,
};
use crate::group::{Group, LOCKED_TEXT, Member};
use crate::ids::{ClientId, ConnId};
use crate::limit::TokenBucket;
use crate::name::{GroupName, Username};
use crate::password::Password;
use crate::permission::{OP, Permissions};
use crate::stream::Request;
use crate::time::{Now, UnixMs};
use crate::token::TokenGrant;

/// What non-ops are told where an op must be present.
pub(super) const NO_OP_TEXT: &str = "there are no operators in this group";

/// How many messages a client may send at once, and per second after that. Browsers that
/// exchange files trickle their candidates through user messages.
const CHAT_BURST: u32 = 100;
const CHAT_PER_SECOND: u32 = 10;
/// How many offers a client may make at once, and per second after that.
const OFFER_BURST: u32 = 40;
const OFFERS_PER_SECOND: u32 = 4;

/// A join being decided.
#[derive(Debug)]
pub(super) struct Joining {
    request: JoinRequest,
    name: GroupName,
    /// Set once the file has said who this is.
    login: Option<Login>,
}

#[derive(Debug)]
struct Login {
    username: Username,
    permissions: Permissions,
    is_named: bool,
    /// When the token that gave it ends.
    expires: Option<UnixMs>,
    /// The token's secret, if the server keeps it.
    kept: Option<String>,
}

/// A refused join: why for programs, why for people.
struct Refused(Failure, String);

impl Refused {
    fn new(failure: Failure, text: &str) -> Self {
        Self(failure, text.to_owned())
    }

    fn no_such_group() -> Self {
        Self::new(Failure::NoSuchGroup, "group does not exist")
    }

    fn not_authorised() -> Self {
        Self::new(Failure::NotAuthorised, "not authorised")
    }

    /// The file has a mistake, which the log names: not for guests to read.
    fn broken() -> Self {
        Self::new(
            Failure::Internal,
            "this group has a mistake in its settings: tell who runs this server",
        )
    }

    fn internal() -> Self {
        Self::new(Failure::Internal, "internal server error")
    }
}

impl Hub {
    /// A connection wants to be a member. Answered by [`Event::Joined`].
    pub fn join(&mut self, conn: ConnId, request: JoinRequest) {
        let Some(client) = self.clients.get_mut(&conn) else {
            return;
        };
        if !matches!(client.place, Place::Outside) {
            return;
        }
        let Ok(name) = GroupName::parse(&request.group) else {
            let refused = Refused::new(Failure::NoSuchGroup, "illegal group name");
            return self.refuse(conn, &request, refused);
        };
        if let Some(text) = self.closing.clone() {
            return self.refuse(conn, &request, Refused(Failure::Closed, text));
        }
        client.place =
            Place::Joining(Box::new(Joining { request, name: name.clone(), login: None }));
        self.load(name, Waiting::Join(conn));
    }

    fn refuse(&mut self, conn: ConnId, request: &JoinRequest, refusal: Refused) {
        let Refused(failure, text) = refusal;
        let happening = Happening {
            what: What::Refused { why: text.clone() },
            group: request.group.clone(),
            client: request.client.clone(),
            username: request.credentials.username.clone().unwrap_or_default(),
        };
        self.outputs.push_back(Output::Happened(Box::new(happening)));
        if let Some(client) = self.clients.get_mut(&conn) {
            client.place = Place::Outside;
        }
        let username = request.credentials.username.as_deref().unwrap_or_default();
        let joined = Joined {
            kind: JoinedKind::Fail,
            group: request.group.clone(),
            username: Username::parse(username).ok(),
            permissions: Permissions::default(),
            status: None,
            data: Map::new(),
            failure: Some(failure),
            value: Some(text.to_owned()),
        };
        self.tell(conn, Event::Joined(Box::new(joined)));
    }

    pub(super) fn load(&mut self, name: GroupName, waiting: Waiting) {
        let queue = self.loads.entry(name.clone()).or_default();
        queue.push(waiting);
        if queue.len() == 1 {
            self.outputs.push_back(Output::Load(name));
        }
    }

    /// What came of [`Output::Load`].
    pub fn group_file(&mut self, name: &GroupName, file: GroupFile, now: Now) {
        let usable = self.adopt(name, file, now);
        self.settle(name, now);
        for waiting in self.loads.remove(name).unwrap_or_default() {
            match waiting {
                Waiting::Nobody => {}
                Waiting::Status(ticket) => {
                    let reply = match (&usable, self.groups.get(name)) {
                        (Ok(()), Some(group)) => StatusReply::Found(Box::new(group.view())),
                        (Err(Unusable::Missing), _) => StatusReply::Missing,
                        _ => StatusReply::Broken,
                    };
                    self.outputs.push_back(Output::Status(ticket, reply));
                }
                Waiting::Join(conn) => self.identify_joiner(conn, name, &usable),
            }
        }
    }

    /// Brings the group in memory up to date.
    fn adopt(&mut self, name: &GroupName, file: GroupFile, now: Now) -> Result<(), Unusable> {
        match file {
            GroupFile::Found(_) if !self.groups.contains_key(name) && !self.make_room() => {
                Err(Unusable::Broken)
            }
            GroupFile::Found(description) => match self.groups.get_mut(name) {
                Some(group) => {
                    group.is_orphan = false;
                    group.told_broken = None;
                    if group.description != description {
                        let locks_no_more =
                            group.description.is_autolock && !description.is_autolock;
                        if locks_no_more && group.lock.as_deref() == Some(LOCKED_TEXT) {
                            // Nobody has locked it but the old file.
                            group.lock = None;
                        }
                        group.description = description;
                        self.tell_changed(name, true);
                        self.follow_all_consents(name);
                    }
                    Ok(())
                }
                None => {
                    let group = Group::new(name.clone(), description, now.mono);
                    self.groups.insert(name.clone(), group);
                    Ok(())
                }
            },
            GroupFile::Missing => {
                if let Some(group) = self.groups.get_mut(name) {
                    group.is_orphan = true;
                    if group.members.is_empty() {
                        self.groups.remove(name);
                    }
                }
                Err(Unusable::Missing)
            }
            GroupFile::Broken(error) => {
                let Some(group) = self.groups.get_mut(name) else {
                    return Err(Unusable::Broken);
                };
                // The old description stays in force; ops are told once per kind of error.
                let text = format!("the group file cannot be used, the old one stays: {error}");
                if group.told_broken.as_ref() != Some(&text) {
                    group.told_broken = Some(text.clone());
                    self.warn_ops(name, &text);
                }
                Ok(())
            }
        }
    }

    /// Whether one more group fits, if need be in place of the empty one that has been quiet for
    /// longest: names below a group with automatic subgroups can be made up without end.
    fn make_room(&mut self) -> bool {
        if self.groups.len() < GROUPS_MAX {
            return true;
        }
        let empty = self
            .groups
            .values()
            .filter(|group| group.members.is_empty() && !group.description.listing.is_public);
        let oldest = empty.min_by_key(|group| group.touched_at).map(|group| group.name.clone());
        oldest.is_some_and(|name| self.groups.remove(&name).is_some())
    }

    fn warn_ops(&mut self, name: &GroupName, text: &str) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let ops = group.members.iter().filter(|(_, member)| member.traits.chats && member.may(OP));
        let ops = ops.map(|(conn, _)| *conn).collect();
        let message = Message {
            kind: "warning".to_owned(),
            is_privileged: true,
            value: Some(text.into()),
            ..Message::default()
        };
        self.tell_many(ops, Event::UserMessage(Arc::new(message)));
    }

    /// The file is there: find out who the joiner claims to be.
    fn identify_joiner(&mut self, conn: ConnId, name: &GroupName, usable: &Result<(), Unusable>) {
        let Some(client) = self.clients.get_mut(&conn) else {
            return;
        };
        let Place::Joining(joining) = &mut client.place else {
            return;
        };
        if joining.name != *name {
            return;
        }
        let refusal = match usable {
            Ok(()) => None,
            Err(Unusable::Missing) => Some(Refused::no_such_group()),
            Err(Unusable::Broken) => Some(Refused::broken()),
        };
        if let Some(refused) = refusal {
            let request = joining.request.clone();
            return self.refuse(conn, &request, refused);
        }
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let credentials = &joining.request.credentials;
        let found = password_login(group, credentials);
        let (login, stored) =
            found.map_or((None, None), |(login, stored)| (Some(login), Some(stored)));
        let keys = || group.description.auth_keys.clone();
        let proof = match (&credentials.secret, stored) {
            (Secret::Token(token), _) => {
                Proof::Token { token: token.clone(), keys: keys(), otherwise: None }
            }
            (Secret::Bearer(token), otherwise) => {
                Proof::Token { token: token.clone(), keys: keys(), otherwise }
            }
            (Secret::Password(given), stored) => {
                Proof::password(&group.description, stored, given.clone())
            }
        };
        let username = credentials.username.clone().unwrap_or_default();
        let address = client.traits.address.clone();
        let check = CredentialCheck::new(name, &group.description, username, address, proof);
        joining.login = login;
        self.outputs.push_back(Output::Check(conn, check));
    }

    /// What came of [`Output::Check`].
    pub fn verdict(&mut self, conn: ConnId, verdict: Verdict, now: Now) {
        let Some(client) = self.clients.get_mut(&conn) else {
            return;
        };
        if !matches!(client.place, Place::Joining(_)) {
            return;
        }
        let Place::Joining(joining) = std::mem::replace(&mut client.place, Place::Outside) else {
            return;
        };
        let Joining { request, name, login } = *joining;
        let refused = match (verdict, login) {
            (Verdict::Right, Some(login)) => match self.admit(conn, &request, &name, login, now) {
                Ok(()) => return,
                Err(refused) => refused,
            },
            (Verdict::Granted(grant), _) => {
                let login = self.token_login(&name, &request, *grant);
                match login.and_then(|login| self.admit(conn, &request, &name, login, now)) {
                    Ok(()) => return,
                    Err(refused) => refused,
                }
            }
            (Verdict::Broken(_), Some(Login { is_named: true, .. })) => Refused::internal(),
            (Verdict::Right | Verdict::Wrong | Verdict::Broken(_), _) => Refused::not_authorised(),
            (Verdict::Busy, _) => Refused::new(Failure::Busy, "server busy, try again"),
        };
        self.refuse(conn, &request, refused);
    }

    /// Who the bearer of a good token is: whom the token names, or else whom the bearer names.
    fn token_login(
        &self,
        name: &GroupName,
        request: &JoinRequest,
        grant: TokenGrant,
    ) -> Result<Login, Refused> {
        let group = self.groups.get(name).ok_or_else(Refused::no_such_group)?;
        let username = match grant.username.as_deref() {
            Some(username) if !username.is_empty() => username,
            own => {
                let chosen = request.credentials.username.as_deref();
                let Some(chosen) = chosen.or(own) else {
                    return Err(Refused::new(Failure::NeedUsername, "username required"));
                };
                if !chosen.is_empty() && group.description.is_named(chosen) {
                    let text = "this username is taken";
                    return Err(Refused::new(Failure::DuplicateUsername, text));
                }
                chosen
            }
        };
        Ok(Login {
            username: Username::parse(username).map_err(|_| Refused::not_authorised())?,
            permissions: Permissions::from_list(&grant.permissions),
            is_named: false,
            expires: grant.expires,
            kept: grant.kept,
        })
    }

    /// The rules of admission, in Galene's order; then the new member's first messages.
    fn admit(
        &mut self,
        conn: ConnId,
        request: &JoinRequest,
        name: &GroupName,
        login: Login,
        now: Now,
    ) -> Result<(), Refused> {
        if let Some(text) = &self.closing {
            return Err(Refused(Failure::Closed, text.clone()));
        }
        let Login { username, permissions, expires, kept, .. } = login;
        let group = self.groups.get(name).ok_or_else(Refused::no_such_group)?;
        if group.is_orphan {
            return Err(Refused::no_such_group());
        }
        if let Some(url) = group.description.listing.redirect.clone() {
            self.tell_redirect(conn, request, username, url);
            return Ok(());
        }
        if !permissions.has(OP) {
            check_open(group, now.unix)?;
        }
        let id = ClientId::parse(&request.client).map_err(|_| Refused::internal())?;
        if group.find(id.as_str()).is_some() {
            return Err(Refused::internal());
        }
        let mut data = Map::new();
        if !super::merge(&mut data, &request.data, USER_DATA_BYTES_MAX) {
            return Err(Refused::new(Failure::Internal, "the data of the join is too large"));
        }
        let Some(client) = self.clients.get_mut(&conn) else {
            return Ok(());
        };
        client.place = Place::In(name.clone());
        // People stay: tokens of authentication servers are good for seconds. What publishes or
        // watches without a person in front of it has nobody else who would end it.
        if let Some(expires) = expires.filter(|_| !client.traits.chats) {
            let left_ms = u64::try_from(expires.0.saturating_sub(now.unix.0)).unwrap_or_default();
            let expires_at = now.mono + Duration::from_millis(left_ms);
            client.expires_at = Some(expires_at);
            self.expiries.insert((expires_at, conn));
            self.bearers.extend(kept.map(|secret| (conn, secret)));
        }
        let member = Member {
            id,
            username,
            traits: client.traits.clone(),
            permissions,
            data,
            request: Request::default(),
            ups: Default::default(),
            downs: Default::default(),
            view: None,
            failures: Default::default(),
            restarted_at: None,
            asked_numbers_at: None,
            consent: None,
            is_recorded: false,
            chat_budget: TokenBucket::new(CHAT_BURST, CHAT_PER_SECOND, now.mono),
            offer_budget: TokenBucket::new(OFFER_BURST, OFFERS_PER_SECOND, now.mono),
            request_budget: TokenBucket::new(OFFER_BURST, OFFERS_PER_SECOND, now.mono),
        };
        self.welcome(conn, name, member, now);
        Ok(())
    }

    fn tell_redirect(
        &mut self,
        conn: ConnId,
        request: &JoinRequest,
        username: Username,
        url: String,
    ) {
        let joined = Joined {
            kind: JoinedKind::Redirect,
            group: request.group.clone(),
            username: Some(username),
            permissions: Permissions::default(),
            status: None,
            data: Map::new(),
            failure: None,
            value: Some(url),
        };
        self.tell(conn, Event::Joined(Box::new(joined)));
    }

    /// Puts the member in. The order is part of the protocol: joined, history, users.
    fn welcome(&mut self, conn: ConnId, name: &GroupName, member: Member, now: Now) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let others = group.chatting();
        let mut member = member;
        member.is_recorded = group.records(conn, &member);
        let add = user_event(UserKind::Add, &member);
        let chats = member.traits.chats;
        let mut joined = Joined {
            kind: JoinedKind::Join,
            group: name.as_str().to_owned(),
            username: Some(member.username.clone()),
            permissions: member.permissions.clone(),
            status: None,
            data: group.data.clone(),
            failure: None,
            value: None,
        };
        let present: Vec<Event> = if chats {
            group.members.values().map(|other| user_event(UserKind::Add, other)).collect()
        } else {
            Vec::new()
        };
        let permissions = member.permissions.as_slice().to_vec();
        group.members.insert(conn, member);
        group.touched_at = now.mono;
        let history_age_ms = i64::try_from(group.description.history_age_ms).unwrap_or(i64::MAX);
        let history = group.history.recent(UnixMs(now.unix.0.saturating_sub(history_age_ms)));
        joined.status = self.groups.get(name).map(|group| self.member_status(group));
        self.note(name, conn, What::Joined { permissions });
        self.note_member(name, conn, "joined");
        self.tell(conn, Event::Joined(Box::new(joined)));
        if chats {
            for message in history {
                self.tell(conn, Event::History(message));
            }
            self.tell(conn, add.clone());
            for event in present {
                self.tell(conn, event);
            }
        }
        self.tell_many(others, add);
        self.tell_speakers_to(name, conn);
        self.settle_voices(name);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unusable {
    Missing,
    Broken,
}

/// Who the credentials say the client is, and the password that would prove it.
fn password_login(group: &Group, credentials: &Credentials) -> Option<(Login, Password)> {
    let username = Username::parse(credentials.username.as_deref()?).ok()?;
    let user = group.description.user(username.as_str())?;
    let password = user.password.clone()?;
    let login = Login {
        is_named: group.description.is_named(username.as_str()),
        permissions: group.description.permissions(user),
        username,
        expires: None,
        kept: None,
    };
    Some((login, password))
}

/// What ops need not care about.
fn check_open(group: &Group, now: UnixMs) -> Result<(), Refused> {
    let description = &group.description;
    if let Some(text) = &group.lock {
        let text = if text.is_empty() { LOCKED_TEXT } else { text };
        return Err(Refused::new(Failure::Closed, text));
    }
    if description.not_before.is_some_and(|not_before| now < not_before) {
        return Err(Refused::new(Failure::Closed, "this group is not open yet"));
    }
    if description.expires.is_some_and(|expires| now > expires) {
        return Err(Refused::new(Failure::Closed, "this group is closed"));
    }
    if description.is_autokick && !group.has_op() {
        return Err(Refused::new(Failure::Closed, NO_OP_TEXT));
    }
    let clients_max = description.clients_max.map_or(usize::MAX, |max| max as usize);
    if group.members.len() >= clients_max {
        return Err(Refused::new(Failure::Full, "too many users"));
    }
    Ok(())
}

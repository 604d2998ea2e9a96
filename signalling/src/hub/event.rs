//! The contract between the hub and its adapters: what a member asks for, what a member is told,
//! and what the hub wants from the world. A signalling protocol is an adapter over this.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::credential::{CredentialCheck, Credentials};
use super::media::{MediaRequest, PathState};
use super::recording::RecordOrder;
use crate::description::Description;
use crate::description_error::DescriptionError;
use crate::group::StatusView;
use crate::ids::{ClientId, ConnId, StreamId, Ticket};
use crate::name::{GroupName, Username};
use crate::permission::Permissions;
use crate::token::TokenRequest;

/// What a kind of client can do at all, whatever its permissions.
#[derive(Clone, Debug, Default)]
pub struct Traits {
    /// It takes streams of others.
    pub receives: bool,
    /// It takes chat and notifications.
    pub chats: bool,
    /// It wants to know who speaks.
    pub follows_speakers: bool,
    /// It wants to know which Encodings of its streams anybody wishes to have.
    pub spares_encodings: bool,
    /// Its address, for `identify`.
    pub address: Option<String>,
    /// Our address that it has reached, which media can probably reach as well.
    pub reached: Option<IpAddr>,
    /// How it calls us, as in its `Host` header.
    pub host: Option<String>,
}

/// Who has opened a WebSocket.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The client's address, for `identify`.
    pub address: Option<String>,
    /// Our address that it has reached.
    pub reached: Option<IpAddr>,
    /// How it calls us, as in its `Host` header.
    pub host: Option<String>,
}

/// A wish to join.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The id to be known under, as the client gave it.
    pub client: String,
    /// The group, as the client spelt it.
    pub group: String,
    /// Who.
    pub credentials: Credentials,
    /// What others shall know.
    pub data: Map<String, Value>,
}

/// The kinds of `joined`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum JoinedKind {
    Join,
    Fail,
    Redirect,
    Leave,
    Change,
}

/// The kinds of `user`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum UserKind {
    Add,
    Change,
    Delete,
}

/// Why a join was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The credentials are not good.
    NotAuthorised,
    /// The token lets the bearer choose a name, and it has not.
    NeedUsername,
    /// The token's bearer has chosen the name of one of the group's users.
    DuplicateUsername,
    /// There is no such group.
    NoSuchGroup,
    /// Locked, or outside its hours, or without the op it needs.
    Closed,
    /// As many clients as it takes.
    Full,
    /// The server has too much to do.
    Busy,
    /// Something is wrong with the group or the request that the joiner cannot put right.
    Internal,
}

/// The answer to a join, and every later change of the member's standing.
#[derive(Clone, Debug)]
pub struct Joined {
    /// What happened.
    pub kind: JoinedKind,
    /// Where, as the client spelt it.
    pub group: String,
    /// The member's name; authoritative.
    pub username: Option<Username>,
    /// The member's permissions.
    pub permissions: Permissions,
    /// The member view of the group.
    pub status: Option<Map<String, Value>>,
    /// The group's data.
    pub data: Map<String, Value>,
    /// Why refused, for programs.
    pub failure: Option<Failure>,
    /// Why refused, or where to go instead.
    pub value: Option<String>,
}

/// A chat message, or a message between user interfaces.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Free, such as `me` or `filetransfer`.
    pub kind: String,
    /// May be empty.
    pub id: String,
    /// Nothing for the server.
    pub source: Option<ClientId>,
    /// The sender's name.
    pub username: Option<Username>,
    /// Nothing for everyone.
    pub dest: Option<ClientId>,
    /// The sender may moderate.
    pub is_privileged: bool,
    /// The sender does not get a copy.
    pub is_noecho: bool,
    /// RFC 3339; empty if none.
    pub time: String,
    /// A word for programs; empty if none.
    pub error: &'static str,
    /// Anything.
    pub value: Option<Value>,
}

/// Why something did not work, for programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cause {
    /// It will not work the same way again.
    #[default]
    Other,
    /// The server has too much to do; the same may work later.
    Busy,
    /// What was sent cannot be read.
    Malformed,
}

/// What members are told.
#[derive(Clone, Debug)]
pub enum Event {
    /// The answer to a join, or a change.
    Joined(Box<Joined>),
    /// Someone came, changed, or left.
    User {
        /// Which of the three.
        kind: UserKind,
        /// Who.
        id: ClientId,
        /// Their name.
        username: Username,
        /// Empty on delete.
        permissions: Permissions,
        /// Empty on delete.
        data: Map<String, Value>,
    },
    /// A message from before the member joined.
    History(Arc<Message>),
    /// A chat message.
    Chat(Arc<Message>),
    /// A message for the user interface.
    UserMessage(Arc<Message>),
    /// The answer to the member's offer.
    Answer {
        /// Which stream.
        stream: StreamId,
        /// The answer.
        sdp: String,
        /// Audio and video sections that cannot be used, in plain words.
        unused: Vec<String>,
    },
    /// An offer of someone's stream.
    Offer {
        /// The stream's id.
        stream: StreamId,
        /// Its label.
        label: String,
        /// The stream that it takes the place of.
        replace: Option<StreamId>,
        /// The publisher.
        source: ClientId,
        /// The publisher's name.
        username: Username,
        /// The offer.
        sdp: String,
    },
    /// The member's view is negotiated: the answer to its offer, or nothing if the offer was ours.
    Viewing {
        /// The answer.
        sdp: Option<String>,
    },
    /// An offer for the member's view.
    ViewOffer {
        /// The offer.
        sdp: String,
    },
    /// The member's description of its view was refused; a view that ran before goes on.
    ViewRefused {
        /// In plain words.
        text: String,
        /// What kind of failure it is.
        cause: Cause,
    },
    /// The member's view is over.
    ViewClosed {
        /// In plain words.
        text: String,
    },
    /// The pictures of a stream are held back because the member's path has no room for them, or
    /// come again.
    Paused {
        /// Which.
        stream: StreamId,
        /// Whether they are held back.
        is_paused: bool,
    },
    /// Nothing comes of a stream any more, as the path from its publisher has failed, or it comes
    /// again.
    Silent {
        /// Which.
        stream: StreamId,
        /// Whether nothing comes.
        is_silent: bool,
    },
    /// How the member's own connection for a stream fares, if that is worth a word.
    Path {
        /// Which.
        stream: StreamId,
        /// What is known.
        path: PathState,
    },
    /// Which Encodings of the member's own stream anybody wishes to have; the others may be left out.
    Wanted {
        /// Which.
        stream: StreamId,
        /// Their rids.
        rids: Vec<String>,
    },
    /// How the member's own connections and streams fare, as it has asked.
    Numbers {
        /// As in the administrators' statistics; of a view, by the index of the m-section.
        value: Value,
    },
    /// Who speaks now, as far as levels tell.
    Speakers {
        /// Their streams, the loudest first.
        streams: Vec<StreamId>,
    },
    /// A stream of someone else is over.
    Close {
        /// Which.
        stream: StreamId,
    },
    /// The member shall end a stream of its own.
    Abort {
        /// Which.
        stream: StreamId,
    },
    /// The member shall restart ICE on a stream of its own.
    Renegotiate {
        /// Which.
        stream: StreamId,
    },
    /// Something the member asked for did not work; nothing is lost.
    Error {
        /// In plain words.
        text: String,
        /// What kind of failure it is, for programs.
        cause: Cause,
    },
    /// The server is about to end.
    Stopping {
        /// When, in seconds from now.
        seconds: u32,
    },
    /// Something that the member should know, though nothing that it asked for has failed.
    Warning {
        /// In plain words.
        text: String,
    },
    /// The member is out: its connection ends after this.
    Kicked {
        /// By whom, unless by the server.
        by: Option<(ClientId, Username)>,
        /// The member.
        dest: ClientId,
        /// Why; empty if nobody said.
        message: String,
    },
}

/// To whom an event goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recipients {
    /// To one.
    One(ConnId),
    /// To several, each in its own order.
    Many(Vec<ConnId>),
}

/// What came of looking for a group's file.
#[derive(Clone, Debug)]
pub enum GroupFile {
    /// Its present contents, changed or not.
    Found(Arc<Description>),
    /// There is none.
    Missing,
    /// It cannot be used.
    Broken(Arc<DescriptionError>),
}

/// The answer to a status query.
#[derive(Clone, Debug)]
pub enum StatusReply {
    /// There is such a group.
    Found(Box<StatusView>),
    /// There is none.
    Missing,
    /// Its file cannot be used.
    Broken,
}

/// What the hub wants done. In order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Tell members.
    Event(Recipients, Event),
    /// Tell the data plane.
    Media(MediaRequest),
    /// Look for a group's file and say what came of it.
    Load(GroupName),
    /// Check a credential and say what came of it.
    Check(ConnId, CredentialCheck),
    /// Ask the server's tokens and say what came of it.
    Token(ConnId, TokenRequest),
    /// Answer a status query.
    Status(Ticket, StatusReply),
    /// Tell the recorder.
    Record(Box<RecordOrder>),
    /// Tell whoever keeps the books.
    Happened(Box<Happening>),
}

/// Something in the life of a group that its operator may want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happening {
    /// What.
    pub what: What,
    /// Where, as the client spelt it if there is no such group.
    pub group: String,
    /// Whose: the client's id.
    pub client: String,
    /// Its name; may be empty.
    pub username: String,
}

/// What has happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A member has come.
    Joined {
        /// What it may do.
        permissions: Vec<String>,
    },
    /// Somebody was not let in.
    Refused {
        /// In plain words.
        why: String,
    },
    /// A member is gone.
    Left,
    /// A member is sent out; that it has left follows.
    Kicked {
        /// The name, or else the id, of who did it; nothing if it was the server.
        by: Option<String>,
        /// Why; empty if nobody said.
        message: String,
    },
    /// A stream of the member's is there for others.
    Published {
        /// Its id.
        stream: String,
        /// Its label, such as `camera`.
        label: String,
        /// Whether it has audio, and video.
        has: (bool, bool),
    },
    /// That stream is over.
    Ended {
        /// Its id.
        stream: String,
        /// Its label.
        label: String,
    },
}

/// Whose a transport is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whose {
    /// The group.
    pub group: String,
    /// The member's client id.
    pub client: String,
    /// The member's name; may be empty.
    pub username: String,
    /// The stream that it carries.
    pub stream: String,
}

/// A useraction or groupaction.
#[derive(Clone, Debug, Default)]
pub struct ActionRequest {
    /// Which.
    pub kind: String,
    /// On whom.
    pub dest: String,
    /// With what.
    pub value: Option<Value>,
}

//! The contract between the hub and its adapters: what a member asks for, what a member is told,
//! and what the hub wants from the world. A signalling protocol is an adapter over this.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::cause::Cause;
use super::credential::{CredentialCheck, Credentials};
use super::media::MediaRequest;
use super::recording::RecordOrder;
use crate::description::Description;
use crate::description_error::DescriptionError;
use crate::ids::{ClientId, ConnId, StreamId, Ticket};
use crate::message::Message;
use crate::name::{GroupName, Username};
use crate::path::PathState;
use crate::permission::Permissions;
use crate::status::StatusView;
use crate::token::TokenRequest;

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

/// A request to join a group.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The id to be known under, as the client gave it.
    pub client: String,
    /// The group, as the client spelt it.
    pub group: String,
    /// What shows who it is.
    pub credentials: Credentials,
    /// What others are to know of the member.
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
    /// Not refused: the joiner waits to be let in.
    Wait,
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
    /// Locked, or without the op it needs.
    Locked,
    /// Outside its hours, at its end, or for this joiner.
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
    /// Whether this answers a join, or what else has happened.
    pub kind: JoinedKind,
    /// Where, as the client spelt it.
    pub group: String,
    /// The member's name; authoritative.
    pub username: Option<Username>,
    /// What the member may do from now on.
    pub permissions: Permissions,
    /// The member view of the group.
    pub status: Option<Map<String, Value>>,
    /// What operators have set for the whole group.
    pub data: Map<String, Value>,
    /// Why refused, for programs.
    pub failure: Option<Failure>,
    /// Why refused, or where to go instead.
    pub value: Option<String>,
}

impl Joined {
    /// With nothing but what it is and where.
    pub(super) fn new(kind: JoinedKind, group: &str) -> Self {
        Self {
            kind,
            group: group.to_owned(),
            username: None,
            permissions: Permissions::default(),
            status: None,
            data: Map::new(),
            failure: None,
            value: None,
        }
    }
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
        /// The client that this is about.
        id: ClientId,
        /// The name of that client; may be empty.
        username: Username,
        /// What it may do; empty on delete.
        permissions: Permissions,
        /// What it shows of itself; empty on delete.
        data: Map<String, Value>,
    },
    /// To operators: somebody waits to be let in, or no longer.
    Knock {
        /// Whether it has begun or ended.
        kind: UserKind,
        /// The client that waits.
        id: ClientId,
        /// The name of that client; may be empty.
        username: Username,
    },
    /// A message from before the member joined.
    History(Arc<Message>),
    /// A chat message, to those who are there.
    Chat(Arc<Message>),
    /// A message for the user interface.
    UserMessage(Arc<Message>),
    /// The answer to the member's offer.
    Answer {
        /// The stream whose offer is answered.
        stream: StreamId,
        /// The SDP answer.
        sdp: String,
        /// Audio and video sections that cannot be used, in plain words.
        unused: Vec<String>,
    },
    /// An offer of someone's stream.
    Offer {
        /// The id of the stream, which is its publisher's choice.
        stream: StreamId,
        /// What its publisher calls it, such as `camera`.
        label: String,
        /// The stream that it takes the place of.
        replace: Option<StreamId>,
        /// The client id of the publisher.
        source: ClientId,
        /// The name of the publisher; may be empty.
        username: Username,
        /// The SDP offer.
        sdp: String,
    },
    /// The member's view is negotiated: the answer to its offer, or nothing if the offer was ours.
    Viewing {
        /// The SDP answer to the offer of the member.
        sdp: Option<String>,
    },
    /// An offer for the member's view.
    ViewOffer {
        /// The SDP offer.
        sdp: String,
    },
    /// The member's description of its view was refused; a view that ran before goes on.
    ViewRefused {
        /// For people to read, and for whoever looks at the log.
        text: String,
        /// What kind of failure it is.
        cause: Cause,
    },
    /// The member's view is over.
    ViewClosed {
        /// For people to read, and for whoever looks at the log.
        text: String,
    },
    /// The pictures of a stream are held back because the member's path has no room for them, or
    /// come again.
    Paused {
        /// The id of the stream that this is about.
        stream: StreamId,
        /// Whether they are held back.
        is_paused: bool,
    },
    /// Nothing comes of a stream any more, as the path from its publisher has failed, or it comes
    /// again.
    Silent {
        /// The id of the stream that this is about.
        stream: StreamId,
        /// Whether nothing comes at present.
        is_silent: bool,
    },
    /// How the member's own connection for a stream fares, if that is worth a word.
    Path {
        /// The id of the stream that this is about.
        stream: StreamId,
        /// How far it has come, and what it goes over.
        path: PathState,
    },
    /// Which Encodings of the member's own stream anybody wishes to have; the others may be left out.
    Wanted {
        /// The id of the stream that this is about.
        stream: StreamId,
        /// The rids of these Encodings, as in the offer.
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
        /// The id of the stream that this is about.
        stream: StreamId,
    },
    /// The member is to end a stream of its own.
    Abort {
        /// The id of the stream that this is about.
        stream: StreamId,
    },
    /// The member is to restart ICE on a stream of its own.
    Renegotiate {
        /// The id of the stream that this is about.
        stream: StreamId,
    },
    /// Something the member asked for did not work; nothing is lost.
    Error {
        /// For people to read, and for whoever looks at the log.
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
        /// For people to read, and for whoever looks at the log.
        text: String,
    },
    /// The member is out: its connection ends after this.
    Kicked {
        /// By whom, unless by the server.
        by: Option<(ClientId, Username)>,
        /// The client id of the member itself.
        dest: ClientId,
        /// Why; empty if nobody said.
        message: String,
    },
}

/// To whom an event goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recipients {
    /// A single connection.
    One(ConnId),
    /// To several, each in its own order.
    Many(Vec<ConnId>),
}

/// What came of looking for a group's file.
#[derive(Clone, Debug)]
pub enum GroupFile {
    /// Its present contents, changed or not.
    Found(Arc<Description>),
    /// No file says that there is such a group.
    Missing,
    /// It cannot be used.
    Broken(Arc<DescriptionError>),
}

/// The answer to a status query.
#[derive(Clone, Debug)]
pub enum StatusReply {
    /// There is such a group.
    Found(Box<StatusView>),
    /// No file says that there is such a group.
    Missing,
    /// Its file cannot be used.
    Broken,
}

/// What the hub wants done. In order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Adapters tell members, each in the words of its protocol.
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
    /// Recording begins, ends, or has something to note.
    Record(Box<RecordOrder>),
    /// Tell whoever keeps the books.
    Happened(Box<Happening>),
}

/// Something in the life of a group that its operator may want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happening {
    /// What has happened to it.
    pub what: What,
    /// Where, as the client spelt it if there is no such group.
    pub group: String,
    /// Whose: the client's id.
    pub client: String,
    /// Its name; may be empty.
    pub username: String,
}

/// What can happen to a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A member has come.
    Joined {
        /// What it may do.
        permissions: Vec<String>,
    },
    /// Somebody was not let in.
    Refused {
        /// The reason that the client was given.
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
        /// The id of the stream.
        stream: String,
        /// Its label, such as `camera`.
        label: String,
        /// Whether it has audio, and video.
        has: (bool, bool),
    },
    /// That stream is over.
    Ended {
        /// The id of the stream.
        stream: String,
        /// What its publisher calls it, such as `camera`.
        label: String,
    },
}

/// Whose a transport is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whose {
    /// The name of the group.
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
    /// The name of the action, such as `kick`.
    pub kind: String,
    /// The client id of whom it is done to; of no use to actions on the group.
    pub dest: String,
    /// What the action needs to know, as the client has sent it.
    pub value: Option<Value>,
}

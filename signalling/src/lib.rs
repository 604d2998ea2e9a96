//! Galene-compatible signalling as state machines without I/O: no sockets, no clock, no threads.
//! Time and randomness come in as arguments, effects go out as values.

// It reads what others have written: what is not there must not end the process.
#![warn(clippy::indexing_slicing)]

mod authorization;
pub mod base64;
#[doc(hidden)]
pub mod caseless;
mod certificate;
mod description;
mod description_error;
mod document;
mod door;
mod encode;
mod entropy;
mod exchange;
mod fragment;
mod group;
mod history;
mod http;
mod hub;
mod ice_server;
mod ids;
mod json_error;
mod json_parts;
pub mod jwt;
mod key;
mod limit;
mod member;
mod message;
mod name;
mod native;
mod nearest;
mod object;
mod password;
mod path;
mod permission;
mod problem;
mod protocol;
mod reach;
mod recording_rules;
mod relay;
mod settled;
mod status;
mod stream;
mod surrogates;
mod switchboard;
mod time;
mod token;
mod token_file;
mod traits;
mod view;
mod voices;
pub mod whep;
mod whep_events;
pub mod whip;
pub mod wire;

pub use authorization::Authorization;
pub use certificate::not_after;
pub use description::{Description, Listing, User, description_errors, parse_description};
pub use description_error::DescriptionError;
pub use document::{Document, EditError, Who};
pub use encode::encode;
pub use entropy::Entropy;
pub use fragment::would_receive;
pub use hub::{
    ActionRequest, Bearer, Caller, Cause, Census, CredentialCheck, Credentials, Event, Failure,
    GroupFile, Happening, Hub, JoinRequest, Joined, JoinedKind, MediaEvent, MediaRequest, NotDone,
    Operation, Output, Proof, Recipients, RecordOrder, RecordedStream, Refusal, Secret, Sent,
    StatusReply, UserKind, Utterance, Verdict, What, Whose,
};
pub use ice_server::{ICE_SERVERS_BYTES_MAX, IceCredentialType, IceServer, parse_ice_servers};
pub use ids::{ClientId, ConnId, IdError, MediaId, PublicationKey, StreamId, Ticket};
pub use json_error::{json_error, json_errors, parse_file, parse_json};
pub use key::{Key, KeyError};
pub use limit::TokenBucket;
pub use message::Message;
pub use name::{GroupName, NameError, Username, encode_path, percent_decode};
pub use native::{Reply, Session};
pub use nearest::nearest;
pub use object::{null_as_default, nulls_as_defaults, without_nulls};
pub use password::{Password, PasswordError};
pub use path::{Over, PathStage, PathState};
pub use permission::{Flags, Grant, Permissions, Role};
pub use problem::problem_json;
pub use protocol::Protocol;
pub use reach::{is_public, is_taken_by_browsers};
pub use recording_rules::{Consent, Days, RecordingRules};
pub use relay::{CREDENTIALS_FOR_S, Relay, RelayKey, RelayPort, RelayUser};
pub use status::{StatusView, unauthenticated_status};
pub use stream::{Aim, Held, Layers, MediaKind, Rate, Request, SentRate, Want};
pub use surrogates::without_lone_surrogates;
pub use switchboard::{Action, CloseCode, Switchboard};
pub use time::{Now, UnixMs};
pub use token::{Token, TokenGrant, TokenReply, TokenRequest};
pub use token_file::{KeptToken, parse_tokens};
pub use traits::Traits;
pub use view::{EncodingState, SeatState, Shown, ViewRequest, ViewState};

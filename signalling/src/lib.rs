//! Galene-compatible signalling as state machines without I/O: no sockets, no clock, no threads.
//! Time and randomness come in as arguments, effects go out as values.

mod authorization;
pub mod base64;
#[doc(hidden)]
pub mod caseless;
mod certificate;
mod description;
mod description_error;
mod document;
mod entropy;
mod exchange;
mod fragment;
mod group;
mod http;
mod hub;
mod ice_server;
mod ids;
mod json_error;
pub mod jwt;
mod key;
mod limit;
mod name;
mod native;
mod nearest;
mod object;
mod password;
mod permission;
mod problem;
mod reach;
mod recording_rules;
mod relay;
mod stream;
mod switchboard;
mod time;
mod token;
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
pub use entropy::Entropy;
pub use group::{StatusView, unauthenticated_status};
pub use hub::{
    ActionRequest, Bearer, Caller, Cause, Census, CredentialCheck, Credentials, EncodingState,
    Event, Failure, GroupFile, Happening, Hub, JoinRequest, Joined, JoinedKind, MediaEvent,
    MediaRequest, Message, NotDone, Operation, Output, Over, PathStage, PathState, Proof,
    Recipients, RecordOrder, RecordedStream, Refusal, Secret, Sent, Shown, SlotState, StatusReply,
    Traits, UserKind, Utterance, Verdict, ViewRequest, ViewState, What, Whose,
};
pub use ice_server::{ICE_SERVERS_BYTES_MAX, IceCredentialType, IceServer, parse_ice_servers};
pub use ids::{ClientId, ConnId, IdError, MediaId, PublicationKey, StreamId, Ticket};
pub use json_error::{json_error, json_errors, parse_json};
pub use key::{Key, KeyError};
pub use limit::TokenBucket;
pub use name::{GroupName, NameError, Username, encode_path, percent_decode};
pub use native::{Reply, Session, encode};
pub use nearest::nearest;
pub use password::{Password, PasswordError};
pub use permission::{Flags, Grant, Permissions, Role};
pub use problem::problem_json;
pub use reach::{is_public, is_taken_by_browsers};
pub use recording_rules::{Consent, Days, RecordingRules};
pub use relay::{CREDENTIALS_FOR_S, Relay, RelayKey, RelayPort, RelayUser};
pub use stream::{Aim, Held, Layers, MediaKind, Rate, Request, SentRate, Want};
pub use switchboard::{Action, CloseCode, Switchboard};
pub use time::{Now, UnixMs};
pub use token::{Token, TokenGrant, TokenReply, TokenRequest};

//! A client that is in a group, with its streams.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::ids::{ClientId, PublicationKey, StreamId};
use crate::limit::TokenBucket;
use crate::name::Username;
use crate::permission::Permissions;
use crate::stream::{Down, Request, Up};
use crate::traits::Traits;
use crate::view::View;

/// How many messages a client may send at once, and per second after that. Browsers that
/// exchange files trickle their candidates through user messages.
const CHAT_BURST: u32 = 100;
const CHAT_PER_SECOND: u32 = 10;
/// How many offers a client may make at once, and per second after that.
const OFFER_BURST: u32 = 40;
const OFFERS_PER_SECOND: u32 = 4;

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
    /// Whether it is recorded at present, as others can see.
    pub(crate) is_recorded: bool,
    /// Whether somebody has shown to be this member, come back.
    pub(crate) is_succeeded: bool,
    pub(crate) chat_budget: TokenBucket,
    /// Offers and restarts, which cost the data plane a handshake each.
    pub(crate) offer_budget: TokenBucket,
    /// Changes of the whole request; each may make as many transports as there are streams.
    pub(crate) request_budget: TokenBucket,
}

impl Member {
    /// Without streams, and without wishes.
    pub(crate) fn new(
        id: ClientId,
        username: Username,
        traits: Traits,
        permissions: Permissions,
        now: Duration,
    ) -> Self {
        Self {
            id,
            username,
            traits,
            permissions,
            data: Map::new(),
            request: Request::default(),
            ups: BTreeMap::new(),
            downs: BTreeMap::new(),
            view: None,
            failures: BTreeMap::new(),
            restarted_at: None,
            asked_numbers_at: None,
            consent: None,
            is_recorded: false,
            is_succeeded: false,
            chat_budget: TokenBucket::new(CHAT_BURST, CHAT_PER_SECOND, now),
            offer_budget: TokenBucket::new(OFFER_BURST, OFFERS_PER_SECOND, now),
            request_budget: TokenBucket::new(OFFER_BURST, OFFERS_PER_SECOND, now),
        }
    }

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

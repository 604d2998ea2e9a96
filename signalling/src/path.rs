//! How a transport's connection fares, as clients and operators are told.

use serde_json::{Value, json};

/// How far a transport's connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathStage {
    /// Nothing has come from the peer.
    Waiting,
    /// Checks have, but the handshake does not end.
    Checked,
    /// It is up, without media so far.
    Connected,
    /// Media has come, or word that it has arrived.
    Flowing,
    /// Nothing comes any more.
    Silent,
}

/// What media goes over on its way to and from a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// UDP, straight to the server or by way of somebody else's TURN server.
    Udp,
    /// ICE-TCP (RFC 6544).
    Tcp,
    /// Our TURN server, which the client reaches over UDP.
    TurnUdp,
    /// The same over TCP.
    TurnTcp,
    /// The same over TLS.
    TurnTls,
}

impl Over {
    /// As clients, operators and the log are told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::TurnUdp => "turn/udp",
            Self::TurnTcp => "turn/tcp",
            Self::TurnTls => "turn/tls",
        }
    }
}

/// See [`PathStage`] and [`Over`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathState {
    /// How far it has come.
    pub stage: PathStage,
    /// What it goes over, once anything has come.
    pub over: Option<Over>,
}

impl PathState {
    /// Whether it is worth a word: media over UDP is the case nearly always, and said only after
    /// something else was.
    pub(crate) fn is_news_after(self, before: Option<Self>) -> bool {
        !self.is_ordinary() || before.is_some_and(|before| !before.is_ordinary())
    }

    fn is_ordinary(self) -> bool {
        self.stage == PathStage::Flowing && self.over.is_none_or(|over| over == Over::Udp)
    }

    /// As clients are told.
    pub(crate) fn to_value(self) -> Value {
        let stage = match self.stage {
            PathStage::Waiting => "waiting",
            PathStage::Checked => "checked",
            PathStage::Connected => "connected",
            PathStage::Flowing => "flowing",
            PathStage::Silent => "silent",
        };
        match self.over {
            None => json!({ "state": stage }),
            Some(over) => json!({ "state": stage, "over": over.name() }),
        }
    }
}

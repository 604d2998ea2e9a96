//! Joins that are refused: why, and how who wanted to join is told.

use super::{Event, Failure, Happening, Joined, JoinedKind, Output, Place, Shared, What};
use crate::ids::ConnId;
use crate::name::{NameError, Username};

/// What somebody was who is not let in, as far as it has said.
pub(super) struct Claim {
    pub(super) group: String,
    pub(super) client: String,
    pub(super) username: String,
}

/// A refused join: why for programs, why for people.
#[derive(Clone)]
pub(super) struct Refused(pub(super) Failure, pub(super) String);

impl Refused {
    pub(super) fn new(failure: Failure, text: &str) -> Self {
        Self(failure, text.to_owned())
    }

    pub(super) fn no_such_group() -> Self {
        Self::new(Failure::NoSuchGroup, "group does not exist")
    }

    pub(super) fn not_authorised() -> Self {
        Self::new(Failure::NotAuthorised, "not authorised")
    }

    /// What is wrong with the name, so that nobody takes it for a wrong password.
    pub(super) fn bad_name(error: NameError) -> Self {
        let text = format!("this username cannot be used: {error}; type another one");
        Self(Failure::NotAuthorised, text)
    }

    /// The file has a mistake, which the log names: not for guests to read.
    pub(super) fn broken() -> Self {
        Self::new(
            Failure::Internal,
            "this group has a mistake in its settings: tell who runs this server",
        )
    }

    pub(super) fn internal() -> Self {
        Self::new(Failure::Internal, "internal server error")
    }
}

impl Shared {
    /// Somebody is not let in: it is told why, and stays connected.
    pub(super) fn refuse(&mut self, conn: ConnId, claim: Claim, refusal: Refused) {
        let Refused(failure, text) = refusal;
        if let Some(client) = self.clients.get_mut(&conn) {
            client.place = Place::Outside;
        }
        let joined = Joined {
            username: Username::parse(&claim.username).ok(),
            failure: Some(failure),
            value: Some(text.clone()),
            ..Joined::new(JoinedKind::Fail, &claim.group)
        };
        let Claim { group, client, username } = claim;
        let what = What::Refused { why: text };
        let happening = Happening { what, group, client, username };
        self.outputs.push_back(Output::Happened(Box::new(happening)));
        self.tell(conn, Event::Joined(Box::new(joined)));
    }
}

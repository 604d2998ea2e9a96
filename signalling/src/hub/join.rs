//! Joining: who somebody claims to be, and what proves it. Admission is the next step.

use super::files::Unusable;
use super::refused::{Claim, Refused};
use super::{
    CredentialCheck, Credentials, Failure, Hub, JoinRequest, Output, Place, Proof, Secret, Verdict,
    Waiting,
};
use crate::group::Group;
use crate::ids::ConnId;
use crate::name::{GroupName, Username};
use crate::password::Password;
use crate::permission::Permissions;
use crate::time::{Now, UnixMs};
use crate::token::TokenGrant;

/// A join being decided.
#[derive(Debug)]
pub(super) struct Joining {
    request: JoinRequest,
    name: GroupName,
    /// Set once the file has said who this is.
    login: Option<Login>,
}

/// Who a joiner is, as its credentials say.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) username: Username,
    pub(super) permissions: Permissions,
    /// Whether the group's file names this user: it hears if its stored password cannot be checked,
    /// which would look like a wrong one otherwise.
    is_named: bool,
    /// Whether the group's file says what it may do, and not a token.
    pub(super) is_of_file: bool,
    /// When the token that gave it ends.
    pub(super) expires: Option<UnixMs>,
    /// The token's secret, if the server keeps it.
    pub(super) kept: Option<String>,
}

impl Hub {
    /// A connection wants to be a member. Answered by [`super::Event::Joined`].
    pub fn join(&mut self, conn: ConnId, mut request: JoinRequest) {
        // Who asks anew does not wait for what it has asked before.
        self.stop_waiting(conn);
        let Some(client) = self.shared.clients.get_mut(&conn) else {
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
        if let Some(name) = &mut request.credentials.username {
            *name = Username::meant(name);
            // A token may name its bearer, whatever the bearer says.
            if let (Secret::Password(_), Err(error)) =
                (&request.credentials.secret, Username::parse(name))
            {
                return self.refuse(conn, &request, Refused::bad_name(error));
            }
        }
        client.place =
            Place::Joining(Box::new(Joining { request, name: name.clone(), login: None }));
        self.load(name, Waiting::Join(conn));
    }

    fn refuse(&mut self, conn: ConnId, request: &JoinRequest, refusal: Refused) {
        let claim = Claim {
            group: request.group.clone(),
            client: request.client.clone(),
            username: request.credentials.username.clone().unwrap_or_default(),
        };
        self.shared.refuse(conn, claim, refusal);
    }

    /// The file is there: find out who the joiner claims to be.
    pub(super) fn identify_joiner(
        &mut self,
        conn: ConnId,
        name: &GroupName,
        usable: &Result<(), Unusable>,
    ) {
        let Some(client) = self.shared.clients.get_mut(&conn) else {
            return;
        };
        let Place::Joining(joining) = &mut client.place else {
            return;
        };
        // It has given up meanwhile, and joins another group.
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
        let address = client.traits.address.clone();
        let (login, check) = group.credential_check(&joining.request.credentials, address);
        joining.login = login;
        self.shared.outputs.push_back(Output::Check(conn, check));
    }

    /// What came of [`Output::Check`].
    pub fn verdict(&mut self, conn: ConnId, verdict: Verdict, now: Now) {
        let Self { groups, shared, closing, .. } = self;
        let Some(client) = shared.clients.get_mut(&conn) else {
            return;
        };
        if !matches!(client.place, Place::Joining(_)) {
            return;
        }
        // Whatever comes of it, the join is decided.
        let Place::Joining(joining) = std::mem::replace(&mut client.place, Place::Outside) else {
            return;
        };
        let Joining { request, name, login } = *joining;
        let group = groups.get_mut(&name).ok_or_else(Refused::no_such_group);
        let closing = closing.as_deref();
        let admitted = match (verdict, login) {
            (Verdict::Right, Some(login)) => {
                group.and_then(|group| group.admit(shared, closing, conn, (&request, login), now))
            }
            (Verdict::Granted(grant), _) => group.and_then(|group| {
                let login = group.token_login(&request, *grant)?;
                group.admit(shared, closing, conn, (&request, login), now)
            }),
            (Verdict::Broken(_), Some(Login { is_named: true, .. })) => Err(Refused::internal()),
            (Verdict::Right | Verdict::Wrong | Verdict::Broken(_), _) => {
                Err(Refused::not_authorised())
            }
            (Verdict::Busy, _) => Err(Refused::new(Failure::Busy, "server busy, try again")),
        };
        if let Err(refused) = admitted {
            self.refuse(conn, &request, refused);
        }
    }
}

impl Group {
    /// Who somebody claims to be, if the group's file says anything of that, and what has to be compared.
    fn credential_check(
        &self,
        credentials: &Credentials,
        address: Option<String>,
    ) -> (Option<Login>, CredentialCheck) {
        let (login, stored) = self.password_login(credentials).unzip();
        let keys = || self.description.auth_keys.clone();
        let proof = match (&credentials.secret, stored) {
            (Secret::Token(token), _) => {
                Proof::Token { token: token.clone(), keys: keys(), otherwise: None }
            }
            (Secret::Bearer(token), otherwise) => {
                Proof::Token { token: token.clone(), keys: keys(), otherwise }
            }
            (Secret::Password(given), stored) => {
                Proof::password(&self.description, stored, given.clone())
            }
        };
        let username = credentials.username.clone().unwrap_or_default();
        let check = CredentialCheck::new(&self.name, &self.description, username, address, proof);
        (login, check)
    }

    /// Who the credentials say the client is, and the password that would prove it.
    fn password_login(&self, credentials: &Credentials) -> Option<(Login, Password)> {
        let username = Username::parse(credentials.username.as_deref()?).ok()?;
        let user = self.description.user(username.as_str())?;
        let password = user.password.clone()?;
        let login = Login {
            is_named: self.description.is_named(username.as_str()),
            permissions: self.description.permissions(user),
            username,
            is_of_file: true,
            expires: None,
            kept: None,
        };
        Some((login, password))
    }

    /// Who the bearer of a good token is: whom the token names, or else whom the bearer names.
    fn token_login(&self, request: &JoinRequest, grant: TokenGrant) -> Result<Login, Refused> {
        let username = match grant.username.as_deref() {
            Some(username) if !username.is_empty() => {
                // As it was signed: nobody is let in under another name.
                Username::parse(username).map_err(|_| Refused::not_authorised())?
            }
            own => {
                let chosen = request.credentials.username.as_deref();
                let Some(chosen) = chosen.or(own) else {
                    return Err(Refused::new(Failure::NeedUsername, "username required"));
                };
                if !chosen.is_empty() && self.description.is_named(chosen) {
                    let text = "this username is taken";
                    return Err(Refused::new(Failure::DuplicateUsername, text));
                }
                Username::parse(chosen).map_err(Refused::bad_name)?
            }
        };
        Ok(Login {
            username,
            permissions: Permissions::from_list(&grant.permissions),
            is_named: false,
            is_of_file: false,
            expires: grant.expires,
            kept: grant.kept,
        })
    }
}

//! Invitations: the tokens that members make, change and list.

use std::sync::Arc;

use serde_json::Value;

use super::action::{NOT_AUTHORISED_TEXT, Refusal};
use super::{ActionRequest, Event, Hub, Message, Output, Shared};
use crate::group::Group;
use crate::ids::ConnId;
use crate::name::Username;
use crate::permission::{OP, TOKEN};
use crate::time::Now;
use crate::token::{Token, TokenReply, TokenRequest, Wanted};

/// The longest secret that is looked up.
const SECRET_BYTES_MAX: usize = 1024;

/// Why a member gets no token.
enum Denied {
    /// It lacks the right.
    Right,
    /// What it asks for makes no sense.
    Sense(&'static str),
}

use Denied::{Right, Sense};

impl Group {
    /// `maketoken`, `edittoken` and `listtokens`. Refusals have a form of their own.
    pub(super) fn token_action(
        &self,
        shared: &mut Shared,
        conn: ConnId,
        action: &ActionRequest,
        now: Now,
    ) -> Result<(), Refusal> {
        let is_list = action.kind == "listtokens";
        match self.token_request(shared, conn, action, now) {
            Ok(request) => shared.outputs.push_back(Output::Token(conn, request)),
            Err(Right) => {
                shared.tell_token(conn, is_list, "not-authorised", NOT_AUTHORISED_TEXT.into());
                return Err(Refusal::NotAuthorised { text: None });
            }
            Err(Sense(text)) => shared.tell_token(conn, is_list, "error", text.into()),
        }
        Ok(())
    }

    fn token_request(
        &self,
        shared: &mut Shared,
        conn: ConnId,
        action: &ActionRequest,
        now: Now,
    ) -> Result<TokenRequest, Denied> {
        let member = self.members.get(&conn).ok_or(Right)?;
        if !member.may(TOKEN) || (action.kind != "maketoken" && !member.may(OP)) {
            return Err(Right);
        }
        if action.kind == "listtokens" {
            return Ok(TokenRequest::List {
                group: self.name.clone(),
                held: member.permissions.clone(),
            });
        }
        let mut wanted = Wanted::read(action.value.as_ref(), now.unix).map_err(Sense)?;
        wanted.username = wanted.username.map(|username| Username::meant(&username));
        if action.kind == "edittoken" {
            if wanted.username.is_some()
                || wanted.permissions.is_some()
                || wanted.include_auto_subgroups
            {
                return Err(Sense("this field cannot be edited"));
            }
            if wanted.group.is_some_and(|group| group != self.name.as_str()) {
                return Err(Sense("wrong group in token"));
            }
            let token = wanted.token.filter(|token| !token.is_empty());
            let token = token.filter(|token| token.len() <= SECRET_BYTES_MAX);
            return Ok(TokenRequest::Edit {
                token: token.ok_or(Sense("token unknown"))?,
                group: self.name.clone(),
                held: member.permissions.clone(),
                expires: wanted.expires,
                not_before: wanted.not_before,
            });
        }
        if wanted.token.is_some_and(|token| !token.is_empty()) {
            return Err(Sense("client specified token"));
        }
        if wanted.group.as_deref() != Some(self.name.as_str()) {
            return Err(Sense("wrong group in token"));
        }
        let expires = wanted.expires.ok_or(Sense("token doesn't expire"))?;
        if let Some(username) = &wanted.username {
            Username::parse(username).map_err(|_| Sense("that username cannot be used"))?;
            if self.description.is_named(username) {
                return Err(Sense("that username is taken"));
            }
        }
        let permissions = wanted.permissions.unwrap_or_default();
        if !permissions.iter().all(|permission| member.may(permission)) {
            return Err(Right);
        }
        let issued_by = Some(member.username.as_str().to_owned()).filter(|name| !name.is_empty());
        Ok(TokenRequest::Make(Box::new(Token {
            token: Token::generate(&mut shared.entropy),
            group: self.name.as_str().to_owned(),
            include_subgroups: false,
            include_auto_subgroups: wanted.include_auto_subgroups,
            username: wanted.username,
            permissions,
            expires: Some(expires),
            not_before: wanted.not_before,
            issued_at: Some(now.unix),
            issued_by,
        })))
    }
}

impl Hub {
    /// What came of [`Output::Token`].
    pub fn token_reply(&mut self, conn: ConnId, is_list: bool, reply: TokenReply) {
        if self.shared.place_of(conn).is_none() {
            return;
        }
        let json = |token: &Token| serde_json::to_value(token).unwrap_or_default();
        match reply {
            TokenReply::Token(token) => self.shared.tell_token(conn, false, "", json(&token)),
            TokenReply::List(tokens) => {
                let tokens = tokens.iter().map(json).collect();
                self.shared.tell_token(conn, true, "", Value::Array(tokens));
            }
            TokenReply::Unknown => {
                self.shared.tell_token(conn, is_list, "error", "token unknown".into())
            }
            TokenReply::Failed => {
                let text = "the server cannot read or write its tokens";
                self.shared.tell_token(conn, is_list, "error", text.into());
            }
        }
    }
}

impl Shared {
    fn tell_token(&mut self, conn: ConnId, is_list: bool, error: &'static str, value: Value) {
        let message = Message {
            kind: if is_list { "tokenlist" } else { "token" }.to_owned(),
            error,
            is_privileged: true,
            value: Some(value),
            ..Message::default()
        };
        self.tell(conn, Event::UserMessage(Arc::new(message)));
    }
}

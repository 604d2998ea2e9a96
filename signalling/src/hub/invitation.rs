//! Invitations: the tokens that members make, change and list.

use std::sync::Arc;

use serde_json::Value;

use super::action::NOT_AUTHORISED_TEXT;
use super::{ActionRequest, Event, Hub, Message, Output};
use crate::ids::ConnId;
use crate::name::{GroupName, Username};
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

impl Hub {
    /// `maketoken`, `edittoken` and `listtokens`. Refusals have a form of their own; says whether
    /// it was one for lack of a right.
    pub(super) fn token_action(
        &mut self,
        name: &GroupName,
        conn: ConnId,
        action: &ActionRequest,
        now: Now,
    ) -> bool {
        let is_list = action.kind == "listtokens";
        match self.token_request(name, conn, action, now) {
            Ok(request) => self.outputs.push_back(Output::Token(conn, request)),
            Err(Right) => {
                self.tell_token(conn, is_list, "not-authorised", NOT_AUTHORISED_TEXT.into());
                return true;
            }
            Err(Sense(text)) => self.tell_token(conn, is_list, "error", text.into()),
        }
        false
    }

    fn token_request(
        &mut self,
        name: &GroupName,
        conn: ConnId,
        action: &ActionRequest,
        now: Now,
    ) -> Result<TokenRequest, Denied> {
        let group = self.groups.get(name).ok_or(Right)?;
        let member = group.members.get(&conn).ok_or(Right)?;
        if !member.may(TOKEN) || (action.kind != "maketoken" && !member.may(OP)) {
            return Err(Right);
        }
        if action.kind == "listtokens" {
            return Ok(TokenRequest::List {
                group: name.clone(),
                held: member.permissions.clone(),
            });
        }
        let wanted = Wanted::read(action.value.as_ref(), now.unix).map_err(Sense)?;
        if action.kind == "edittoken" {
            if wanted.username.is_some()
                || wanted.permissions.is_some()
                || wanted.include_auto_subgroups
            {
                return Err(Sense("this field cannot be edited"));
            }
            if wanted.group.is_some_and(|group| group != name.as_str()) {
                return Err(Sense("wrong group in token"));
            }
            let token = wanted.token.filter(|token| !token.is_empty());
            let token = token.filter(|token| token.len() <= SECRET_BYTES_MAX);
            return Ok(TokenRequest::Edit {
                token: token.ok_or(Sense("token unknown"))?,
                group: name.clone(),
                held: member.permissions.clone(),
                expires: wanted.expires,
                not_before: wanted.not_before,
            });
        }
        if wanted.token.is_some_and(|token| !token.is_empty()) {
            return Err(Sense("client specified token"));
        }
        if wanted.group.as_deref() != Some(name.as_str()) {
            return Err(Sense("wrong group in token"));
        }
        let expires = wanted.expires.ok_or(Sense("token doesn't expire"))?;
        if let Some(username) = &wanted.username {
            Username::parse(username).map_err(|_| Sense("that username cannot be used"))?;
            if group.description.is_named(username) {
                return Err(Sense("that username is taken"));
            }
        }
        let permissions = wanted.permissions.unwrap_or_default();
        if !permissions.iter().all(|permission| member.may(permission)) {
            return Err(Right);
        }
        let issued_by = Some(member.username.as_str().to_owned()).filter(|name| !name.is_empty());
        Ok(TokenRequest::Make(Box::new(Token {
            token: Token::generate(&mut self.entropy),
            group: name.as_str().to_owned(),
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

    /// What came of [`Output::Token`].
    pub fn token_reply(&mut self, conn: ConnId, is_list: bool, reply: TokenReply) {
        if self.place_of(conn).is_none() {
            return;
        }
        let json = |token: &Token| serde_json::to_value(token).unwrap_or_default();
        match reply {
            TokenReply::Token(token) => self.tell_token(conn, false, "", json(&token)),
            TokenReply::List(tokens) => {
                let tokens = tokens.iter().map(json).collect();
                self.tell_token(conn, true, "", Value::Array(tokens));
            }
            TokenReply::Unknown => self.tell_token(conn, is_list, "error", "token unknown".into()),
            TokenReply::Failed => {
                let text = "the server cannot read or write its tokens";
                self.tell_token(conn, is_list, "error", text.into());
            }
        }
    }

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

//! `data/var/tokens.jsonl`: the tokens that the server keeps, one JSON object per line as it writes them;
//! of two with the same secret the later counts. Blocking: call it off the request path.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signalling::{GroupName, Token, TokenGrant, TokenReply, TokenRequest, UnixMs, parse_tokens};

use crate::durable;
use crate::reread::{self, Look, Reread, Seen};

/// A larger file is not read.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// As many tokens as this; more are refused until some are gone.
const TOKENS_MAX: usize = 100_000;
/// As many of one group, so that it leaves some to others.
const GROUP_TOKENS_MAX: usize = 10_000;
/// What a token may take in the file.
const TOKEN_BYTES_MAX: usize = 4096;
/// Tokens that ended longer ago than this are dropped.
const KEPT_AFTER_END_MS: i64 = 7 * 24 * 3600 * 1000;

/// All kept tokens, by their secrets.
pub(crate) type Tokens = BTreeMap<String, Token>;

/// Why nothing can be done with the file; the log has the details.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unusable {
    /// It cannot be read, or makes no sense.
    Broken,
    /// [`TOKENS_MAX`] or [`FILE_BYTES_MAX`] would be exceeded.
    Full,
    /// [`GROUP_TOKENS_MAX`] would be exceeded.
    GroupFull,
    /// [`TOKEN_BYTES_MAX`] is exceeded.
    TooLarge,
    /// The system does not let us write it.
    System,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "the server's file of tokens cannot be used: the server's log says why",
            Self::Full => "the server has as many tokens as it can keep: delete some first",
            Self::GroupFull => "the group has as many tokens as one may have: delete some first",
            Self::TooLarge => "the token has more than 4096 bytes: shorten its name or permissions",
            Self::System => "the server cannot write its file of tokens: the server's log says why",
        })
    }
}

struct Cached {
    file: Reread,
    /// Those of the last good file, or of our last change to it.
    tokens: Arc<Tokens>,
    is_broken: bool,
    /// Whether there has been a good file, or none.
    is_known: bool,
}

/// The file, with its last good contents.
pub(crate) struct TokenStore {
    path: PathBuf,
    cached: Mutex<Cached>,
    /// Held through a change, so that one follows the other.
    changing: Mutex<()>,
}

impl TokenStore {
    /// The folder need not exist yet.
    pub(crate) fn new(data: &Path) -> Self {
        let path = data.join("var").join("tokens.jsonl");
        let cached = Cached {
            file: Reread::new(path.clone(), FILE_BYTES_MAX),
            tokens: Arc::default(),
            is_broken: false,
            is_known: false,
        };
        Self { path, cached: Mutex::new(cached), changing: Mutex::new(()) }
    }

    fn cached(&self) -> MutexGuard<'_, Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether the file has changed. A broken edit leaves the old tokens in force, and the
    /// log says so.
    pub(crate) fn refresh(&self) {
        self.cached().refresh();
    }

    /// All tokens that are in force.
    fn read(&self) -> Arc<Tokens> {
        let mut cached = self.cached();
        cached.refresh();
        cached.tokens.clone()
    }

    /// All tokens as they are in a good file, with the ETag of the whole; empty if there is none.
    pub(crate) fn read_good(&self) -> Result<(Arc<Tokens>, String), Unusable> {
        self.read_to_change().map(|(tokens, etag, _)| (tokens, etag))
    }

    fn read_to_change(&self) -> Result<(Arc<Tokens>, String, Seen), Unusable> {
        let mut cached = self.cached();
        cached.refresh();
        match cached.is_broken {
            true => Err(Unusable::Broken),
            false => Ok((cached.tokens.clone(), cached.file.etag(), cached.file.seen())),
        }
    }

    /// Reads the file, for whoever wants to know whether it is good: what in it is likely a
    /// mistake.
    pub(crate) fn check(&self) -> Result<Vec<String>, String> {
        let file = self.path.display().to_string();
        let found = reread::read(&self.path, FILE_BYTES_MAX);
        let Some((_, text)) = found.map_err(|error| format!("{file}: {error}"))? else {
            return Ok(Vec::new());
        };
        let found = parse_tokens(&file, &text).map_err(|error| error.to_string())?;
        let notes = found.into_iter().flat_map(|kept| {
            let place = format!("{file}:{}", kept.line);
            kept.notes.into_iter().map(move |note| format!("{place}: {note}"))
        });
        Ok(notes.collect())
    }

    /// What a secret gives in a group where the file of `realm` decides.
    pub(crate) fn grant(
        &self,
        secret: &str,
        group: &GroupName,
        realm: &GroupName,
        now: UnixMs,
    ) -> Option<TokenGrant> {
        let tokens = self.read();
        let token = tokens.get(secret)?;
        (token.covers(group, realm) && token.is_current(now)).then(|| token.grant())
    }

    /// Whether a secret lets its bearer administer the server.
    pub(crate) fn is_global_admin(&self, secret: &str, now: UnixMs) -> bool {
        let tokens = self.read();
        tokens.get(secret).is_some_and(|token| {
            token.is_global()
                && token.is_current(now)
                && token.permissions.iter().any(|permission| permission == "admin")
        })
    }

    /// Changes the tokens, or refuses to. `change` sees them as they are, with their ETag; if it
    /// fails nothing is written.
    pub(crate) fn change<T, E: From<Unusable>>(
        &self,
        change: impl FnOnce(&mut Tokens, &str) -> Result<T, E>,
    ) -> Result<T, E> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, etag, seen) = self.read_to_change()?;
        let mut tokens = (*before).clone();
        let done = change(&mut tokens, &etag)?;
        if tokens != *before {
            if tokens.len() > TOKENS_MAX && tokens.len() > before.len() {
                return Err(Unusable::Full.into());
            }
            self.write(&tokens)?;
            let mut cached = self.cached();
            // What was taken back stays so, even if somebody damages the file before it is read
            // again. Whoever has written a good one meanwhile has the last word.
            if cached.file.seen() == seen || cached.is_broken {
                cached.tokens = Arc::new(tokens);
                cached.is_known = true;
            }
            cached.file.forget();
        }
        Ok(done)
    }

    fn write(&self, tokens: &Tokens) -> Result<(), Unusable> {
        let failed = |error: io::Error| {
            tracing::error!("{}: {error}", self.path.display());
            Unusable::System
        };
        if tokens.is_empty() {
            return durable::remove(&self.path).map_err(failed);
        }
        let mut sorted: Vec<&Token> = tokens.values().collect();
        sorted.sort_by_key(|token| token.order());
        let mut text = String::new();
        for token in sorted {
            text.push_str(&serde_json::to_string(token).map_err(|error| failed(error.into()))?);
            text.push('\n');
        }
        if text.len() as u64 > FILE_BYTES_MAX {
            // It could not be read again.
            return Err(Unusable::Full);
        }
        durable::replace(&self.path, text.as_bytes()).map_err(failed)
    }

    /// Does what a member asks for.
    pub(crate) fn answer(&self, request: TokenRequest) -> TokenReply {
        match request {
            TokenRequest::Make(token) => {
                let made = self.change(|tokens, _| insert(tokens, (*token).clone()));
                made.map_or(TokenReply::Failed, |()| TokenReply::Token(token))
            }
            TokenRequest::Edit { token, group, held, expires, not_before } => {
                let edited = self.change(|tokens, _| {
                    let token = tokens.get_mut(&token);
                    let Some(token) = token.filter(|token| token.is_within(&group, &held)) else {
                        return Ok::<_, Unusable>(TokenReply::Unknown);
                    };
                    token.expires = expires.or(token.expires);
                    token.not_before = not_before.or(token.not_before);
                    Ok(TokenReply::Token(Box::new(token.clone())))
                });
                edited.unwrap_or(TokenReply::Failed)
            }
            TokenRequest::List { group, held } => match self.of_group(group.as_str()) {
                Ok((mut tokens, _)) => {
                    tokens.retain(|token| token.is_within(&group, &held));
                    TokenReply::List(tokens)
                }
                Err(_) => TokenReply::Failed,
            },
        }
    }

    /// The tokens of exactly this group, in their order, with the ETag of the whole file that has
    /// just these.
    pub(crate) fn of_group(&self, group: &str) -> Result<(Vec<Token>, String), Unusable> {
        let (tokens, etag) = self.read_good()?;
        let own = tokens.values().filter(|token| token.group == group);
        let mut own: Vec<Token> = own.cloned().collect();
        own.sort_by(|left, right| left.order().cmp(&right.order()));
        Ok((own, etag))
    }

    /// Drops the tokens of a group that is no more. If they cannot be dropped the log says so.
    pub(crate) fn forget_group(&self, group: &GroupName) {
        let done = self.change(|tokens, _| {
            tokens.retain(|_, token| token.group != group.as_str());
            Ok::<_, Unusable>(())
        });
        if done.is_err() {
            tracing::error!(
                "the tokens of the deleted group {} are still there: mend {}",
                group.as_str(),
                self.path.display()
            );
        }
    }

    /// Drops what ended long ago.
    pub(crate) fn sweep(&self, now: UnixMs) {
        let oldest = UnixMs(now.0.saturating_sub(KEPT_AFTER_END_MS));
        let is_old = |token: &Token| token.expires.is_some_and(|expires| expires < oldest);
        if self.read().values().any(is_old) {
            // What cannot be written now is swept the next time; the log has the reason.
            let _ = self.change(|tokens, _| {
                tokens.retain(|_, token| !is_old(token));
                Ok::<_, Unusable>(())
            });
        }
    }
}

impl Cached {
    fn refresh(&mut self) {
        let found = match self.file.look() {
            Look::Same => return,
            Look::Contents(text) => parse(self.file.path(), &text.unwrap_or_default()),
            Look::Failed(message) => Err(format!("{}: {message}", self.file.path().display())),
        };
        match found {
            Ok(tokens) => {
                if self.is_broken {
                    tracing::info!("{} is good again", self.file.path().display());
                }
                self.tokens = Arc::new(tokens);
                (self.is_broken, self.is_known) = (false, true);
            }
            Err(message) => {
                self.is_broken = true;
                let meanwhile = match self.is_known {
                    true => "the tokens that were good before stay so",
                    false => "no token is good",
                };
                tracing::error!(
                    "{message}; until that is mended {meanwhile}, and none can be made or changed"
                );
            }
        }
    }
}

/// Adds a token or puts it in place of that with its secret, if its group may have one more.
pub(crate) fn insert(tokens: &mut Tokens, token: Token) -> Result<(), Unusable> {
    if serde_json::to_string(&token).map_or(true, |text| text.len() > TOKEN_BYTES_MAX) {
        return Err(Unusable::TooLarge);
    }
    let is_new = !tokens.contains_key(&token.token);
    let of_group = || tokens.values().filter(|other| other.group == token.group).count();
    if is_new && of_group() >= GROUP_TOKENS_MAX {
        return Err(Unusable::GroupFull);
    }
    tokens.insert(token.token.clone(), token);
    Ok(())
}

fn parse(path: &Path, text: &[u8]) -> Result<Tokens, String> {
    let found =
        parse_tokens(&path.display().to_string(), text).map_err(|error| error.to_string())?;
    // One without a secret opens nothing, so nothing is lost with it.
    let tokens = found.into_iter().map(|kept| kept.token).filter(|token| !token.token.is_empty());
    Ok(tokens.map(|token| (token.token.clone(), token)).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use signalling::Permissions;

    use super::*;

    #[test]
    fn regression_a_member_sees_and_changes_no_token_that_gives_more_than_it_has() {
        let data = std::env::temp_dir().join(format!("aula-tokens-held-{}", std::process::id()));
        let store = TokenStore::new(&data);
        let group = GroupName::parse("g").unwrap();
        let atoms = |atoms: &[&str]| atoms.iter().map(|&atom| atom.to_owned()).collect::<Vec<_>>();
        let made = |secret: &str, permissions: &[&str], include_subgroups| {
            let token = Token {
                token: secret.into(),
                group: "g".into(),
                permissions: atoms(permissions),
                include_subgroups,
                ..Token::default()
            };
            store.answer(TokenRequest::Make(Box::new(token)))
        };
        made("own", &["op", "message"], false);
        made("admin", &["admin"], false);
        made("record", &["message", "record"], false);
        made("below", &["message"], true);
        let held = Permissions::from_list(&atoms(&["op", "present", "message", "token"]));
        let list = TokenRequest::List { group: group.clone(), held: held.clone() };
        let TokenReply::List(listed) = store.answer(list) else { panic!("no list") };
        assert_eq!(listed.iter().map(|token| token.token.as_str()).collect::<Vec<_>>(), ["own"]);
        let edit = |secret: &str| {
            store.answer(TokenRequest::Edit {
                token: secret.into(),
                group: group.clone(),
                held: held.clone(),
                expires: Some(UnixMs(1)),
                not_before: None,
            })
        };
        assert!(matches!(edit("own"), TokenReply::Token(_)));
        for secret in ["admin", "record", "below"] {
            assert_eq!(edit(secret), TokenReply::Unknown, "{secret}");
            assert_eq!(store.read()[secret].expires, None, "{secret}");
        }
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn regression_what_was_taken_back_stays_so_when_the_file_is_damaged() {
        let data = std::env::temp_dir().join(format!("aula-tokens-back-{}", std::process::id()));
        let store = TokenStore::new(&data);
        let group = GroupName::parse("g").unwrap();
        let token = |secret: &str| Token {
            token: secret.into(),
            group: "g".into(),
            expires: Some(UnixMs(2_000)),
            ..Token::default()
        };
        for secret in ["kept", "revoked"] {
            store.answer(TokenRequest::Make(Box::new(token(secret))));
        }
        let now = UnixMs(1_000);
        assert!(store.grant("revoked", &group, &group, now).is_some());
        let removed = store.change(|tokens, _| Ok::<_, Unusable>(tokens.remove("revoked")));
        assert!(removed.unwrap().is_some());
        fs::write(data.join("var/tokens.jsonl"), "{\n").unwrap();
        assert!(store.grant("revoked", &group, &group, now).is_none());
        assert!(store.grant("kept", &group, &group, now).is_some());
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn a_file_that_could_not_be_read_again_is_not_written() {
        let data = std::env::temp_dir().join(format!("aula-tokens-full-{}", std::process::id()));
        let store = TokenStore::new(&data);
        let token = |secret: &str, username: String| Token {
            token: secret.into(),
            group: "g".into(),
            username: Some(username),
            ..Token::default()
        };
        let make = |token: Token| store.change(|tokens, _| insert(tokens, token));
        make(token("small", String::new())).unwrap();
        let long = token("long", "x".repeat(TOKEN_BYTES_MAX));
        assert_eq!(make(long), Err(Unusable::TooLarge));
        let huge = token("huge", "x".repeat(FILE_BYTES_MAX as usize));
        let huge = store.change(|tokens, _| {
            tokens.insert("huge".into(), huge);
            Ok::<_, Unusable>(())
        });
        assert_eq!(huge, Err(Unusable::Full));
        assert_eq!(store.of_group("g").unwrap().0.len(), 1);
        let mut tokens = Tokens::new();
        for index in 0..GROUP_TOKENS_MAX {
            insert(&mut tokens, token(&index.to_string(), String::new())).unwrap();
        }
        let one_more = token("more", String::new());
        assert_eq!(insert(&mut tokens, one_more.clone()), Err(Unusable::GroupFull));
        insert(&mut tokens, token("0", "again".into())).unwrap();
        insert(&mut tokens, Token { group: "h".into(), ..one_more }).unwrap();
        fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn galenes_file_is_read_changed_and_kept_whole() {
        let data = std::env::temp_dir().join(format!("aula-tokens-{}", std::process::id()));
        let store = TokenStore::new(&data);
        assert_eq!(store.read_good().unwrap().1, "");
        assert!(store.read().is_empty());
        let path = data.join("var/tokens.jsonl");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let now = UnixMs::parse("2026-06-01T00:00:00Z").unwrap();
        let line = |token: &str, group: &str, expires: &str| {
            format!(
                "{{\"token\":\"{token}\",\"group\":\"{group}\",\"permissions\":[\"message\"],\
                 \"expires\":\"{expires}\"}}\n"
            )
        };
        let text = [
            line("a", "g", "2026-01-01T00:00:00Z"),
            line("b", "g", "2026-12-01T00:00:00.5Z"),
            line("a", "g", "2026-07-01T00:00:00Z"),
            line("old", "g", "2026-05-01T00:00:00Z"),
        ];
        fs::write(&path, text.concat()).unwrap();
        let group = GroupName::parse("g").unwrap();
        assert!(store.grant("a", &group, &group, now).is_some(), "the later line counts");
        assert!(store.grant("old", &group, &group, now).is_none());
        store.sweep(now);
        let secrets: Vec<String> =
            store.of_group("g").unwrap().0.into_iter().map(|token| token.token).collect();
        assert_eq!(secrets, ["a", "b"]);
        let etag = store.read_good().unwrap().1;
        let edit = TokenRequest::Edit {
            token: "b".into(),
            group: group.clone(),
            held: Permissions::from_list(&["message".to_owned()]),
            expires: Some(now),
            not_before: None,
        };
        assert!(matches!(store.answer(edit), TokenReply::Token(_)));
        assert_ne!(store.read_good().unwrap().1, etag);
        // What an editor breaks stays broken until it is repaired; nothing is lost.
        let good = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{good}{{\"token\":")).unwrap();
        assert!(store.grant("a", &group, &group, now).is_some());
        let token = Box::new(Token { token: "c".into(), ..Token::default() });
        assert_eq!(store.answer(TokenRequest::Make(token.clone())), TokenReply::Failed);
        assert_eq!(store.of_group("g").unwrap_err(), Unusable::Broken);
        fs::write(&path, good).unwrap();
        assert!(matches!(store.answer(TokenRequest::Make(token)), TokenReply::Token(_)));
        let emptied = store.change(|tokens, _| {
            tokens.clear();
            Ok::<_, Unusable>(())
        });
        assert!(emptied.is_ok() && !path.exists(), "no token, no file");
        fs::remove_dir_all(data).unwrap();
    }
}

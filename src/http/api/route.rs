//! The paths of the API.

use signalling::{GroupName, Who};

/// Whose tokens a path is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    /// Those that are good for the whole server.
    Global,
    /// Those of exactly this group.
    Group(GroupName),
}

impl Scope {
    /// As it stands in a token.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Global => "",
            Self::Group(name) => name.as_str(),
        }
    }
}

/// What a path is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Route {
    Description,
    Stats,
    Groups,
    Group(GroupName),
    Keys(GroupName),
    Users(GroupName),
    User(GroupName, Who),
    Password(GroupName, Who),
    Tokens(Scope),
    Token(Scope, String),
    /// Who is there now.
    Members(GroupName),
    Member(GroupName, String),
    /// A stream of somebody who is there.
    Stream(GroupName, String, String),
    /// The microphones of one, or of all.
    Mute(GroupName, Option<String>),
    /// A word to one, or to all.
    Say(GroupName, Option<String>),
    Lock(GroupName),
}

impl Route {
    /// What may be done there, but for OPTIONS.
    pub(super) fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Description | Self::Stats | Self::Groups | Self::Users(_) => &["HEAD", "GET"],
            Self::Group(_) | Self::User(..) | Self::Token(..) => &["HEAD", "GET", "PUT", "DELETE"],
            Self::Keys(_) => &["PUT", "DELETE"],
            Self::Password(..) => &["PUT", "POST", "DELETE"],
            Self::Tokens(_) => &["HEAD", "GET", "POST"],
            Self::Members(_) => &["HEAD", "GET"],
            Self::Member(..) => &["HEAD", "GET", "DELETE"],
            Self::Stream(..) => &["DELETE"],
            Self::Mute(..) | Self::Say(..) => &["POST"],
            Self::Lock(_) => &["PUT", "DELETE"],
        }
    }

    /// Whether writes here change a group file.
    pub(super) fn is_group_file(&self) -> bool {
        matches!(self, Self::Group(_) | Self::Keys(_) | Self::User(..) | Self::Password(..))
    }

    /// The group whose administrators may come here; nothing if only the server's may.
    pub(super) fn group(&self) -> Option<&GroupName> {
        match self {
            Self::Description | Self::Stats | Self::Groups => None,
            Self::Group(name)
            | Self::Keys(name)
            | Self::Users(name)
            | Self::User(name, _)
            | Self::Password(name, _)
            | Self::Members(name)
            | Self::Member(name, _)
            | Self::Stream(name, ..)
            | Self::Mute(name, _)
            | Self::Say(name, _)
            | Self::Lock(name) => Some(name),
            Self::Tokens(scope) | Self::Token(scope, _) => match scope {
                Scope::Global => None,
                Scope::Group(name) => Some(name),
            },
        }
    }
}

/// Reads what follows `/galene-api/v0`, decoded.
pub(super) fn parse(path: &str) -> Option<Route> {
    match path {
        "/openapi.json" => return Some(Route::Description),
        "/.stats" => return Some(Route::Stats),
        "/.groups" | "/.groups/" => return Some(Route::Groups),
        _ => {}
    }
    let below = path.strip_prefix("/.groups")?;
    let (group, kind, rest) = match below.find("/.") {
        None => (below, "", ""),
        Some(at) => {
            let (group, dotted) = below.split_at(at);
            let dotted = dotted.strip_prefix('/')?;
            let (kind, rest) = dotted.split_at(dotted.find('/').unwrap_or(dotted.len()));
            (group, kind, rest)
        }
    };
    if group.is_empty() {
        return match kind {
            ".tokens" => tokens(Scope::Global, rest),
            _ => None,
        };
    }
    let group = group.strip_prefix('/')?;
    let group = if kind.is_empty() { group.strip_suffix('/').unwrap_or(group) } else { group };
    let name = GroupName::parse(group).ok()?;
    match kind {
        "" => Some(Route::Group(name)),
        ".keys" => matches!(rest, "" | "/").then_some(Route::Keys(name)),
        ".empty-user" => user(name, Who::Named(String::new()), rest),
        ".wildcard-user" => user(name, Who::Wildcard, rest),
        ".tokens" => tokens(Scope::Group(name), rest),
        ".lock" => rest.is_empty().then_some(Route::Lock(name)),
        ".mute" => rest.is_empty().then_some(Route::Mute(name, None)),
        ".message" => rest.is_empty().then_some(Route::Say(name, None)),
        ".clients" if matches!(rest, "" | "/") => Some(Route::Members(name)),
        ".clients" => member(name, rest.strip_prefix('/')?),
        ".users" if matches!(rest, "" | "/") => Some(Route::Users(name)),
        ".users" => {
            let rest = rest.strip_prefix('/')?;
            let (username, rest) = rest.split_at(rest.find("/.").unwrap_or(rest.len()));
            let username = signalling::Username::parse(username).ok()?;
            let who = Who::Named(username.as_str().to_owned());
            (!username.as_str().is_empty()).then_some(())?;
            user(name, who, rest)
        }
        _ => None,
    }
}

fn user(name: GroupName, who: Who, rest: &str) -> Option<Route> {
    match rest {
        "" => Some(Route::User(name, who)),
        "/.password" => Some(Route::Password(name, who)),
        _ => None,
    }
}

/// What follows `.clients/`.
fn member(name: GroupName, rest: &str) -> Option<Route> {
    let (client, below) = rest.split_at(rest.find("/.").unwrap_or(rest.len()));
    (!client.is_empty()).then_some(())?;
    let client = client.to_owned();
    match below {
        "" => Some(Route::Member(name, client)),
        "/.mute" => Some(Route::Mute(name, Some(client))),
        "/.message" => Some(Route::Say(name, Some(client))),
        _ => {
            let stream = below.strip_prefix("/.streams/").filter(|stream| !stream.is_empty())?;
            Some(Route::Stream(name, client, stream.to_owned()))
        }
    }
}

fn tokens(scope: Scope, rest: &str) -> Option<Route> {
    match rest.strip_prefix('/') {
        None => rest.is_empty().then_some(Route::Tokens(scope)),
        Some("") => Some(Route::Tokens(scope)),
        Some(secret) => (!secret.contains('/')).then(|| Route::Token(scope, secret.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn galenes_paths() {
        let group = || GroupName::parse("a/b").unwrap();
        let named = |name: &str| Who::Named(name.to_owned());
        let scope = || Scope::Group(group());
        for (path, route) in [
            ("/.stats", Route::Stats),
            ("/.groups", Route::Groups),
            ("/.groups/", Route::Groups),
            ("/.groups/a/b", Route::Group(group())),
            ("/.groups/a/b/", Route::Group(group())),
            ("/.groups/a/b/.keys", Route::Keys(group())),
            ("/.groups/a/b/.users/", Route::Users(group())),
            ("/.groups/a/b/.users/ann", Route::User(group(), named("ann"))),
            ("/.groups/a/b/.users/x/y", Route::User(group(), named("x/y"))),
            ("/.groups/a/b/.users/x/y/.password", Route::Password(group(), named("x/y"))),
            ("/.groups/a/b/.empty-user", Route::User(group(), named(""))),
            ("/.groups/a/b/.wildcard-user/.password", Route::Password(group(), Who::Wildcard)),
            ("/.groups/.tokens/", Route::Tokens(Scope::Global)),
            ("/.groups/.tokens/t", Route::Token(Scope::Global, "t".into())),
            ("/.groups/a/b/.tokens", Route::Tokens(scope())),
            ("/.groups/a/b/.tokens/t", Route::Token(scope(), "t".into())),
            ("/.groups/a/b/.clients/", Route::Members(group())),
            ("/.groups/a/b/.clients/c", Route::Member(group(), "c".into())),
            ("/.groups/a/b/.clients/c/.mute", Route::Mute(group(), Some("c".into()))),
            ("/.groups/a/b/.clients/c/.streams/s/t", {
                Route::Stream(group(), "c".into(), "s/t".into())
            }),
            ("/.groups/a/b/.mute", Route::Mute(group(), None)),
            ("/.groups/a/b/.message", Route::Say(group(), None)),
            ("/.groups/a/b/.lock", Route::Lock(group())),
        ] {
            assert_eq!(parse(path), Some(route), "{path}");
        }
        for path in [
            "",
            "/",
            "/.groupsx",
            "/.groups/a\\b",
            "/.groups/a/.foo",
            "/.groups/.users/x",
            "/.groups/a/.users/x/.foo",
            "/.groups/a/.keys/x",
            "/.groups/a//b",
            "/.groups/a/.tokens/x/y",
            "/.stats/",
            "/groups",
            "/.groups/a/.users//x",
            "/.groups/a/.clients/c/.foo",
            "/.groups/a/.clients/c/.streams/",
            "/.groups/a/.lock/x",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }
}

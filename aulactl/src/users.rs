//! Commands about users.

use serde_json::{Value, json};
use signalling::{Grant, Role, encode_path};

use crate::client::Client;
use crate::failure::Failure;
use crate::flags::Flags;
use crate::groups::{self, merge, template};
use crate::pattern::listed;
use crate::{Done, say, warn};

/// The user's path below `.groups/`.
pub(crate) fn path(flags: &Flags) -> Result<String, Failure> {
    let group = groups::path(flags)?;
    match (flags.is_on("wildcard"), flags.get("user")) {
        (true, None) => Ok(format!("{group}/.wildcard-user")),
        (true, Some(_)) => Err(Failure::new("either -user or -wildcard, not both")),
        (false, None) => Err(Failure::new("flag -user is needed, or -wildcard")),
        (false, Some("")) => Ok(format!("{group}/.empty-user")),
        (false, Some(name)) => {
            signalling::Username::parse(name).map_err(|error| Failure::about("-user", error))?;
            Ok(format!("{group}/.users/{}", encode_path(name)))
        }
    }
}

/// A named set, or a list.
pub(crate) fn permissions(text: &str) -> Result<Value, Failure> {
    const FLAG: &str = "-permissions";
    let value = match text.trim_start().starts_with('[') {
        true => serde_json::from_str(text).map_err(|error| Failure::about(FLAG, error))?,
        false => json!(text),
    };
    check(FLAG, &value)?;
    Ok(value)
}

/// Refuses what no server takes. Lists may have what only others know, such as a newer server.
fn check(source: &str, permissions: &Value) -> Done {
    match permissions {
        Value::Null => Ok(()),
        Value::String(name) if Role::from_name(name).is_some() => Ok(()),
        Value::Array(list) => {
            for permission in list {
                let name = permission.as_str().ok_or_else(|| {
                    Failure::about(source, "permissions must be a name or a list of names")
                })?;
                if !Grant::ATOMS.contains(&name) {
                    let near = signalling::nearest(name, Grant::ATOMS);
                    let hint = near.map(|near| format!(", did you mean {near:?}?"));
                    warn(format!(
                        "{source}: permission {name:?} does nothing{} There are {}",
                        hint.unwrap_or_else(|| ".".to_owned()),
                        Grant::ATOMS.join(", ")
                    ));
                }
            }
            Ok(())
        }
        other => Err(Failure::about(
            source,
            format!(
                "permissions {other} are none of {}, nor a list such as '[\"present\"]'",
                Role::NAMES.join(", ")
            ),
        )),
    }
}

/// The first letters of a list of permissions, in alphabetical order, and `?` for what is none.
pub(crate) fn initials(permissions: &Value) -> String {
    let list = permissions.as_array().map(Vec::as_slice).unwrap_or_default();
    let initial = |name: &Value| {
        let name = name.as_str().filter(|name| Grant::ATOMS.contains(name));
        name.and_then(|name| name.chars().next()).unwrap_or('?')
    };
    let mut initials: Vec<char> = list.iter().map(initial).collect();
    initials.sort_unstable();
    initials.into_iter().collect()
}

/// `list-users`
pub(crate) fn list(flags: &Flags, client: &Client) -> Done {
    let group = groups::path(flags)?;
    let mut names = client.names(&format!("{group}/.users/"))?;
    names.sort();
    for name in listed(flags.words(), &names)? {
        if !flags.is_on("l") {
            say(&format!("{name}\n"))?;
            continue;
        }
        let user = match name.as_str() {
            "" => format!("{group}/.empty-user"),
            name => format!("{group}/.users/{}", encode_path(name)),
        };
        let (user, _) = client.get(&user)?;
        let permissions = user.get("permissions").unwrap_or(&Value::Null);
        let permissions = match permissions.as_str() {
            Some(name) => name.to_owned(),
            None => format!("[{}]", initials(permissions)),
        };
        say(&format!("{name:<12} {permissions}\n"))?;
    }
    Ok(())
}

fn change(flags: &Flags, default: Option<&str>) -> Result<Value, Failure> {
    const KEY: &str = "permissions";
    const SOURCE: &str = "standard input";
    let mut change = template(flags)?;
    for (key, value) in change.as_object().into_iter().flatten() {
        match key.as_str() {
            KEY => check(SOURCE, value)?,
            "password" if !value.is_null() => {
                let advice = "a password is set with aulactl set-password";
                return Err(Failure::about(SOURCE, advice));
            }
            key => {
                let near = signalling::nearest(key, [KEY]);
                let hint =
                    near.map_or("a user has permissions only", |_| "did you mean \"permissions\"?");
                warn(format!("{SOURCE}: the unknown key {key:?} does nothing: {hint}"));
            }
        }
    }
    let default = default.filter(|_| change.get(KEY).is_none());
    if let Some(text) = flags.get(KEY).or(default) {
        merge(&mut change, &json!({KEY: permissions(text)?}));
    }
    Ok(change)
}

/// `create-user`
pub(crate) fn create(flags: &Flags, client: &Client) -> Done {
    client.create(&path(flags)?, &change(flags, Some("present"))?)?;
    // Without a password nobody can log in as the user that has just been made.
    let group = flags.get("group").unwrap_or_default();
    let next = match flags.is_on("wildcard") {
        true => format!("aulactl set-password -group {group} -wildcard -type wildcard lets all in"),
        false => {
            let user = flags.get("user").unwrap_or_default();
            format!("aulactl set-password -group {group} -user {user} gives one")
        }
    };
    warn(format!("there is no password yet, so nobody can log in: {next}"));
    Ok(())
}

/// `update-user`
pub(crate) fn update(flags: &Flags, client: &Client) -> Done {
    let change = change(flags, None)?;
    client.update(&path(flags)?, |value| {
        merge(value, &change);
        Ok(())
    })
}

/// `delete-user`
pub(crate) fn delete(flags: &Flags, client: &Client) -> Done {
    client.delete(&path(flags)?)
}

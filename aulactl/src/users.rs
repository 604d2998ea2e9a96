//! Commands about users.

use serde_json::{Value, json};
use signalling::{Role, encode_path};

use crate::client::Client;
use crate::failure::Failure;
use crate::flags::Flags;
use crate::groups::{self, merge, template};
use crate::pattern::listed;
use crate::{Done, say};

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
    if text.trim_start().starts_with('[') {
        let list: Vec<String> =
            serde_json::from_str(text).map_err(|error| Failure::about("-permissions", error))?;
        return Ok(json!(list));
    }
    match Role::from_name(text) {
        Some(_) => Ok(json!(text)),
        None => Err(Failure::about(
            "-permissions",
            format!(
                "{text:?} is none of op, present, message, observe, caption, admin, \
                 nor a list such as '[\"present\"]'"
            ),
        )),
    }
}

/// The first letters of a list of permissions, in alphabetical order.
pub(crate) fn initials(permissions: &Value) -> String {
    let list = permissions.as_array().map(Vec::as_slice).unwrap_or_default();
    let initial = |name: &Value| name.as_str().and_then(|name| name.chars().next()).unwrap_or('?');
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
    let mut change = template(flags)?;
    let default = default.filter(|_| change.get("permissions").is_none());
    if let Some(text) = flags.get("permissions").or(default) {
        merge(&mut change, &json!({"permissions": permissions(text)?}));
    }
    Ok(change)
}

/// `create-user`
pub(crate) fn create(flags: &Flags, client: &Client) -> Done {
    client.create(&path(flags)?, &change(flags, Some("present"))?)
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

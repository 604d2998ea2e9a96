//! Commands about groups.

use std::io::{IsTerminal as _, Read as _, Write as _};

use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Value, json};
use signalling::encode_path;

use crate::client::Client;
use crate::failure::Failure;
use crate::flags::{Flag, Flags};
use crate::pattern::listed;
use crate::{Done, GROUP, JSON, say, warn};

/// Of `create-group` and `update-group`.
pub(crate) const EDITING: &[Flag] = &[
    GROUP,
    Flag::switch("unrestricted-tokens", "whoever presents may invite"),
    Flag::switch("auto-subgroups", "groups below this one exist by themselves"),
    JSON,
];

/// The group's path below `.groups/`.
pub(crate) fn path(flags: &Flags) -> Result<String, Failure> {
    let name = flags.need("group")?;
    signalling::GroupName::parse(name).map_err(|error| Failure::about("-group", error))?;
    Ok(encode_path(name))
}

/// Standard input as JSON, if it is wanted.
pub(crate) fn template(flags: &Flags) -> Result<Value, Failure> {
    if !flags.is_on("json") {
        return Ok(json!({}));
    }
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        // Without standard error it is read all the same.
        let _ = writeln!(std::io::stderr(), "aulactl: type a JSON object, and Ctrl-D at its end");
    }
    let mut text = Vec::new();
    stdin.read_to_end(&mut text).map_err(Failure::new)?;
    let value = signalling::parse_json("standard input", &text).map_err(Failure::new)?;
    match value {
        Value::Object(_) => Ok(value),
        _ => Err(Failure::about("standard input", "not a JSON object")),
    }
}

/// Changes an object: `null` takes a key away.
pub(crate) fn merge(value: &mut Value, change: &Value) {
    let (Value::Object(fields), Value::Object(change)) = (value, change) else {
        return;
    };
    for (key, value) in change {
        if value.is_null() {
            fields.remove(key);
        } else {
            fields.insert(key.clone(), value.clone());
        }
    }
}

/// The API drops keys that it does not know, which would go unnoticed. A newer server may know
/// them, so this is not for us to refuse.
fn warn_of(settings: &Value) {
    let Value::Object(fields) = settings else {
        return;
    };
    let given = fields.iter().filter(|(_, value)| !value.is_null());
    let mut given: serde_json::Map<_, _> =
        given.map(|(key, value)| (key.clone(), value.clone())).collect();
    let read = |given: &serde_json::Map<_, _>| {
        let text = Value::Object(given.clone()).to_string();
        signalling::parse_description("standard input", text.as_bytes()).err()
    };
    while let Some(error) = read(&given) {
        warn(&error.message);
        // What is behind an unknown key is worth a look, too.
        if error.key.is_none_or(|key| given.remove(&key).is_none()) {
            return;
        }
    }
}

fn settings(flags: &Flags) -> Result<Value, Failure> {
    let mut settings = template(flags)?;
    warn_of(&settings);
    for name in ["unrestricted-tokens", "auto-subgroups"] {
        if flags.get(name).is_some() {
            merge(&mut settings, &json!({name: flags.is_on(name)}));
        }
    }
    Ok(settings)
}

/// `list-groups`
pub(crate) fn list(flags: &Flags, client: &Client) -> Done {
    let mut names = client.names("")?;
    names.sort();
    for name in listed(flags.words(), &names)? {
        say(&format!("{name}\n"))?;
    }
    Ok(())
}

/// `show-group`
pub(crate) fn show(flags: &Flags, client: &Client) -> Done {
    let (value, _) = client.get(&path(flags)?)?;
    let mut text = Vec::new();
    let format = PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut Serializer::with_formatter(&mut text, format)).map_err(Failure::new)?;
    say(&format!("{}\n", String::from_utf8_lossy(&text)))
}

/// `create-group`
pub(crate) fn create(flags: &Flags, client: &Client) -> Done {
    client.create(&path(flags)?, &settings(flags)?)
}

/// `update-group`
pub(crate) fn update(flags: &Flags, client: &Client) -> Done {
    let change = settings(flags)?;
    client.update(&path(flags)?, |value| {
        merge(value, &change);
        Ok(())
    })
}

/// `delete-group`
pub(crate) fn delete(flags: &Flags, client: &Client) -> Done {
    client.delete(&path(flags)?)
}

//! `import`: reads the folders of a Galene server as Aula will, and says what will differ. It
//! changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use signalling::{
    Description, GroupName, ICE_SERVERS_BYTES_MAX, KeptToken, Password, User, nulls_as_defaults,
    parse_description, parse_file, parse_ice_servers, parse_tokens,
};

use crate::failure::Failure;
use crate::flags::{Flag, Flags};
use crate::{Done, say};

/// Of `import`.
pub(crate) const FLAGS: &[Flag] = &[
    Flag::value("groups", "DIR", "Galene's group files (./groups/)"),
    Flag::value("data", "DIR", "Galene's data (./data/)"),
];

/// Deeper folders are not looked into.
const DEPTH_MAX: usize = 32;

#[derive(Default)]
struct Findings {
    groups: usize,
    /// All that have files.
    names: BTreeSet<String>,
    /// Those of them below which all exist.
    auto_subgroups: BTreeSet<String>,
    broken: Vec<String>,
    differing: Vec<String>,
}

impl Findings {
    /// The empty one is the server.
    fn has_group(&self, name: &str) -> bool {
        let mut above = name.match_indices('/').filter_map(|(at, _)| name.get(..at));
        name.is_empty()
            || self.names.contains(name)
            || above.any(|above| self.auto_subgroups.contains(above))
    }
}

/// `import`
pub(crate) fn run(flags: &Flags) -> Done {
    let groups = Path::new(flags.get("groups").unwrap_or("./groups/"));
    let data = Path::new(flags.get("data").unwrap_or("./data/"));
    let mut findings = Findings::default();
    if !groups.is_dir() {
        return Err(Failure::about(groups.display(), "no such folder: name it with -groups"));
    }
    folder(groups, "", 0, &mut findings);
    config(&data.join("config.json"), &mut findings);
    tokens(&data.join("var").join("tokens.jsonl"), &mut findings);
    ice_servers(&data.join("ice-servers.json"), &mut findings);
    for (what, line) in [("cert.pem", "TLS certificate"), ("key.pem", "TLS key")] {
        if !data.join(what).exists() {
            let text =
                format!("{}: no {line}: a self-signed one is made", data.join(what).display());
            findings.differing.push(text);
        }
    }
    let Findings { groups, broken, differing, .. } = findings;
    for line in &broken {
        say(&format!("BAD   {line}\n"))?;
    }
    for line in &differing {
        say(&format!("note  {line}\n"))?;
    }
    say(&format!(
        "{} can be taken over, {} broken.\n",
        count(groups, "group"),
        match broken.len() {
            0 => "nothing is".to_owned(),
            1 => "one thing is".to_owned(),
            things => format!("{things} things are"),
        }
    ))?;
    match broken.len() {
        0 => Ok(()),
        _ => Err(Failure::new("mend what is marked BAD, and run this again")),
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn folder(at: &Path, prefix: &str, depth: usize, findings: &mut Findings) {
    let Ok(entries) = fs::read_dir(at) else {
        findings.broken.push(format!("{}: cannot be read", at.display()));
        return;
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            findings.broken.push(format!("{}: the name is not UTF-8", path.display()));
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            if depth < DEPTH_MAX {
                folder(&path, &format!("{prefix}{name}/"), depth + 1, findings);
            }
            continue;
        }
        let Some(stem) = name.strip_suffix(".json") else {
            let text = format!("{}: not a group file, ignored", path.display());
            findings.differing.push(text);
            continue;
        };
        match GroupName::parse(&format!("{prefix}{stem}")) {
            Ok(name) => group(&path, &name, findings),
            Err(error) => findings.broken.push(format!("{}: {error}", path.display())),
        }
    }
}

fn group(path: &Path, name: &GroupName, findings: &mut Findings) {
    let file = path.display().to_string();
    findings.names.insert(name.as_str().to_owned());
    let parsed = fs::read(path)
        .map_err(|error| format!("{file}: {error}"))
        .and_then(|text| parse_description(&file, &text).map_err(|error| error.to_string()));
    match parsed {
        Err(error) => findings.broken.push(error),
        Ok((description, warnings)) => {
            findings.groups += 1;
            if description.has_auto_subgroups {
                findings.auto_subgroups.insert(name.as_str().to_owned());
            }
            let lines = warnings.into_iter().chain(differences(&description));
            findings.differing.extend(lines.map(|line| match line.starts_with(&file) {
                true => line,
                false => format!("{file}: {line}"),
            }));
        }
    }
}

fn differences(description: &Description) -> Vec<String> {
    let mut lines = Vec::new();
    if description.codecs.is_empty() {
        lines.push("codecs: none is left, nobody can send".to_owned());
    }
    let wildcard = "wildcard-user".to_owned();
    let wildcard = description.wildcard_user.as_ref().map(|user| (&wildcard, user));
    lines.extend(in_clear(description.users.iter().chain(wildcard)));
    lines.extend(open_to_all(description));
    lines
}

/// The keys of the server's `config.json`, as it reads them.
#[derive(Default, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default, rename_all = "camelCase")]
struct Config {
    #[serde(rename = "canonicalHost")]
    _canonical_host: Option<String>,
    #[serde(rename = "allowOrigin")]
    _allow_origin: Option<Vec<Option<String>>>,
    #[serde(rename = "allowAdminOrigin")]
    _allow_admin_origin: Option<Vec<Option<String>>>,
    #[serde(rename = "proxyURL")]
    _proxy_url: Option<String>,
    #[serde(rename = "trustedProxies")]
    _trusted_proxies: Option<Vec<Option<String>>>,
    #[serde(rename = "writableGroups")]
    _writable_groups: Option<bool>,
    #[serde(deserialize_with = "nulls_as_defaults")]
    users: BTreeMap<String, User>,
    admin: Option<Value>,
}
signalling::only_objects!(Config);

fn config(path: &Path, findings: &mut Findings) {
    let file = path.display().to_string();
    let Some(text) = read(path, findings) else {
        if !path.exists() {
            findings.differing.push(format!("{file}: none, so nobody administers the server"));
        }
        return;
    };
    match parse_file::<Config>(&file, &text) {
        Err(error) => findings.broken.push(error.to_string()),
        Ok((config, notes)) => {
            let notes = notes.into_iter().map(|note| format!("{file}: {note}"));
            findings.differing.extend(notes);
            if config.admin.is_some() {
                let line = format!("{file}: admin has no effect: list administrators in users");
                findings.differing.push(line);
            }
            if let Some(line) = in_clear(config.users.iter()) {
                findings.differing.push(format!("{file}: {line}"));
            }
        }
    }
}

fn tokens(path: &Path, findings: &mut Findings) {
    let file = path.display();
    let Some(text) = read(path, findings) else {
        return;
    };
    let found = match parse_tokens(&file.to_string(), &text) {
        Ok(found) => found,
        Err(error) => return findings.broken.push(error.to_string()),
    };
    for KeptToken { line, token, notes } in found {
        let place = format!("{file}:{line}");
        findings.differing.extend(notes.into_iter().map(|note| format!("{place}: {note}")));
        if !findings.has_group(&token.group) {
            findings
                .differing
                .push(format!("{place}: there is no group {:?}, so it opens nothing", token.group));
        }
    }
}

fn ice_servers(path: &Path, findings: &mut Findings) {
    let file = path.display().to_string();
    let Some(text) = read(path, findings) else {
        if !path.exists() {
            let line = format!("{file}: none, and this server has no TURN of its own");
            findings.differing.push(line);
        }
        return;
    };
    if text.len() as u64 > ICE_SERVERS_BYTES_MAX {
        findings
            .broken
            .push(format!("{file}: larger than 256 KiB, which the server does not read"));
        return;
    }
    match parse_ice_servers(&file, &text) {
        Err(error) => findings.broken.push(error.to_string()),
        Ok((_, notes)) => {
            for note in notes.iter().map(|note| format!("{file}: {note}")) {
                // Those behind a strict firewall would find out one by one.
                match note.contains("TURN server is lost") {
                    true => findings.broken.push(note),
                    false => findings.differing.push(note),
                }
            }
        }
    }
}

/// A file's contents: nothing if it is not there, and if it cannot be read a fault besides.
fn read(path: &Path, findings: &mut Findings) -> Option<Vec<u8>> {
    match fs::read(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            findings.broken.push(format!("{}: {error}", path.display()));
            None
        }
    }
}

/// Whose passwords anybody knows who sees the file.
fn in_clear<'a>(users: impl Iterator<Item = (&'a String, &'a User)>) -> Option<String> {
    let names: Vec<String> = users
        .filter(|(_, user)| matches!(user.password, Some(Password::Plain(_))))
        .map(|(name, _)| format!("{name:?}"))
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} in plain text, of {}: aulactl hash-password prints what to put there instead",
            count(names.len(), "password"),
            names.join(", ")
        )
    })
}

/// Who is operator or administrator without a password.
fn open_to_all(description: &Description) -> Vec<String> {
    let is_open = |user: &User| {
        let permissions = description.permissions(user);
        user.password == Some(Password::Wildcard)
            && (permissions.has("op") || permissions.has("admin"))
    };
    let named = description.users.iter().filter(|(_, user)| is_open(user)).map(|(name, _)| {
        format!("anybody may be operator as {name:?}, which takes any password: give it one")
    });
    let wildcard = description.wildcard_user.as_ref().filter(|user| is_open(user)).map(|_| {
        "anybody may be operator, under any name and with any password: give operators names and \
         passwords, and all others fewer permissions"
            .to_owned()
    });
    named.chain(wildcard).collect()
}

//! `import`: reads the folders of a Galene server as Aula will, and says what will differ. It
//! changes nothing.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};
use signalling::{Description, GroupName, Token, parse_description};

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
    broken: Vec<String>,
    differing: Vec<String>,
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
    let Findings { groups, broken, differing } = findings;
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
            Ok(_) => group(&path, findings),
            Err(error) => findings.broken.push(format!("{}: {error}", path.display())),
        }
    }
}

fn group(path: &Path, findings: &mut Findings) {
    let file = path.display().to_string();
    let parsed = fs::read(path)
        .map_err(|error| format!("{file}: {error}"))
        .and_then(|text| parse_description(&file, &text).map_err(|error| error.to_string()));
    match parsed {
        Err(error) => findings.broken.push(error),
        Ok((description, warnings)) => {
            findings.groups += 1;
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
    if description.flags.allow_recording {
        lines.push("allow-recording: this server does not record yet".to_owned());
    }
    if description.codecs.is_empty() {
        lines.push("codecs: none is left, nobody can send".to_owned());
    }
    lines
}

fn config(path: &Path, findings: &mut Findings) {
    const KNOWN: [&str; 8] = [
        "canonicalHost",
        "allowOrigin",
        "allowAdminOrigin",
        "proxyURL",
        "trustedProxies",
        "writableGroups",
        "users",
        "admin",
    ];
    let file = path.display();
    let Ok(text) = fs::read(path) else {
        findings.differing.push(format!("{file}: none, so nobody administers the server"));
        return;
    };
    match serde_json::from_slice::<Map<String, Value>>(&text) {
        Err(error) => findings.broken.push(format!("{file}: {error}")),
        Ok(config) => {
            for key in config.keys().filter(|key| !KNOWN.contains(&key.as_str())) {
                findings.broken.push(format!("{file}: unknown key {key:?}: remove it"));
            }
            if config.contains_key("admin") {
                let line = format!("{file}: admin has no effect: list administrators in users");
                findings.differing.push(line);
            }
        }
    }
}

fn tokens(path: &Path, findings: &mut Findings) {
    let Ok(text) = fs::read_to_string(path) else {
        return;
    };
    let file = path.display();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str::<Token>(line) {
            Err(error) => findings.broken.push(format!("{file}:{}: {error}", index + 1)),
            Ok(token) if token.expires.is_none() => {
                let line = format!("{file}:{}: no expires, so it is never good", index + 1);
                findings.differing.push(line);
            }
            Ok(_) => {}
        }
    }
}

fn ice_servers(path: &Path, findings: &mut Findings) {
    let file = path.display();
    let Ok(text) = fs::read(path) else {
        let line = format!("{file}: none, and this server has no TURN of its own");
        findings.differing.push(line);
        return;
    };
    match serde_json::from_slice::<Vec<Map<String, Value>>>(&text) {
        Err(error) => findings.broken.push(format!("{file}: {error}")),
        Ok(servers) => {
            for (index, server) in servers.iter().enumerate() {
                let kind = server.get("credentialType").and_then(Value::as_str).unwrap_or_default();
                if !matches!(kind, "" | "password" | "hmac-sha1" | "oauth") {
                    let line = format!("{file}: entry {index}: unknown credentialType, skipped");
                    findings.differing.push(line);
                }
            }
        }
    }
}

//! `initial-setup`: an administrator for the server, and the configuration of this program. As in
//! Galene's tool, `-config` names the latter before the command, and the former after it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::Done;
use crate::config::{Config, own_path};
use crate::failure::Failure;
use crate::flags::{Flag, Flags};
use crate::groups::merge;
use crate::passwords::{ask, bcrypted};

/// Of `initial-setup`.
pub(crate) const FLAGS: &[Flag] = &[
    Flag::value("config", "FILE", "the server's configuration to make (config.json)"),
    Flag::value("admin-username", "NAME", "the administrator to make"),
    Flag::value("admin-password", "TEXT", "the password; without this flag it is asked for"),
];

/// The cost of an administrator's hash; it is checked at every request.
const COST: u32 = 12;

/// `initial-setup`
pub(crate) fn initial(flags: &Flags) -> Done {
    let server = Path::new(flags.get_after("config").unwrap_or("config.json"));
    let own = match flags.get_before("config") {
        Some(path) => PathBuf::from(path),
        None => own_path()?,
    };
    for path in [server, own.as_path()] {
        if path.exists() {
            return Err(Failure::about(path.display(), "is there already, and stays as it is"));
        }
    }
    let username = flags.need("admin-username")?.to_owned();
    // RFC 7617 s2: a colon would end the name in credentials.
    if username.is_empty() || username.contains(':') {
        return Err(Failure::new("flag -admin-username must be a name without a colon"));
    }
    let token = flags.get("admin-token").unwrap_or_default().to_owned();
    let password = match flags.get("admin-password") {
        Some("") => return Err(Failure::new("flag -admin-password must not be empty")),
        Some(password) => password.to_owned(),
        None if !token.is_empty() => String::new(),
        None => ask("Password of the new administrator", "admin-password")?,
    };
    let mut config = json!({"writableGroups": true});
    if !password.is_empty() {
        let stored = bcrypted(&password, COST)?;
        let user = json!({"password": stored, "permissions": "admin"});
        merge(&mut config, &json!({"users": {&username: user}}));
    }
    let client = Config {
        server: flags.get("server").unwrap_or_default().to_owned(),
        admin_username: username,
        admin_password: password,
        is_insecure: flags.is_on("insecure"),
        admin_token: token,
    };
    let text = serde_json::to_string_pretty(&client).map_err(Failure::new)?;
    write(server, &format!("{config:#}\n"))?;
    if let Err(failure) = write(&own, &format!("{text}\n")) {
        // Half a setup would stand in the way of the next attempt. What cannot be removed is
        // told of then.
        let _ = fs::remove_file(server);
        return Err(failure);
    }
    crate::say(&format!(
        "{} is for the server, which must be allowed to read it and finds it as config.json in its \
         data folder.\n{} is for aulactl, and has the credentials in clear.\n{}",
        server.display(),
        own.display(),
        match client.is_insecure {
            true => "",
            false => "While the server's certificate is self-signed, aulactl needs -insecure.\n",
        }
    ))
}

/// Makes a file that only its owner reads, and its folder if there is none.
fn write(path: &Path, text: &str) -> Done {
    if let Some(folder) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| Failure::about(folder.display(), error))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })
    .map_err(|error| Failure::about(path.display(), error))
}

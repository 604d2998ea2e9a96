//! `initial-setup`: an administrator for the server, and the configuration of this program. As in
//! Galene's tool, `-config` names the latter before the command, and the former after it.

use std::fs::{DirBuilder, OpenOptions};
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
pub(crate) const FLAGS: &[Flag] =
    &[Flag::value("config", "FILE", "the server's configuration to make (config.json)")];

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
    let token = flags.get("admin-token").unwrap_or_default().to_owned();
    let password = match flags.get("admin-password") {
        Some(password) => password.to_owned(),
        None if !token.is_empty() => String::new(),
        None => ask("Password of the new administrator: ")?,
    };
    let mut config = json!({"writableGroups": true});
    if !password.is_empty() {
        let stored = bcrypted(&password, COST)?;
        let user = json!({"password": stored, "permissions": "admin"});
        merge(&mut config, &json!({"users": {&username: user}}));
    }
    write(server, &format!("{config:#}\n"))?;
    let client = Config {
        server: flags.get("server").unwrap_or_default().to_owned(),
        admin_username: username,
        admin_password: password,
        is_insecure: flags.is_on("insecure"),
        admin_token: token,
    };
    if let Some(folder) = own.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| Failure::about(folder.display(), error))?;
    }
    let text = serde_json::to_string_pretty(&client).map_err(Failure::new)?;
    write(&own, &format!("{text}\n"))?;
    crate::say(&format!(
        "{} is for the server's data folder; {} has the credentials in clear.\n{}",
        server.display(),
        own.display(),
        match client.is_insecure {
            true => "",
            false => "While the server's certificate is self-signed, aulactl needs -insecure.\n",
        }
    ))
}

fn write(path: &Path, text: &str) -> Done {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })
    .map_err(|error| Failure::about(path.display(), error))
}

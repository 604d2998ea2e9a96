//! Where the server is and who asks: from flags, or from a file in the user's configuration
//! folder. Galene's file is read if there is none of our own.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::flags::Flags;

const SERVER_DEFAULT: &str = "https://localhost:8443";

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Config {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) server: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) admin_username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) admin_password: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) admin_token: String,
    /// Not among Galene's keys.
    #[serde(rename = "insecure", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_insecure: bool,
}

/// `$XDG_CONFIG_HOME`, or `~/.config`.
fn folder() -> Option<PathBuf> {
    let own = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    own.filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")))
}

/// Our own file.
pub(crate) fn own_path() -> Result<PathBuf, Failure> {
    let folder = folder().ok_or_else(|| Failure::new("no home directory: use -config"))?;
    Ok(folder.join("aula").join("aulactl.json"))
}

impl Config {
    /// From the file, overridden by flags.
    pub(crate) fn load(flags: &Flags) -> Result<Self, Failure> {
        let mut config = match flags.get("config") {
            Some(path) => Self::read(Path::new(path))?,
            None => {
                let galene = folder().map(|folder| folder.join("galene").join("galenectl.json"));
                let paths = own_path().ok().into_iter().chain(galene);
                let path = paths.into_iter().find(|path| path.exists());
                path.map_or_else(|| Ok(Self::default()), |path| Self::read(&path))?
            }
        };
        for (flag, field) in [
            ("server", &mut config.server),
            ("admin-username", &mut config.admin_username),
            ("admin-password", &mut config.admin_password),
            ("admin-token", &mut config.admin_token),
        ] {
            if let Some(value) = flags.get(flag) {
                value.clone_into(field);
            }
        }
        if config.server.is_empty() {
            config.server = SERVER_DEFAULT.to_owned();
        }
        if flags.get("insecure").is_some() {
            config.is_insecure = flags.is_on("insecure");
        }
        Ok(config)
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let file = path.display().to_string();
        let text = fs::read(path).map_err(|error| Failure::about(&file, error))?;
        signalling::parse_json(&file, &text).map_err(Failure::new)
    }
}

//! `data/config.json`: what concerns the whole server. Re-read when it changes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use signalling::{
    DescriptionError, Flags, Password, User, null_as_default, nulls_as_defaults, parse_file,
    without_nulls,
};

use crate::forwarded::Proxy;
use crate::recorder::Rules;
use crate::reread::{Look, Reread, Seen};
use crate::webhook::Webhook;

/// A larger file is not a configuration.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The file's keys. A missing file is an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default, rename_all = "camelCase")]
pub(crate) struct Config {
    /// `host[:port]`: pages of other hosts are redirected there.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) canonical_host: String,
    /// Origins that may use WebSocket, WHIP and status, besides our own.
    #[serde(deserialize_with = "without_nulls")]
    pub(crate) allow_origin: Vec<String>,
    /// Origins that may use the administration API.
    #[serde(deserialize_with = "without_nulls")]
    pub(crate) allow_admin_origin: Vec<String>,
    /// Overrides parts of the URLs in statuses.
    #[serde(rename = "proxyURL", deserialize_with = "null_as_default")]
    pub(crate) proxy_url: String,
    /// Which pages may hold ours in a frame, besides our own (CSP `frame-ancestors`).
    #[serde(deserialize_with = "without_nulls")]
    pub(crate) frame_ancestors: Vec<String>,
    /// Who is told what happens in groups.
    #[serde(deserialize_with = "without_nulls")]
    pub(crate) webhooks: Vec<Webhook>,
    /// Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    #[serde(deserialize_with = "without_nulls")]
    pub(crate) trusted_proxies: Vec<Proxy>,
    /// Whether the administration API may change group files.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) writable_groups: bool,
    /// How much is recorded, and for how long it is kept.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) recordings: Rules,
    /// Administrators of the whole server: those with the permission `admin`.
    #[serde(deserialize_with = "nulls_as_defaults")]
    pub(crate) users: BTreeMap<String, User>,
    /// What older Galenes had in place of `users`; it is told that it has no effect.
    admin: Option<serde_json::Value>,
    /// What of the file does not count.
    #[serde(skip)]
    notes: Vec<String>,
}
signalling::only_objects!(Config);

impl Config {
    /// What is likely a mistake, for the operator.
    fn warnings(&self) -> Vec<String> {
        let named = self.users.iter().map(|(name, user)| (format!("user {name:?}"), user));
        let mut warnings = self.notes.clone();
        warnings.extend(named.flat_map(|(who, user)| user.warnings(&who)));
        warnings.extend(self.doubts_about_addresses());
        if self.admin.is_some() {
            warnings.push("admin has no effect: list administrators in \"users\"".to_owned());
        }
        warnings.extend(self.webhooks.iter().flat_map(Webhook::warnings));
        // An open door makes nobody an administrator.
        let can_log_in = |password: &Password| {
            !matches!(password, Password::Broken(_) | Password::Never | Password::Wildcard)
        };
        let is_admin = |user: &User| {
            user.permissions.expand(Flags::default()).has("admin")
                && user.password.as_ref().is_some_and(can_log_in)
        };
        if !self.users.values().any(is_admin) {
            warnings.push(
                "no user can administer the server: put one into \"users\", with the permission \
                 admin and a password from `aulactl hash-password`"
                    .to_owned(),
            );
        }
        warnings
    }

    /// What of the names and addresses in the file can have no effect, or a bad one.
    fn doubts_about_addresses(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if !self.canonical_host.is_empty() && !is_host(&self.canonical_host) {
            let found = &self.canonical_host;
            doubts.push(format!("canonicalHost {found:?} is no host like aula.example.org"));
        }
        let (scheme, host, base) = self.proxy_parts();
        if !is_proxy((scheme, host, base)) {
            let found = &self.proxy_url;
            doubts.push(format!(
                "proxyURL {found:?} is no URL like https://example.org/aula, and is not used"
            ));
        }
        for (key, origins, advice) in [
            ("allowOrigin", &self.allow_origin, "list them, or start with --public-server"),
            ("allowAdminOrigin", &self.allow_admin_origin, "list them"),
        ] {
            for origin in origins.iter().filter(|origin| !is_origin(origin)) {
                doubts.push(match origin.as_str() {
                    "*" => format!("{key} \"*\" does not mean all origins: {advice}"),
                    _ => format!("{key} {origin:?} is no origin like https://example.org"),
                });
            }
        }
        doubts
    }

    /// The path under which a proxy shows us, without a slash at its end; empty without one.
    pub(crate) fn base(&self) -> &str {
        self.proxy().2.trim_end_matches('/')
    }

    /// Scheme, host and path of the proxy's URL, each optional: `/base`, `https:`,
    /// `http://h/base`. None of them if it is no such URL.
    pub(crate) fn proxy(&self) -> (Option<&str>, Option<&str>, &str) {
        Some(self.proxy_parts()).filter(|parts| is_proxy(*parts)).unwrap_or((None, None, ""))
    }

    fn proxy_parts(&self) -> (Option<&str>, Option<&str>, &str) {
        // What follows the path has no meaning here.
        let url = self.proxy_url.split(['?', '#']).next().unwrap_or_default();
        let (scheme, rest) = match url.split_once(':') {
            Some((scheme, rest)) if !scheme.is_empty() && !scheme.contains('/') => {
                (Some(scheme), rest)
            }
            _ => (None, url),
        };
        match rest.strip_prefix("//") {
            Some(rest) => {
                let (host, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (scheme, Some(host).filter(|host| !host.is_empty()), base)
            }
            None => (scheme, None, rest),
        }
    }
}

/// Reads the text of a configuration; `file` is for errors only.
pub(crate) fn parse(file: &str, text: &[u8]) -> Result<Config, DescriptionError> {
    let (mut config, notes) = parse_file::<Config>(file, text)?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_/".contains(c);
    if config.proxy_url.starts_with(|c| c != '/' && is_word(c))
        && config.proxy_url.chars().all(is_word)
    {
        config.proxy_url.insert(0, '/');
    }
    Ok(Config { notes, ..config })
}

/// Whether scheme, host and path are such as browsers can go to.
fn is_proxy((scheme, host, base): (Option<&str>, Option<&str>, &str)) -> bool {
    let is_web = scheme.is_none_or(|scheme| {
        scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
    });
    let is_path = base.is_empty() || base.starts_with('/') && !base.contains(' ');
    is_web && is_path && host.is_none_or(is_host)
}

/// Whether it is `host[:port]` (RFC 3986 s3.2) and nothing around it.
pub(crate) fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let is_address = host.starts_with('[') && host.ends_with(']');
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || "/?#@\\*<>\"{}|^`".contains(c);
    !host.is_empty()
        && (port.is_empty() || port.parse::<u16>().is_ok())
        && (is_address || !host.contains(':'))
        && !host.contains(is_bad)
}

/// Whether a browser could send this as an `Origin` (RFC 6454 s7). A slash at its end does no harm.
fn is_origin(text: &str) -> bool {
    let text = text.trim();
    text == "null"
        || text.split_once("://").is_some_and(|(scheme, rest)| {
            let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
            is_scheme && is_host(rest.strip_suffix('/').unwrap_or(rest))
        })
}

struct Cached {
    file: Reread,
    config: Arc<Config>,
}

/// The file, with its last good contents.
pub(crate) struct ConfigFile {
    cached: Mutex<Cached>,
}

impl ConfigFile {
    /// Reads it for the first time; a bad file is an error now.
    pub(crate) fn open(data: &Path) -> Result<Self, DescriptionError> {
        let mut file = Reread::new(data.join("config.json"), FILE_BYTES_MAX);
        let config = Arc::new(read(&mut file)?.unwrap_or_default());
        Ok(Self { cached: Mutex::new(Cached { file, config }) })
    }

    /// Everything that is wrong with the file, for whoever wants to know all at once.
    pub(crate) fn errors(data: &Path) -> Vec<String> {
        let mut file = Reread::new(data.join("config.json"), FILE_BYTES_MAX);
        let name = file.path().display().to_string();
        match file.look() {
            Look::Same | Look::Contents(None) => Vec::new(),
            Look::Failed(message) => vec![format!("{name}: {message}")],
            Look::Contents(Some(text)) => {
                let errors = signalling::json_errors::<Config>(&name, &text);
                errors.iter().map(ToString::to_string).collect()
            }
        }
    }

    /// What is likely a mistake in the file, for the operator; nothing if there is no file.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.file.seen() == Seen::Absence {
            return Vec::new();
        }
        let file = cached.file.path().display();
        cached.config.warnings().iter().map(|warning| format!("{file}: {warning}")).collect()
    }

    /// The present contents, from memory.
    pub(crate) fn get(&self) -> Arc<Config> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    /// Looks whether the file has changed. A bad edit leaves the old contents in force.
    pub(crate) fn refresh(&self) {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        match read(&mut cached.file) {
            Ok(None) => {}
            Ok(Some(config)) => {
                let file = cached.file.path().display();
                if cached.file.seen() == Seen::Absence {
                    tracing::warn!(%file, "the file is gone: nobody administers the server");
                } else {
                    tracing::info!(%file, "configuration read again");
                    for warning in config.warnings() {
                        tracing::warn!(%file, "{warning}");
                    }
                }
                cached.config = Arc::new(config);
            }
            Err(error) => tracing::error!("{error}; the old configuration stays"),
        }
    }
}

/// The contents if they are new.
fn read(file: &mut Reread) -> Result<Option<Config>, DescriptionError> {
    let name = file.path().display().to_string();
    match file.look() {
        Look::Same => Ok(None),
        Look::Contents(None) => Ok(Some(Config::default())),
        Look::Contents(Some(text)) => parse(&name, &text).map(Some),
        Look::Failed(message) => Err(DescriptionError { file: name, line: 0, key: None, message }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn galenes_keys_are_known_and_others_are_not() {
        let text = br#"{"canonicalHost":"h","allowOrigin":["https://x"],"allowAdminOrigin":[],
            "proxyURL":"https://p/base","writableGroups":true,
            "users":{"root":{"password":"x","permissions":"admin"}},"admin":[]}"#;
        let config = parse("config.json", text).unwrap();
        assert_eq!(
            (config.canonical_host.as_str(), config.proxy_url.as_str()),
            ("h", "https://p/base")
        );
        // As Go's reader takes them.
        let config = parse("config.json", b"{\"canonicalhost\":\"h\"}").unwrap();
        assert_eq!(config.canonical_host, "h");
        let error = parse("config.json", b"{\n\"canonicalhosts\":\"h\"}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "config.json:2: unknown key \"canonicalhosts\": did you mean \"canonicalHost\"?"
        );
        let error = parse("config.json", b"{\n\"trustedProxies\":[\"unix\",\"me\"]}").unwrap_err();
        assert!(error.to_string().contains("config.json:2"), "{error}");
        assert!(error.to_string().contains("\"me\" is no proxy"), "{error}");
        let text = br#"{"recordings":{"keepDays":90,"maxBytes":9,"maxBytesPerGroup":3,"keepFreeBytes":0}}"#;
        let config = parse("config.json", text).unwrap();
        assert_eq!(config.recordings.max_bytes_per_group, Some(3));
        for (text, wrong) in [
            ("{\n\"recordings\":{\"keepDays\":0}}", "days must be from 1 to 36500"),
            ("{\n\"recordings\":{\"maxByte\":1}}", "did you mean \"maxBytes\"?"),
            ("{\n\"recordings\":{\"maxBytes\":\"1 GB\"}}", "recordings.maxBytes"),
        ] {
            let error = parse("config.json", text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("config.json:2: ") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn regression_null_is_as_good_as_no_key() {
        for key in [
            "canonicalHost",
            "allowOrigin",
            "allowAdminOrigin",
            "proxyURL",
            "frameAncestors",
            "webhooks",
            "trustedProxies",
            "writableGroups",
            "recordings",
            "users",
            "admin",
        ] {
            let config = parse("config.json", format!("{{\"{key}\":null}}").as_bytes()).unwrap();
            assert_eq!(config, Config::default(), "{key}");
        }
        let config =
            parse("config.json", br#"{"users":{"ann":null},"allowOrigin":[null]}"#).unwrap();
        assert_eq!(config.users["ann"], User::default());
        assert!(config.allow_origin.is_empty());
    }

    #[test]
    fn addresses_that_cannot_be_meant_are_doubted() {
        let doubts = |text: &str| parse("c", text.as_bytes()).unwrap().doubts_about_addresses();
        for good in [
            "{}",
            r#"{"canonicalHost":"aula.example.org:8443"}"#,
            r#"{"canonicalHost":"[2001:db8::1]:8443","proxyURL":"http://[2001:db8::1]/x/"}"#,
            r#"{"canonicalHost":"[2001:db8::1]","proxyURL":"/base"}"#,
            r#"{"proxyURL":"https:"}"#,
            r#"{"proxyURL":"galene/"}"#,
            r#"{"proxyURL":"https://h/base?x=1#y"}"#,
            r#"{"proxyURL":"//h:8"}"#,
            r#"{"proxyURL":"HTTPS://h/base"}"#,
            r#"{"allowOrigin":["https://a.example","http://[::1]:8080/","null"]}"#,
        ] {
            assert_eq!(doubts(good), [""; 0], "{good}");
        }
        for (bad, words) in [
            (r#"{"canonicalHost":"https://h"}"#, "canonicalHost \"https://h\" is no host"),
            (r#"{"canonicalHost":"h/group/"}"#, "is no host"),
            (r#"{"canonicalHost":"h:port"}"#, "is no host"),
            (r#"{"proxyURL":"example.org"}"#, "proxyURL \"example.org\" is no URL"),
            (r#"{"proxyURL":"example.org:8443/x"}"#, "is no URL"),
            (r#"{"proxyURL":"ftp://h/"}"#, "is no URL"),
            (r#"{"proxyURL":"https://a b/"}"#, "is no URL"),
            (r#"{"allowOrigin":["a.example"]}"#, "allowOrigin \"a.example\" is no origin"),
            (r#"{"allowOrigin":["*"]}"#, "or start with --public-server"),
            (r#"{"allowOrigin":["https://*.a.example"]}"#, "is no origin"),
            (r#"{"allowAdminOrigin":["https://a.example/x"]}"#, "allowAdminOrigin"),
            (r#"{"allowAdminOrigin":["*"]}"#, "does not mean all origins: list them"),
            (r#"{"allowAdminOrigin":[""]}"#, "is no origin"),
        ] {
            let doubts = doubts(bad);
            assert!(doubts.len() == 1 && doubts[0].contains(words), "{bad}: {doubts:?}");
        }
        let config =
            parse("c", b"{\"writableGroups\":false,\n\"writableGroups\":true}\n}").unwrap();
        assert!(config.writable_groups);
        assert!(
            config.warnings()[0].starts_with("line 3: ") && config.warnings()[1].contains("again")
        );
    }

    #[test]
    fn every_part_of_a_proxy_url_is_optional() {
        fn proxy(url: &str) -> (Option<String>, Option<String>, String) {
            let config = Config { proxy_url: url.to_owned(), ..Config::default() };
            let (scheme, host, base) = config.proxy();
            (scheme.map(str::to_owned), host.map(str::to_owned), base.to_owned())
        }
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(proxy(""), (None, None, "".to_owned()));
        assert_eq!(proxy("/base"), (None, None, "/base".to_owned()));
        assert_eq!(proxy("https:"), (some("https"), None, "".to_owned()));
        assert_eq!(proxy("http://h:8/base"), (some("http"), some("h:8"), "/base".to_owned()));
        assert_eq!(proxy("//h"), (None, some("h"), "".to_owned()));
        assert_eq!(proxy("https://h?x=1"), (some("https"), some("h"), "".to_owned()));
        // What is doubted is not used.
        for bad in ["example.org", "https://a b/", "https://user:word@h/"] {
            assert_eq!(proxy(bad), (None, None, "".to_owned()), "{bad}");
        }
        assert_eq!(parse("c", br#"{"proxyURL":"galene/"}"#).unwrap().base(), "/galene");
    }
}

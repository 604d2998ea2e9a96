//! `--check-config`: reads everything that the server would, and says what it found. It changes
//! nothing.

use crate::config::ConfigFile;
use crate::fatal::FatalError;
use crate::flags::Flags;
use crate::ice::IceServers;
use crate::server::{check_groups_folder, open_files};
use crate::store::GroupStore;
use crate::tls::Certificates;
use crate::tokens::TokenStore;

/// What is wrong in the files, and what may be.
#[derive(Default)]
struct Findings {
    /// What keeps the server, or something in it, from working.
    problems: Vec<String>,
    /// What is ignored, or is likely a mistake.
    warnings: Vec<String>,
}

impl Findings {
    /// Notes what is wrong, and goes on.
    fn take<T>(&mut self, result: Result<T, impl ToString>) -> Option<T> {
        result.map_err(|error| self.problems.push(error.to_string())).ok()
    }
}

/// Reads everything. What is good is said on standard output, with warnings; what is broken is
/// the error, a line each.
pub(crate) fn check(flags: &Flags) -> Result<String, FatalError> {
    let mut found = Findings::default();
    for (flag, folder) in [("data", &flags.data), ("groups", &flags.groups)] {
        if !folder.exists() && flags.names(flag) {
            let folder = folder.display();
            found.problems.push(format!("flag --{flag}: there is no folder {folder}"));
        }
    }
    match ConfigFile::open(&flags.data) {
        Ok(config) => found.warnings.extend(config.warnings()),
        Err(_) => found.problems.extend(ConfigFile::errors(&flags.data)),
    }
    found.take(open_files(flags));
    if !flags.insecure && flags.data.join("cert.pem").exists() {
        found.take(Certificates::open(&flags.data, &[]));
    }
    if let Some(notes) = found.take(TokenStore::new(&flags.data).check()) {
        found.warnings.extend(notes);
    }
    if let Some(skipped) = found.take(IceServers::new(&flags.data, flags.relay_only).check()) {
        found.warnings.extend(skipped);
    }
    let is_folder = found.take(check_groups_folder(flags)).is_some();
    let (groups, broken, ignored) = match is_folder {
        true => GroupStore::new(flags.groups.clone()).check(),
        false => Default::default(),
    };
    found.problems.extend(broken);
    found.warnings.extend(ignored);
    let warnings = found.warnings.iter().map(|warning| format!("warning: {warning}"));
    if !found.problems.is_empty() {
        let lines = found.problems.iter().cloned().chain(warnings);
        return Err(FatalError::config_lines(lines.collect()));
    }
    let mut text: String = warnings.map(|warning| format!("{warning}\n")).collect();
    text.push_str(&format!("configuration is good: {groups} groups\n"));
    Ok(text)
}

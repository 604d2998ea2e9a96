//! Commands about passwords, and hashing.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd as _;

use pbkdf2::pbkdf2_hmac;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::client::Client;
use crate::failure::Failure;
use crate::flags::{Flag, Flags};
use crate::{Done, GROUP, USER, WILDCARD, say, users};

const PASSWORD: Flag =
    Flag::value("password", "TEXT", "the password; without this flag it is asked for");
const TYPE: Flag = Flag::value("type", "TYPE", "bcrypt, pbkdf2 or wildcard (bcrypt)");
const ITERATIONS: Flag = Flag::value("iterations", "N", "rounds of pbkdf2, 4096 or more (600000)");
const COST: Flag = Flag::value("cost", "N", "cost of bcrypt, 4 to 16 (8)");
const KEY: Flag = Flag::value("key", "N", "bytes of pbkdf2's key, 16 to 128 (32)");
const SALT: Flag = Flag::value("salt", "N", "bytes of pbkdf2's salt, 8 to 128 (16)");

/// Of `hash-password`.
pub(crate) const HASHING: &[Flag] = &[PASSWORD, TYPE, ITERATIONS, COST, KEY, SALT];
/// Of `set-password`.
pub(crate) const SETTING: &[Flag] =
    &[GROUP, USER, WILDCARD, PASSWORD, TYPE, ITERATIONS, COST, KEY, SALT];

/// What an OWASP cheat sheet of 2023 asks of PBKDF2 with SHA-256.
const ITERATIONS_DEFAULT: u32 = 600_000;
/// From the default of Galene's tool to what servers still check.
const ITERATIONS_RANGE: RangeInclusive<u32> = 4096..=10_000_000;
/// As in Galene's tool.
const COST_DEFAULT: u32 = 8;
/// From bcrypt's own minimum to what servers still check.
const COSTS: RangeInclusive<u32> = 4..=16;

/// `hash-password`
pub(crate) fn hash(flags: &Flags) -> Done {
    say(&format!("{}\n", hashed(flags)?))
}

/// `set-password`
pub(crate) fn set(flags: &Flags, client: &Client) -> Done {
    let path = format!("{}/.password", users::path(flags)?);
    client.put(&path, None, &hashed(flags)?)
}

/// `delete-password`
pub(crate) fn delete(flags: &Flags, client: &Client) -> Done {
    client.delete(&format!("{}/.password", users::path(flags)?))
}

/// How a password is to be stored.
enum Hashing {
    Bcrypt { cost: u32 },
    Pbkdf2 { iterations: u32, key: u32, salt: u32 },
}

impl Hashing {
    fn of(flags: &Flags) -> Result<Self, Failure> {
        match flags.get("type").unwrap_or("bcrypt") {
            "bcrypt" => Ok(Self::Bcrypt { cost: flags.number_in("cost", COST_DEFAULT, &COSTS)? }),
            "pbkdf2" => {
                let rounds = &ITERATIONS_RANGE;
                Ok(Self::Pbkdf2 {
                    iterations: flags.number_in("iterations", ITERATIONS_DEFAULT, rounds)?,
                    key: flags.number_in("key", 32, &(16..=128))?,
                    salt: flags.number_in("salt", 16, &(8..=128))?,
                })
            }
            _ => Err(Failure::new("flag -type must be bcrypt, pbkdf2 or wildcard")),
        }
    }

    fn apply(&self, password: &str) -> Result<Value, Failure> {
        match *self {
            Self::Bcrypt { cost } => bcrypted(password, cost),
            Self::Pbkdf2 { iterations, key, salt } => {
                let mut salt = vec![0; salt as usize];
                aws_lc_rs::rand::fill(&mut salt).map_err(Failure::new)?;
                let mut derived = vec![0; key as usize];
                pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, iterations, &mut derived);
                Ok(json!({"type": "pbkdf2", "hash": "sha-256", "iterations": iterations,
                    "key": hex(&derived), "salt": hex(&salt)}))
            }
        }
    }
}

fn hashed(flags: &Flags) -> Result<Value, Failure> {
    if flags.get("type") == Some("wildcard") {
        if flags.get("password").is_some_and(|password| !password.is_empty()) {
            return Err(Failure::new("-type wildcard takes any password: leave out -password"));
        }
        return Ok(json!({"type": "wildcard"}));
    }
    // What is wrong with the other flags is told before anybody types a password.
    let hashing = Hashing::of(flags)?;
    match flags.get("password") {
        Some("") => Err(Failure::new(
            "an empty password protects nothing: -type wildcard lets everybody in, \
             delete-password nobody",
        )),
        Some(password) => hashing.apply(password),
        None => hashing.apply(&ask("Password", "password")?),
    }
}

/// A password as bcrypt stores it.
pub(crate) fn bcrypted(password: &str, cost: u32) -> Result<Value, Failure> {
    if password.len() > 72 || password.contains('\0') {
        return Err(Failure::new(
            "bcrypt takes passwords of at most 72 bytes: -type pbkdf2 takes longer ones",
        ));
    }
    let key = bcrypt::hash(password, cost).map_err(Failure::new)?;
    Ok(json!({"type": "bcrypt", "key": key}))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a new password from standard input. At a terminal it does not show, and is asked for
/// twice. `flag` is the one that gives it, too.
pub(crate) fn ask(prompt: &str, flag: &str) -> Result<String, Failure> {
    let password = line(&format!("{prompt}: "))?;
    if password.is_empty() {
        return Err(Failure::new(format!("no password: give -{flag}, or type one")));
    }
    if std::io::stdin().is_terminal() && line(&format!("{prompt}, again: "))? != password {
        return Err(Failure::new("the two passwords differ: nothing was changed, try again"));
    }
    Ok(password)
}

fn line(prompt: &str) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    let is_terminal = stdin.is_terminal();
    let quiet = is_terminal.then(|| Quiet::start(stdin.as_raw_fd())).flatten();
    if is_terminal {
        // A prompt that cannot be written is no reason not to read.
        let _ = write!(std::io::stderr(), "{prompt}");
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).map_err(Failure::new)?;
    drop(quiet);
    if is_terminal {
        let _ = writeln!(std::io::stderr());
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A terminal without echo, until dropped.
struct Quiet(i32, libc::termios);

impl Quiet {
    fn start(terminal: i32) -> Option<Self> {
        let mut before = std::mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: `before` is a valid place for the result.
        if unsafe { libc::tcgetattr(terminal, before.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: the call has filled it.
        let before = unsafe { before.assume_init() };
        let mut quiet = before;
        quiet.c_lflag &= !libc::ECHO;
        // SAFETY: `quiet` outlives the call.
        (unsafe { libc::tcsetattr(terminal, libc::TCSANOW, &quiet) } == 0)
            .then_some(Self(terminal, before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: the settings are those that the terminal had.
        unsafe { libc::tcsetattr(self.0, libc::TCSANOW, &self.1) };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use signalling::Password;

    use super::*;

    #[test]
    fn a_terminal_echoes_again_afterwards() {
        let (mut master, mut terminal) = (0, 0);
        let nothing = std::ptr::null_mut();
        // SAFETY: both places are valid; the other arguments may be null.
        let opened = unsafe {
            libc::openpty(&mut master, &mut terminal, nothing, nothing.cast(), nothing.cast())
        };
        assert_eq!(opened, 0);
        let echoes = || {
            let mut settings = std::mem::MaybeUninit::<libc::termios>::uninit();
            // SAFETY: the descriptor is open and the place is valid; the call fills it.
            let settings = unsafe {
                assert_eq!(libc::tcgetattr(terminal, settings.as_mut_ptr()), 0);
                settings.assume_init()
            };
            settings.c_lflag & libc::ECHO != 0
        };
        assert!(echoes());
        let quiet = Quiet::start(terminal).expect("it is a terminal");
        assert!(!echoes());
        drop(quiet);
        assert!(echoes());
        assert!(Quiet::start(-1).is_none());
        for descriptor in [master, terminal] {
            // SAFETY: they are ours and not used again.
            unsafe { libc::close(descriptor) };
        }
    }

    fn hashed_by(arguments: &[&str]) -> Result<Value, Failure> {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        hashed(&Flags::parse(&[HASHING], BTreeMap::new(), arguments)?)
    }

    #[test]
    fn what_is_hashed_here_opens_there() {
        for arguments in [
            &["-password", "pässword", "-cost", "4"][..],
            &["-password", "pässword", "-type", "pbkdf2", "-iterations", "4096", "-salt", "8"],
            &["-type", "wildcard"],
        ] {
            let stored: Password = serde_json::from_value(hashed_by(arguments).unwrap()).unwrap();
            assert_eq!(stored.verify("pässword"), Ok(true));
            assert_eq!(stored.verify("other").unwrap(), stored == Password::Wildcard);
        }
    }

    #[test]
    fn regression_hashes_that_protect_nothing_are_refused() {
        let long = "x".repeat(73);
        for (arguments, words) in [
            (&["-password", "x", "-cost", "3"][..], "-cost must be 4 to 16, not 3"),
            (&["-password", "x", "-cost", "17"], "-cost must be 4 to 16, not 17"),
            (
                &["-password", "x", "-type", "pbkdf2", "-iterations", "1"],
                "-iterations must be 4096",
            ),
            (&["-password", "x", "-type", "pbkdf2", "-key", "15"], "-key must be 16"),
            (&["-password", "x", "-type", "pbkdf2", "-salt", "7"], "-salt must be 8"),
            (&["-password", "x", "-type", "plain"], "-type must be"),
            (&["-password", ""], "-type wildcard"),
            (&["-password", "", "-type", "pbkdf2"], "delete-password"),
            (&["-password", &long], "-type pbkdf2"),
        ] {
            let error = hashed_by(arguments).unwrap_err().to_string();
            assert!(error.contains(words), "{arguments:?}: {error}");
        }
    }
}

//! `aulactl`: administers an Aula server, or a Galene one, from the command line. The commands and
//! flags are those of Galene's `galenectl`, with `doctor` and `import` besides.

mod answer;
mod client;
mod config;
mod doctor;
mod export;
mod failure;
mod flags;
mod groups;
mod import;
mod machine;
mod passwords;
mod pattern;
mod probe;
mod recordings;
mod report;
mod setup;
mod tokens;
mod users;
mod ways;

use std::io::Write as _;
use std::process::ExitCode;

use client::Client;
use config::Config;
use failure::Failure;
use flags::{Flag, Flags};

type Done = Result<(), Failure>;

/// What a command does.
enum Run {
    /// Talks to the server.
    Remote(fn(&Flags, &Client) -> Done),
    /// Works with files and standard input only.
    Local(fn(&Flags) -> Done),
}

/// A command, its own flags, and whether words may follow them.
struct Command {
    name: &'static str,
    /// What may follow the name, for its help.
    example: &'static str,
    flags: &'static [Flag],
    words: &'static str,
    meaning: &'static str,
    run: Run,
}

const GLOBAL: &[Flag] = &[
    Flag::value("server", "URL", "the server (https://localhost:8443)"),
    Flag::switch("insecure", "take any certificate"),
    Flag::value("config", "FILE", "the configuration of this program, made by initial-setup"),
    Flag::value("admin-username", "NAME", "the administrator who asks"),
    Flag::value("admin-password", "TEXT", "the password of that administrator"),
    Flag::value("admin-token", "TOKEN", "a token instead of name and password"),
];

const GROUP: Flag = Flag::value("group", "NAME", "the group");
const USER: Flag = Flag::value("user", "NAME", "the user; empty for the anonymous one");
const WILDCARD: Flag = Flag::switch("wildcard", "the user that stands for all other names");
const PERMISSIONS: Flag = Flag::value(
    "permissions",
    "NAME|LIST",
    "op, present, message, observe, or a JSON list (present if new)",
);
const JSON: Flag =
    Flag::switch("json", "read a JSON object from standard input; null takes a key away");
const LONG: Flag =
    Flag::switch("l", "show permissions as well, and of tokens the user and the end");
const TOKEN: Flag = Flag::value("token", "TOKEN", "the token");
const DURATION: Flag =
    Flag::value("duration", "TIME", "how long it is good, such as 90m or 7d (24h if new)");

const COMMANDS: &[Command] = &[
    Command {
        name: "initial-setup",
        example: "-config data/config.json -admin-username root -server https://aula.example.org:8443",
        flags: setup::FLAGS,
        words: "",
        meaning: "make an administrator: the server's config.json, and the configuration of this \
                  program",
        run: Run::Local(setup::initial),
    },
    Command {
        name: "hash-password",
        example: "-type bcrypt",
        flags: passwords::HASHING,
        words: "",
        meaning: "print a password as group files store it",
        run: Run::Local(passwords::hash),
    },
    Command {
        name: "set-password",
        example: "-group maths/algebra -user ann",
        flags: passwords::SETTING,
        words: "",
        meaning: "set a user's password",
        run: Run::Remote(passwords::set),
    },
    Command {
        name: "delete-password",
        example: "-group maths/algebra -user ann",
        flags: &[GROUP, USER, WILDCARD],
        words: "",
        meaning: "take a user's password away, so that nobody logs in as that user",
        run: Run::Remote(passwords::delete),
    },
    Command {
        name: "list-groups",
        example: "'maths/*'",
        flags: &[],
        words: "[pattern...]",
        meaning: "list groups",
        run: Run::Remote(groups::list),
    },
    Command {
        name: "show-group",
        example: "-group maths/algebra",
        flags: &[GROUP],
        words: "",
        meaning: "print a group's settings",
        run: Run::Remote(groups::show),
    },
    Command {
        name: "create-group",
        example: "-group maths/algebra",
        flags: groups::EDITING,
        words: "",
        meaning: "make a group",
        run: Run::Remote(groups::create),
    },
    Command {
        name: "update-group",
        example: "-group maths/algebra -unrestricted-tokens",
        flags: groups::EDITING,
        words: "",
        meaning: "change a group's settings",
        run: Run::Remote(groups::update),
    },
    Command {
        name: "delete-group",
        example: "-group maths/algebra",
        flags: &[GROUP],
        words: "",
        meaning: "delete a group and its tokens",
        run: Run::Remote(groups::delete),
    },
    Command {
        name: "list-users",
        example: "-group maths/algebra -l",
        flags: &[GROUP, LONG],
        words: "[pattern...]",
        meaning: "list a group's users",
        run: Run::Remote(users::list),
    },
    Command {
        name: "create-user",
        example: "-group maths/algebra -user ann -permissions op",
        flags: &[GROUP, USER, WILDCARD, PERMISSIONS, JSON],
        words: "",
        meaning: "make a user, who needs a password (set-password) to log in",
        run: Run::Remote(users::create),
    },
    Command {
        name: "update-user",
        example: "-group maths/algebra -user ann -permissions present",
        flags: &[GROUP, USER, WILDCARD, PERMISSIONS, JSON],
        words: "",
        meaning: "change a user",
        run: Run::Remote(users::update),
    },
    Command {
        name: "delete-user",
        example: "-group maths/algebra -user ann",
        flags: &[GROUP, USER, WILDCARD],
        words: "",
        meaning: "delete a user",
        run: Run::Remote(users::delete),
    },
    Command {
        name: "list-tokens",
        example: "-group maths/algebra -l",
        flags: &[GROUP, LONG],
        words: "[pattern...]",
        meaning: "list a group's invitations (tokens), or with -group \"\" the server's",
        run: Run::Remote(tokens::list),
    },
    Command {
        name: "create-token",
        example: "-group maths/algebra -permissions present -duration 7d",
        flags: tokens::CREATING,
        words: "",
        meaning: "make an invitation: print its token, and say the link on standard error",
        run: Run::Remote(tokens::create),
    },
    Command {
        name: "update-token",
        example: "-group maths/algebra -token TOKEN -duration 24h",
        flags: &[GROUP, TOKEN, PERMISSIONS, DURATION],
        words: "",
        meaning: "change a token",
        run: Run::Remote(tokens::update),
    },
    Command {
        name: "revoke-token",
        example: "-group maths/algebra -token TOKEN",
        flags: &[GROUP, TOKEN],
        words: "",
        meaning: "end a token now",
        run: Run::Remote(tokens::revoke),
    },
    Command {
        name: "delete-token",
        example: "-group maths/algebra -token TOKEN",
        flags: &[GROUP, TOKEN],
        words: "",
        meaning: "delete a token",
        run: Run::Remote(tokens::delete),
    },
    Command {
        name: "doctor",
        example: "-server https://aula.example.org:8443 -group test -user ann -password TEXT",
        flags: doctor::FLAGS,
        words: "",
        meaning: "look for what keeps people from joining",
        run: Run::Remote(doctor::run),
    },
    Command {
        name: "import",
        example: "-groups /srv/galene/groups -data /srv/galene/data",
        flags: import::FLAGS,
        words: "",
        meaning: "say what will differ when a Galene server's folders are taken over",
        run: Run::Local(import::run),
    },
    Command {
        name: "list-recordings",
        example: "-recordings /var/lib/aula/recordings",
        flags: recordings::LISTING,
        words: "",
        meaning: "list what has been recorded (also: recordings list)",
        run: Run::Local(recordings::list),
    },
    Command {
        name: "export-recording",
        example: "-group maths/algebra -session 2026-11-29T10:15:00.100",
        flags: recordings::EXPORTING,
        words: "",
        meaning: "make a file for each person and screen, and one of all sound, by ffmpeg (also: \
                  recordings export)",
        run: Run::Local(recordings::export),
    },
    Command {
        name: "delete-recording",
        example: "-group maths/algebra -session 2026-11-29T10:15:00.100",
        flags: recordings::DELETING,
        words: "",
        meaning: "delete a session with all its files (also: recordings delete)",
        run: Run::Local(recordings::delete),
    },
];

/// What follows the word `recordings`, and the command that it stands for.
const OF_RECORDINGS: [(&str, &str); 3] =
    [("list", "list-recordings"), ("export", "export-recording"), ("delete", "delete-recording")];

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where standard error is gone the exit code still speaks.
            let _ = writeln!(std::io::stderr(), "aulactl: {failure}");
            failure.exit_code()
        }
    }
}

fn run(arguments: Vec<String>) -> Done {
    let (before, rest) = flags::split(GLOBAL, arguments)?;
    let mut rest = rest.into_iter();
    let Some(name) = rest.next() else {
        return Err(Failure::new("which command? See aulactl help"));
    };
    if matches!(name.as_str(), "help" | "--help" | "-help" | "-h") {
        return match rest.next() {
            Some(name) => say(&command_help(find(&name)?)),
            None => say(&help()),
        };
    }
    if matches!(name.as_str(), "--version" | "-version") {
        return say(concat!("aulactl ", env!("CARGO_PKG_VERSION"), "\n"));
    }
    let name = match name.as_str() {
        "recordings" => {
            let what = rest.next().unwrap_or_default();
            let found = OF_RECORDINGS.iter().find(|(word, _)| *word == what);
            let found = found.ok_or_else(|| Failure::new("recordings list, export or delete?"))?;
            found.1.to_owned()
        }
        _ => name,
    };
    let command = find(&name)?;
    let rest: Vec<String> = rest.collect();
    if rest.iter().any(|word| matches!(word.as_str(), "-help" | "--help" | "-h")) {
        return say(&command_help(command));
    }
    let flags = Flags::parse(&[GLOBAL, command.flags], before, rest)?;
    if command.words.is_empty()
        && let Some(word) = flags.words().first()
    {
        return Err(Failure::new(format!("unexpected word {word:?}")));
    }
    match command.run {
        Run::Local(run) => run(&flags),
        Run::Remote(run) => run(&flags, &Client::new(&Config::load(&flags)?)?),
    }
}

fn find(name: &str) -> Result<&'static Command, Failure> {
    let found = COMMANDS.iter().find(|command| command.name == name);
    found.ok_or_else(|| {
        let near = signalling::nearest(name, COMMANDS.iter().map(|command| command.name));
        let hint = near.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
        Failure::new(format!("unknown command {name:?}: {hint}See aulactl help"))
    })
}

fn help() -> String {
    let mut text = String::from("Usage: aulactl [flags] COMMAND [flags]\n\nCommands:\n");
    for command in COMMANDS {
        text.push_str(&format!("  {:<16} {}\n", command.name, command.meaning));
    }
    text.push_str("\nFlags of all commands, with one dash or two:\n");
    text.push_str(&flags::help(GLOBAL));
    text.push_str("\naulactl help COMMAND shows the flags of a command.\n");
    text
}

fn command_help(command: &Command) -> String {
    let words = if command.words.is_empty() { "" } else { " " };
    let Command { name, example, meaning, .. } = command;
    format!(
        "Usage: aulactl {name} [flags]{words}{}\n\n{meaning}\n\n{}\nFor example: aulactl {name} \
         {example}\naulactl help shows the flags of all commands, such as -server.\n",
        command.words,
        flags::help(command.flags)
    )
}

/// Tells of what may not be meant, and goes on.
fn warn(text: impl std::fmt::Display) {
    // Where standard error is gone nobody can be warned.
    let _ = writeln!(std::io::stderr(), "aulactl: warning: {text}");
}

/// Prints what was asked for.
fn say(text: &str) -> Done {
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_have_flags_that_exist() {
        for command in COMMANDS {
            let words = command.example.split(' ').map(str::to_owned).collect();
            let flags = Flags::parse(&[GLOBAL, command.flags], Default::default(), words);
            let flags = flags.unwrap_or_else(|failure| panic!("{}: {failure}", command.name));
            assert!(flags.words().is_empty() || !command.words.is_empty(), "{}", command.name);
        }
    }
}

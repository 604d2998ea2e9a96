//! Flags in Galene's syntax: one dash or two, `-flag value` or `-flag=value`; a switch takes a
//! value only after `=`; the first word that is no flag ends them, as does `--`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::failure::Failure;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    name: &'static str,
    /// What it wants; empty for a switch.
    wants: &'static str,
    meaning: &'static str,
}

impl Flag {
    pub(crate) const fn value(
        name: &'static str,
        wants: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { name, wants, meaning }
    }

    pub(crate) const fn switch(name: &'static str, meaning: &'static str) -> Self {
        Self { name, wants: "", meaning }
    }
}

/// What was given on the command line.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    before: BTreeMap<&'static str, String>,
    after: BTreeMap<&'static str, String>,
    words: Vec<String>,
}

/// Takes flags off the front; gives them and the rest.
pub(crate) fn split(
    known: &[Flag],
    arguments: Vec<String>,
) -> Result<(BTreeMap<&'static str, String>, Vec<String>), Failure> {
    let mut given = BTreeMap::new();
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.peek() {
        let Some(flag) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            break;
        };
        let flag = flag.strip_prefix('-').unwrap_or(flag).to_owned();
        if matches!(flag.as_str(), "help" | "h" | "version") {
            break;
        }
        arguments.next();
        if flag.is_empty() {
            break;
        }
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag.as_str(), None),
        };
        let Some(flag) = known.iter().find(|flag| flag.name == name) else {
            let near = signalling::nearest(name, known.iter().map(|flag| flag.name));
            let hint = near.map_or_else(
                || "see aulactl help COMMAND".to_owned(),
                |near| format!("did you mean -{near}?"),
            );
            return Err(Failure::flag(format!("unknown flag -{name}: {hint}")));
        };
        let value = match (flag.wants.is_empty(), value) {
            (true, value) => switch(name, value.as_deref())?.to_string(),
            (false, Some(value)) => value,
            (false, None) => arguments
                .next()
                .ok_or_else(|| Failure::flag(format!("flag -{name} needs a value")))?,
        };
        given.insert(flag.name, value);
    }
    Ok((given, arguments.collect()))
}

fn switch(name: &str, value: Option<&str>) -> Result<bool, Failure> {
    match value {
        None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(Failure::flag(format!("flag -{name} must be true or false"))),
    }
}

/// A line for each.
pub(crate) fn help(flags: &[Flag]) -> String {
    let line = |flag: &Flag| {
        let flag_and_value = format!("-{} {}", flag.name, flag.wants);
        format!("  {flag_and_value:<28} {}\n", flag.meaning)
    };
    flags.iter().map(line).collect()
}

impl Flags {
    /// Reads the flags of a command; those before it count less.
    pub(crate) fn parse(
        known: &[&[Flag]],
        before: BTreeMap<&'static str, String>,
        arguments: Vec<String>,
    ) -> Result<Self, Failure> {
        let (after, words) = split(&known.concat(), arguments)?;
        Ok(Self { before, after, words })
    }

    /// A flag's value, if it was given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.get_after(name).or_else(|| self.get_before(name))
    }

    /// What was given before the command.
    pub(crate) fn get_before(&self, name: &str) -> Option<&str> {
        self.before.get(name).map(String::as_str)
    }

    /// What was given after the command.
    pub(crate) fn get_after(&self, name: &str) -> Option<&str> {
        self.after.get(name).map(String::as_str)
    }

    /// A flag's value; an error names the flag that is missing.
    pub(crate) fn need(&self, name: &str) -> Result<&str, Failure> {
        self.get(name).ok_or_else(|| Failure::new(format!("flag -{name} is needed")))
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// A number of which only these make sense.
    pub(crate) fn number_in(
        &self,
        name: &str,
        default: u32,
        range: &RangeInclusive<u32>,
    ) -> Result<u32, Failure> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        let number = text
            .parse::<u32>()
            .map_err(|_| Failure::flag(format!("flag -{name} must be a number")))?;
        match range.contains(&number) {
            true => Ok(number),
            false => {
                let (first, last) = (range.start(), range.end());
                Err(Failure::new(format!("flag -{name} must be {first} to {last}, not {number}")))
            }
        }
    }

    /// What follows the flags.
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Flag] = &[Flag::value("group", "NAME", ""), Flag::switch("l", "")];

    fn parse(arguments: &[&str]) -> Result<Flags, String> {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        Flags::parse(&[KNOWN], BTreeMap::new(), arguments).map_err(|failure| failure.to_string())
    }

    #[test]
    fn one_dash_or_two_with_or_without_equals() {
        for arguments in [
            &["-group", "g", "-l", "x"][..],
            &["--group=g", "--l=true", "x"],
            &["-l", "-group=g", "--", "x"],
        ] {
            let flags = parse(arguments).unwrap();
            assert_eq!((flags.get("group"), flags.is_on("l")), (Some("g"), true), "{arguments:?}");
            assert_eq!(flags.words(), ["x"]);
        }
        assert_eq!(parse(&["-group", ""]).unwrap().get("group"), Some(""));
        assert!(!parse(&["-l=false"]).unwrap().is_on("l"));
        assert!(parse(&[]).unwrap().need("group").is_err());
        for (bad, word) in [
            (&["-nothing"][..], "aulactl help"),
            (&["-grup", "g"], "did you mean -group?"),
            (&["-group"], "needs a value"),
            (&["-l=maybe"], "true or false"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(word), "{bad:?}: {error}");
        }
    }
}

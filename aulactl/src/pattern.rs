//! Patterns of names: `*`, `?`, `[a-z]`, `[^a-z]` and `\` before a character that stands for
//! itself. As in Galene's tool, neither `*` nor `?` stands for a slash.

use crate::failure::Failure;

/// One that has been read.
struct Pattern(Vec<Part>);

/// A part of a pattern.
enum Part {
    /// Any number of characters other than a slash.
    Star,
    /// One character other than a slash.
    Any,
    Literal(char),
    /// One character in one of the ranges, or in none of them.
    Class {
        is_not: bool,
        ranges: Vec<(char, char)>,
    },
}

/// The names that match one of the patterns; without any, all of them.
///
/// # Errors
/// A pattern that ends within a class or an escape.
pub(crate) fn listed<'a>(
    patterns: &[String],
    names: &'a [String],
) -> Result<Vec<&'a String>, Failure> {
    let parsed: Option<Vec<Pattern>> = patterns.iter().map(|text| Pattern::parse(text)).collect();
    let patterns =
        parsed.ok_or_else(|| Failure::new(format!("not a pattern: {}", patterns.join(" "))))?;
    let is_listed = |name: &&String| {
        let name: Vec<char> = name.chars().collect();
        patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(&name))
    };
    Ok(names.iter().filter(is_listed).collect())
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.chars().peekable();
        let mut parts = Vec::new();
        while let Some(c) = rest.next() {
            parts.push(match c {
                '*' => Part::Star,
                '?' => Part::Any,
                '\\' => Part::Literal(rest.next()?),
                '[' => {
                    let is_not = rest.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || rest.next_if_eq(&']').is_none() {
                        let first = member(&mut rest)?;
                        let last = match rest.next_if_eq(&'-') {
                            Some(_) => member(&mut rest)?,
                            None => first,
                        };
                        ranges.push((first, last));
                    }
                    Part::Class { is_not, ranges }
                }
                c => Part::Literal(c),
            });
        }
        Some(Self(parts))
    }

    fn matches(&self, name: &[char]) -> bool {
        // Where to go on after a mismatch: behind the last star, one character further.
        let (mut at, mut read) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let fits = match (self.0.get(at), name.get(read)) {
                (None, None) => return true,
                (Some(Part::Star), _) => {
                    retry = Some((at + 1, read));
                    at += 1;
                    continue;
                }
                (Some(part), Some(c)) => part.fits(*c),
                _ => false,
            };
            if fits {
                at += 1;
                read += 1;
                continue;
            }
            match retry {
                Some((after, from)) if name.get(from).is_some_and(|c| *c != '/') => {
                    retry = Some((after, from + 1));
                    (at, read) = (after, from + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Part {
    fn fits(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::Any => c != '/',
            Self::Literal(wanted) => *wanted == c,
            Self::Class { is_not, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *is_not
            }
        }
    }
}

/// An end of a range.
fn member(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_as_galenes_tool_has_them() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("a?c", "abc", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[!a]", "!", true),
            ("[ab-]", "a", false),
            ("[a\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("maths/*", "maths/algebra", true),
            ("maths*", "maths/algebra", false),
            ("*", "maths/algebra", false),
            ("*/*", "maths/algebra", true),
            ("maths?algebra", "maths/algebra", false),
            ("*a/b", "xa/b", true),
            ("ü*", "übung", true),
        ] {
            let (patterns, names) = ([pattern.to_owned()], [name.to_owned()]);
            let is_listed = listed(&patterns, &names).is_ok_and(|names| !names.is_empty());
            assert_eq!(is_listed, expected, "{pattern} {name}");
        }
        let names = ["anything".to_owned()];
        assert_eq!(listed(&[], &names).unwrap().len(), 1);
        for bad in ["[a", "[", "[]", "[a-", "[-b]", "a\\"] {
            assert!(listed(&[bad.to_owned()], &names).is_err(), "{bad}");
        }
    }
}

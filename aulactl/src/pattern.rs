//! Patterns of shells: `*`, `?` and `[a-z]`.

/// Whether a name matches one of the patterns; without any, all do.
pub(crate) fn is_listed(patterns: &[String], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    patterns.is_empty()
        || patterns.iter().any(|pattern| {
            let pattern: Vec<char> = pattern.chars().collect();
            matches(&pattern, &name)
        })
}

fn matches(pattern: &[char], name: &[char]) -> bool {
    // Where to go on after a mismatch: behind the last star, one character further.
    let (mut at, mut read) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(at), name.get(read)) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((at + 1, read));
                at += 1;
                continue;
            }
            (Some('?'), Some(_)) => Some(1),
            (Some('['), Some(c)) => class(pattern.get(at..).unwrap_or_default(), *c),
            (Some(wanted), Some(c)) if wanted == c => Some(1),
            _ => None,
        };
        match (step, retry) {
            (Some(step), _) => {
                at += step;
                read += 1;
            }
            (None, Some((after, from))) if from < name.len() => {
                retry = Some((after, from + 1));
                (at, read) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// How long the class at the front is, if `c` is in it.
fn class(pattern: &[char], c: char) -> Option<usize> {
    let end = pattern.iter().skip(2).position(|end| *end == ']')? + 2;
    let inner = pattern.get(1..end)?;
    let (is_not, inner) = match inner.split_first() {
        Some(('^' | '!', rest)) => (true, rest),
        _ => (false, inner),
    };
    let mut rest = inner;
    let mut is_in = false;
    while let [first, more @ ..] = rest {
        rest = match more {
            ['-', last, more @ ..] => {
                is_in |= (*first..=*last).contains(&c);
                more
            }
            more => {
                is_in |= *first == c;
                more
            }
        };
    }
    (is_in != is_not).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_patterns() {
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
            ("maths/*", "maths/algebra", true),
            ("[a", "a", false),
            ("ü*", "übung", true),
        ] {
            assert_eq!(is_listed(&[pattern.to_owned()], name), expected, "{pattern} {name}");
        }
        assert!(is_listed(&[], "anything"));
    }
}

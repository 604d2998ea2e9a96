//! Names of groups and users, checked once and then carried as types. A [`GroupName`] is safe to
//! join to a directory: it has no component that starts with a dot, no backslash and no control
//! character.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The longest name. It becomes a file path and a URL.
const NAME_BYTES_MAX: usize = 1024;

/// Why a name cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NameError {
    /// It has no characters.
    Empty,
    /// It has more than 1024 bytes.
    TooLong,
    /// It has a backslash.
    Backslash,
    /// It has a control character, one that turns the direction of writing, or one that cannot be seen.
    Control,
    /// A component starts with a dot.
    DotComponent,
    /// It starts or ends with a slash, or has two in a row.
    EmptyComponent,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the name is empty",
            Self::TooLong => "the name is longer than 1024 bytes",
            Self::Backslash => "the name has a backslash",
            Self::Control => "the name has a character that cannot be seen",
            Self::DotComponent => "a part of the name starts with a dot",
            Self::EmptyComponent => "the name has an empty part",
        })
    }
}

impl std::error::Error for NameError {}

fn check(name: &str) -> Result<(), NameError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if name.contains('\\') {
        return Err(NameError::Backslash);
    }
    let is_bad = |c: char| c.is_control() || turns_direction(c) || is_invisible(c);
    if without_flags(name).chars().any(is_bad) || has_idle_joiner(name) {
        return Err(NameError::Control);
    }
    for component in name.split('/') {
        if component.is_empty() {
            return Err(NameError::EmptyComponent);
        }
        if component.starts_with('.') {
            return Err(NameError::DotComponent);
        }
    }
    Ok(())
}

/// The flags of England, Scotland and Wales (UTS #51): a black flag, tags and the end tag.
const FLAGS: [&str; 3] = [
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}",
];

/// The name without these flags: anywhere else tags cannot be seen.
fn without_flags(name: &str) -> Cow<'_, str> {
    FLAGS.iter().fold(Cow::Borrowed(name), |name, flag| match name.contains(flag) {
        true => Cow::Owned(name.replace(flag, "")),
        false => name,
    })
}

/// What takes no room and joins nothing: with it a name looks like another one's. Blank letters are among
/// them (Hangul fillers, the Braille blank), and tags.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// Whether a joiner or non-joiner stands where it joins nothing: Persian, the scripts of India and emoji
/// need them between two characters that are not ASCII, and anywhere else they cannot be seen.
fn has_idle_joiner(name: &str) -> bool {
    let is_joiner = |c: char| matches!(c, '\u{200c}' | '\u{200d}');
    let chars: Vec<char> = name.chars().collect();
    chars.iter().enumerate().any(|(at, c)| {
        let before = at.checked_sub(1).and_then(|at| chars.get(at));
        let joins = |c: Option<&char>| c.is_some_and(|c| !c.is_ascii() && !is_joiner(*c));
        is_joiner(*c) && !(joins(before) && joins(chars.get(at + 1)))
    })
}

/// Bidirectional embeddings, overrides and isolates: in a list of users they would make one name
/// look like another.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The name of a group, such as `maths/algebra`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// Checks a name from outside.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        check(name)?;
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `maths` for `maths/algebra`, nothing for `maths`.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.into()))
    }

    /// Whether this group is below `other`.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// The name of a user: empty (anonymous), or like a group's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Username(Arc<str>);

impl Username {
    /// The name that somebody meant who typed or pasted this one: without soft hyphens and the spaces without
    /// width that keyboards for Khmer or Thai put between words, and without
    /// the tabs and marks at its ends that keyboards for Hebrew or Arabic and copies bring along.
    /// Nobody sees them, so what is left is what was meant.
    pub fn meant(name: &str) -> String {
        let is_mark = |c: char| {
            let marks = ['\u{61c}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{2060}', '\u{feff}'];
            matches!(c, '\t' | '\n' | '\r') || marks.contains(&c) || turns_direction(c)
        };
        let mut before = '\0';
        let seen = name.chars().filter(|c| {
            // Between letters that need none it would hide a difference from another name.
            let is_unseen = *c == '\u{ad}' || *c == '\u{200b}' && !before.is_ascii();
            before = if is_unseen { before } else { *c };
            !is_unseen
        });
        seen.collect::<String>().trim_matches(is_mark).to_owned()
    }

    /// Checks a name from outside.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if !name.is_empty() {
            check(name)?;
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A path as part of a URL (RFC 3986 s2.3): all but slashes and unreserved characters is encoded.
pub fn encode_path(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Decodes a part of a URL, once. Nothing if it is not UTF-8 or an escape is broken.
pub fn percent_decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_tricks_are_refused() {
        for (name, error) in [
            ("", NameError::Empty),
            ("/a", NameError::EmptyComponent),
            ("a/", NameError::EmptyComponent),
            ("a//b", NameError::EmptyComponent),
            ("..", NameError::DotComponent),
            ("a/../b", NameError::DotComponent),
            ("a/./b", NameError::DotComponent),
            (".hidden", NameError::DotComponent),
            ("a/.b", NameError::DotComponent),
            ("a\\b", NameError::Backslash),
            ("a\0b", NameError::Control),
            ("a\nb", NameError::Control),
            ("a\u{202e}b", NameError::Control),
            ("teacher\u{200b}", NameError::Control),
            ("\u{feff}teacher", NameError::Control),
            ("teach\u{ad}er", NameError::Control),
            ("teacher\u{200d}", NameError::Control),
            ("te\u{200c}acher", NameError::Control),
            ("مدرسة\u{200c}", NameError::Control),
            ("\u{3164}", NameError::Control),
            ("🏴\u{e0067}\u{e0062}\u{e0073}", NameError::Control),
            ("ann\u{e0067}\u{e0062}\u{e0073}\u{e007f}", NameError::Control),
        ] {
            assert_eq!(GroupName::parse(name), Err(error), "{name:?}");
        }
        assert_eq!(GroupName::parse(&"x".repeat(64 * 1024)), Err(NameError::TooLong));
        for name in [
            "test",
            "a/b",
            "Größe",
            "a.b",
            "a b",
            "%2e%2e",
            "مدرسة",
            "می\u{200c}خواهم",
            "👩\u{200d}🏫",
            "Fiona 🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
            "Jack 🏴\u{200d}☠",
        ] {
            assert!(GroupName::parse(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn usernames_may_be_empty_but_not_tricky() {
        assert!(Username::parse("").is_ok());
        assert!(Username::parse("ann").is_ok());
        assert_eq!(Username::parse("/."), Err(NameError::EmptyComponent));
        assert_eq!(Username::parse("a/.b"), Err(NameError::DotComponent));
    }

    #[test]
    fn regression_marks_that_nobody_sees_are_not_meant() {
        for (typed, meant) in [
            ("\u{200f}דנה\u{200f}", "דנה"),
            ("\u{202a}ann\u{202c}\t", "ann"),
            ("teach\u{ad}er\u{200e}", "teacher"),
            ("\u{feff}ann bee ", "ann bee "),
            ("\u{200f}", ""),
            // These do not go unseen in every name, or look like another one's.
            ("a\tb", "a\tb"),
            ("te\u{200b}acher", "te\u{200b}acher"),
            ("កា\u{200b}ក", "កាក"),
            ("\u{3164}", "\u{3164}"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
        ] {
            assert_eq!(Username::meant(typed), meant, "{typed:?}");
        }
    }

    #[test]
    fn paths_are_encoded_but_for_slashes() {
        assert_eq!(encode_path("a b/ü?#%"), "a%20b/%C3%BC%3F%23%25");
    }

    #[test]
    fn parents_and_descent() {
        let group = GroupName::parse("a/b/c").unwrap();
        let parent = group.parent().unwrap();
        assert_eq!(parent.as_str(), "a/b");
        assert!(group.is_below(&parent));
        assert!(!GroupName::parse("a/bb").unwrap().is_below(&parent));
        assert_eq!(GroupName::parse("a").unwrap().parent(), None);
    }
}

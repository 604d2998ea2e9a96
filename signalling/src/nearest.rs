//! What somebody who mistyped a word may have meant.

/// The known word nearest to `word` without regard to case, if one is near enough to be meant: at
/// most a third of its letters differ, or it is the only one that begins so.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Shorter words begin too many.
    const START_CHARS_MIN: usize = 3;
    /// Longer words are cut: the distance is quadratic in their length.
    const WORD_CHARS_MAX: usize = 64;
    let word: String = word.chars().take(WORD_CHARS_MAX).collect();
    let word = word.to_lowercase();
    let (mut near, mut begun, mut is_alone) = (None, None, true);
    for candidate in known {
        let lower = candidate.to_lowercase();
        near = near.into_iter().chain([(distance(&word, &lower), candidate)]).min();
        if word.len() >= START_CHARS_MIN && lower.starts_with(&word) {
            is_alone = begun.replace(candidate).is_none();
        }
    }
    near.filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3).max(1))
        .map(|(_, candidate)| candidate)
        .or_else(|| begun.filter(|_| is_alone))
}

/// Tells of a word that is ignored, with the one that may have been meant; `what` is its kind.
pub(crate) fn means_nothing(what: &str, word: &str, near: Option<&str>) -> String {
    let hint = near.map(|near| format!(": did you mean {near:?}?")).unwrap_or_default();
    format!("the {what} {word:?} means nothing{hint}")
}

/// Levenshtein distance, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, left) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut previous = index + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = *cell;
            *cell = replaced.min(*cell + 1).min(previous + 1);
            previous = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_meant_and_far_ones_are_not() {
        let known = ["group", "users", "max-clients"];
        for (word, meant) in [
            ("grup", Some("group")),
            ("GROUP", Some("group")),
            ("user", Some("users")),
            ("maxclients", Some("max-clients")),
            ("bananas", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        let known = ["username", "permissions", "password", "passport"];
        for (word, meant) in
            [("user", Some("username")), ("perm", Some("permissions")), ("us", None), ("pas", None)]
        {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest("x", []), None);
        assert_eq!(nearest(&"x".repeat(1_000_000), known), None);
    }
}

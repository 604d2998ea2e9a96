//! What a group's file says about its recordings.

use serde::Deserialize;
use serde::de::Error as _;

/// The rules of one group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecordingRules {
    /// Whether files are WebM whatever it can hold.
    pub is_webm: bool,
    /// How long files are kept.
    pub keep_days: Option<Days>,
    /// How many bytes they may have together.
    pub bytes_max: Option<u64>,
    /// Whose agreement it takes.
    pub consent: Consent,
}

/// Who is recorded, and who is asked first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Consent {
    /// Whoever is in the group.
    #[default]
    Everybody,
    /// Those who have said that they agree.
    Asked,
    /// Operators, and whoever may record.
    Operators,
}

impl Consent {
    /// As files and messages have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Everybody => "everybody",
            Self::Asked => "asked",
            Self::Operators => "operators",
        }
    }
}

impl<'de> Deserialize<'de> for Consent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A misspelt word must not record people who were not asked.
        let text = String::deserialize(deserializer)?;
        let all = [Self::Everybody, Self::Asked, Self::Operators];
        let found = all.into_iter().find(|consent| consent.name() == text);
        found.ok_or_else(|| D::Error::custom("neither \"everybody\", \"asked\" nor \"operators\""))
    }
}

/// The most days that can be asked for: a century.
const DAYS_MAX: u64 = 36_500;

/// A time after which something is deleted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Days(pub u32);

impl<'de> Deserialize<'de> for Days {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let days = u64::deserialize(deserializer)?;
        // With 0 a lecture would be gone before anybody has seen it.
        match u32::try_from(days) {
            Ok(days) if (1..=DAYS_MAX).contains(&days.into()) => Ok(Self(days)),
            _ => Err(D::Error::custom("days must be from 1 to 36500")),
        }
    }
}

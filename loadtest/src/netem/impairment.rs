//! What a link does to datagrams, and how it is written on a command line.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Loss in bursts: the model of Gilbert and Elliott with nothing lost in the good state and
/// everything in the bad one. Both are probabilities per datagram, 0..=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bursts {
    /// Of going from good to bad.
    pub begin: f64,
    /// Of going back; the mean length of a burst is its inverse.
    pub end: f64,
}

/// What a link does; the default does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// Share of datagrams lost, each by itself, 0..=1.
    pub loss: f64,
    /// Loss in bursts, beside `loss`.
    pub bursts: Option<Bursts>,
    /// Added to every datagram.
    pub delay: Duration,
    /// Added on top, evenly distributed from zero to this; never changes the order.
    pub jitter: Duration,
    /// Share of datagrams that skip `delay`, `jitter` and the queue's order, 0..=1.
    pub reorder: f64,
    /// Share of datagrams that come twice, 0..=1.
    pub duplicate: f64,
    /// Bits per second; `None` for no limit.
    pub rate_bps: Option<u64>,
    /// How long a datagram may wait for the rate; one that had to wait longer is lost.
    pub queue: Duration,
    /// How often the relay's NAT gives a client a new address.
    pub rebind: Option<Duration>,
}

/// The queue in front of a rate, if none is given.
const QUEUE_DEFAULT: Duration = Duration::from_millis(100);

/// A specification that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecError {
    /// There is no such key.
    UnknownKey(String),
    /// It is not of the form `key=value`.
    NoValue(String),
    /// Not a share between 0 and 100 %.
    NotAShare(String),
    /// Not a duration such as `40ms` or `5s`.
    NotADuration(String),
    /// Not a bitrate such as `500k` or `2m`.
    NotARate(String),
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey(key) => write!(
                f,
                "unknown key {key}; there are loss, burst, delay, jitter, reorder, duplicate, \
                 rate, queue and rebind"
            ),
            Self::NoValue(item) => write!(f, "{item} has no value, as in loss=2%"),
            Self::NotAShare(value) => write!(f, "{value} is no share; want 0% to 100%"),
            Self::NotADuration(value) => write!(f, "{value} is no duration; want 40ms or 5s"),
            Self::NotARate(value) => write!(f, "{value} is no bitrate; want 500k or 2m"),
        }
    }
}

impl Error for SpecError {}

impl FromStr for Impairment {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut all = Self { queue: QUEUE_DEFAULT, ..Self::default() };
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (key, value) =
                item.split_once('=').ok_or_else(|| SpecError::NoValue(item.to_owned()))?;
            match key {
                "loss" => all.loss = share(value)?,
                "burst" => {
                    let (begin, end) = value
                        .split_once('/')
                        .ok_or_else(|| SpecError::NotAShare(value.to_owned()))?;
                    all.bursts = Some(Bursts { begin: share(begin)?, end: share(end)? });
                }
                "delay" => all.delay = duration(value)?,
                "jitter" => all.jitter = duration(value)?,
                "reorder" => all.reorder = share(value)?,
                "duplicate" => all.duplicate = share(value)?,
                "rate" => all.rate_bps = Some(rate(value)?),
                "queue" => all.queue = duration(value)?,
                "rebind" => all.rebind = Some(duration(value)?),
                _ => return Err(SpecError::UnknownKey(key.to_owned())),
            }
        }
        Ok(all)
    }
}

fn share(text: &str) -> Result<f64, SpecError> {
    let wrong = || SpecError::NotAShare(text.to_owned());
    let (digits, unit) = match text.strip_suffix('%') {
        Some(digits) => (digits, 100.0),
        None => (text, 1.0),
    };
    let value = digits.parse::<f64>().map_err(|_| wrong())? / unit;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(wrong()) }
}

fn duration(text: &str) -> Result<Duration, SpecError> {
    let wrong = || SpecError::NotADuration(text.to_owned());
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 0.001),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1.0),
    };
    let seconds = digits.parse::<f64>().map_err(|_| wrong())? * unit;
    if !(0.0..=3600.0).contains(&seconds) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn rate(text: &str) -> Result<u64, SpecError> {
    let wrong = || SpecError::NotARate(text.to_owned());
    let (digits, unit) = match text.strip_suffix('k') {
        Some(digits) => (digits, 1e3),
        None => match text.strip_suffix('m') {
            Some(digits) => (digits, 1e6),
            None => (text, 1.0),
        },
    };
    let value = digits.parse::<f64>().map_err(|_| wrong())? * unit;
    if (1000.0..=1e11).contains(&value) { Ok(value as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_reads_as_meant() {
        let spec = "loss=2%,burst=1%/0.25,delay=40ms,jitter=5ms,reorder=1%,duplicate=0.5%,\
                    rate=2m,queue=80ms,rebind=5s";
        let expected = Impairment {
            loss: 0.02,
            bursts: Some(Bursts { begin: 0.01, end: 0.25 }),
            delay: Duration::from_millis(40),
            jitter: Duration::from_millis(5),
            reorder: 0.01,
            duplicate: 0.005,
            rate_bps: Some(2_000_000),
            queue: Duration::from_millis(80),
            rebind: Some(Duration::from_secs(5)),
        };
        assert_eq!(spec.parse(), Ok(expected));
    }

    #[test]
    fn mistakes_are_named() {
        for (spec, said) in [
            ("lost=1%", "unknown key lost"),
            ("loss", "loss has no value"),
            ("loss=101%", "101% is no share"),
            ("burst=1%", "1% is no share"),
            ("delay=5", "5 is no duration"),
            ("delay=-1ms", "-1ms is no duration"),
            ("rate=fast", "fast is no bitrate"),
            ("rate=1", "1 is no bitrate"),
        ] {
            let error = spec.parse::<Impairment>().expect_err(spec).to_string();
            assert!(error.contains(said), "{spec}: {error}");
        }
    }
}

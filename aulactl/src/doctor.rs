//! `doctor`: looks for what keeps people from joining. Every line says what was found, and where
//! something is wrong what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::Method;
use hyper::header;
use signalling::{UnixMs, base64, encode_path, not_after};

use crate::client::Client;
use crate::failure::Failure;
use crate::flags::{Flag, Flags};
use crate::probe::{self, Target};
use crate::{Done, GROUP, say};

/// Of `doctor`.
pub(crate) const FLAGS: &[Flag] = &[
    GROUP,
    Flag::value("user", "NAME", "who may present in the group (whip)"),
    Flag::value("password", "TEXT", "that user's password"),
    Flag::value("token", "TOKEN", "a token instead"),
    Flag::value("probes", "N", "transports to try, 1 to 64, one per shard or more (8)"),
    Flag::value("shards", "N", "how many shards there are, all of which must be reached"),
    Flag::switch("remote", "leave out what is about this machine"),
];

/// Every transport goes to the least-loaded shard, so that a few reach all of them.
const PROBES: u32 = 8;
/// So many checks of an address without an answer are enough.
const SILENT_MAX: usize = 2;
/// A certificate that ends sooner is worth a word.
const CERTIFICATE_DAYS_MIN: i64 = 14;
/// Clocks that differ by more make tokens fail.
const CLOCK_S_MAX: i64 = 5;
/// What a busy shard's socket should be able to hold.
const BUFFER_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// One per client, and some.
const FILES_MIN: u64 = 65_535;

struct Report {
    faults: usize,
}

impl Report {
    fn good(&self, line: impl std::fmt::Display) -> Done {
        say(&format!("ok    {line}\n"))
    }

    fn note(&self, line: impl std::fmt::Display) -> Done {
        say(&format!("note  {line}\n"))
    }

    fn bad(&mut self, line: impl std::fmt::Display) -> Done {
        self.faults += 1;
        say(&format!("BAD   {line}\n"))
    }
}

/// `doctor`
pub(crate) fn run(flags: &Flags, client: &Client) -> Done {
    let mut report = Report { faults: 0 };
    if names(client, &mut report)? && web(client, &mut report)? {
        certificate(client, &mut report)?;
        media(flags, client, &mut report)?;
    }
    if !flags.is_on("remote") {
        machine(&mut report)?;
    }
    match report.faults {
        0 => say("Nothing wrong was found.\n"),
        1 => Err(Failure::new("one thing needs care")),
        faults => Err(Failure::new(format!("{faults} things need care"))),
    }
}

fn names(client: &Client, report: &mut Report) -> Result<bool, Failure> {
    let host = client.url.host.as_str();
    match (host, client.url.port).to_socket_addrs() {
        Ok(found) => {
            let mut found: Vec<String> = found.map(|address| address.ip().to_string()).collect();
            found.dedup();
            report.good(format!("{host} is {}", found.join(", ")))?;
            Ok(true)
        }
        Err(error) => {
            report.bad(format!(
                "{host} has no address ({error}): add an A or AAAA record, or mend -server"
            ))?;
            Ok(false)
        }
    }
}

fn web(client: &Client, report: &mut Report) -> Result<bool, Failure> {
    let answer = client.request(Method::GET, "/public-groups.json", &[], None);
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            report.bad(format!(
                "{failure}: is the server running, and does the firewall let TCP {} through?",
                client.url.port
            ))?;
            return Ok(false);
        }
    };
    if answer.status.is_success() {
        report.good("the web server answers")?;
    } else {
        let said = answer.said();
        report.bad(format!("/public-groups.json gives {said}: look into the server's log"))?;
    }
    match answer.header(header::DATE).and_then(http_date) {
        None => report.note("the server does not tell the time")?,
        Some(theirs) => {
            let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let off = theirs.0 / 1000 - i64::try_from(ours.as_secs()).unwrap_or_default();
            if off.abs() > CLOCK_S_MAX {
                report.bad(format!(
                    "the clocks differ by {off} s: run NTP on both machines, tokens depend on it"
                ))?;
            } else {
                report.good("the clocks agree")?;
            }
        }
    }
    Ok(true)
}

/// RFC 9110 s5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<UnixMs> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let fields: Vec<&str> = text.split(' ').collect();
    let [_, day, month, year, time, "GMT"] = fields[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    UnixMs::parse(&format!("{year}-{month:02}-{day}T{time}Z"))
}

fn certificate(client: &Client, report: &mut Report) -> Done {
    if !client.url.is_tls {
        return report.note("no TLS: browsers give cameras to https pages and to localhost only");
    }
    let (shown, error) = match client.certificates() {
        Ok(found) => found,
        Err(failure) => return report.bad(format!("no TLS handshake: {failure}")),
    };
    match error {
        None => report.good("the certificate is trusted")?,
        Some(error) if client.is_insecure => report.note(format!(
            "the certificate is not trusted ({error}), as -insecure allows; encoders insist on it"
        ))?,
        Some(error) => report.bad(format!(
            "the certificate is not trusted ({error}): put one of a public authority into \
             cert.pem and key.pem of the data folder; encoders insist on it"
        ))?,
    }
    let Some(ends) = shown.first().and_then(|certificate| not_after(certificate)) else {
        return report.note("the end of the certificate cannot be read");
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let days = (ends.0 / 1000 - i64::try_from(now.as_secs()).unwrap_or_default()) / 86_400;
    if days < CERTIFICATE_DAYS_MIN {
        return report.bad(format!("the certificate ends in {days} days: renew it"));
    }
    report.good(format!("the certificate is good for {days} days"))
}

fn media(flags: &Flags, client: &Client, report: &mut Report) -> Done {
    let Some(group) = flags.get("group") else {
        return report.note(
            "UDP was not tried: name a -group, and -user and -password of someone who may present",
        );
    };
    let authorization = match (flags.get("token"), flags.get("user")) {
        (Some(token), _) => Some(format!("Bearer {token}")),
        (None, Some(user)) => {
            let pair = format!("{user}:{}", flags.get("password").unwrap_or_default());
            Some(format!("Basic {}", base64::encode(pair.as_bytes())))
        }
        (None, None) => None,
    };
    let authorization: Vec<_> =
        authorization.as_deref().map(|value| (header::AUTHORIZATION, value)).into_iter().collect();
    let probes = flags.number("probes", PROBES)?.clamp(1, 64);
    let mut sessions = Vec::new();
    let mut targets = Vec::new();
    for index in 0..probes {
        let ufrag = format!("doct{index:04}");
        let offer = probe::offer(&ufrag, "doctorsdoctorsdoctorsdoc");
        let path = format!("/group/{}/.whip", encode_path(group));
        let body = Some(("application/sdp", offer));
        let answer = client.request(Method::POST, &path, &authorization, body);
        match answer {
            Ok(answer) if answer.status == hyper::StatusCode::CREATED => {
                sessions.extend(answer.header(header::LOCATION).map(str::to_owned));
                let text = String::from_utf8_lossy(&answer.body);
                targets.extend(Target::parse(&text).map(|target| (ufrag, target)));
            }
            // The group may be small, or full by now: what there is will do.
            Ok(answer) if index > 0 => {
                report.note(format!("transport {index} of {probes}: {}", answer.said()))?;
                break;
            }
            Ok(answer) => {
                report.bad(format!("no transport in {group}: {}", answer.said()))?;
                break;
            }
            Err(failure) => {
                report.bad(failure)?;
                break;
            }
        }
    }
    let tried = try_all(&targets, flags, report);
    for session in sessions {
        // One that cannot be ended now ends by itself.
        let _ = client.request(Method::DELETE, &session, &authorization, None);
    }
    tried
}

/// What came of the checks of one address.
#[derive(Default)]
struct Reached {
    tried: usize,
    answered: usize,
    took: Duration,
    /// Whose transports answered, where that can be told.
    shards: BTreeSet<u32>,
    /// Whose did not.
    silent: BTreeSet<u32>,
}

fn try_all(targets: &[(String, Target)], flags: &Flags, report: &mut Report) -> Done {
    let mut addresses = BTreeMap::<SocketAddr, Reached>::new();
    for (ufrag, target) in targets {
        for address in &target.addresses {
            let reached = addresses.entry(*address).or_default();
            // An address that never answers is known by its first ones.
            if reached.answered == 0 && reached.tried >= SILENT_MAX {
                continue;
            }
            reached.tried += 1;
            match probe::check(*address, target, ufrag).unwrap_or_default() {
                Some(took) => {
                    reached.answered += 1;
                    reached.took = reached.took.max(took);
                    reached.shards.extend(target.shard());
                }
                None => reached.silent.extend(target.shard()),
            }
        }
    }
    let is_reached = addresses.values().any(|reached| reached.answered > 0);
    for (address, reached) in &addresses {
        let Reached { tried, answered, took, shards, silent } = reached;
        if answered == tried {
            report.good(format!(
                "UDP to {address}: {answered} of {tried} transports{}, {} ms",
                of_shards(shards),
                took.as_millis()
            ))?;
        } else if *answered > 0 {
            report.bad(format!(
                "UDP to {address}: only {answered} of {tried} transports answered, too few{}: \
                 is a port of --udp-range closed, or are packets lost?",
                of_shards(silent)
            ))?;
        } else if is_reached {
            report.note(format!("UDP to {address} does not get through; another address does"))?;
        } else {
            report.bad(format!(
                "UDP to {address} does not get through: open UDP {} in the firewall, or name the \
                 public address with --advertise",
                address.port()
            ))?;
        }
    }
    every_shard(targets, &addresses, flags, report)
}

/// Whether each shard that shows has answered somewhere, and whether all have shown.
fn every_shard(
    targets: &[(String, Target)],
    addresses: &BTreeMap<SocketAddr, Reached>,
    flags: &Flags,
    report: &mut Report,
) -> Done {
    let seen: BTreeSet<u32> = targets.iter().filter_map(|(_, target)| target.shard()).collect();
    let answered: BTreeSet<u32> =
        addresses.values().flat_map(|reached| reached.shards.iter().copied()).collect();
    if seen.is_empty() {
        return Ok(());
    }
    let silent: BTreeSet<u32> = seen.difference(&answered).copied().collect();
    if !silent.is_empty() {
        report.bad(format!(
            "transports{} answer at no address: open their UDP port in the firewall",
            of_shards(&silent)
        ))?;
    }
    match flags.number("shards", 0)? {
        0 => report.note(format!(
            "{} seen: if the server said another number of shards at its start, give it as \
             -shards, and more -probes",
            shards_are(seen.len())
        )),
        shards if seen.len() < shards as usize => report.bad(format!(
            "{} seen, not {shards}: give more -probes, or ask again when fewer people are in",
            shards_are(seen.len())
        )),
        _ => report.good(format!("{} seen", shards_are(seen.len()))),
    }
}

fn shards_are(shards: usize) -> String {
    if shards == 1 { "one shard was".to_owned() } else { format!("{shards} shards were") }
}

fn of_shards(shards: &BTreeSet<u32>) -> String {
    let names: Vec<String> = shards.iter().map(u32::to_string).collect();
    match names.len() {
        0 => String::new(),
        1 => format!(" of shard {}", names.concat()),
        _ => format!(" of shards {}", names.join(", ")),
    }
}

fn machine(report: &mut Report) -> Done {
    report.note("about this machine, if the server runs here (-remote leaves it out):")?;
    for name in ["net.core.rmem_max", "net.core.wmem_max"] {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let text = fs::read_to_string(path).unwrap_or_default();
        match text.trim().parse::<u64>() {
            Ok(bytes) if bytes < BUFFER_BYTES_MIN => report.bad(format!(
                "{name} is {bytes}: set it to 10485760 in /etc/sysctl.d, bursts are lost otherwise"
            ))?,
            Ok(bytes) => report.good(format!("{name} is {bytes}"))?,
            Err(_) => report.note(format!("{name} cannot be read here"))?,
        }
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the result.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0 {
        if limit.rlim_max < FILES_MIN {
            report.bad(format!(
                "a process may open {} files at most: LimitNOFILE={FILES_MIN} in the unit, or ulimit -n",
                limit.rlim_max
            ))?;
        } else {
            report.good(format!("a process may open {} files", limit.rlim_max))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http() {
        let date = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date.to_rfc3339(), "1994-11-06T08:49:37Z");
        assert_eq!(http_date("yesterday"), None);
    }
}

//! `doctor`: looks for what keeps people from joining. Every line says what was found, and where
//! something is wrong what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::Method;
use hyper::header;
use signalling::{UnixMs, base64, encode_path, not_after};

use crate::client::Client;
use crate::failure::Failure;
use crate::flags::{Flag, Flags};
use crate::probe::{self, Target};
use crate::report::Report;
use crate::ways::{self, TurnServer};
use crate::{Done, GROUP, machine, say};

/// Of `doctor`.
pub(crate) const FLAGS: &[Flag] = &[
    GROUP,
    Flag::value("user", "NAME", "who may present in the group; without one, nobody in particular"),
    Flag::value("password", "TEXT", "that user's password"),
    Flag::value("token", "TOKEN", "a token instead"),
    Flag::value("probes", "N", "transports to try, 1 to 64 (8, or two for each of -shards)"),
    Flag::value("shards", "N", "how many shards there are, 1 to 16: all of them must answer"),
    Flag::switch("remote", "leave out what is about this machine"),
];

/// Every transport goes to the least-loaded shard, so that a few reach all of them.
const PROBES_DEFAULT: u32 = 8;
/// More would be a load.
const PROBES_MAX: u32 = 64;
/// The most that a server has.
const SHARDS_MAX: u32 = 16;
/// Others come and go meanwhile, which sends some to the same shard.
const PROBES_PER_SHARD: u32 = 2;
/// So many checks of an address without an answer are enough.
const SILENT_MAX: usize = 2;
/// A certificate that ends sooner is worth a word.
const CERTIFICATE_DAYS_MIN: i64 = 14;
/// Clocks that differ by more make tokens fail.
const CLOCK_S_MAX: i64 = 5;

/// How many transports to try, and how many shards they must reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Plan {
    probes: u32,
    /// Nothing if nobody has said it.
    shards: Option<u32>,
}

impl Plan {
    fn of(flags: &Flags) -> Result<Self, Failure> {
        let shards = match flags.get("shards") {
            Some(_) => Some(flags.number_in("shards", 1, &(1..=SHARDS_MAX))?),
            None => None,
        };
        let least = shards.unwrap_or(1);
        let probes = PROBES_DEFAULT.max(least * PROBES_PER_SHARD);
        let probes = flags.number_in("probes", probes, &(1..=PROBES_MAX))?;
        if probes < least {
            return Err(Failure::new(format!(
                "-probes {probes} cannot reach {least} shards: leave it out, or give {least} or more"
            )));
        }
        Ok(Self { probes, shards })
    }
}

/// `doctor`
pub(crate) fn run(flags: &Flags, client: &Client) -> Done {
    let plan = Plan::of(flags)?;
    let mut report = Report::default();
    if names(client, &mut report)? && web(client, &mut report)? {
        certificate(client, &mut report)?;
        media(plan, flags, client, &mut report)?;
    }
    if !flags.is_on("remote") {
        machine::look(&mut report)?;
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
            let port = client.url.port;
            report.bad(format!(
                "{failure}: is the server running, is {port} its port (the server's flag -http), \
                 and does the firewall let TCP {port} through?"
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

fn media(plan: Plan, flags: &Flags, client: &Client, report: &mut Report) -> Done {
    let Some(group) = flags.get("group") else {
        return report.note(
            "no way to the media was tried: name a -group, and -user and -password of someone who may present",
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
    let Plan { probes, shards } = plan;
    let mut sessions = Vec::new();
    let mut targets = Vec::new();
    let mut relays = Vec::new();
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
                if relays.is_empty() {
                    relays = TurnServer::offered(&answer);
                }
                targets.extend(Target::parse(&text).map(|target| (ufrag, target)));
            }
            // The group may be small, or full by now: what there is will do.
            Ok(answer) if index > 0 => {
                report.note(format!("transport {index} of {probes}: {}", answer.said()))?;
                break;
            }
            Ok(answer) => {
                let advice = match answer.status.as_u16() {
                    401 | 403 => {
                        "give -user and -password, or -token, of somebody who may present there"
                    }
                    404 => "is there such a group? See aulactl list-groups",
                    _ => "the server's log may say why",
                };
                report.bad(format!("no transport in {group}: {}: {advice}", answer.said()))?;
                break;
            }
            Err(failure) => {
                report.bad(failure)?;
                break;
            }
        }
    }
    let is_remote = flags.is_on("remote");
    let tried = ways::addresses(&targets, client, report)
        .and_then(|()| try_all(&targets, shards, is_remote, report))
        .and_then(|()| other_ways(&targets, &relays, client, report));
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
    /// Those of whose transports none did.
    silent: BTreeSet<u32>,
}

/// One transport tells whether TCP and TURN get through.
fn other_ways(
    targets: &[(String, Target)],
    relays: &[TurnServer],
    client: &Client,
    report: &mut Report,
) -> Done {
    let Some((ufrag, target)) = targets.first() else {
        return Ok(());
    };
    ways::tcp(ufrag, target, report)?;
    ways::turn(relays, (ufrag, target), client, report)
}

fn try_all(
    targets: &[(String, Target)],
    wanted: Option<u32>,
    is_remote: bool,
    report: &mut Report,
) -> Done {
    let mut addresses = BTreeMap::<SocketAddr, Reached>::new();
    for (ufrag, target) in targets {
        for address in &target.udp {
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
            let port = address.port();
            let hairpin = ways::hairpin(address.ip(), is_remote).unwrap_or_default();
            report.bad(format!(
                "no answer from {} on UDP port {port}: is it the server's port (its flags \
                 --udp-port and --udp-range), does the firewall let UDP {port} through, and is \
                 this the public address (--advertise)?{hairpin}",
                address.ip()
            ))?;
        }
    }
    every_shard(targets, &addresses, wanted, report)
}

/// Whether each shard that shows has answered somewhere, and whether all have shown.
fn every_shard(
    targets: &[(String, Target)],
    addresses: &BTreeMap<SocketAddr, Reached>,
    shards: Option<u32>,
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
    let ports: BTreeSet<u16> =
        targets.iter().flat_map(|(_, target)| &target.udp).map(SocketAddr::port).collect();
    match shards {
        Some(shards) if seen.len() < shards as usize && ports.len() == 1 => report.note(format!(
            "{} seen, not {shards}: no fault where all share a UDP port, because those that are not \
             needed yet are given nothing; with a port for each (--udp-range), give more -probes",
            shards_are(seen.len())
        )),
        None if ports.len() == 1 => report.note(format!("{} seen", shards_are(seen.len()))),
        None => report.note(format!(
            "{} seen: if the server said another number of shards at its start, give it as \
             -shards",
            shards_are(seen.len())
        )),
        Some(shards) if seen.len() < shards as usize => report.bad(format!(
            "{} seen, not {shards}: is that how many the server said at its start? If so, give \
             more -probes, or ask again when fewer people are in",
            shards_are(seen.len())
        )),
        Some(_) => report.good(format!("{} seen", shards_are(seen.len()))),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regression_probes_and_shards_out_of_range_are_refused() {
        let plan = |text: &str| {
            let words = text.split_whitespace().map(str::to_owned).collect();
            Plan::of(&Flags::parse(&[FLAGS], BTreeMap::new(), words)?)
        };
        for (text, probes, shards) in [
            ("", 8, None),
            ("-probes 1", 1, None),
            ("-shards 2", 8, Some(2)),
            ("-shards 16", 32, Some(16)),
            ("-shards 5 -probes 5", 5, Some(5)),
            ("-probes 64", 64, None),
        ] {
            assert_eq!(plan(text).ok(), Some(Plan { probes, shards }), "{text}");
        }
        for (text, words) in [
            ("-probes 0", "-probes must be 1 to 64, not 0"),
            ("-probes 65", "-probes must be 1 to 64, not 65"),
            ("-shards 0", "-shards must be 1 to 16, not 0"),
            ("-shards 17", "-shards must be 1 to 16, not 17"),
            ("-shards 3 -probes 2", "cannot reach 3 shards"),
            ("-shards few", "-shards must be a number"),
        ] {
            let error = plan(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn dates_of_http() {
        let date = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date.to_rfc3339(), "1994-11-06T08:49:37Z");
        assert_eq!(http_date("yesterday"), None);
    }
}

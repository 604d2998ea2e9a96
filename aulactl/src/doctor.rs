//! `doctor`: looks for what keeps people from joining. Every line says what was found, and where
//! something is wrong what to do.

use std::fs;
use std::net::ToSocketAddrs as _;
use std::time::{SystemTime, UNIX_EPOCH};

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
    Flag::value("probes", "N", "transports to try, 1 to 16, one per shard or more (4)"),
    Flag::switch("remote", "leave out what is about this machine"),
];

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
        let status = answer.status;
        report.bad(format!("/public-groups.json gives {status}: look into the server's log"))?;
    }
    let date = answer.headers.get(header::DATE).and_then(|date| date.to_str().ok());
    match date.and_then(http_date) {
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
    let probes = flags.number("probes", 4)?.clamp(1, 16);
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
                let at = answer.headers.get(header::LOCATION).and_then(|at| at.to_str().ok());
                sessions.extend(at.map(str::to_owned));
                let text = String::from_utf8_lossy(&answer.body);
                targets.extend(Target::parse(&text).map(|target| (ufrag, target)));
            }
            Ok(answer) => {
                let said = String::from_utf8_lossy(&answer.body).into_owned();
                report.bad(format!("no transport in {group}: {} {said}", answer.status))?;
                break;
            }
            Err(failure) => {
                report.bad(failure)?;
                break;
            }
        }
    }
    let tried = try_all(&targets, report);
    for session in sessions {
        // One that cannot be ended now ends by itself.
        let _ = client.request(Method::DELETE, &session, &authorization, None);
    }
    tried
}

fn try_all(targets: &[(String, Target)], report: &mut Report) -> Done {
    let mut addresses = std::collections::BTreeMap::<_, (usize, usize, std::time::Duration)>::new();
    for (ufrag, target) in targets {
        for address in &target.addresses {
            let answered = probe::check(*address, target, ufrag).unwrap_or_default();
            let entry = addresses.entry(*address).or_default();
            entry.0 += 1;
            if let Some(took) = answered {
                entry.1 += 1;
                entry.2 = entry.2.max(took);
            }
        }
    }
    let reached = addresses.values().any(|(_, answered, _)| *answered > 0);
    for (address, (tried, answered, took)) in addresses {
        if answered == tried {
            report.good(format!(
                "UDP to {address}: {answered} of {tried} transports, {} ms",
                took.as_millis()
            ))?;
        } else if answered > 0 {
            report.bad(format!(
                "UDP to {address}: only {answered} of {tried} transports answered: is a port of \
                 --udp-range closed, or are packets lost?"
            ))?;
        } else if reached {
            report.note(format!("UDP to {address} does not get through; another address does"))?;
        } else {
            report.bad(format!(
                "UDP to {address} does not get through: open UDP {} in the firewall, or name the \
                 public address with --advertise",
                address.port()
            ))?;
        }
    }
    Ok(())
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

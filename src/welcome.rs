//! What the operator is told at the start.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;

use signalling::GroupName;

use crate::bridge::Bridge;
use crate::flags::Flags;

/// How many group names the start-up message lists.
const NAMES_SHOWN_MAX: usize = 20;
/// What the operator needs to know, on standard output. The groups come with whether they only lead
/// elsewhere.
pub(crate) fn announce(
    flags: &Flags,
    bridge: &Bridge,
    (port, tcp_ports): (Option<u16>, &[u16]),
    local: &[IpAddr],
    groups: &[(&GroupName, bool)],
) {
    let scheme = if flags.insecure { "http" } else { "https" };
    // A group of the folder itself before those in subfolders, and none that leads elsewhere.
    let here = groups.iter().filter(|(_, is_elsewhere)| !is_elsewhere).map(|(name, _)| name);
    let first = here
        .min_by_key(|name| name.as_str().contains('/'))
        .map_or(String::new(), |name| format!("group/{}/", signalling::encode_path(name.as_str())));
    let mut text = String::new();
    let list = |ports: Vec<u16>| ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let udp = list(bridge.ports());
    let tcp = list(
        port.into_iter()
            .chain(tcp_ports.iter().copied().filter(|tcp| Some(*tcp) != port))
            .collect(),
    );
    // Writing to a string cannot fail.
    let _ = match port {
        Some(port) => {
            let hosts = hosts_to_open(&flags.http, &flags.advertise, local);
            let _ = writeln!(text, "Open in a browser:");
            for host in hosts {
                let _ = writeln!(text, "  {scheme}://{host}:{port}/{first}");
            }
            writeln!(text, "Firewall: open TCP {tcp} and UDP {udp}")
        }
        None => {
            let tcp = if tcp.is_empty() { tcp } else { format!("TCP {tcp} and ") };
            writeln!(text, "Listening on {}\nFirewall: open {tcp}UDP {udp}", flags.http)
        }
    };
    let shown: Vec<&str> =
        groups.iter().take(NAMES_SHOWN_MAX).map(|(name, _)| name.as_str()).collect();
    let more = groups.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let _ = if shown.is_empty() {
        let (folder, file) = (&flags.groups, flags.groups.join("test.json"));
        writeln!(
            text,
            "Groups: none in {}: create one, such as {}",
            folder.display(),
            file.display()
        )
    } else {
        writeln!(text, "Groups: {}{more}", shown.join(", "))
    };
    let _ = writeln!(text, "Shards: {}", bridge.shards());
    // A closed standard output is no reason not to serve.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}

/// Where a browser finds us: the one host we listen on; else this machine and what we tell
/// clients of, or what the interfaces have.
fn hosts_to_open(http: &str, advertise: &[IpAddr], local: &[IpAddr]) -> Vec<String> {
    let host = http.rsplit_once(':').map_or("", |(host, _)| host);
    let bare: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if !host.is_empty() && !bare.is_some_and(|ip| ip.is_unspecified()) {
        return vec![host.to_owned()];
    }
    let others = if advertise.is_empty() { local } else { advertise };
    let others = others.iter().filter(|ip| !ip.is_loopback()).map(|ip| match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    });
    std::iter::once("localhost".to_owned()).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_message_names_hosts_that_lead_here() {
        let local: Vec<IpAddr> =
            ["127.0.0.1", "192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()).to_vec();
        let all = ["localhost", "192.0.2.1", "[2001:db8::1]"];
        for any in [":8443", "0.0.0.0:8443", "[::]:8443"] {
            assert_eq!(hosts_to_open(any, &[], &local), all, "{any}");
        }
        assert_eq!(hosts_to_open("127.0.0.1:0", &[], &local), ["127.0.0.1"]);
        assert_eq!(hosts_to_open("aula.example:443", &[], &local), ["aula.example"]);
        assert_eq!(hosts_to_open("[2001:db8::1]:443", &[], &local), ["[2001:db8::1]"]);
        let advertised = ["203.0.113.9".parse().unwrap()];
        assert_eq!(hosts_to_open(":8443", &advertised, &local), ["localhost", "203.0.113.9"]);
    }
}

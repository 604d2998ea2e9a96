//! Where the TURN server is, and who may use it: its credentials are made by this process for one
//! client each, are good for some minutes, and for as long as that client is there.

use signalling::{Relay, RelayKey, RelayPort, RelayUser};

use crate::clock::unix_s;
use crate::control::Control;
use crate::flags::{Flags, TurnAt};
use crate::ice::IceServers;

/// Tells good credentials from others.
pub(crate) struct Credentials {
    key: RelayKey,
    control: Control,
}

/// What is known of a user's credentials without asking.
pub(crate) struct Known {
    /// What belongs to the name.
    pub(crate) password: String,
    /// The number of the connection that they were made for.
    pub(crate) client: u64,
    /// Whether they are good whoever it is.
    pub(crate) is_fresh: bool,
}

impl Credentials {
    /// Those that `key` makes, for clients of `control`.
    pub(crate) fn new(key: RelayKey, control: Control) -> Self {
        Self { key, control }
    }

    /// Nothing if no name of ours is like that.
    pub(crate) fn look(&self, username: &str) -> Option<Known> {
        let RelayUser { conn, expires_s } = RelayKey::read(username)?;
        let password = self.key.password(username);
        Some(Known { password, client: conn.0, is_fresh: unix_s() <= expires_s.max(0) as u64 })
    }

    /// Whether the client is still there.
    pub(crate) async fn is_here(&self, username: &str) -> bool {
        match RelayKey::read(username) {
            Some(user) => self.control.is_here(user.conn).await,
            None => false,
        }
    }
}

/// What clients are told; nothing if there is no TURN server of ours. `port` is that of HTTP, over TCP.
pub(crate) fn plan(
    flags: &Flags,
    port: Option<u16>,
    ice_servers: &IceServers,
    secret: [u8; 32],
) -> Option<Relay> {
    let as_reached = RelayPort { host: None, port: None, is_secure: true, is_udp: false };
    let mut ports = Vec::new();
    // A proxy that speaks TLS would not understand it.
    if port.is_some() && !flags.insecure {
        ports.push(as_reached.clone());
        ports.push(RelayPort { is_secure: false, ..as_reached.clone() });
    }
    match flags.turn {
        TurnAt::Off => ports.clear(),
        TurnAt::Auto if ice_servers.has_relay() => ports.clear(),
        TurnAt::Auto => {}
        TurnAt::Port(ip, port) => {
            let host = ip.map(|ip| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() });
            let own = RelayPort { host, port: Some(port), is_secure: false, is_udp: true };
            ports.push(own.clone());
            ports.push(RelayPort { is_udp: false, ..own.clone() });
            // Certificates are for names.
            if ip.is_none() && !flags.insecure {
                ports.push(RelayPort { is_udp: false, is_secure: true, ..own });
            }
        }
    }
    (!ports.is_empty()).then(|| Relay { key: RelayKey::new(secret), ports })
}

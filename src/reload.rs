//! Files that change while the server runs: what is in them is in force within seconds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use signalling::{Bearer, GroupName};

use crate::authenticator::Authenticator;
use crate::clock::unix_now;
use crate::config::ConfigFile;
use crate::control::Control;
use crate::ice::IceServers;
use crate::store::GroupStore;
use crate::tls::Certificates;
use crate::watch::{Changed, Changes, Watch};

/// How often files are looked at, in case that nobody told of a change.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);
/// A change is often followed by others: so long they are waited for.
const SETTLE_FOR: Duration = Duration::from_millis(50);
/// How often the groups directory is scanned for new public groups.
const SCAN_INTERVAL: Duration = Duration::from_secs(60);
/// How often tokens that ended long ago are dropped, in reloads.
const SWEEP_EVERY_RELOADS: u32 = 450;
/// See the module's documentation.
pub(crate) struct Reload {
    control: Control,
    store: Arc<GroupStore>,
    config: Arc<ConfigFile>,
    certificates: Option<Arc<Certificates>>,
    ice_servers: IceServers,
    authenticator: Authenticator,
    /// When all groups were looked at.
    looked_at: Instant,
    /// When the whole folder was.
    scanned_at: Instant,
}

impl Reload {
    /// For these files, of which `ice_servers` has been read once.
    pub(crate) fn new(
        control: Control,
        store: Arc<GroupStore>,
        config: Arc<ConfigFile>,
        certificates: Option<Arc<Certificates>>,
        ice_servers: IceServers,
        authenticator: Authenticator,
    ) -> Self {
        let (looked_at, scanned_at) = (Instant::now(), Instant::now());
        Self {
            control,
            store,
            config,
            certificates,
            ice_servers,
            authenticator,
            looked_at,
            scanned_at,
        }
    }

    /// Looks for ever, whenever `watch` tells of a change and otherwise now and then.
    pub(crate) async fn run(mut self, mut watch: Watch, changes: Arc<Changes>) {
        for round in 1u32.. {
            let is_told = tokio::select! {
                () = changes.notified() => true,
                () = tokio::time::sleep(RELOAD_INTERVAL) => false,
            };
            if is_told {
                tokio::time::sleep(SETTLE_FOR).await;
            }
            let changed = is_told.then(|| changes.take());
            let looked = tokio::task::spawn_blocking(move || {
                watch.look();
                let found = self.look(round, changed);
                (self, watch, found)
            });
            // It only ends early by a panic, which is logged; nothing is reloaded after that.
            let Ok((kept, kept_watch, found)) = looked.await else {
                return;
            };
            (self, watch) = (kept, kept_watch);
            if let Some(configuration) = found.ice_servers {
                self.control.set_ice_servers(configuration).await;
            }
            self.control.set_writable(self.config.get().writable_groups).await;
            match found.changed {
                Some(changed) => self.control.refresh_these(changed, found.public).await,
                None => self.control.refresh(found.public).await,
            }
            self.revoke().await;
        }
    }

    /// Ends what tokens that have been taken back let in.
    async fn revoke(&self) {
        let bearers = self.control.bearers().await;
        if bearers.is_empty() {
            return;
        }
        let tokens = self.authenticator.tokens().clone();
        let gone = tokio::task::spawn_blocking(move || {
            let is_gone = |bearer: &Bearer| {
                let Bearer { group, realm, secret, .. } = bearer;
                tokens.grant(secret, group, realm, unix_now()).is_none()
            };
            bearers.into_iter().filter(is_gone).map(|bearer| bearer.conn).collect::<Vec<_>>()
        });
        // A panic is logged; the next round tries again.
        let gone = gone.await.unwrap_or_default();
        if !gone.is_empty() {
            self.control.revoke(gone).await;
        }
    }

    /// Looks at what has changed, if that is known, and otherwise at everything. Blocking.
    fn look(&mut self, round: u32, changed: Option<Changed>) -> Found {
        self.config.refresh();
        if let Some(certificates) = &self.certificates {
            certificates.refresh();
        }
        // Whoever damages the file is to hear of it at once.
        self.authenticator.tokens().refresh();
        if round.is_multiple_of(SWEEP_EVERY_RELOADS) {
            self.authenticator.tokens().sweep(unix_now());
        }
        let named = match &changed {
            Some(Changed::Paths(paths)) => self.store.changed(paths),
            Some(Changed::All) | None => None,
        };
        // Nobody is told of some changes, so that everything is looked at now and then, also
        // while there are others all the time.
        let must_scan = changed.is_some() && named.is_none();
        let public = match &named {
            _ if must_scan || self.scanned_at.elapsed() >= SCAN_INTERVAL => {
                self.scanned_at = Instant::now();
                public(&self.store)
            }
            Some(named) => {
                named.iter().filter(|name| self.store.is_public(name)).cloned().collect()
            }
            None => Vec::new(),
        };
        let groups = named.filter(|_| self.looked_at.elapsed() < RELOAD_INTERVAL);
        if groups.is_none() {
            self.looked_at = Instant::now();
        }
        Found { changed: groups, public, ice_servers: self.ice_servers.refresh() }
    }
}

/// What a look has found.
struct Found {
    /// The groups whose files have changed; nothing if that is not known.
    changed: Option<BTreeSet<GroupName>>,
    /// Public groups that may be new.
    public: Vec<GroupName>,
    /// If they have changed.
    ice_servers: Option<serde_json::Value>,
}

/// Public groups, which are known before anybody joins them.
pub(crate) fn public(store: &GroupStore) -> Vec<GroupName> {
    let listed = store.scan().into_iter().filter(|(_, description)| {
        description.as_ref().is_ok_and(|description| description.listing.is_public)
    });
    listed.map(|(name, _)| name).collect()
}

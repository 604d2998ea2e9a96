//! The books of the server's life: who came, spoke and went, and how their transports fared, so
//! that a class that went badly can be reconstructed. Names can be left out by a setting;
//! addresses and secrets are never in it.

use signalling::{Happening, MediaEvent, PathStage, What, Whose};
use tracing::Span;

use crate::hooks::Hooks;

/// Where everything is written down that happens to members.
pub(crate) struct Journal {
    /// Members appear by their ids only, what they said not at all.
    is_redacted: bool,
    hooks: Hooks,
}

impl Journal {
    pub(crate) fn new(is_redacted: bool, hooks: Hooks) -> Self {
        Self { is_redacted, hooks }
    }

    fn name<'a>(&self, name: &'a str) -> &'a str {
        if self.is_redacted { "[redacted]" } else { name }
    }

    /// What has happened to a member.
    pub(crate) fn note(&self, happening: &Happening) {
        self.hooks.tell(happening);
        let Happening { what, group, client, username } = happening;
        let member = self.name(username);
        match what {
            What::Joined { permissions } => {
                let permissions = permissions.join(" ");
                tracing::info!(group, member, client, permissions, "joined");
            }
            What::Refused { why } => {
                tracing::info!(group, member, client, why, "not let in");
            }
            What::Left => tracing::info!(group, member, client, "left"),
            What::Kicked { by, message } => {
                let by = by.as_deref().map_or("the server", |by| self.name(by));
                let why = self.name(message);
                tracing::info!(group, member, client, by, why, "sent out");
            }
            What::Published { stream, label, has: (audio, video) } => {
                tracing::info!(group, member, client, stream, label, audio, video, "published");
            }
            What::Ended { stream, label } => {
                tracing::info!(group, member, client, stream, label, "stream ended");
            }
        }
    }

    /// What a transport's lines carry.
    pub(crate) fn span(&self, whose: Option<&Whose>) -> Span {
        match whose {
            Some(Whose { group, client, username, stream }) => {
                let member = self.name(username);
                tracing::info_span!("transport", group, member, client, stream)
            }
            None => Span::none(),
        }
    }

    /// How a transport fares.
    pub(crate) fn note_media(&self, event: &MediaEvent) {
        match event {
            MediaEvent::Connected { .. } => tracing::info!("transport connected"),
            MediaEvent::Disconnected { .. } => {
                tracing::info!("transport silent: nothing comes from the peer");
            }
            MediaEvent::Path { path, .. } => {
                let over = path.over.map(signalling::Over::name);
                match path.stage {
                    PathStage::Waiting => {
                        tracing::info!("nothing comes from the peer: is UDP or TCP let through?");
                    }
                    PathStage::Checked => tracing::info!(over, "the handshake does not end"),
                    PathStage::Connected => tracing::info!(over, "connected, but without media"),
                    PathStage::Flowing => tracing::info!(over, "media flows"),
                    // Told by itself.
                    PathStage::Silent => {}
                }
            }
            MediaEvent::Reconnected { .. } => tracing::info!("transport heard again"),
            MediaEvent::Closed { text, is_by_peer: true, .. } => {
                tracing::info!(reason = text, "transport ended by the peer");
            }
            MediaEvent::Closed { text, detail, .. } => {
                tracing::info!(reason = text, detail, "transport failed");
            }
            MediaEvent::Refused { text, .. } => {
                tracing::info!(reason = text, "description refused");
            }
            MediaEvent::Unshown { codec, .. } => {
                tracing::info!(codec, "the viewer cannot decode what it was offered");
            }
            MediaEvent::Paused { is_paused: true, .. } => {
                tracing::info!("the viewer's path has no room for pictures");
            }
            MediaEvent::Paused { .. } => tracing::info!("the viewer's path has room again"),
            MediaEvent::Answered { unused, .. } => {
                for what in unused {
                    tracing::info!(what, "a part of the offer is not used");
                }
            }
            MediaEvent::Offered { .. }
            | MediaEvent::Viewed { .. }
            | MediaEvent::Watching { .. }
            | MediaEvent::Received { .. }
            | MediaEvent::Voice { .. }
            | MediaEvent::Wanted { .. }
            | MediaEvent::Numbers { .. }
            | MediaEvent::Published { .. } => {}
        }
    }
}

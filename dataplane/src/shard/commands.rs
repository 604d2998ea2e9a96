//! What the control plane wishes: publish and close here, the viewers' part in `viewing.rs`.

use std::time::Instant;

use super::Shard;
use crate::api::{Codec, Command, Event, MediaKind};
use crate::error::{CloseReason, PeerError};
use crate::extension::Extension;
use crate::id::TransportId;
use crate::peer::{Drained, Fault, Peer, PeerConfig};
use crate::publication::Publication;
use crate::sdp::{self, Description, Section};
use crate::stats::DropReason;
use crate::transport::{Publisher, Role, Transport};
use crate::twcc::ArrivalLog;

/// A remote description that cannot be used, or an engine that failed.
pub(super) type Refusal = Result<PeerError, Fault>;

impl Shard {
    /// Takes a command of the control plane.
    pub fn handle_command(&mut self, command: Command, now: Instant) {
        let transport = command.transport();
        let done = match command {
            Command::Publish { offer, codecs, .. } => self.publish(transport, &offer, &codecs, now),
            Command::Subscribe { msid, subscriptions, ice_restart, .. } => {
                self.subscribe(transport, &msid, subscriptions, ice_restart, now)
            }
            Command::View { offer, msid, codecs, .. } => {
                self.view(transport, &offer, &msid, &codecs, now)
            }
            Command::Watch { subscriptions, .. } => {
                self.watch(transport, subscriptions, now);
                Ok(())
            }
            Command::AcceptAnswer { answer, .. } => self.accept_answer(transport, &answer, now),
            Command::SetCap { publication, cap, .. } => {
                self.set_cap(transport, publication, cap, now);
                Ok(())
            }
            Command::AddCandidate { .. } => {
                self.count(DropReason::CandidateIgnored);
                Ok(())
            }
            Command::Close { .. } => {
                self.close_by_command(transport, now);
                Ok(())
            }
        };
        match done {
            Ok(()) => {}
            Err(Ok(error)) => self.events.push(Event::Refused { transport, error }),
            Err(Err(Fault)) => {
                self.counters.engine_faults += 1;
                if let Some(slot) = self.by_id.get(&transport).copied() {
                    self.close(slot);
                }
                let reason = CloseReason::EngineFault;
                self.events.push(Event::Closed { transport, reason });
            }
        }
    }

    /// Closes every Transport with a goodbye.
    pub fn close_all(&mut self, now: Instant) {
        let all: Vec<TransportId> = self.by_id.keys().copied().collect();
        for transport in all {
            self.close_by_command(transport, now);
        }
    }

    fn close_by_command(&mut self, transport: TransportId, now: Instant) {
        let Some(slot) = self.by_id.get(&transport).copied() else {
            return;
        };
        self.step_peer(slot, now, |peer, transmit| {
            peer.close(now, transmit);
            Ok(Drained::default())
        });
        self.close(slot);
    }

    fn publish(
        &mut self,
        id: TransportId,
        offer: &str,
        codecs: &[Codec],
        now: Instant,
    ) -> Result<(), Refusal> {
        sdp::check_limits(offer).map_err(Ok)?;
        let offer = sdp::normalise(offer, true);
        let remote = Description::read(&offer);
        if !remote.sections.iter().any(|s| s.sends && s.is_active && s.kind.is_some()) {
            return Err(Ok(PeerError::NoMedia));
        }
        let is_new = !self.by_id.contains_key(&id);
        let slot = match self.by_id.get(&id).copied() {
            Some(slot) => slot,
            None => {
                let codecs: Vec<_> = codecs.iter().map(|codec| (*codec, None)).collect();
                let rtcp_ssrc = (self.random.next() as u32).max(1);
                let publisher = Publisher { rtcp_ssrc, ..Publisher::default() };
                self.create(id, &codecs, Role::Publisher(Box::new(publisher)), now)?
            }
        };
        let answered = self.answer_publisher(slot, &offer, &remote, now);
        match answered {
            Ok((answer, publications, drained)) => {
                self.events.push(Event::Answered { transport: id, answer, publications });
                self.after_drain(slot, drained, now);
                Ok(())
            }
            Err(refusal) => {
                if is_new {
                    self.close(slot);
                }
                Err(refusal)
            }
        }
    }

    fn answer_publisher(
        &mut self,
        slot: usize,
        offer: &str,
        remote: &Description,
        now: Instant,
    ) -> Result<(String, usize, Drained), Refusal> {
        let fresh = self.credentials(slot);
        let Some(Some(transport)) = self.slots.get_mut(slot) else {
            return Err(Ok(PeerError::SdpUnusable));
        };
        let Role::Publisher(publisher) = &mut transport.role else {
            return Err(Ok(PeerError::SdpUnusable));
        };
        let outbox = &mut self.outbox;
        let counters = &mut self.counters;
        let (answer, drained) =
            transport.peer.accept_offer(offer, fresh, None, now, &mut |_, to, d| {
                outbox.push(d, to, None, counters);
            })?;
        let local = Description::read(&answer);
        if !negotiated_sections(remote, &local).any(|(_, _, _, kind)| kind.is_some()) {
            return Err(Ok(PeerError::NoCommonCodec));
        }
        let count = adopt_sections(publisher, remote, &local);
        if !self.publishers.contains(&slot) {
            self.publishers.push(slot);
        }
        Ok((answer, count, drained))
    }

    /// A Transport with an engine of its own in a fresh slot.
    pub(super) fn create(
        &mut self,
        id: TransportId,
        codecs: &[(Codec, Option<&str>)],
        role: Role,
        now: Instant,
    ) -> Result<usize, Refusal> {
        let slot = self.allocate().ok_or(Ok(PeerError::ServerFull))?;
        let credentials = self.credentials(slot);
        let config = PeerConfig {
            cert: &self.config.cert,
            credentials,
            candidates: &self.config.candidates,
            codecs,
        };
        let peer = match Peer::new(&config, now) {
            Ok(peer) => peer,
            Err(error) => {
                self.free.push(slot);
                return Err(Ok(error));
            }
        };
        self.slots[slot] = Some(Transport {
            id,
            peer,
            addresses: Vec::new(),
            nominated: None,
            opener: None,
            is_connected: false,
            created_at: now,
            heard_at: now,
            is_silence_told: false,
            timer_at: None,
            role,
        });
        self.by_id.insert(id, slot);
        Ok(slot)
    }
}

/// Pairs of what was offered and what was answered, with the m-line and the kind of media that
/// flows towards us, if any does.
fn negotiated_sections<'a>(
    remote: &'a Description,
    local: &'a Description,
) -> impl Iterator<Item = (usize, &'a Section, &'a Section, Option<MediaKind>)> {
    let pairs = remote.sections.iter().zip(&local.sections).enumerate();
    pairs.map(|(m_line, (offered, answered))| {
        let flows = offered.sends
            && offered.is_active
            && answered.is_active
            && answered.receives
            && answered.formats.iter().any(|format| format.codec.is_some());
        (m_line, offered, answered, answered.kind.filter(|_| flows))
    })
}

/// Takes the negotiated sections over; returns how many carry media towards us.
fn adopt_sections(publisher: &mut Publisher, remote: &Description, local: &Description) -> usize {
    let mut count = 0;
    for (m_line, offered, answered, kind) in negotiated_sections(remote, local) {
        if publisher.publications.len() <= m_line {
            publisher.publications.push(None);
        }
        let place = &mut publisher.publications[m_line];
        // A section that ends keeps its Publication: should it come back, its numbers must go on
        // where they were, because its viewers' Forwarders do.
        let Some(kind) = kind else { continue };
        count += 1;
        let section = Section {
            formats: answered.formats.clone(),
            extensions: answered.extensions,
            ..offered.clone()
        };
        for id in 1..15 {
            if let Some(extension) = section.extensions.get(id) {
                publisher.extensions.insert(id, extension.uri());
            }
        }
        match place {
            Some(publication) if publication.kind == kind => publication.renegotiate(section),
            Some(_) => count -= 1,
            None => *place = Some(Publication::new(section, kind)),
        }
    }
    publisher.bind_signalled();
    let has_twcc = publisher.extensions.id_of(Extension::Twcc).is_some();
    if has_twcc && publisher.arrivals.is_none() {
        publisher.arrivals = Some(ArrivalLog::default());
    }
    count
}

//! What the control plane wishes: publish and close here, the viewers' part in `viewing.rs`.

use std::net::IpAddr;
use std::time::Instant;

use super::Shard;
use super::paths::sender;
use crate::agree::{Agreement, Role as PeerRole, agree, link_of};
use crate::api::{Command, Event};
use crate::codec::{Codec, MediaKind};
use crate::describe::{self, Candidates, Ours};
use crate::error::{CloseReason, PeerError};
use crate::extension::Extension;
use crate::format::CCFB;
use crate::id::TransportId;
use crate::peer::{Drained, Peer, Refusal};
use crate::publication::Publication;
use crate::sdp::{self, Description};
use crate::stats::DropReason;
use crate::transport::{Publisher, Role, Transport};
use crate::twcc::ArrivalLog;

impl Shard {
    /// Takes a command of the control plane.
    pub(crate) fn handle_command(&mut self, command: Command, now: Instant) {
        let transport = command.transport();
        let done = match command {
            Command::Publish { offer, codecs, reached, .. } => {
                self.publish(transport, &offer, (&codecs, reached), now)
            }
            Command::Subscribe { client, msid, subscriptions, ice_restart, .. } => {
                self.subscribe(transport, (client, &msid), subscriptions, ice_restart, now)
            }
            Command::View { client, offer, msid, codecs, reached, .. } => {
                self.view(transport, &offer, (client, &msid), (&codecs, reached), now)
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
            Command::SetHeard { publication, is_heard } => {
                self.transports.set_heard(publication, is_heard);
                Ok(())
            }
            Command::Number { .. } => {
                self.tell_numbers(transport, now);
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
            Err(Refusal::Peer(error)) => self.events.push(Event::Refused { transport, error }),
            Err(Refusal::Fault) => {
                self.statistics.counters.engine_faults += 1;
                if let Some(slot) = self.transports.slot_of(transport) {
                    self.close(slot);
                }
                let reason = CloseReason::EngineFault;
                self.events.push(Event::Closed { transport, reason, detail: String::new() });
            }
        }
    }

    /// Closes every Transport with a goodbye.
    pub(crate) fn close_all(&mut self, now: Instant) {
        let all: Vec<TransportId> = self.transports.ids().collect();
        for transport in all {
            self.close_by_command(transport, now);
        }
    }

    fn close_by_command(&mut self, transport: TransportId, now: Instant) {
        let Some(slot) = self.transports.slot_of(transport) else {
            return;
        };
        self.step_peer(slot, None, now, |peer, transmit| {
            peer.close(now, transmit);
            Ok(Drained::default())
        });
        self.close(slot);
    }

    fn publish(
        &mut self,
        id: TransportId,
        offer: &str,
        (codecs, reached): (&[Codec], Option<IpAddr>),
        now: Instant,
    ) -> Result<(), Refusal> {
        let remote = read_description(offer)?;
        let known = self.transports.slot_of(id);
        let before = known.and_then(|slot| self.transports.publisher(slot));
        let kinds: Vec<Option<MediaKind>> = before
            .map(|publisher| {
                let publications = publisher.publications.iter();
                publications.map(|publication| Some(publication.as_ref()?.kind)).collect()
            })
            .unwrap_or_default();
        check_order(before.map_or(&[], |publisher| &publisher.mids), &remote)?;
        let agreement = agree(&remote, PeerRole::Publisher, codecs, &kinds)?;
        let slot = match known {
            Some(slot) => slot,
            None => {
                let rtcp_ssrc = (self.random.next() as u32).max(1);
                let publisher = Publisher { rtcp_ssrc, ..Publisher::default() };
                self.create(id, Role::Publisher(Box::new(publisher)), now)?
            }
        };
        let answered = self.answer_publisher(slot, &remote, &agreement, reached, now);
        match answered {
            Ok((answer, publications, drained)) => {
                let unused = agreement.unused(&remote);
                self.events.push(Event::Answered { transport: id, answer, publications, unused });
                self.after_drain(slot, drained, now);
                Ok(())
            }
            Err(refusal) => {
                if known.is_none() {
                    self.close(slot);
                }
                Err(refusal)
            }
        }
    }

    fn answer_publisher(
        &mut self,
        slot: usize,
        remote: &Description,
        agreement: &Agreement,
        reached: Option<IpAddr>,
        now: Instant,
    ) -> Result<(String, usize, Drained), Refusal> {
        let fresh = self.random.credentials(self.config.id, slot);
        let Some(Transport { peer, paths, role: Role::Publisher(publisher), .. }) =
            self.transports.get_mut(slot)
        else {
            return Err(PeerError::SdpUnusable.into());
        };
        let (outbox, counters) = (&mut self.outbox, &mut self.statistics.counters);
        let link = link_of(remote, &agreement.bundle);
        let mut transmit = sender(paths, None, outbox, counters);
        let drained = peer.accept_offer(&link, fresh, now, &mut transmit)?;
        drop(transmit);
        let candidates = self.config.candidates_near(reached);
        let ours = ours(peer, &candidates);
        let role = PeerRole::Publisher;
        let answer = describe::answer(remote, agreement, role, &ours, link.has_rsize, |_| None);
        let count = adopt_sections(publisher, agreement);
        publisher.mids = remote.sections.iter().map(|section| section.mid.clone()).collect();
        self.transports.note_publisher(slot);
        Ok((answer, count, drained))
    }
}

/// Reads a description of a peer, if it can be used at all.
pub(super) fn read_description(sdp: &str) -> Result<Description, PeerError> {
    sdp::check_limits(sdp)?;
    let description = Description::read(sdp);
    // Somebody has to make the checks.
    if description.is_lite { Err(PeerError::BothLite) } else { Ok(description) }
}

/// What is ours in the next description to a peer.
pub(super) fn ours<'a>(peer: &'a mut Peer, candidates: &'a Candidates) -> Ours<'a> {
    let origin = peer.next_origin();
    let peer: &'a Peer = peer;
    Ours {
        origin,
        credentials: peer.credentials(),
        fingerprint: peer.fingerprint(),
        setup: peer.setup(),
        candidates,
    }
}

/// RFC 3264 s8: a later offer has all m-sections of the one before, in their order.
pub(super) fn check_order(before: &[String], remote: &Description) -> Result<(), PeerError> {
    let is_kept = remote.sections.iter().enumerate().all(|(at, section)| {
        let place = before.iter().position(|mid| !mid.is_empty() && *mid == section.mid);
        place.is_none_or(|place| place == at)
    });
    if is_kept && remote.sections.len() >= before.len() {
        Ok(())
    } else {
        Err(PeerError::SectionsMoved)
    }
}

/// Takes the agreed sections over; returns how many carry media towards us.
fn adopt_sections(publisher: &mut Publisher, agreement: &Agreement) -> usize {
    let mut count = 0;
    for m_line in 0..agreement.outcomes.len() {
        if publisher.publications.len() <= m_line {
            publisher.publications.push(None);
        }
        // A section that ends keeps its Publication: should it come back, its numbers must go on
        // where they were, because its viewers' Forwarders do.
        let Some(section) = agreement.section(m_line).filter(|section| section.sends) else {
            continue;
        };
        let Some(kind) = section.kind else { continue };
        count += 1;
        for id in 1..15 {
            if let Some(extension) = section.extensions.get(id) {
                publisher.extensions.insert(id, extension.uri());
            }
        }
        match &mut publisher.publications[m_line] {
            Some(publication) => publication.renegotiate(section.clone()),
            place @ None => *place = Some(Publication::new(section.clone(), kind)),
        }
    }
    publisher.bind_signalled();
    let sections = publisher.publications.iter().flatten().map(|publication| &publication.section);
    if sections.flat_map(|section| &section.formats).any(|format| format.feedback.has(CCFB)) {
        publisher.arrivals = None;
        publisher.receptions.get_or_insert_default();
        return count;
    }
    let has_twcc = publisher.extensions.id_of(Extension::Twcc).is_some();
    if has_twcc && publisher.arrivals.is_none() {
        publisher.arrivals = Some(ArrivalLog::default());
    }
    count
}

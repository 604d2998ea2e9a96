//! Views: a member that watches the group through slots, over one transport that is negotiated
//! once. What the slots carry then follows who publishes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Cause, Event, Hub, MediaEvent, MediaOwner, MediaRequest, MediaRole, PathState};
use crate::group::{Group, Member};
use crate::ids::{ConnId, MediaId, PublicationKey, StreamId};
use crate::name::GroupName;
use crate::stream::{Layers, MediaKind, SCREEN_LABEL, Up, Want};
use crate::time::Now;

/// Sections that one view may be offered; the data plane takes no more.
const WANTS_MAX: usize = 64;

/// What a member wants to watch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ViewRequest {
    /// The member's offer; without one it gets an offer for so many slots of each kind.
    pub offer: Option<String>,
    /// Slots to offer for audio and video.
    pub slots: (u8, u8),
    /// Only the stream of this id.
    pub stream: Option<String>,
    /// Only streams of members of this name.
    pub username: Option<String>,
}

/// How a member watches.
#[derive(Debug)]
pub(crate) struct View {
    media: MediaId,
    request: ViewRequest,
    /// As last sent to the data plane.
    wants: Vec<Want>,
    slots: Vec<(String, MediaKind)>,
    /// By slot, the index of its m-section.
    m_lines: Vec<usize>,
    /// Whether its pictures come with dependency descriptors.
    has_descriptors: bool,
    carried: Vec<Option<PublicationKey>>,
    /// What the member has chosen, by mid.
    layers: BTreeMap<String, Layers>,
    is_negotiated: bool,
    /// What the member's path has no room for.
    paused: BTreeSet<PublicationKey>,
    /// How its connection fares.
    pub(crate) path: Option<PathState>,
}

/// What one slot shows now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotState {
    /// The mid of its m-section.
    pub mid: String,
    /// The index of its m-section.
    pub m_line: usize,
    /// Audio or video.
    pub kind: MediaKind,
    /// Whether it carries anything that the member's path has room for.
    pub is_active: bool,
    /// The Encodings to choose from.
    pub encodings: Vec<EncodingState>,
    /// Whose stream it carries, and what that is.
    pub shows: Option<Shown>,
}

/// The stream that a slot carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The name of its sender.
    pub username: String,
    /// What its sender calls it, such as `camera` or `screenshare`.
    pub label: String,
}

/// One Encoding of what a slot shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncodingState {
    /// Its name; empty if it is the only one.
    pub rid: String,
    /// Bits per second.
    pub bits_per_second: u64,
    /// The highest spatial and temporal layer that the viewer can get.
    pub layers_max: (u8, u8),
}

/// What a view shows now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ViewState {
    /// In the order of the description.
    pub slots: Vec<SlotState>,
    /// Members that take streams.
    pub viewers: usize,
    /// How the connection fares, once that is known.
    pub path: Option<PathState>,
}

/// What the URI of the dependency descriptor (AV1 RTP, appendix A) has that no other one has.
const DESCRIPTORS: &str = "#dependency-descriptor-rtp-header-extension";

/// By slot, the index of its m-section in an answer; in our own offers each is a slot.
fn m_lines(answer: Option<&str>, slots: &[(String, MediaKind)]) -> Vec<usize> {
    let mut mids: Vec<&str> = Vec::new();
    for line in answer.unwrap_or_default().lines() {
        if line.starts_with("m=") {
            mids.push("");
        } else if let (Some(mid), Some(last)) = (line.strip_prefix("a=mid:"), mids.last_mut()) {
            *last = mid.trim_end();
        }
    }
    let place = |(slot, (mid, _)): (usize, &(String, MediaKind))| {
        mids.iter().position(|found| found == mid).unwrap_or(slot)
    };
    slots.iter().enumerate().map(place).collect()
}

impl Group {
    /// All streams that views may carry, the most important first: those that bring something, among
    /// them shared screens before cameras, whoever spoke last, and older streams before newer ones. An
    /// encoder that has crashed and is back is there twice for a while.
    fn watchable(&self) -> Vec<(ConnId, &Member, &StreamId, &Up)> {
        let mut all: Vec<_> = self
            .members
            .iter()
            .flat_map(|(conn, member)| {
                member.ups.iter().map(move |(stream, up)| (*conn, member, stream, up))
            })
            .filter(|(_, _, _, up)| up.is_announced)
            .collect();
        all.sort_by_cached_key(|(_, _, _, up)| {
            let spoke = Reverse(self.voices.began(up.media));
            (up.is_silent(), up.label != SCREEN_LABEL, spoke, up.media)
        });
        all
    }
}

impl View {
    /// What its slots carry.
    pub(crate) fn carried(&self) -> impl Iterator<Item = &PublicationKey> {
        self.carried.iter().flatten()
    }

    /// The same, each with the index of the m-section that it is in.
    pub(crate) fn carried_by_line(&self) -> impl Iterator<Item = (usize, PublicationKey)> {
        let lines = self.m_lines.iter().copied();
        lines.zip(&self.carried).filter_map(|(m_line, carried)| Some((m_line, (*carried)?)))
    }

    /// Its transport.
    pub(crate) fn media(&self) -> MediaId {
        self.media
    }

    /// What it shall carry of these.
    fn wants(&self, viewer: ConnId, all: &[(ConnId, &Member, &StreamId, &Up)]) -> Vec<Want> {
        let ViewRequest { stream, username, .. } = &self.request;
        let is_wanted = |name: &Option<String>, found: &str| {
            name.as_deref().is_none_or(|wanted| wanted == found)
        };
        let wanted = all.iter().filter(|(conn, member, id, _)| {
            *conn != viewer
                && is_wanted(username, member.username.as_str())
                && is_wanted(stream, id.as_str())
        });
        let wants = wanted.flat_map(|(_, _, _, up)| {
            up.publications.iter().map(|(m_line, _)| {
                let publication = PublicationKey { media: up.media, m_line: *m_line };
                let is_screen = up.label == SCREEN_LABEL;
                Want { layers: self.chosen(publication), is_screen, ..Want::of(publication) }
            })
        });
        wants.take(WANTS_MAX).collect()
    }

    /// The layers that the member has chosen for the slot that carries this.
    fn chosen(&self, publication: PublicationKey) -> Option<Layers> {
        let slot = self.carried.iter().position(|carried| *carried == Some(publication))?;
        let (mid, _) = self.slots.get(slot)?;
        self.layers.get(mid).copied()
    }
}

impl Hub {
    /// A member watches, or restarts ICE on its view by another offer. Answered by
    /// [`Event::Viewing`], [`Event::ViewOffer`] or [`Event::ViewRefused`].
    pub fn view(&mut self, conn: ConnId, request: ViewRequest, now: Now) {
        let Some((name, group)) = self.group_of(conn) else {
            return self.refuse_view(conn, "join a group first");
        };
        let codecs = group.description.codecs.clone();
        let Some(member) = group.members.get_mut(&conn) else {
            return;
        };
        if !member.offer_budget.take(now.mono) {
            let text = "too many offers, slow down".to_owned();
            return self.tell(conn, Event::ViewRefused { text, cause: Cause::Busy });
        }
        let (msid, reached) = (member.id.as_str().to_owned(), member.traits.reached);
        let Ok(stream) = StreamId::parse(&msid) else {
            return self.refuse_view(conn, "this client's id cannot name a stream");
        };
        let mut request = request;
        let offer = request.offer.take().ok_or(request.slots);
        let media = match &mut member.view {
            Some(view) => view.media,
            None => {
                self.next_media += 1;
                let media = MediaId(self.next_media);
                let owner = MediaOwner { group: name, conn, stream, role: MediaRole::View };
                self.media.insert(media, owner);
                let view = View {
                    media,
                    request,
                    wants: Vec::new(),
                    slots: Vec::new(),
                    m_lines: Vec::new(),
                    has_descriptors: false,
                    carried: Vec::new(),
                    layers: BTreeMap::new(),
                    is_negotiated: false,
                    paused: BTreeSet::new(),
                    path: None,
                };
                if let Some((_, member)) = self.member_of(conn) {
                    member.view = Some(view);
                }
                media
            }
        };
        self.want_media(MediaRequest::View { media, client: conn, offer, msid, codecs, reached });
    }

    /// The member's answer to [`Event::ViewOffer`].
    pub fn view_answer(&mut self, conn: ConnId, answer: String) {
        let view = self.member_of(conn).and_then(|(_, member)| member.view.as_mut());
        let media = view.map(|view| {
            view.has_descriptors = answer.contains(DESCRIPTORS);
            view.media
        });
        match media {
            Some(media) => self.want_media(MediaRequest::AcceptAnswer { media, answer }),
            None => self.refuse_view(conn, "there is no offer to answer"),
        }
    }

    /// Chooses layers for the slot of this mid, or leaves the choice to the server again. Says
    /// whether there is such a slot.
    pub fn choose_layers(&mut self, conn: ConnId, mid: &str, layers: Option<Layers>) -> bool {
        let Some((_, member)) = self.member_of(conn) else {
            return false;
        };
        let Some(view) = &mut member.view else {
            return false;
        };
        let Some(slot) = view.slots.iter().position(|(known, _)| known == mid) else {
            return false;
        };
        match layers {
            Some(layers) => view.layers.insert(mid.to_owned(), layers),
            None => view.layers.remove(mid),
        };
        if let Some(publication) = view.carried.get(slot).copied().flatten() {
            let (media, want) = (view.media, Want { layers, ..Want::of(publication) });
            self.want_media(MediaRequest::SetCap { media, want });
        }
        true
    }

    /// What a member's view shows now. Nothing if it has none. `counts` remembers the viewers of
    /// each group, for whoever asks for many views at once.
    pub fn view_state(
        &self,
        conn: ConnId,
        counts: &mut HashMap<GroupName, usize>,
    ) -> Option<ViewState> {
        let name = self.place_of(conn)?;
        let group = self.groups.get(name)?;
        let view = group.members.get(&conn)?.view.as_ref()?;
        let slots = view.slots.iter().enumerate().map(|(slot, (mid, kind))| {
            let publication = view.carried.get(slot).copied().flatten();
            let publication = publication.filter(|key| !view.paused.contains(key));
            SlotState {
                mid: mid.clone(),
                m_line: view.m_lines.get(slot).copied().unwrap_or(slot),
                kind: *kind,
                is_active: publication.is_some(),
                encodings: publication
                    .map(|key| self.encodings(group, key, view.has_descriptors))
                    .unwrap_or_default(),
                shows: publication.and_then(|key| self.shown(group, key)),
            }
        });
        let viewers = *counts.entry(name.clone()).or_insert_with(|| {
            let members = group.members.values();
            members.filter(|member| member.traits.receives || member.view.is_some()).count()
        });
        Some(ViewState { slots: slots.collect(), viewers, path: view.path })
    }

    /// Whose stream a publication belongs to.
    fn shown(&self, group: &Group, key: PublicationKey) -> Option<Shown> {
        let owner = self.media.get(&key.media)?;
        let member = group.members.get(&owner.conn)?;
        let up = member.ups.get(&owner.stream)?;
        Some(Shown { username: member.username.as_str().to_owned(), label: up.label.clone() })
    }

    /// The Encodings of a section, as its publisher's last report has them.
    fn encodings(
        &self,
        group: &Group,
        key: PublicationKey,
        has_descriptors: bool,
    ) -> Vec<EncodingState> {
        let owner = self.media.get(&key.media);
        let up = owner.and_then(|owner| group.members.get(&owner.conn)?.ups.get(&owner.stream));
        let Some(up) = up else {
            return Vec::new();
        };
        let rids = up.rids.get(&key.m_line).map_or(&[][..], Vec::as_slice);
        let state_of = |encoding: usize| {
            let mut rates = up.rates.iter();
            let found =
                rates.find(|r| r.m_line == key.m_line && usize::from(r.encoding) == encoding);
            let rate = found.copied().unwrap_or_default();
            let (spatial, temporal) = rate.layers_max;
            let is_blind = rate.is_described && !has_descriptors;
            EncodingState {
                rid: rids.get(encoding).cloned().unwrap_or_default(),
                bits_per_second: rate.bits_per_second,
                layers_max: (if is_blind { 0 } else { spatial }, temporal),
            }
        };
        (0..rids.len().max(1)).map(state_of).collect()
    }

    /// Whether anybody publishes in the member's group.
    pub fn has_streams(&self, conn: ConnId) -> bool {
        let group = self.place_of(conn).and_then(|name| self.groups.get(name));
        group.is_some_and(|group| group.members.values().any(|member| !member.ups.is_empty()))
    }

    /// Whether a member has a stream of this id, or a view.
    pub fn has_media(&self, conn: ConnId, stream: &StreamId) -> bool {
        let group = self.place_of(conn).and_then(|name| self.groups.get(name));
        let member = group.and_then(|group| group.members.get(&conn));
        member.is_some_and(|member| member.ups.contains_key(stream) || member.view.is_some())
    }

    /// The codecs that the member's group takes.
    pub fn codecs(&self, conn: ConnId) -> &[String] {
        let group = self.place_of(conn).and_then(|name| self.groups.get(name));
        group.map_or(&[], |group| &group.description.codecs)
    }

    /// Brings what one view carries in line with who publishes.
    pub(super) fn refresh_view(&mut self, name: &GroupName, viewer: ConnId) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let view = group.members.get(&viewer).and_then(|member| member.view.as_ref());
        if let Some(view) = view.filter(|view| view.is_negotiated) {
            let wants = view.wants(viewer, &group.watchable());
            if wants != view.wants {
                self.want_watch(viewer, wants);
            }
        }
    }

    /// The same for all views of a group: who publishes is looked up once.
    pub(super) fn refresh_views(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let all = group.watchable();
        let views = group.members.iter().filter_map(|(conn, member)| {
            let view = member.view.as_ref().filter(|view| view.is_negotiated)?;
            let wants = view.wants(*conn, &all);
            (wants != view.wants).then_some((*conn, wants))
        });
        let changed: Vec<(ConnId, Vec<Want>)> = views.collect();
        for (viewer, wants) in changed {
            self.want_watch(viewer, wants);
        }
    }

    /// A publication is not what it was: views that carry it need to be told anew.
    pub(super) fn spoil_view(&mut self, name: &GroupName, viewer: ConnId, key: PublicationKey) {
        let group = self.groups.get_mut(name);
        let member = group.and_then(|group| group.members.get_mut(&viewer));
        if let Some(view) = member.and_then(|member| member.view.as_mut())
            && view.wants.iter().any(|want| want.publication == key)
        {
            view.wants.clear();
        }
    }

    fn want_watch(&mut self, viewer: ConnId, wants: Vec<Want>) {
        let Some((_, member)) = self.member_of(viewer) else {
            return;
        };
        let Some(view) = &mut member.view else {
            return;
        };
        view.wants.clone_from(&wants);
        let media = view.media;
        self.want_media(MediaRequest::Watch { media, wants });
    }

    pub(super) fn view_event(&mut self, owner: MediaOwner, event: MediaEvent) {
        let MediaOwner { group: name, conn, .. } = owner;
        let member = self.groups.get_mut(&name).and_then(|group| group.members.get_mut(&conn));
        let Some(view) = member.and_then(|member| member.view.as_mut()) else {
            return;
        };
        match event {
            MediaEvent::Viewed { answer, slots, .. } => {
                view.m_lines = m_lines(answer.as_deref(), &slots);
                let answer_has = answer.as_deref().is_some_and(|sdp| sdp.contains(DESCRIPTORS));
                view.has_descriptors |= answer_has;
                view.slots = slots;
                view.is_negotiated = true;
                view.wants.clear();
                self.tell(conn, Event::Viewing { sdp: answer });
                self.refresh_view(&name, conn);
            }
            MediaEvent::Path { path, .. } => view.path = Some(path),
            MediaEvent::Paused { publication, is_paused, .. } => {
                match is_paused {
                    true => view.paused.insert(publication),
                    false => view.paused.remove(&publication),
                };
            }
            MediaEvent::Watching { slots, .. } => {
                view.paused.retain(|key| slots.contains(&Some(*key)));
                view.carried = slots;
                let chosen = view.slots.iter().zip(&view.carried).filter_map(|(slot, carried)| {
                    let layers = view.layers.get(&slot.0).copied();
                    let publication = (*carried)?;
                    Some(Want { layers: Some(layers?), ..Want::of(publication) })
                });
                let (media, chosen): (MediaId, Vec<Want>) = (view.media, chosen.collect());
                for want in chosen {
                    self.want_media(MediaRequest::SetCap { media, want });
                }
            }
            MediaEvent::Offered { offer, .. } => self.tell(conn, Event::ViewOffer { sdp: offer }),
            MediaEvent::Refused { text, cause, .. } => {
                if !view.is_negotiated {
                    self.close_view(&name, conn);
                }
                self.tell(conn, Event::ViewRefused { text, cause });
            }
            MediaEvent::Closed { text, .. } => {
                self.close_view(&name, conn);
                self.tell(conn, Event::ViewClosed { text });
            }
            MediaEvent::Answered { .. }
            | MediaEvent::Unshown { .. }
            | MediaEvent::Connected { .. }
            | MediaEvent::Disconnected { .. }
            | MediaEvent::Reconnected { .. }
            | MediaEvent::Published { .. }
            | MediaEvent::Voice { .. }
            | MediaEvent::Wanted { .. }
            | MediaEvent::Numbers { .. }
            | MediaEvent::Received { .. } => {}
        }
    }

    /// Ends a member's view, if it has one.
    pub(super) fn close_view(&mut self, name: &GroupName, conn: ConnId) {
        let member = self.groups.get_mut(name).and_then(|group| group.members.get_mut(&conn));
        if let Some(view) = member.and_then(|member| member.view.take()) {
            self.media.remove(&view.media);
            self.want_media(MediaRequest::Close { media: view.media });
        }
    }

    fn refuse_view(&mut self, conn: ConnId, text: &str) {
        let text = text.to_owned();
        self.tell(conn, Event::ViewRefused { text, cause: Cause::Other });
    }
}

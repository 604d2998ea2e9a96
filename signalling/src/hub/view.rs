//! Views in the hub: a member asks for one, chooses layers, and is brought what its group publishes.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{Cause, Event, Hub, MediaEvent, MediaOwner, MediaRequest, MediaRole};
use crate::group::Group;
use crate::ids::{ConnId, PublicationKey, StreamId};
use crate::name::GroupName;
use crate::stream::{Layers, SCREEN_LABEL, Want};
use crate::time::Now;
use crate::view::{EncodingState, SeatState, Shown, View, ViewRequest, ViewState, Watchable};

impl Group {
    /// All streams that views may carry, the most important first: those that bring something, among
    /// them shared screens before cameras, whoever spoke last, and older streams before newer ones. An
    /// encoder that has crashed and is back is there twice for a while.
    fn watchable(&self) -> Vec<Watchable<'_>> {
        let mut all: Vec<_> = self
            .members
            .iter()
            .flat_map(|(conn, member)| {
                let (conn, username) = (*conn, &member.username);
                let ups = member.ups.iter();
                ups.map(move |(stream, up)| Watchable { conn, username, stream, up })
            })
            .filter(|found| found.up.is_announced)
            .collect();
        all.sort_by_cached_key(|Watchable { up, .. }| {
            let spoke = Reverse(self.voices.began(up.media));
            (up.is_silent(), up.label != SCREEN_LABEL, spoke, up.media)
        });
        all
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
        let offer = request.offer.take().ok_or(request.seats);
        let media = match &mut member.view {
            Some(view) => view.media(),
            None => {
                let role = MediaRole::View;
                let media = self.new_media(MediaOwner { group: name, conn, stream, role });
                if let Some((_, member)) = self.member_of(conn) {
                    member.view = Some(View::new(media, request));
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
            view.note_answer(&answer);
            view.media()
        });
        match media {
            Some(media) => self.want_media(MediaRequest::AcceptAnswer { media, answer }),
            None => self.refuse_view(conn, "there is no offer to answer"),
        }
    }

    /// Chooses layers for the seat of this mid, or leaves the choice to the server again. Says
    /// whether there is such a seat.
    pub fn choose_layers(&mut self, conn: ConnId, mid: &str, layers: Option<Layers>) -> bool {
        let Some((_, member)) = self.member_of(conn) else {
            return false;
        };
        let Some(view) = &mut member.view else {
            return false;
        };
        let Some(carried) = view.choose(mid, layers) else {
            return false;
        };
        if let Some(publication) = carried {
            let (media, want) = (view.media(), Want { layers, ..Want::of(publication) });
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
        let seats = view.seats().map(|seat| SeatState {
            mid: seat.mid.to_owned(),
            m_line: seat.m_line,
            kind: seat.kind,
            is_active: seat.shows.is_some(),
            encodings: seat
                .shows
                .map(|key| self.encodings(group, key, view.has_descriptors()))
                .unwrap_or_default(),
            shows: seat.shows.and_then(|key| self.shown(group, key)),
        });
        let viewers = *counts.entry(name.clone()).or_insert_with(|| {
            let members = group.members.values();
            members.filter(|member| member.traits.receives || member.view.is_some()).count()
        });
        Some(ViewState { seats: seats.collect(), viewers, path: view.path })
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
        self.member(conn)
            .is_some_and(|member| member.ups.contains_key(stream) || member.view.is_some())
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
        let view = view.filter(|view| view.is_negotiated());
        if let Some(wants) = view.and_then(|view| view.new_wants(viewer, &group.watchable())) {
            self.want_watch(viewer, wants);
        }
    }

    /// The same for all views of a group: who publishes is looked up once.
    pub(super) fn refresh_views(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let all = group.watchable();
        let views = group.members.iter().filter_map(|(conn, member)| {
            Some((*conn, member.view.as_ref()?.new_wants(*conn, &all)?))
        });
        let changed: Vec<(ConnId, Vec<Want>)> = views.collect();
        for (viewer, wants) in changed {
            self.want_watch(viewer, wants);
        }
    }

    /// A publication is not what it was: views that carry it need to be told anew.
    pub(super) fn spoil_view(&mut self, name: &GroupName, viewer: ConnId, key: PublicationKey) {
        let member = self.member_in(name, viewer);
        if let Some(view) = member.and_then(|member| member.view.as_mut()) {
            view.spoil(key);
        }
    }

    fn want_watch(&mut self, viewer: ConnId, wants: Vec<Want>) {
        let Some((_, member)) = self.member_of(viewer) else {
            return;
        };
        let Some(view) = &mut member.view else {
            return;
        };
        view.set_wants(wants.clone());
        let media = view.media();
        self.want_media(MediaRequest::Watch { media, wants });
    }

    pub(super) fn view_event(&mut self, owner: MediaOwner, event: MediaEvent) {
        let MediaOwner { group: name, conn, .. } = owner;
        let member = self.member_in(&name, conn);
        let Some(view) = member.and_then(|member| member.view.as_mut()) else {
            return;
        };
        match event {
            MediaEvent::Viewed { answer, seats, .. } => {
                view.negotiated(answer.as_deref(), seats);
                self.tell(conn, Event::Viewing { sdp: answer });
                self.refresh_view(&name, conn);
            }
            MediaEvent::Path { path, .. } => view.path = Some(path),
            MediaEvent::Paused { publication, is_paused, .. } => {
                view.pause(publication, is_paused);
            }
            MediaEvent::Watching { seats, .. } => {
                let (media, chosen) = (view.media(), view.carry(seats));
                for want in chosen {
                    self.want_media(MediaRequest::SetCap { media, want });
                }
            }
            MediaEvent::Offered { offer, .. } => self.tell(conn, Event::ViewOffer { sdp: offer }),
            MediaEvent::Refused { text, cause, .. } => {
                if !view.is_negotiated() {
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
        let member = self.member_in(name, conn);
        if let Some(view) = member.and_then(|member| member.view.take()) {
            self.media.remove(&view.media());
            self.want_media(MediaRequest::Close { media: view.media() });
        }
    }

    fn refuse_view(&mut self, conn: ConnId, text: &str) {
        let text = text.to_owned();
        self.tell(conn, Event::ViewRefused { text, cause: Cause::Other });
    }
}

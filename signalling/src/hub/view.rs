//! Views in the hub: a member asks for one, chooses layers, and is brought what its group publishes.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{Cause, Event, Hub, MediaEvent, MediaOwner, MediaRequest, MediaRole, Shared};
use crate::group::Group;
use crate::ids::{ConnId, PublicationKey, StreamId};
use crate::member::Member;
use crate::name::GroupName;
use crate::stream::{Layers, SCREEN_LABEL, Up, Want};
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

    /// A member watches, or restarts ICE on its view.
    fn watch(&mut self, shared: &mut Shared, conn: ConnId, mut request: ViewRequest, now: Now) {
        let codecs = self.description.codecs.clone();
        let Some(member) = self.members.get_mut(&conn) else {
            return;
        };
        if !member.offer_budget.take(now.mono) {
            let text = "too many offers, slow down".to_owned();
            return shared.tell(conn, Event::ViewRefused { text, cause: Cause::Busy });
        }
        let (msid, reached) = (member.id.as_str().to_owned(), member.traits.reached);
        let Ok(stream) = StreamId::parse(&msid) else {
            return shared.refuse_view(conn, "this client's id cannot name a stream");
        };
        let offer = request.offer.take().ok_or(request.seats);
        let view = member.view.get_or_insert_with(|| {
            let (group, role) = (self.name.clone(), MediaRole::View);
            View::new(shared.new_media(MediaOwner { group, conn, stream, role }), request)
        });
        let media = view.media();
        shared.want_media(MediaRequest::View { media, client: conn, offer, msid, codecs, reached });
    }

    /// What a view shows now, to one of so many viewers.
    fn view_state(&self, shared: &Shared, view: &View, viewers: usize) -> ViewState {
        let seats = view.seats().map(|seat| SeatState {
            mid: seat.mid.to_owned(),
            m_line: seat.m_line,
            kind: seat.kind,
            is_active: seat.shows.is_some(),
            encodings: seat.shows.map(|key| self.encodings(shared, key)).unwrap_or_default(),
            shows: seat.shows.and_then(|key| self.shown(shared, key)),
        });
        ViewState { seats: seats.collect(), viewers, path: view.path }
    }

    fn viewers(&self) -> usize {
        let members = self.members.values();
        members.filter(|member| member.traits.receives || member.view.is_some()).count()
    }

    /// Whose stream a publication belongs to, and the stream itself.
    pub(super) fn source(&self, shared: &Shared, key: PublicationKey) -> Option<(&Member, &Up)> {
        let owner = shared.media.get(&key.media)?;
        let member = self.members.get(&owner.conn)?;
        Some((member, member.ups.get(&owner.stream)?))
    }

    /// Whose stream a seat carries, in the words of those who watch.
    fn shown(&self, shared: &Shared, key: PublicationKey) -> Option<Shown> {
        let (member, up) = self.source(shared, key)?;
        Some(Shown { username: member.username.as_str().to_owned(), label: up.label.clone() })
    }

    /// The Encodings of a section, as its publisher's last report has them.
    fn encodings(&self, shared: &Shared, key: PublicationKey) -> Vec<EncodingState> {
        let Some((_, up)) = self.source(shared, key) else {
            return Vec::new();
        };
        let rids = up.rids.get(&key.m_line).map_or(&[][..], Vec::as_slice);
        let state_of = |encoding: usize| {
            let mut rates = up.rates.iter();
            let found =
                rates.find(|r| r.m_line == key.m_line && usize::from(r.encoding) == encoding);
            let rate = found.copied().unwrap_or_default();
            EncodingState {
                rid: rids.get(encoding).cloned().unwrap_or_default(),
                bits_per_second: rate.bits_per_second,
                layers_max: rate.layers_max,
            }
        };
        (0..rids.len().max(1)).map(state_of).collect()
    }

    /// Brings what one view carries in line with who publishes.
    fn refresh_view(&mut self, shared: &mut Shared, viewer: ConnId) {
        let view = self.members.get(&viewer).and_then(|member| member.view.as_ref());
        let view = view.filter(|view| view.is_negotiated());
        if let Some(wants) = view.and_then(|view| view.new_wants(viewer, &self.watchable())) {
            self.want_watch(shared, viewer, wants);
        }
    }

    /// The same for all views of the group: who publishes is looked up once.
    pub(super) fn refresh_views(&mut self, shared: &mut Shared) {
        let all = self.watchable();
        let views = self.members.iter().filter_map(|(conn, member)| {
            Some((*conn, member.view.as_ref()?.new_wants(*conn, &all)?))
        });
        let changed: Vec<(ConnId, Vec<Want>)> = views.collect();
        for (viewer, wants) in changed {
            self.want_watch(shared, viewer, wants);
        }
    }

    fn want_watch(&mut self, shared: &mut Shared, viewer: ConnId, wants: Vec<Want>) {
        let member = self.members.get_mut(&viewer);
        if let Some(view) = member.and_then(|member| member.view.as_mut()) {
            view.set_wants(wants.clone());
            shared.want_media(MediaRequest::Watch { media: view.media(), wants });
        }
    }

    pub(super) fn view_event(&mut self, shared: &mut Shared, conn: ConnId, event: MediaEvent) {
        let Some(member) = self.members.get_mut(&conn) else {
            return;
        };
        let Some(view) = &mut member.view else {
            return;
        };
        match event {
            MediaEvent::Viewed { answer, seats, .. } => {
                view.negotiated(answer.as_deref(), seats);
                shared.tell(conn, Event::Viewing { sdp: answer });
                self.refresh_view(shared, conn);
            }
            MediaEvent::Path { path, .. } => view.path = Some(path),
            MediaEvent::Paused { publication, is_paused, .. } => {
                view.pause(publication, is_paused);
            }
            MediaEvent::Watching { seats, .. } => {
                let (media, chosen) = (view.media(), view.carry(seats));
                for want in chosen {
                    shared.want_media(MediaRequest::SetCap { media, want });
                }
            }
            MediaEvent::Offered { offer, .. } => shared.tell(conn, Event::ViewOffer { sdp: offer }),
            MediaEvent::Refused { text, cause, .. } => {
                if !view.is_negotiated() {
                    member.close_view(shared);
                }
                shared.tell(conn, Event::ViewRefused { text, cause });
            }
            MediaEvent::Closed { text, .. } => {
                member.close_view(shared);
                shared.tell(conn, Event::ViewClosed { text });
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
}

impl Member {
    /// Ends its view, if it has one.
    pub(super) fn close_view(&mut self, shared: &mut Shared) {
        if let Some(view) = self.view.take() {
            shared.close_media(view.media());
        }
    }
}

impl Shared {
    fn refuse_view(&mut self, conn: ConnId, text: &str) {
        let text = text.to_owned();
        self.tell(conn, Event::ViewRefused { text, cause: Cause::Other });
    }
}

impl Hub {
    /// A member watches, or restarts ICE on its view by another offer. Answered by
    /// [`Event::Viewing`], [`Event::ViewOffer`] or [`Event::ViewRefused`].
    pub fn view(&mut self, conn: ConnId, request: ViewRequest, now: Now) {
        match self.at(conn) {
            Some((group, shared)) => group.watch(shared, conn, request, now),
            None => self.shared.refuse_view(conn, "join a group first"),
        }
    }

    /// A member's view, if it has one, and what its transport needs.
    fn view_at(&mut self, conn: ConnId) -> Option<(&mut View, &mut Shared)> {
        let (group, shared) = self.at(conn)?;
        Some((group.members.get_mut(&conn)?.view.as_mut()?, shared))
    }

    /// The member's answer to [`Event::ViewOffer`].
    pub fn view_answer(&mut self, conn: ConnId, answer: String) {
        match self.view_at(conn) {
            Some((view, shared)) => {
                shared.want_media(MediaRequest::AcceptAnswer { media: view.media(), answer });
            }
            None => self.shared.refuse_view(conn, "there is no offer to answer"),
        }
    }

    /// Chooses layers for the seat of this mid, or leaves the choice to the server again. Says
    /// whether there is such a seat.
    pub fn choose_layers(&mut self, conn: ConnId, mid: &str, layers: Option<Layers>) -> bool {
        let Some((view, shared)) = self.view_at(conn) else {
            return false;
        };
        let Some(carried) = view.choose(mid, layers) else {
            return false;
        };
        if let Some(publication) = carried {
            let (media, want) = (view.media(), Want { layers, ..Want::of(publication) });
            shared.want_media(MediaRequest::SetCap { media, want });
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
        let group = self.group(conn)?;
        let view = group.members.get(&conn)?.view.as_ref()?;
        let viewers = *counts.entry(group.name.clone()).or_insert_with(|| group.viewers());
        Some(group.view_state(&self.shared, view, viewers))
    }

    /// Whether anybody publishes in the member's group.
    pub fn has_streams(&self, conn: ConnId) -> bool {
        self.group(conn)
            .is_some_and(|group| group.members.values().any(|member| !member.ups.is_empty()))
    }

    /// Whether a member has a stream of this id, or a view.
    pub fn has_media(&self, conn: ConnId, stream: &StreamId) -> bool {
        self.member(conn)
            .is_some_and(|member| member.ups.contains_key(stream) || member.view.is_some())
    }

    /// The codecs that the member's group takes.
    pub fn codecs(&self, conn: ConnId) -> &[String] {
        self.group(conn).map_or(&[], |group| &group.description.codecs)
    }
}

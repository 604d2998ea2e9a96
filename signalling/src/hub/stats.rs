//! What administrators see: every group in memory with its members and streams; and what each member may
//! see of its own.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Event, Hub, MediaRequest, Shared};
use crate::group::Group;
use crate::ids::{ConnId, MediaId};
use crate::member::Member;
use crate::path::PathState;
use crate::stream::{MediaKind, Rate, SentRate, Up};
use crate::time::Now;
use crate::view::View;

/// A member that asks more often how its streams fare is not answered.
const NUMBERS_APART: Duration = Duration::from_secs(1);

/// How many there are of what, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Groups in memory, also those that nobody is in.
    pub groups: usize,
    /// Connections that have joined a group.
    pub clients: usize,
    /// Connections, members or not.
    pub connections: usize,
    /// Streams that members send.
    pub ups: usize,
    /// Streams that members receive.
    pub downs: usize,
}

/// What viewers are sent, by transport.
pub type Sent = HashMap<MediaId, Vec<SentRate>>;

impl Hub {
    /// Counts everything at this moment.
    pub fn census(&self) -> Census {
        let members = || self.groups.values().flat_map(|group| group.members.values());
        Census {
            groups: self.groups.len(),
            clients: members().count(),
            connections: self.shared.clients.len(),
            ups: members().map(|member| member.ups.len()).sum(),
            downs: members().map(|m| m.downs.len() + m.carried().count()).sum(),
        }
    }

    /// Galene's form: sorted arrays; names of users do not show. `tracks` is `null` for a stream
    /// whose media has not come yet, and for one that goes out of which `sent` says nothing.
    pub fn stats(&self, sent: &Sent) -> Value {
        let mut groups: Vec<_> = self.groups.values().collect();
        groups.sort_by(|left, right| left.name.cmp(&right.name));
        let groups = groups.into_iter().map(|group| group.stats(&self.shared, sent));
        groups.collect()
    }

    /// A member asks how its own streams and those that it gets fare: answered by [`Event::Numbers`].
    pub fn ask_numbers(&mut self, conn: ConnId, now: Now) {
        if let Some((group, shared)) = self.at(conn) {
            group.ask_numbers(shared, conn, now);
        }
    }
}

impl Group {
    /// One entry of [`Hub::stats`].
    fn stats(&self, shared: &Shared, sent: &Sent) -> Value {
        let mut described = Map::new();
        described.insert("name".into(), self.name.as_str().into());
        let mut members: Vec<&Member> = self.members.values().collect();
        members.sort_by(|left, right| left.id.cmp(&right.id));
        if !members.is_empty() {
            let clients = members.into_iter().map(|member| self.client(shared, member, sent));
            described.insert("clients".into(), clients.collect());
        }
        Value::Object(described)
    }

    fn ask_numbers(&mut self, shared: &mut Shared, conn: ConnId, now: Now) {
        let Some(member) = self.members.get_mut(&conn) else {
            return;
        };
        if member.asked_numbers_at.is_some_and(|at| now.mono < at + NUMBERS_APART) {
            return;
        }
        member.asked_numbers_at = Some(now.mono);
        let view = member.view.as_ref().map(View::media);
        // One stands for all: they are on one shard.
        match view.or_else(|| member.downs.values().next().map(|down| down.media)) {
            Some(media) => shared.want_media(MediaRequest::Number { media }),
            None => self.tell_numbers(shared, conn, &Sent::new()),
        }
    }

    /// The answer, once the data plane has told what it knows.
    pub(super) fn tell_numbers(&self, shared: &mut Shared, conn: ConnId, sent: &Sent) {
        let Some(member) = self.members.get(&conn) else {
            return;
        };
        let value = match &member.view {
            None => Value::Object(self.streams(shared, member, sent)),
            // Who watches through seats knows no streams.
            Some(view) => {
                let rates = sent.get(&view.media()).map_or(&[][..], Vec::as_slice);
                let seats = view.carried_by_line().filter_map(|(m_line, key)| {
                    let rate = rates.iter().find(|rate| rate.publication == key)?;
                    Some((m_line.to_string(), self.sent_track(shared, rate)))
                });
                Value::Object(seats.collect())
            }
        };
        shared.tell(conn, Event::Numbers { value });
    }

    fn client(&self, shared: &Shared, member: &Member, sent: &Sent) -> Value {
        let mut described = Map::new();
        described.insert("id".into(), member.id.as_str().into());
        described.extend(self.streams(shared, member, sent));
        Value::Object(described)
    }

    /// What a member sends, and what it receives.
    fn streams(&self, shared: &Shared, member: &Member, sent: &Sent) -> Map<String, Value> {
        let mut described = Map::new();
        let stream = |id: &str, tracks: Value, path: Option<PathState>| {
            let mut described = json!({"id": id, "tracks": tracks});
            if let (Some(path), Value::Object(fields)) = (path, &mut described) {
                fields.insert("path".into(), path.to_value());
            }
            described
        };
        let ups = member.ups.iter().map(|(id, up)| stream(id.as_str(), tracks(up), up.path));
        let downs = shared.downs(member, sent);
        let downs = downs.into_iter().map(|(id, rates)| {
            let own = member.downs.iter().find(|(stream, _)| stream.as_str() == id);
            let path = match own {
                Some((_, down)) => down.path,
                None => member.view.as_ref().and_then(|view| view.path),
            };
            stream(id, self.sent_tracks(shared, &rates), path)
        });
        for (key, streams) in [("up", ups.collect::<Vec<_>>()), ("down", downs.collect())] {
            if !streams.is_empty() {
                described.insert(key.into(), Value::Array(streams));
            }
        }
        described
    }

    /// One entry for each section that the viewer gets.
    fn sent_tracks(&self, shared: &Shared, rates: &[&SentRate]) -> Value {
        if rates.is_empty() {
            return Value::Null;
        }
        rates.iter().map(|rate| self.sent_track(shared, rate)).collect()
    }

    fn sent_track(&self, shared: &Shared, rate: &SentRate) -> Value {
        let source = self.source(shared, rate.publication);
        let rid = |encoding| source.map_or("", |(_, up)| up.rid(rate.publication.m_line, encoding));
        let mut track = begun(rate.kind, rate.codec, rate.encoding.map_or("", rid));
        let layers = [rate.spatial.0, rate.spatial.1, rate.temporal.0, rate.temporal.1];
        for (key, layer) in ["sid", "maxSid", "tid", "maxTid"].into_iter().zip(layers) {
            track.insert(key.into(), layer.into());
        }
        if let Some(aim) = rate.aim {
            let mut target = Map::new();
            if !rid(aim.encoding).is_empty() {
                target.insert("rid".into(), rid(aim.encoding).into());
            }
            target.insert("sid".into(), aim.spatial.into());
            target.insert("tid".into(), aim.temporal.into());
            track.insert("target".into(), Value::Object(target));
        }
        track.insert("bitrate".into(), rate.bits_per_second.into());
        if let Some(estimate) = rate.estimate_bits_per_second {
            track.insert("maxBitrate".into(), estimate.into());
        }
        track.insert("loss".into(), (f64::from(rate.loss_256) / 256.0).into());
        insert_ms(&mut track, [("rtt", rate.rtt_us), ("jitter", rate.jitter_us)]);
        if let Some(held) = rate.held {
            track.insert("held".into(), held.name().into());
        }
        if rate.kind == MediaKind::Video {
            let (freezes, frozen_ms) = rate.still;
            track.insert("freezes".into(), freezes.into());
            track.insert("frozen".into(), (f64::from(frozen_ms) / 1000.0).into());
            track.insert("keyframes".into(), rate.keyframes_asked.into());
        }
        Value::Object(track)
    }
}

impl Shared {
    /// What a member gets of each stream: on a transport of its own, or in the seats of its view.
    fn downs<'a>(
        &'a self,
        member: &'a Member,
        sent: &'a Sent,
    ) -> BTreeMap<&'a str, Vec<&'a SentRate>> {
        let rates = |media| sent.get(&media).into_iter().flatten();
        let mut downs: BTreeMap<&str, Vec<&SentRate>> = BTreeMap::new();
        for (id, down) in &member.downs {
            downs.entry(id.as_str()).or_default().extend(rates(down.media));
        }
        for key in member.carried() {
            // A publisher that has just left still has its seat.
            let Some(owner) = self.media.get(&key.media) else {
                continue;
            };
            let found = member.view.as_ref().map(|view| rates(view.media()));
            let found = found.into_iter().flatten().filter(|rate| rate.publication == *key);
            downs.entry(owner.stream.as_str()).or_default().extend(found);
        }
        downs
    }
}

/// One entry for each Encoding that has brought anything.
fn tracks(up: &Up) -> Value {
    if up.rates.is_empty() {
        return Value::Null;
    }
    let track = |rate: &Rate| {
        let kind = up.publications.iter().find(|(m_line, _)| *m_line == rate.m_line);
        let kind = kind.map_or(MediaKind::Audio, |(_, kind)| *kind);
        let rid = up.rid(rate.m_line, rate.encoding);
        let mut track = begun(kind, rate.codec, rid);
        track.insert("bitrate".into(), rate.bits_per_second.into());
        track.insert("loss".into(), (f64::from(rate.loss_256) / 256.0).into());
        insert_ms(&mut track, [("rtt", rate.rtt_us), ("jitter", rate.jitter_us)]);
        if !rid.is_empty() {
            let wanted = up.wanted.get(&rate.m_line).copied().unwrap_or(u8::MAX);
            let is_wanted = wanted.checked_shr(rate.encoding.into()).is_none_or(|w| w & 1 != 0);
            track.insert("wanted".into(), is_wanted.into());
        }
        Value::Object(track)
    };
    up.rates.iter().map(track).collect()
}

/// What it is.
fn begun(kind: MediaKind, codec: &str, rid: &str) -> Map<String, Value> {
    let mut track = Map::new();
    let kind = match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    };
    for (key, text) in [("kind", kind), ("codec", codec), ("rid", rid)] {
        if !text.is_empty() {
            track.insert(key.into(), text.into());
        }
    }
    track
}

/// Those that are known, in milliseconds.
fn insert_ms(track: &mut Map<String, Value>, known: [(&str, u32); 2]) {
    for (key, us) in known.into_iter().filter(|(_, us)| *us > 0) {
        track.insert(key.into(), (f64::from(us) / 1000.0).into());
    }
}

//! What administrators see: every group in memory with its members and streams.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::Hub;
use crate::ids::MediaId;
use crate::member::Member;
use crate::path::PathState;
use crate::stream::{Rate, SentRate, Up};

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
            connections: self.clients.len(),
            ups: members().map(|member| member.ups.len()).sum(),
            downs: members().map(|m| m.downs.len() + m.carried().count()).sum(),
        }
    }

    /// Galene's form: sorted arrays; names of users do not show. `tracks` is `null` for a stream
    /// whose media has not come yet, and for one that goes out of which `sent` says nothing.
    pub fn stats(&self, sent: &Sent) -> Value {
        let mut groups: Vec<_> = self.groups.values().collect();
        groups.sort_by(|left, right| left.name.cmp(&right.name));
        let groups = groups.into_iter().map(|group| {
            let mut described = Map::new();
            described.insert("name".into(), group.name.as_str().into());
            let mut members: Vec<&Member> = group.members.values().collect();
            members.sort_by(|left, right| left.id.cmp(&right.id));
            if !members.is_empty() {
                described.insert(
                    "clients".into(),
                    members.into_iter().map(|member| self.client(member, sent)).collect(),
                );
            }
            Value::Object(described)
        });
        groups.collect()
    }

    fn client(&self, member: &Member, sent: &Sent) -> Value {
        let mut described = Map::new();
        described.insert("id".into(), member.id.as_str().into());
        let stream = |id: &str, tracks: Value, path: Option<PathState>| {
            let mut described = json!({"id": id, "tracks": tracks});
            if let (Some(path), Value::Object(fields)) = (path, &mut described) {
                fields.insert("path".into(), path.to_value());
            }
            described
        };
        let ups = member.ups.iter().map(|(id, up)| stream(id.as_str(), tracks(up), up.path));
        let downs = self.downs(member, sent);
        let downs = downs.into_iter().map(|(id, rates)| {
            let own = member.downs.iter().find(|(stream, _)| stream.as_str() == id);
            let path = match own {
                Some((_, down)) => down.path,
                None => member.view.as_ref().and_then(|view| view.path),
            };
            stream(id, sent_tracks(&rates), path)
        });
        for (key, streams) in [("up", ups.collect::<Vec<_>>()), ("down", downs.collect())] {
            if !streams.is_empty() {
                described.insert(key.into(), Value::Array(streams));
            }
        }
        Value::Object(described)
    }

    /// What a member gets of each stream: on a transport of its own, or in the slots of its view.
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
            // A publisher that has just left still has its slot.
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
        let mut track = Map::new();
        track.insert("bitrate".into(), rate.bits_per_second.into());
        track.insert("loss".into(), (f64::from(rate.loss_256) / 256.0).into());
        if rate.jitter_us > 0 {
            track.insert("jitter".into(), (f64::from(rate.jitter_us) / 1000.0).into());
        }
        Value::Object(track)
    };
    up.rates.iter().map(track).collect()
}

/// One entry for each section that the viewer gets.
fn sent_tracks(rates: &[&SentRate]) -> Value {
    if rates.is_empty() {
        return Value::Null;
    }
    let track = |rate: &&SentRate| {
        let mut track = Map::new();
        let layers = [rate.spatial.0, rate.spatial.1, rate.temporal.0, rate.temporal.1];
        for (key, layer) in ["sid", "maxSid", "tid", "maxTid"].into_iter().zip(layers) {
            track.insert(key.into(), layer.into());
        }
        track.insert("bitrate".into(), rate.bits_per_second.into());
        if let Some(estimate) = rate.estimate_bits_per_second {
            track.insert("maxBitrate".into(), estimate.into());
        }
        track.insert("loss".into(), (f64::from(rate.loss_256) / 256.0).into());
        for (key, us) in [("rtt", rate.rtt_us), ("jitter", rate.jitter_us)] {
            if us > 0 {
                track.insert(key.into(), (f64::from(us) / 1000.0).into());
            }
        }
        Value::Object(track)
    };
    rates.iter().map(track).collect()
}

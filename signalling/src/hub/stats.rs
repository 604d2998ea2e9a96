//! What administrators see: every group in memory with its members and streams.

use serde_json::{Map, Value, json};

use super::Hub;
use crate::group::Member;
use crate::stream::{Rate, Up};

/// How many there are of what, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// In memory.
    pub groups: usize,
    /// Members of groups.
    pub clients: usize,
    /// Connections, members or not.
    pub connections: usize,
    /// Streams that members send.
    pub publications: usize,
    /// Streams that members receive.
    pub subscriptions: usize,
}

impl Hub {
    /// Counts.
    pub fn census(&self) -> Census {
        let members = || self.groups.values().flat_map(|group| group.members.values());
        Census {
            groups: self.groups.len(),
            clients: members().count(),
            connections: self.clients.len(),
            publications: members().map(|member| member.ups.len()).sum(),
            subscriptions: members().map(|m| m.downs.len() + m.carried()).sum(),
        }
    }

    /// Galene's form: sorted arrays; names of users do not show. `tracks` is `null` for a stream
    /// whose media has not come yet, and for those that go out, whose rates are not known here.
    pub fn stats(&self) -> Value {
        let mut groups: Vec<_> = self.groups.values().collect();
        groups.sort_by(|left, right| left.name.cmp(&right.name));
        let groups = groups.into_iter().map(|group| {
            let mut described = Map::new();
            described.insert("name".into(), group.name.as_str().into());
            let mut members: Vec<&Member> = group.members.values().collect();
            members.sort_by(|left, right| left.id.cmp(&right.id));
            if !members.is_empty() {
                described.insert("clients".into(), members.into_iter().map(client).collect());
            }
            Value::Object(described)
        });
        groups.collect()
    }
}

fn client(member: &Member) -> Value {
    let mut described = Map::new();
    described.insert("id".into(), member.id.as_str().into());
    let ups = member.ups.iter().map(|(id, up)| json!({"id": id.as_str(), "tracks": tracks(up)}));
    let downs = member.downs.keys().map(|id| json!({"id": id.as_str(), "tracks": null}));
    for (key, streams) in [("up", ups.collect::<Vec<_>>()), ("down", downs.collect())] {
        if !streams.is_empty() {
            described.insert(key.into(), Value::Array(streams));
        }
    }
    Value::Object(described)
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

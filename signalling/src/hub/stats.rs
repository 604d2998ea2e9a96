//! What administrators see: every group in memory with its members and streams.

use serde_json::{Map, Value, json};

use super::Hub;
use crate::group::Member;
use crate::ids::StreamId;

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

    /// Galene's form: sorted arrays; names of users do not show. The rates of tracks are not
    /// known here, so `tracks` is `null`, as for a stream whose media has not come yet.
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
    for (key, streams) in
        [("up", streams(member.ups.keys())), ("down", streams(member.downs.keys()))]
    {
        if !streams.is_empty() {
            described.insert(key.into(), Value::Array(streams));
        }
    }
    Value::Object(described)
}

fn streams<'a>(ids: impl Iterator<Item = &'a StreamId>) -> Vec<Value> {
    ids.map(|id| json!({"id": id.as_str(), "tracks": null})).collect()
}

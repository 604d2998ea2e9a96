//! Group files: asked for when a group is needed, and adopted by the group in memory.

use std::sync::Arc;

use super::{Event, GROUPS_MAX, GroupFile, Hub, Message, Output, StatusReply, Waiting};
use crate::group::Group;
use crate::name::GroupName;
use crate::permission::OP;
use crate::time::Now;

/// Why there is no group to join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unusable {
    Missing,
    Broken,
}

impl Hub {
    pub(super) fn load(&mut self, name: GroupName, waiting: Waiting) {
        let queue = self.loads.entry(name.clone()).or_default();
        queue.push(waiting);
        if queue.len() == 1 {
            self.outputs.push_back(Output::Load(name));
        }
    }

    /// What came of [`Output::Load`].
    pub fn group_file(&mut self, name: &GroupName, file: GroupFile, now: Now) {
        let usable = self.adopt(name, file, now);
        // The new file may want it locked or empty while no operator is there; before anybody is let in.
        self.settle(name, now);
        for waiting in self.loads.remove(name).unwrap_or_default() {
            match waiting {
                Waiting::Nobody => {}
                Waiting::Status(ticket) => {
                    let reply = match (&usable, self.groups.get(name)) {
                        (Ok(()), Some(group)) => StatusReply::Found(Box::new(group.view())),
                        (Err(Unusable::Missing), _) => StatusReply::Missing,
                        _ => StatusReply::Broken,
                    };
                    self.outputs.push_back(Output::Status(ticket, reply));
                }
                Waiting::Join(conn) => self.identify_joiner(conn, name, &usable),
            }
        }
    }

    /// Brings the group in memory up to date.
    fn adopt(&mut self, name: &GroupName, file: GroupFile, now: Now) -> Result<(), Unusable> {
        match file {
            GroupFile::Found(_) if !self.groups.contains_key(name) && !self.make_room() => {
                Err(Unusable::Broken)
            }
            GroupFile::Found(description) => match self.groups.get_mut(name) {
                Some(group) => {
                    if group.adopt(description) {
                        self.tell_changed(name, true);
                        self.follow_all_consents(name);
                    }
                    Ok(())
                }
                None => {
                    let group = Group::new(name.clone(), description, now.mono);
                    self.groups.insert(name.clone(), group);
                    Ok(())
                }
            },
            GroupFile::Missing => {
                if let Some(group) = self.groups.get_mut(name) {
                    group.is_orphan = true;
                    if group.members.is_empty() {
                        self.groups.remove(name);
                    }
                }
                Err(Unusable::Missing)
            }
            GroupFile::Broken(error) => {
                let Some(group) = self.groups.get_mut(name) else {
                    return Err(Unusable::Broken);
                };
                // The old description stays in force; ops are told once per kind of error.
                let text = format!("the group file cannot be used, the old one stays: {error}");
                if group.told_broken.as_ref() != Some(&text) {
                    group.told_broken = Some(text.clone());
                    self.warn_ops(name, &text);
                }
                Ok(())
            }
        }
    }

    /// Whether one more group fits, if need be in place of the empty one that has been quiet for
    /// longest: names below a group with automatic subgroups can be made up without end.
    fn make_room(&mut self) -> bool {
        if self.groups.len() < GROUPS_MAX {
            return true;
        }
        let empty = self
            .groups
            .values()
            .filter(|group| group.members.is_empty() && !group.description.listing.is_public);
        let oldest = empty.min_by_key(|group| group.touched_at).map(|group| group.name.clone());
        oldest.is_some_and(|name| self.groups.remove(&name).is_some())
    }

    fn warn_ops(&mut self, name: &GroupName, text: &str) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let ops = group.members.iter().filter(|(_, member)| member.traits.chats && member.may(OP));
        let ops = ops.map(|(conn, _)| *conn).collect();
        let message = Message {
            kind: "warning".to_owned(),
            is_privileged: true,
            value: Some(text.into()),
            ..Message::default()
        };
        self.tell_many(ops, Event::UserMessage(Arc::new(message)));
    }
}

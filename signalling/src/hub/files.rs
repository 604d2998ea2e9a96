//! Group files: asked for when a group is needed, and adopted by the group in memory.

use std::sync::Arc;

use super::refused::Refused;
use super::{Event, GROUPS_MAX, GroupFile, Hub, Message, Output, Shared, StatusReply, Waiting};
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
            self.shared.outputs.push_back(Output::Load(name));
        }
    }

    /// What came of [`Output::Load`].
    pub fn group_file(&mut self, name: &GroupName, file: GroupFile, now: Now) {
        let usable = self.adopt(name, file, now);
        for waiting in self.loads.remove(name).unwrap_or_default() {
            match waiting {
                Waiting::Nobody => {}
                Waiting::Status(ticket) => {
                    let reply = match (&usable, self.groups.get(name)) {
                        (Ok(()), Some(group)) => StatusReply::Found(Box::new(group.view())),
                        (Err(Unusable::Missing), _) => StatusReply::Missing,
                        _ => StatusReply::Broken,
                    };
                    self.shared.outputs.push_back(Output::Status(ticket, reply));
                }
                Waiting::Join(conn) => self.identify_joiner(conn, name, &usable),
            }
        }
    }

    /// Brings the group in memory up to date.
    fn adopt(&mut self, name: &GroupName, file: GroupFile, now: Now) -> Result<(), Unusable> {
        if let Some(result) = self.within(name, |group, shared| {
            let result = group.take_file(shared, &file);
            // The new file may want it locked or empty while no operator is there; before anybody is let in.
            group.settle(shared, now);
            result
        }) {
            return result;
        }
        match file {
            GroupFile::Found(description) if self.make_room() => {
                let mut group = Group::new(name.clone(), description, now.mono);
                group.settle(&mut self.shared, now);
                self.groups.insert(name.clone(), group);
                Ok(())
            }
            GroupFile::Missing => Err(Unusable::Missing),
            GroupFile::Found(_) | GroupFile::Broken(_) => Err(Unusable::Broken),
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
            .filter(|group| group.is_deserted() && !group.description.listing.is_public);
        let oldest = empty.min_by_key(|group| group.touched_at).map(|group| group.name.clone());
        oldest.is_some_and(|name| self.groups.remove(&name).is_some())
    }
}

impl Group {
    /// Follows what has become of its file. With a mistake in it the old description stays.
    fn take_file(&mut self, shared: &mut Shared, file: &GroupFile) -> Result<(), Unusable> {
        match file {
            GroupFile::Found(description) => {
                if self.adopt(description.clone()) {
                    self.look_again_at_waiting(shared);
                    self.tell_changed(shared, true);
                    self.follow_all_consents(shared);
                }
                Ok(())
            }
            GroupFile::Missing => {
                self.is_orphan = true;
                self.close_door(shared, &Refused::no_such_group());
                Err(Unusable::Missing)
            }
            GroupFile::Broken(error) => {
                // Ops are told once per kind of error.
                let text = format!("the group file cannot be used, the old one stays: {error}");
                if self.told_broken.as_ref() != Some(&text) {
                    self.warn_ops(shared, &text);
                    self.told_broken = Some(text);
                }
                Ok(())
            }
        }
    }

    fn warn_ops(&self, shared: &mut Shared, text: &str) {
        let mut ops = self.chatting();
        ops.retain(|conn| self.members.get(conn).is_some_and(|member| member.may(OP)));
        let message = Message {
            kind: "warning".to_owned(),
            is_privileged: true,
            value: Some(text.into()),
            ..Message::default()
        };
        shared.tell_many(ops, Event::UserMessage(Arc::new(message)));
    }
}

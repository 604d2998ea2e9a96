//! Who speaks: told to the control plane, which compares all of a group, and to shards that show who it is.

use super::Shard;
use super::transports::Transports;
use crate::api::Event;
use crate::codec::MediaKind;
use crate::id::{PublicationId, ReaderId};
use crate::lane::PeerMessage;
use crate::transport::{Role, Transport};
use crate::voice::VoiceReport;

/// Sound of which nothing has come for so long has stopped: senders that leave silence out still send a
/// packet every 400 ms (RFC 6716 s2.1.9).
const STOPPED_US: u64 = 1_000_000;

impl Shard {
    /// A publisher's sound has become something else.
    pub(super) fn tell_voice(&mut self, slot: usize, sound: PublicationId, report: VoiceReport) {
        self.events.push(Event::Voice { publication: sound, report });
        let Some(publisher) = self.transports.publisher(slot) else {
            return;
        };
        let is_speaking = report.is_speaking;
        for (m_line, picture) in (0..).zip(&publisher.publications) {
            let Some(picture) = picture.as_ref().filter(|found| found.kind == MediaKind::Video)
            else {
                continue;
            };
            let publication = PublicationId { m_line, ..sound };
            let Some(source) = self.sources.get_mut(publication) else {
                continue;
            };
            if std::mem::replace(&mut source.is_speaking, is_speaking) == is_speaking {
                continue;
            }
            for reader in ReaderId::all_in(picture.readers) {
                if let ReaderId::Shard(shard) = reader {
                    let message = PeerMessage::Speaking { publication, is_speaking };
                    self.messages.push((shard, message));
                }
            }
        }
    }

    /// Sound that has stopped ends speech.
    pub(super) fn look_at_voices(&mut self, slot: usize, now_us: u64) {
        let Some(Transport { id, role: Role::Publisher(publisher), .. }) =
            self.transports.get_mut(slot)
        else {
            return;
        };
        let transport = *id;
        let mut ended = Vec::new();
        for (m_line, publication) in (0..).zip(&mut publisher.publications) {
            if let Some(publication) = publication
                && publication.voice.is_speaking()
                && publication.encodings.iter().all(|e| now_us >= e.last_at_us + STOPPED_US)
                && let Some(report) = publication.voice.fall_silent(now_us)
            {
                ended.push((PublicationId { transport, m_line }, report));
            }
        }
        for (publication, report) in ended {
            self.tell_voice(slot, publication, report);
        }
    }
}

impl Transports {
    /// Sends a publisher's sound on to viewers, or not.
    pub(super) fn set_heard(&mut self, publication: PublicationId, is_heard: bool) {
        if let Some(publication) = self.publication_mut(publication)
            && publication.kind == MediaKind::Audio
        {
            publication.gate.set_open(is_heard);
        }
    }
}

//! The network paths of a Transport: which of them its peer has shown, which is used. The peer is
//! the controlling agent and may nominate several; used is the nominated one of highest priority
//! (RFC 8445 s8.1) that is heard of and that is proven to lead to the peer.
//!
//! An authentic check proves nothing of the kind: whoever has the Transport's password can send it
//! under anybody's address, and would have a stream of media aimed there. A path is proven by the
//! answer to a check of ours, which nobody can give who has not received it, or by a handshake: of DTLS,
//! if all of its flights went there, or of TCP. Consent is asked for in the same way, as long as the peer answers
//! at all (RFC 7675 s5.1); some encoders do not, and count as there while they are heard of.
//!
//! Sans-IO: what to ask comes out of [`Paths::question`], where to send out of [`Paths::select`].

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::demux::{Class, classify};

/// Paths that one Transport remembers (docs/threats.md, row 8); the one heard of longest ago makes room.
pub(crate) const PATHS_MAX: usize = 16;
/// A path is out of use when another has been heard of for so much longer: checks come every 2.5 s
/// (libwebrtc) to 5 s (RFC 7675).
const QUIET: Duration = Duration::from_secs(5);
/// A path of equal priority takes over the nomination of one that has fallen silent: it is the same
/// candidate behind a NAT that has given it another port.
const REBOUND: Duration = Duration::from_secs(1);
/// Consent ends so long after the last answer, or the last sign of life of a peer that gives none
/// (RFC 7675 s5.1).
const CONSENT: Duration = Duration::from_secs(30);
/// Between an answer and the next question. Then it is repeated every second until it is answered.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// A peer that has been silent for so long is asked at once, if it answers at all.
const ASK_SILENT: Duration = Duration::from_secs(3);
/// Between two questions on one path, and between two that checks have called for.
const ASK_AGAIN: Duration = Duration::from_millis(500);
const ASK_APART: Duration = Duration::from_millis(100);
/// Questions without an answer, since the last check, after which a path is left alone.
const ASK_TIMES_MAX: u8 = 3;
/// The engine forgets a pair that it has not heard of for 15 s: as often it sees a check, however many
/// are answered without it.
const ENGINE_EVERY: Duration = Duration::from_secs(5);
/// Answers after which a peer is known to give them always: some answer in the handshake only.
const ANSWERS_ENOUGH: u8 = 2;

/// A TCP connection of one shard; no other one of that shard ever has the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StreamId(pub u32);

/// What datagrams to a peer go over on its side of us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// UDP.
    Udp,
    /// A connection (RFC 6544).
    Tcp,
    /// Our TURN server, which it reaches over UDP.
    TurnUdp,
    /// The same over TCP.
    TurnTcp,
    /// The same over TLS.
    TurnTls,
}

/// One way to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// The peer's address.
    pub peer: SocketAddr,
    /// Ours, which it sends to; `None` lets the system choose.
    pub local: Option<IpAddr>,
    /// The connection, if it is one (RFC 6544), or one end of a relay's; else UDP.
    pub stream: Option<StreamId>,
    /// What is behind that.
    pub over: Over,
}

impl Path {
    /// A path over UDP.
    pub fn udp(peer: SocketAddr, local: Option<IpAddr>) -> Self {
        Self { peer, local, stream: None, over: Over::Udp }
    }
}

/// Which of a Transport's paths: its place in the list, which it keeps while it is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PathIndex(u8);

/// What a path's last check said of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Nomination {
    /// Never nominated.
    Never,
    /// It was, but checks have come without it since another one is.
    Left(u64),
    /// At the check of this number.
    At(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proof {
    None,
    /// A handshake has: the flights of DTLS have reached the peer, or it has opened a connection.
    Handshake,
    /// Questions were answered, at last then.
    Answers {
        count: u8,
        at: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
struct Question {
    id: [u8; 12],
    at: Instant,
    times: u8,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    path: Path,
    /// The pair's (RFC 8445 s6.1.2.3).
    priority: u64,
    /// Which ICE restart its checks belong to.
    generation: u32,
    nomination: Nomination,
    /// The number of the check that it was first seen by.
    since: u64,
    heard_at: Instant,
    /// When the engine last saw a check.
    engine_at: Option<Instant>,
    proof: Proof,
    question: Option<Question>,
    /// Its connection has ended.
    is_gone: bool,
}

impl Known {
    fn is_proven(&self, now: Instant) -> bool {
        let is_heard = now.saturating_duration_since(self.heard_at) < CONSENT;
        if self.is_gone {
            return false;
        }
        match self.proof {
            Proof::None => false,
            Proof::Handshake => is_heard,
            Proof::Answers { count, at } => {
                let is_recent = now.saturating_duration_since(at) < CONSENT;
                is_recent || (count < ANSWERS_ENOUGH && is_heard)
            }
        }
    }

    /// Whether the peer is known to answer our checks.
    fn answers(&self) -> bool {
        matches!(self.proof, Proof::Answers { count, .. } if count >= ANSWERS_ENOUGH)
    }

    /// Whether it is time to ask, if this path matters.
    fn is_due(&self, now: Instant) -> bool {
        let passed = |at: Instant, least: Duration| now.saturating_duration_since(at) >= least;
        let is_wanted = match self.proof {
            Proof::None | Proof::Handshake => true,
            Proof::Answers { at, .. } => passed(at, ASK_EVERY) || passed(self.heard_at, ASK_SILENT),
        };
        let is_known_to_answer = self.answers();
        is_wanted
            && self.question.is_none_or(|question| {
                passed(question.at, ASK_AGAIN)
                    && (question.times < ASK_TIMES_MAX || is_known_to_answer)
            })
    }
}

/// The peer's checks as far as paths depend on them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    /// The pair's priority.
    pub priority: u64,
    /// Whether it nominates the pair.
    pub nominates: bool,
    /// How often ICE was restarted before it: later nominations count more.
    pub generation: u32,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    known: Vec<Known>,
    current: Option<PathIndex>,
    /// Checks so far.
    checks: u64,
    asked_at: Option<Instant>,
    /// When the connection in use ended.
    lost_at: Option<Instant>,
    /// How long the last answer to a question took that was put once only.
    round_trip: Option<Duration>,
    handshake: Handshake,
}

/// Where the DTLS handshake takes place.
#[derive(Debug, Default)]
struct Handshake {
    /// Where its last record came from.
    from: Option<PathIndex>,
    /// Where our flights went, and whether that was one path only.
    to: Option<PathIndex>,
    is_scattered: bool,
    /// The one path that all of them had gone to when the last record came.
    reached: Option<PathIndex>,
}

/// RFC 8445 s6.1.2.3, for the controlled side.
pub(crate) fn pair_priority(theirs: u32, ours: u32) -> u64 {
    let (least, most) = (u64::from(theirs.min(ours)), u64::from(theirs.max(ours)));
    (least << 32) + 2 * most + u64::from(theirs > ours)
}

impl Paths {
    /// Where something that the engine made for `to` goes: an answer of STUN the way that its
    /// request came, `via`, and DTLS where the handshake takes place, or what is in use.
    pub(crate) fn way(
        &mut self,
        via: Option<PathIndex>,
        to: SocketAddr,
        datagram: &[u8],
    ) -> Option<Path> {
        match classify(datagram) {
            Class::Stun => self.get(via.or_else(|| self.find(Path::udp(to, None)))?),
            _ => self.handshake_to(),
        }
    }

    /// Whether any check has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// All that are remembered.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.known.iter().map(|known| &known.path)
    }

    /// One of them.
    pub(crate) fn get(&self, at: PathIndex) -> Option<Path> {
        self.known.get(usize::from(at.0)).map(|known| known.path)
    }

    /// The place of a path.
    pub(crate) fn find(&self, path: Path) -> Option<PathIndex> {
        let is_it = |known: &Known| {
            known.path.peer == path.peer && known.path.stream == path.stream && !known.is_gone
        };
        let at = self.known.iter().position(is_it)?;
        Some(PathIndex(at as u8))
    }

    /// The connection of a path has ended.
    pub(crate) fn lose(&mut self, at: PathIndex, now: Instant) {
        if let Some(known) = self.known.get_mut(usize::from(at.0)) {
            known.is_gone = true;
        }
        if self.current == Some(at) {
            self.lost_at = Some(now);
        }
    }

    /// Whether there is no path any more and none will come: after a connection has ended the peer
    /// may open another.
    pub(crate) fn has_lapsed(&self, now: Instant) -> bool {
        let is_over = |at: Instant| now.saturating_duration_since(at) >= CONSENT;
        self.current.is_none() && self.lost_at.is_none_or(is_over)
    }

    /// The path in use.
    pub(crate) fn current(&self) -> Option<Path> {
        self.get(self.current?)
    }

    /// Notes an authentic check. Returns the path's place, and the path that had to make room.
    pub(crate) fn check(
        &mut self,
        path: Path,
        check: Check,
        now: Instant,
    ) -> (PathIndex, Option<Path>) {
        self.checks += 1;
        let (at, evicted) = self.place(path, check, now);
        let number = self.checks;
        let newest = self.known.iter().enumerate().filter(|(other, _)| *other != at);
        let newest = newest.filter_map(|(_, known)| match known.nomination {
            Nomination::At(number) => Some(number),
            Nomination::Left(_) | Nomination::Never => None,
        });
        let newest = newest.max().unwrap_or(0);
        let Some(known) = self.known.get_mut(at) else {
            return (PathIndex(0), evicted);
        };
        known.path.local = path.local;
        if !known.is_proven(now) {
            known.proof = Proof::None;
        }
        known.priority = check.priority;
        known.heard_at = now;
        if known.generation != check.generation {
            known.generation = check.generation;
            known.nomination = Nomination::Never;
            known.engine_at = None;
        }
        known.nomination = match (check.nominates, known.nomination) {
            (true, _) => Nomination::At(number),
            // libwebrtc nominates with every check what it uses and nothing else.
            (false, Nomination::At(last)) if newest > last => Nomination::Left(last),
            (false, before) => before,
        };
        if known.proof == Proof::None
            && let Some(question) = &mut known.question
        {
            question.times = 0;
        }
        (PathIndex(at as u8), evicted)
    }

    fn place(&mut self, path: Path, check: Check, now: Instant) -> (usize, Option<Path>) {
        if let Some(PathIndex(at)) = self.find(path) {
            return (usize::from(at), None);
        }
        let fresh = Known {
            path,
            priority: check.priority,
            generation: check.generation,
            nomination: Nomination::Never,
            since: self.checks,
            heard_at: now,
            engine_at: None,
            proof: if path.stream.is_some() { Proof::Handshake } else { Proof::None },
            question: None,
            is_gone: false,
        };
        if self.known.len() < PATHS_MAX {
            self.known.push(fresh);
            return (self.known.len() - 1, None);
        }
        let current = self.current.map(|PathIndex(at)| usize::from(at));
        let others = (0..self.known.len()).filter(|at| Some(*at) != current);
        let at = others.min_by_key(|at| (!self.known[*at].is_gone, self.known[*at].heard_at));
        let at = at.unwrap_or(0);
        self.handshake.forget(PathIndex(at as u8));
        let evicted = std::mem::replace(&mut self.known[at], fresh);
        (at, Some(evicted.path))
    }

    /// The priority of the path in use, and which ICE restart it belongs to.
    pub(crate) fn standing(&self) -> Option<(u64, u32)> {
        let PathIndex(at) = self.current?;
        self.known.get(usize::from(at)).map(|known| (known.priority, known.generation))
    }

    /// Whether the engine is to see the check that has come over a path; if so it counts as seen.
    pub(crate) fn take_engine_turn(&mut self, at: PathIndex, now: Instant) -> bool {
        let Some(known) = self.known.get_mut(usize::from(at.0)) else {
            return false;
        };
        let is_due = |at: Instant| now.saturating_duration_since(at) >= ENGINE_EVERY;
        let has_turn = known.engine_at.is_none_or(is_due);
        if has_turn {
            known.engine_at = Some(now);
        }
        has_turn
    }

    /// An authentic packet came over a path.
    pub(crate) fn heard(&mut self, at: PathIndex, now: Instant) {
        if let Some(known) = self.known.get_mut(usize::from(at.0)) {
            known.heard_at = now;
        }
    }

    /// Whether the peer is known to answer our checks on the path in use.
    pub(crate) fn answers(&self) -> bool {
        let current = self.current.and_then(|PathIndex(at)| self.known.get(usize::from(at)));
        current.is_some_and(Known::answers)
    }

    /// When anything was heard last.
    pub(crate) fn heard_at(&self) -> Option<Instant> {
        self.known.iter().map(|known| known.heard_at).max()
    }

    /// Whether a path was heard of so recently that its address is nobody else's.
    pub(crate) fn is_live(&self, at: PathIndex, now: Instant) -> bool {
        let known = self.known.get(usize::from(at.0));
        known.is_some_and(|known| now.saturating_duration_since(known.heard_at) < QUIET)
    }

    /// A DTLS record came over a path: what we answer goes there.
    pub(crate) fn handshake_from(&mut self, at: PathIndex) {
        self.handshake.from = Some(at);
        self.handshake.reached = self.handshake.to.filter(|_| !self.handshake.is_scattered);
    }

    /// Where DTLS goes.
    pub(crate) fn handshake_to(&mut self) -> Option<Path> {
        if let Some(current) = self.current {
            return self.get(current);
        }
        let to = self.handshake.from.or_else(|| self.best(|_| true))?;
        let before = self.handshake.to.replace(to);
        self.handshake.is_scattered |= before.is_some_and(|before| before != to);
        self.get(to)
    }

    /// The peer has finished the handshake with what came last, so it has received what we had sent
    /// before, wherever that went.
    pub(crate) fn prove_by_handshake(&mut self) {
        if let Some(PathIndex(at)) = self.handshake.reached.take()
            && let Some(known) = self.known.get_mut(usize::from(at))
            && known.proof == Proof::None
        {
            known.proof = Proof::Handshake;
        }
    }

    /// Whether a message with this id answers what was asked last on a path; then it is proven.
    pub(crate) fn answer(&mut self, at: PathIndex, id: [u8; 12], now: Instant) -> bool {
        let Some(known) = self.known.get_mut(usize::from(at.0)) else {
            return false;
        };
        if known.question.is_none_or(|question| question.id != id) {
            return false;
        }
        if let Some(Question { at, times: 1, .. }) = known.question.take() {
            self.round_trip = Some(now.saturating_duration_since(at));
        }
        known.heard_at = now;
        known.proof = match known.proof {
            Proof::Answers { count, .. } => {
                Proof::Answers { count: count.saturating_add(1), at: now }
            }
            Proof::None | Proof::Handshake => Proof::Answers { count: 1, at: now },
        };
        true
    }

    /// How long the last answer to a question took, in microseconds; 0 if there was none. Of a question
    /// that had to be repeated nobody knows which was answered.
    pub(crate) fn round_trip_us(&self) -> u32 {
        self.round_trip.map_or(0, |took| u32::try_from(took.as_micros()).unwrap_or(u32::MAX))
    }

    /// The path to be asked now, if any: the one in use, or the one that should be. And what its
    /// answer is told by, which nobody can guess.
    pub(crate) fn question(&mut self, now: Instant) -> Option<(Path, [u8; 12])> {
        if self.asked_at.is_some_and(|at| now.saturating_duration_since(at) < ASK_APART) {
            return None;
        }
        let PathIndex(at) = self.due(now)?;
        let known = self.known.get_mut(usize::from(at))?;
        let times = known.question.map_or(0, |question| question.times);
        // A question that is repeated is the same one: an answer to either will do.
        let id = match known.question {
            Some(question) => question.id,
            None => unguessable()?,
        };
        known.question = Some(Question { id, at: now, times: times.saturating_add(1) });
        self.asked_at = Some(now);
        Some((known.path, id))
    }

    fn due(&self, now: Instant) -> Option<PathIndex> {
        let has_nominated = self.known.iter().any(|known| known.nomination != Nomination::Never);
        let wanted = self.best(|known| {
            !has_nominated || known.nomination != Nomination::Never || self.is_rebound(known)
        });
        [wanted, self.current].into_iter().flatten().find(|PathIndex(at)| {
            self.known.get(usize::from(*at)).is_some_and(|known| known.is_due(now))
        })
    }

    /// Chooses anew where to send; `None` if no path is proven.
    pub(crate) fn select(&mut self, now: Instant) -> Option<Path> {
        for known in &mut self.known {
            // What has lapsed does not come back by being heard of.
            if !known.is_proven(now) {
                known.proof = Proof::None;
            }
        }
        self.current = self.best(|known| known.is_proven(now));
        self.get(self.current?)
    }

    /// The best of some: those that are heard of, then by ICE restart, nomination and priority, of
    /// equal ones the newest.
    fn best(&self, may: impl Fn(&Known) -> bool) -> Option<PathIndex> {
        let newest = self.heard_at()?;
        let rank = |known: &Known| {
            let is_fresh = newest.saturating_duration_since(known.heard_at) < QUIET;
            let class = match known.nomination {
                Nomination::At(_) => 2,
                Nomination::Left(_) => 1,
                Nomination::Never if self.is_rebound(known) => 2,
                Nomination::Never => 0,
            };
            (is_fresh, known.generation, class, known.priority, known.since)
        };
        let all = self.known.iter().enumerate().filter(|(_, known)| !known.is_gone && may(known));
        all.max_by_key(|(_, known)| rank(known)).map(|(at, _)| PathIndex(at as u8))
    }

    /// Whether a path that is not nominated stands for one that is and has fallen silent.
    fn is_rebound(&self, known: &Known) -> bool {
        self.known.iter().any(|before| {
            before.nomination != Nomination::Never
                && before.priority == known.priority
                && before.generation == known.generation
                && known.since > before.since
                && known.heard_at.saturating_duration_since(before.heard_at) >= REBOUND
        })
    }
}

impl Handshake {
    fn forget(&mut self, at: PathIndex) {
        if self.from == Some(at) {
            self.from = None;
        }
        // What went there went elsewhere than what is there from now on.
        self.is_scattered |= self.to == Some(at);
        self.reached = self.reached.filter(|reached| *reached != at);
    }
}

fn unguessable() -> Option<[u8; 12]> {
    let mut id = [0; 12];
    aws_lc_rs::rand::fill(&mut id).ok()?;
    Some(id)
}

#[cfg(test)]
mod tests;

//! The control plane's one task: it owns the switchboard and the bridge. Everything else talks to
//! it through a bounded queue, and it never waits for anybody.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, mpsc as sync};
use std::time::{Duration, Instant};

use signalling::whip;
use signalling::{
    Action, Bearer, Caller, Census, CloseCode, ConnId, CredentialCheck, GroupFile, GroupName,
    NotDone, Now, Operation, Protocol, Recipients, RecordOrder, Relay, StatusReply, StatusView,
    Switchboard, Ticket, TokenReply, TokenRequest,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::authenticator::Authenticator;
use crate::bridge::{Bridge, ShardCounters};
use crate::clock::unix_now;
use crate::journal::Journal;
use crate::outbox::{Item, Outbox};
use crate::recorder::{Job, Notice, Recorder};
use crate::store::GroupStore;

/// Inputs waiting for the task; senders wait when it is full, which slows down only them.
const INPUTS_MAX: usize = 4096;
/// Inputs taken before the data plane's events are looked at.
const INPUT_BATCH_MAX: usize = 64;
/// Pieces of an open body that wait for its reader; one who does not read loses the stream.
const CHUNKS_MAX: usize = 64;
/// How long the shards may take to tell how viewers fare; after that statistics are given without.
const SURVEY_WITHIN: Duration = Duration::from_secs(1);

/// The answer to a WHIP or WHEP request, and what its body brings later, if it stays open.
pub(crate) type Answered = (whip::Response, Option<mpsc::Receiver<String>>);

/// Something that the task does for others, in its turn.
type Work = Box<dyn FnOnce(&mut Task, Now) + Send>;

/// What others tell the task.
enum Input {
    Do(Work),
    Stop { reply: oneshot::Sender<Bridge> },
}

/// How others talk to the task. When the task is gone, every question is answered with nothing.
#[derive(Clone)]
pub(crate) struct Control {
    inputs: mpsc::Sender<Input>,
}

impl Control {
    /// Starts the task. It ends when it is stopped, or by a fault of its own.
    pub(crate) fn start(
        seed: [u8; 32],
        bridge: Bridge,
        wake: Arc<Notify>,
        store: Arc<GroupStore>,
        authenticator: Authenticator,
        journal: Journal,
        recorder: (Recorder, sync::Receiver<Notice>),
    ) -> (Self, JoinHandle<()>) {
        let (sender, inputs) = mpsc::channel(INPUTS_MAX);
        let control = Self { inputs: sender };
        let task = Task {
            switchboard: Switchboard::new(seed),
            bridge,
            store,
            authenticator,
            journal,
            recorder: recorder.0,
            notices: recorder.1,
            has_tape: false,
            outboxes: HashMap::new(),
            statuses: HashMap::new(),
            webrtc: HashMap::new(),
            bodies: HashMap::new(),
            stats: Vec::new(),
            stats_by: None,
            next_ticket: 0,
            started: Instant::now(),
            control: control.clone(),
        };
        (control, tokio::spawn(task.run(inputs, wake)))
    }

    /// Has something done, of which nobody hears.
    async fn tell(&self, work: impl FnOnce(&mut Task, Now) + Send + 'static) {
        // The task is gone only when the process is about to end.
        let _ = self.inputs.send(Input::Do(Box::new(work))).await;
    }

    /// Has something done, and waits for what comes of it.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Task, Now) -> T + Send + 'static,
    ) -> Option<T> {
        self.ask_later(|task, reply, now| {
            // Nobody waits any more if this fails.
            let _ = reply.send(work(task, now));
        })
        .await
    }

    /// The same where the task is not the one that knows the answer: `work` keeps the way back.
    async fn ask_later<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Task, oneshot::Sender<T>, Now) + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.tell(|task, now| work(task, reply, now)).await;
        answer.await.ok()
    }

    /// A WebSocket has been opened.
    pub(crate) async fn connected(&self, caller: Caller, outbox: Outbox) -> Option<ConnId> {
        self.ask_later(|task, reply, now| {
            let conn = task.switchboard.connected(caller, now);
            task.outboxes.insert(conn, outbox);
            if reply.send(conn).is_err() {
                task.disconnected(conn, now);
            }
        })
        .await
    }

    /// Whether a client is still there.
    pub(crate) async fn is_here(&self, conn: ConnId) -> bool {
        self.ask(move |task, _| task.switchboard.is_here(conn)).await.unwrap_or(false)
    }

    /// Clients are told of our own TURN server from now on.
    pub(crate) async fn set_relay(&self, relay: Option<Relay>) {
        self.tell(|task, _| task.switchboard.set_relay(relay)).await;
    }

    /// A WebSocket has said something.
    pub(crate) async fn text(&self, conn: ConnId, text: String) {
        self.tell(move |task, now| task.switchboard.text(conn, text, now)).await;
    }

    /// A WebSocket is gone.
    pub(crate) async fn disconnected(&self, conn: ConnId) {
        self.tell(move |task, now| task.disconnected(conn, now)).await;
    }

    /// What anyone may know of a group, once its file has been looked at.
    pub(crate) async fn status(&self, name: String) -> Option<StatusReply> {
        self.ask_later(move |task, reply, now| {
            let ticket = task.ticket();
            task.statuses.insert(ticket, reply);
            task.switchboard.status(ticket, &name, now);
        })
        .await
    }

    /// Public groups in memory.
    pub(crate) async fn public_groups(&self) -> Option<Vec<StatusView>> {
        self.ask(|task, _| task.switchboard.public_groups()).await
    }

    /// A WHIP or WHEP request.
    pub(crate) async fn webrtc(
        &self,
        protocol: Protocol,
        request: whip::Request,
    ) -> Option<Answered> {
        self.ask_later(move |task, reply, now| {
            let ticket = task.ticket();
            task.webrtc.insert(ticket, reply);
            task.switchboard.webrtc(ticket, protocol, request, now);
        })
        .await
    }

    /// How strict to be with WHIP and WHEP clients.
    pub(crate) async fn set_http_rules(&self, needs_if_match: bool, refuses_empty: bool) {
        self.tell(move |task, _| task.switchboard.set_http_rules(needs_if_match, refuses_empty))
            .await;
    }

    /// Looks at the files of all groups in memory, and of these.
    pub(crate) async fn refresh(&self, also: Vec<GroupName>) {
        self.tell(|task, now| {
            for name in task.switchboard.groups().into_iter().chain(also) {
                task.switchboard.refresh(name, now);
            }
        })
        .await;
    }

    /// Looks at the files of those groups in memory that live off one that has changed, and of
    /// these.
    pub(crate) async fn refresh_these(&self, changed: BTreeSet<GroupName>, also: Vec<GroupName>) {
        self.tell(move |task, now| {
            let mut names = task.switchboard.groups();
            names.retain(|name| {
                let mut above = std::iter::successors(Some(name.clone()), GroupName::parent);
                above.any(|name| changed.contains(&name))
            });
            for name in names.into_iter().chain(also) {
                task.switchboard.refresh(name, now);
            }
        })
        .await;
    }

    /// A group's file has been changed.
    pub(crate) async fn reload(&self, name: GroupName) {
        self.tell(|task, now| {
            if task.switchboard.groups().contains(&name) {
                task.switchboard.refresh(name, now);
            }
        })
        .await;
    }

    /// Whether group files may be changed over the administration API, from now on.
    pub(crate) async fn set_writable(&self, is_writable: bool) {
        self.tell(move |task, _| task.switchboard.set_writable(is_writable)).await;
    }

    /// Who is in by which kept token without a person in front of it.
    pub(crate) async fn bearers(&self) -> Vec<Bearer> {
        self.ask(|task, _| task.switchboard.bearers()).await.unwrap_or_default()
    }

    /// Sends those out whose token has been taken back.
    pub(crate) async fn revoke(&self, conns: Vec<ConnId>) {
        self.tell(move |task, now| task.switchboard.revoke(&conns, now)).await;
    }

    /// All groups in memory with their members and streams, as administrators see them.
    pub(crate) async fn stats(&self) -> Option<Arc<serde_json::Value>> {
        self.ask_later(|task, reply, _| {
            if task.stats_by.is_none() {
                task.bridge.begin_survey();
                task.stats_by = Some(Instant::now() + SURVEY_WITHIN);
            }
            task.stats.push(reply);
        })
        .await
    }

    /// How many there are of what, with the latest counters of each shard.
    pub(crate) async fn census(&self) -> Option<(Census, Vec<ShardCounters>)> {
        self.ask(|task, _| (task.switchboard.census(), task.bridge.counters())).await
    }

    /// What browsers are told of ICE servers from now on.
    pub(crate) async fn set_ice_servers(&self, configuration: serde_json::Value) {
        self.tell(|task, _| task.switchboard.set_rtc_configuration(configuration)).await;
    }

    /// The members of a group; nothing in it if it is not in memory.
    pub(crate) async fn members(&self, name: GroupName) -> Option<Option<serde_json::Value>> {
        self.ask(move |task, _| task.switchboard.members(&name)).await
    }

    /// Does to a group what an administrator wishes.
    pub(crate) async fn operate(
        &self,
        name: GroupName,
        operation: Operation,
    ) -> Option<Result<(), NotDone>> {
        self.ask(move |task, now| task.switchboard.operate(&name, operation, now)).await
    }

    /// Lets nobody in any more, and tells members how long they may stay. They have been told once
    /// this returns.
    pub(crate) async fn announce_end(&self, text: String, seconds: u32) {
        self.ask(move |task, now| {
            task.switchboard.announce_end(&text, seconds, now);
            task.act();
        })
        .await;
    }

    /// Locks all groups and sends everybody out. They have been told once this returns.
    pub(crate) async fn shut_down(&self, text: String) {
        self.ask(move |task, now| {
            task.switchboard.shut_down(&text, now);
            task.act();
        })
        .await;
    }

    /// Ends the task, and gives the data plane back.
    pub(crate) async fn stop(&self) -> Option<Bridge> {
        let (reply, answer) = oneshot::channel();
        self.inputs.send(Input::Stop { reply }).await.ok()?;
        answer.await.ok()
    }
}

struct Task {
    switchboard: Switchboard,
    bridge: Bridge,
    store: Arc<GroupStore>,
    authenticator: Authenticator,
    journal: Journal,
    recorder: Recorder,
    /// What the recorder tells.
    notices: sync::Receiver<Notice>,
    /// Whether the recorder has its end of the lanes.
    has_tape: bool,
    outboxes: HashMap<ConnId, Outbox>,
    statuses: HashMap<Ticket, oneshot::Sender<StatusReply>>,
    webrtc: HashMap<Ticket, oneshot::Sender<Answered>>,
    /// Bodies that are open.
    bodies: HashMap<Ticket, mpsc::Sender<String>>,
    /// Who waits for statistics: all of them for the same survey.
    stats: Vec<oneshot::Sender<Arc<serde_json::Value>>>,
    /// When they get them at the latest.
    stats_by: Option<Instant>,
    next_ticket: u64,
    started: Instant,
    control: Control,
}

impl Task {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>, wake: Arc<Notify>) {
        loop {
            let deadline = self.started + self.switchboard.poll_timeout();
            let deadline = self.stats_by.map_or(deadline, |by| deadline.min(by));
            let input = tokio::select! {
                input = inputs.recv() => input,
                () = wake.notified() => None,
                () = tokio::time::sleep_until(deadline.into()) => None,
            };
            let mut next = input;
            // The last one of a batch has been taken out of the queue before the batch was over.
            for at in 0..=INPUT_BATCH_MAX {
                match next.take() {
                    Some(Input::Do(work)) => {
                        let now = self.now();
                        work(&mut self, now);
                        self.act();
                    }
                    Some(Input::Stop { reply }) => {
                        // A receiver that is gone has no use for the data plane.
                        let _ = reply.send(self.bridge);
                        return;
                    }
                    None => break,
                }
                if at < INPUT_BATCH_MAX {
                    next = inputs.try_recv().ok();
                }
            }
            self.take_media();
            self.take_notices();
            self.give_stats();
            let now = self.now();
            self.switchboard.tick(now);
            self.act();
            if self.bridge.has_events() {
                wake.notify_one();
            }
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.started.elapsed(), unix: unix_now() }
    }

    fn take_media(&mut self) {
        // One batch: what members say must get its turn as well.
        let now = self.now();
        for event in self.bridge.events() {
            let whose = self.switchboard.whose(event.media());
            self.journal.span(whose.as_ref()).in_scope(|| self.journal.note_media(&event));
            self.switchboard.media(event, now);
            self.act();
        }
    }

    /// Tells those who may record what the recorder says.
    fn take_notices(&mut self) {
        let now = self.now();
        while let Ok(Notice { group, text, is_over }) = self.notices.try_recv() {
            if let Ok(group) = GroupName::parse(&group) {
                self.switchboard.recorder_says(&group, &text, is_over, now);
                self.act();
            }
        }
    }

    /// Answers those who wait for statistics, once the shards have told all or the time is up.
    fn give_stats(&mut self) {
        let Some(by) = self.stats_by else {
            return;
        };
        if self.bridge.is_surveyed() || Instant::now() >= by {
            self.stats_by = None;
            let stats = Arc::new(self.switchboard.stats(&self.bridge.take_survey()));
            for reply in self.stats.drain(..) {
                let _ = reply.send(stats.clone());
            }
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    fn disconnected(&mut self, conn: ConnId, now: Now) {
        self.outboxes.remove(&conn);
        self.switchboard.disconnected(conn, now);
    }

    /// Does what the switchboard says.
    fn act(&mut self) {
        while let Some(action) = self.switchboard.poll_action() {
            match action {
                Action::Send { to, text } => self.send(to, text),
                Action::Audit { conn, what } => {
                    tracing::warn!(target: "audit", ?conn, what, "refused: not authorised");
                }
                Action::Close { conn, code } => self.close(conn, code),
                Action::Media(request) => {
                    let whose = self.switchboard.whose(request.media());
                    let span = self.journal.span(whose.as_ref());
                    span.in_scope(|| self.bridge.request(request));
                }
                Action::Record(order) => self.record(*order),
                Action::Happened(happening) => self.journal.note(&happening),
                Action::Load(name) => self.load(name),
                Action::Check(conn, check) => self.check(conn, check),
                Action::Token(conn, request) => self.ask_tokens(conn, request),
                Action::Status(ticket, status) => {
                    if let Some(reply) = self.statuses.remove(&ticket) {
                        let _ = reply.send(status);
                    }
                }
                Action::Respond(ticket, response) => {
                    if let Some(reply) = self.webrtc.remove(&ticket) {
                        let _ = reply.send((response, None));
                    }
                }
                Action::RespondOpen(ticket, response) => {
                    let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
                    if let Some(reply) = self.webrtc.remove(&ticket)
                        && reply.send((response, Some(chunks))).is_ok()
                    {
                        self.bodies.insert(ticket, sender);
                    }
                }
                Action::Chunk(ticket, chunk) => self.give_chunk(ticket, chunk),
            }
        }
    }

    fn send(&self, to: Recipients, text: String) {
        let text = Utf8Bytes::from(text);
        match to {
            Recipients::One(conn) => self.push(conn, Item::Text(text)),
            Recipients::Many(conns) => {
                for conn in conns {
                    self.push(conn, Item::Text(text.clone()));
                }
            }
        }
    }

    fn record(&mut self, order: RecordOrder) {
        // A server that never records has no lanes for it.
        if !self.has_tape
            && let Some(tape) = self.bridge.tape()
        {
            self.has_tape = true;
            self.recorder.order(Job::Tape(Box::new(tape)));
        }
        let job = self.bridge.job(order);
        self.recorder.order(job);
    }

    fn give_chunk(&mut self, ticket: Ticket, chunk: Option<String>) {
        let body = self.bodies.get(&ticket);
        let is_taken =
            chunk.is_some_and(|text| body.is_some_and(|body| body.try_send(text).is_ok()));
        if !is_taken {
            // The end, a reader that has left, or one that does not read.
            self.bodies.remove(&ticket);
            self.switchboard.reader_left(ticket);
        }
    }

    /// Has a credential looked at. Hashing takes its time, and so it is done elsewhere.
    fn check(&self, conn: ConnId, check: CredentialCheck) {
        let (authenticator, control) = (self.authenticator.clone(), self.control.clone());
        tokio::spawn(async move {
            let verdict = authenticator.check(check).await;
            control.tell(move |task, now| task.switchboard.verdict(conn, verdict, now)).await;
        });
    }

    fn ask_tokens(&self, conn: ConnId, request: TokenRequest) {
        let (tokens, control) = (self.authenticator.tokens().clone(), self.control.clone());
        let is_list = matches!(request, TokenRequest::List { .. });
        tokio::spawn(async move {
            let reply = tokio::task::spawn_blocking(move || tokens.answer(request)).await;
            let reply = reply.unwrap_or(TokenReply::Failed);
            control
                .tell(move |task, now| task.switchboard.token_reply(conn, is_list, reply, now))
                .await;
        });
    }

    fn push(&self, conn: ConnId, item: Item) {
        if let Some(outbox) = self.outboxes.get(&conn) {
            outbox.push(item);
        }
    }

    fn close(&self, conn: ConnId, code: CloseCode) {
        self.push(conn, Item::Close(code));
    }

    fn load(&self, name: GroupName) {
        let (store, control) = (self.store.clone(), self.control.clone());
        tokio::spawn(async move {
            let looked_for = name.clone();
            let file = tokio::task::spawn_blocking(move || store.load(&looked_for)).await;
            let file = file.unwrap_or(GroupFile::Missing);
            control.tell(move |task, now| task.switchboard.group_file(&name, file, now)).await;
        });
    }
}

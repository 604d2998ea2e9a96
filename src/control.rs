//! The control plane's one task: it owns the switchboard and the bridge. Everything else talks to
//! it through a bounded queue, and it never waits for anybody.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, mpsc as sync};
use std::time::{Duration, Instant};

use signalling::whip;
use signalling::{
    Action, Bearer, Caller, Census, CloseCode, ConnId, GroupFile, GroupName, NotDone, Now,
    Operation, Protocol, Recipients, Relay, StatusReply, StatusView, Switchboard, Ticket,
    TokenReply, TokenRequest, Verdict,
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

/// What others tell the task.
enum Input {
    Connected { caller: Caller, outbox: Outbox, reply: oneshot::Sender<ConnId> },
    IsHere { conn: ConnId, reply: oneshot::Sender<bool> },
    Relay { relay: Option<Relay> },
    Text { conn: ConnId, text: String },
    Disconnected { conn: ConnId },
    GroupFile { name: GroupName, file: GroupFile },
    Verdict { conn: ConnId, verdict: Verdict },
    Tokens { conn: ConnId, is_list: bool, reply: TokenReply },
    Writable { is_writable: bool },
    Bearers { reply: oneshot::Sender<Vec<Bearer>> },
    Revoke { conns: Vec<ConnId> },
    Stats { reply: oneshot::Sender<Arc<serde_json::Value>> },
    Census { reply: oneshot::Sender<(Census, Vec<ShardCounters>)> },
    Status { name: String, reply: oneshot::Sender<StatusReply> },
    PublicGroups { reply: oneshot::Sender<Vec<StatusView>> },
    WebRtc { protocol: Protocol, request: Box<whip::Request>, reply: oneshot::Sender<Answered> },
    Refresh { also: Vec<GroupName> },
    RefreshThese { changed: BTreeSet<GroupName>, also: Vec<GroupName> },
    Reload { name: GroupName },
    IceServers { configuration: serde_json::Value },
    HttpRules { needs_if_match: bool, refuses_empty: bool },
    Members { name: GroupName, reply: oneshot::Sender<Option<serde_json::Value>> },
    Operate { name: GroupName, operation: Operation, reply: oneshot::Sender<Result<(), NotDone>> },
    AnnounceEnd { text: String, seconds: u32, reply: oneshot::Sender<()> },
    ShutDown { text: String, reply: oneshot::Sender<()> },
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

    async fn ask<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.inputs.send(input(reply)).await.ok()?;
        answer.await.ok()
    }

    async fn tell(&self, input: Input) {
        // The task is gone only when the process is about to end.
        let _ = self.inputs.send(input).await;
    }

    /// A WebSocket has been opened.
    pub(crate) async fn connected(&self, caller: Caller, outbox: Outbox) -> Option<ConnId> {
        self.ask(|reply| Input::Connected { caller, outbox, reply }).await
    }

    /// Whether a client is still there.
    pub(crate) async fn is_here(&self, conn: ConnId) -> bool {
        self.ask(|reply| Input::IsHere { conn, reply }).await.unwrap_or(false)
    }

    /// Clients are told of our own TURN server from now on.
    pub(crate) async fn set_relay(&self, relay: Option<Relay>) {
        self.tell(Input::Relay { relay }).await;
    }

    /// A WebSocket has said something.
    pub(crate) async fn text(&self, conn: ConnId, text: String) {
        self.tell(Input::Text { conn, text }).await;
    }

    /// A WebSocket is gone.
    pub(crate) async fn disconnected(&self, conn: ConnId) {
        self.tell(Input::Disconnected { conn }).await;
    }

    /// A group's status.
    pub(crate) async fn status(&self, name: String) -> Option<StatusReply> {
        self.ask(|reply| Input::Status { name, reply }).await
    }

    /// Public groups in memory.
    pub(crate) async fn public_groups(&self) -> Option<Vec<StatusView>> {
        self.ask(|reply| Input::PublicGroups { reply }).await
    }

    /// A WHIP or WHEP request.
    pub(crate) async fn webrtc(
        &self,
        protocol: Protocol,
        request: whip::Request,
    ) -> Option<Answered> {
        let request = Box::new(request);
        self.ask(|reply| Input::WebRtc { protocol, request, reply }).await
    }

    /// How strict to be with WHIP and WHEP clients.
    pub(crate) async fn set_http_rules(&self, needs_if_match: bool, refuses_empty: bool) {
        self.tell(Input::HttpRules { needs_if_match, refuses_empty }).await;
    }

    /// Looks at the files of all groups in memory, and of these.
    pub(crate) async fn refresh(&self, also: Vec<GroupName>) {
        self.tell(Input::Refresh { also }).await;
    }

    /// Looks at the files of those groups in memory that live off one that has changed, and of
    /// these.
    pub(crate) async fn refresh_these(&self, changed: BTreeSet<GroupName>, also: Vec<GroupName>) {
        self.tell(Input::RefreshThese { changed, also }).await;
    }

    /// A group's file has been changed.
    pub(crate) async fn reload(&self, name: GroupName) {
        self.tell(Input::Reload { name }).await;
    }

    /// Whether group files may be changed over the administration API, from now on.
    pub(crate) async fn set_writable(&self, is_writable: bool) {
        self.tell(Input::Writable { is_writable }).await;
    }

    /// Who is in by which kept token without a person in front of it.
    pub(crate) async fn bearers(&self) -> Vec<Bearer> {
        self.ask(|reply| Input::Bearers { reply }).await.unwrap_or_default()
    }

    /// Sends those out whose token has been taken back.
    pub(crate) async fn revoke(&self, conns: Vec<ConnId>) {
        self.tell(Input::Revoke { conns }).await;
    }

    /// All groups in memory with their members and streams, as administrators see them.
    pub(crate) async fn stats(&self) -> Option<Arc<serde_json::Value>> {
        self.ask(|reply| Input::Stats { reply }).await
    }

    /// How many there are of what, with the latest counters of each shard.
    pub(crate) async fn census(&self) -> Option<(Census, Vec<ShardCounters>)> {
        self.ask(|reply| Input::Census { reply }).await
    }

    /// What browsers are told of ICE servers from now on.
    pub(crate) async fn set_ice_servers(&self, configuration: serde_json::Value) {
        self.tell(Input::IceServers { configuration }).await;
    }

    /// The members of a group; nothing in it if it is not in memory.
    pub(crate) async fn members(&self, name: GroupName) -> Option<Option<serde_json::Value>> {
        self.ask(|reply| Input::Members { name, reply }).await
    }

    /// Does to a group what an administrator wishes.
    pub(crate) async fn operate(
        &self,
        name: GroupName,
        operation: Operation,
    ) -> Option<Result<(), NotDone>> {
        self.ask(|reply| Input::Operate { name, operation, reply }).await
    }

    /// Lets nobody in any more, and tells members how long they may stay.
    pub(crate) async fn announce_end(&self, text: String, seconds: u32) {
        self.ask(|reply| Input::AnnounceEnd { text, seconds, reply }).await;
    }

    /// Locks all groups and sends everybody out.
    pub(crate) async fn shut_down(&self, text: String) {
        self.ask(|reply| Input::ShutDown { text, reply }).await;
    }

    /// Ends the task, and gives the data plane back.
    pub(crate) async fn stop(&self) -> Option<Bridge> {
        self.ask(|reply| Input::Stop { reply }).await
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
            for _ in 0..INPUT_BATCH_MAX {
                let Some(input) = next else { break };
                if let Input::Stop { reply } = input {
                    // A receiver that is gone has no use for the data plane.
                    let _ = reply.send(self.bridge);
                    return;
                }
                self.take(input);
                self.act();
                next = inputs.try_recv().ok();
            }
            if let Some(input) = next {
                // The batch is over, but this one has been taken out of the queue.
                if let Input::Stop { reply } = input {
                    let _ = reply.send(self.bridge);
                    return;
                }
                self.take(input);
                self.act();
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

    fn take(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::IsHere { conn, reply } => {
                let _ = reply.send(self.switchboard.is_here(conn));
            }
            Input::Relay { relay } => self.switchboard.set_relay(relay),
            Input::Connected { caller, outbox, reply } => {
                let conn = self.switchboard.connected(caller, now);
                self.outboxes.insert(conn, outbox);
                if reply.send(conn).is_err() {
                    self.outboxes.remove(&conn);
                    self.switchboard.disconnected(conn, now);
                }
            }
            Input::Text { conn, text } => self.switchboard.text(conn, text, now),
            Input::Disconnected { conn } => {
                self.outboxes.remove(&conn);
                self.switchboard.disconnected(conn, now);
            }
            Input::GroupFile { name, file } => self.switchboard.group_file(&name, file, now),
            Input::Tokens { conn, is_list, reply } => {
                self.switchboard.token_reply(conn, is_list, reply, now);
            }
            Input::Bearers { reply } => {
                let _ = reply.send(self.switchboard.bearers());
            }
            Input::Revoke { conns } => self.switchboard.revoke(&conns, now),
            Input::Writable { is_writable } => self.switchboard.set_writable(is_writable),
            Input::Stats { reply } => {
                if self.stats_by.is_none() {
                    self.bridge.begin_survey();
                    self.stats_by = Some(Instant::now() + SURVEY_WITHIN);
                }
                self.stats.push(reply);
            }
            Input::Census { reply } => {
                let _ = reply.send((self.switchboard.census(), self.bridge.counters()));
            }
            Input::Verdict { conn, verdict } => self.switchboard.verdict(conn, verdict, now),
            Input::Status { name, reply } => {
                let ticket = self.ticket();
                self.statuses.insert(ticket, reply);
                self.switchboard.status(ticket, &name, now);
            }
            Input::PublicGroups { reply } => {
                // Nobody waits any more if this fails; so below.
                let _ = reply.send(self.switchboard.public_groups());
            }
            Input::WebRtc { protocol, request, reply } => {
                let ticket = self.ticket();
                self.webrtc.insert(ticket, reply);
                match protocol {
                    Protocol::Whip => self.switchboard.whip(ticket, *request, now),
                    Protocol::Whep => self.switchboard.whep(ticket, *request, now),
                }
            }
            Input::HttpRules { needs_if_match, refuses_empty } => {
                self.switchboard.set_http_rules(needs_if_match, refuses_empty);
            }
            Input::Refresh { also } => {
                for name in self.switchboard.groups().into_iter().chain(also) {
                    self.switchboard.refresh(name, now);
                }
            }
            Input::RefreshThese { changed, also } => {
                let mut names = self.switchboard.groups();
                names.retain(|name| {
                    let mut above = std::iter::successors(Some(name.clone()), GroupName::parent);
                    above.any(|name| changed.contains(&name))
                });
                for name in names.into_iter().chain(also) {
                    self.switchboard.refresh(name, now);
                }
            }
            Input::Reload { name } => {
                if self.switchboard.groups().contains(&name) {
                    self.switchboard.refresh(name, now);
                }
            }
            Input::IceServers { configuration } => {
                self.switchboard.set_rtc_configuration(configuration);
            }
            Input::Members { name, reply } => {
                let _ = reply.send(self.switchboard.members(&name));
            }
            Input::Operate { name, operation, reply } => {
                let _ = reply.send(self.switchboard.operate(&name, operation, now));
            }
            Input::AnnounceEnd { text, seconds, reply } => {
                self.switchboard.announce_end(&text, seconds, now);
                self.act();
                let _ = reply.send(());
            }
            Input::ShutDown { text, reply } => {
                self.switchboard.shut_down(&text, now);
                self.act();
                let _ = reply.send(());
            }
            Input::Stop { .. } => {}
        }
    }

    /// Does what the switchboard says.
    fn act(&mut self) {
        while let Some(action) = self.switchboard.poll_action() {
            match action {
                Action::Send { to, text } => {
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
                Action::Audit { conn, what } => {
                    tracing::warn!(target: "audit", ?conn, what, "refused: not authorised");
                }
                Action::Close { conn, code } => self.close(conn, code),
                Action::Media(request) => {
                    let whose = self.switchboard.whose(request.media());
                    let span = self.journal.span(whose.as_ref());
                    span.in_scope(|| self.bridge.request(request));
                }
                Action::Record(order) => {
                    if !self.has_tape
                        && let Some(tape) = self.bridge.tape()
                    {
                        self.has_tape = true;
                        self.recorder.order(Job::Tape(Box::new(tape)));
                    }
                    let job = self.bridge.job(*order);
                    self.recorder.order(job);
                }
                Action::Happened(happening) => self.journal.note(&happening),
                Action::Load(name) => self.load(name),
                Action::Check(conn, check) => {
                    let authenticator = self.authenticator.clone();
                    let control = self.control.clone();
                    tokio::spawn(async move {
                        let verdict = authenticator.check(check).await;
                        control.tell(Input::Verdict { conn, verdict }).await;
                    });
                }
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
                Action::Chunk(ticket, chunk) => {
                    let body = self.bodies.get(&ticket);
                    let is_taken = chunk
                        .is_some_and(|text| body.is_some_and(|body| body.try_send(text).is_ok()));
                    if !is_taken {
                        // The end, a reader that has left, or one that does not read.
                        self.bodies.remove(&ticket);
                        self.switchboard.reader_left(ticket);
                    }
                }
            }
        }
    }

    fn ask_tokens(&self, conn: ConnId, request: TokenRequest) {
        let (tokens, control) = (self.authenticator.tokens().clone(), self.control.clone());
        let is_list = matches!(request, TokenRequest::List { .. });
        tokio::spawn(async move {
            let reply = tokio::task::spawn_blocking(move || tokens.answer(request)).await;
            let reply = reply.unwrap_or(TokenReply::Failed);
            control.tell(Input::Tokens { conn, is_list, reply }).await;
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
            control.tell(Input::GroupFile { name, file }).await;
        });
    }
}

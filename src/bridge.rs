//! Signalling's words to the data plane's and back. The only file that names both crates; it owns
//! the maps of ids, and what a viewer's offer must know of a publication.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dataplane::{
    Busy, ClientKey, CloseReason, Codec, Command, DataPlane, Event, Lanes, LayerCap, Layers,
    PeerError, PublicationId, PublicationInfo, ShardId, SubscriptionRate, SubscriptionSpec, Tape,
    TransportId, ViewOffer, Why,
};
use signalling::{
    Aim, Cause, ConnId, GroupName, Held, MediaEvent, MediaId, MediaKind, MediaRequest, Over,
    PathStage, PathState, PublicationKey, Rate, RecordOrder, Sent, SentRate, Want,
};
use tokio::sync::Notify;

use crate::fatal::FatalError;
use crate::recorder::{Job, Stream};

/// How many events are taken before the control plane looks at its other inputs.
const EVENT_BATCH_MAX: usize = 256;

/// The data plane, as signalling sees it.
pub(crate) struct Bridge {
    dataplane: DataPlane,
    transports: HashMap<MediaId, TransportId>,
    media: HashMap<TransportId, MediaId>,
    publications: HashMap<PublicationId, PublicationInfo>,
    /// Members that get something: their shard, and how many transports they have there.
    clients: HashMap<ConnId, (ShardId, usize)>,
    client_of: HashMap<MediaId, ConnId>,
    /// Answers that need no data plane, such as "busy".
    own_events: Vec<MediaEvent>,
    /// The latest of each shard.
    counters: Vec<ShardCounters>,
    survey: Survey,
    /// What a full queue did not take and must not be lost.
    unsent: VecDeque<Command>,
}

/// The last question to all shards how viewers fare.
#[derive(Default)]
struct Survey {
    id: u64,
    /// How many shards have not told all yet.
    waiting: usize,
    sent: Sent,
}

/// Where and how the data plane runs.
pub(crate) use dataplane::{
    Config as MediaConfig, Counters as ShardCounters, ESTIMATES_BPS, Histogram, SHARDS_MAX,
    UdpPorts,
};

/// Kind and name of every codec, in the order in which shards count them.
pub(crate) fn codec_labels() -> impl Iterator<Item = (&'static str, &'static str)> {
    Codec::ALL.into_iter().map(|codec| match codec.kind() {
        dataplane::MediaKind::Audio => ("audio", codec.name()),
        dataplane::MediaKind::Video => ("video", codec.name()),
    })
}

impl Bridge {
    /// Starts the shards. `notify` is woken when there are events.
    pub(crate) fn start(config: MediaConfig, notify: Arc<Notify>) -> Result<Self, FatalError> {
        let wake = Arc::new(move || notify.notify_one());
        let dataplane = DataPlane::start(config, wake).map_err(FatalError::system)?;
        let counters = vec![ShardCounters::new(); dataplane.shards()];
        Ok(Self {
            dataplane,
            transports: HashMap::new(),
            media: HashMap::new(),
            publications: HashMap::new(),
            clients: HashMap::new(),
            client_of: HashMap::new(),
            own_events: Vec::new(),
            counters,
            survey: Survey::default(),
            unsent: VecDeque::new(),
        })
    }

    /// The way in for media over TCP.
    pub(crate) fn door(&self) -> dataplane::Door {
        self.dataplane.door()
    }

    /// The recorder's end of its lanes; to be asked for once.
    pub(crate) fn tape(&self) -> Option<(Tape, Lanes)> {
        self.dataplane.tape().ok()
    }

    /// What the recorder shall do, in its own words.
    pub(crate) fn job(&self, order: RecordOrder) -> Job {
        let text = |name: GroupName| name.as_str().to_owned();
        match order {
            RecordOrder::Begin { group, by, is_webm } => {
                Job::Begin { group: text(group), by, is_webm }
            }
            RecordOrder::Stream(stream) => {
                let sections = stream.sections.iter().filter_map(|(key, kind)| {
                    Some((self.publication_id(*key)?, *kind == MediaKind::Video))
                });
                let media = stream.sections.first().map_or(0, |(key, _)| key.media.0);
                Job::Stream(Stream {
                    sections: sections.collect(),
                    media,
                    group: text(stream.group),
                    client: stream.client,
                    username: stream.username,
                    id: stream.stream,
                    label: stream.label,
                    is_from_now: stream.is_from_now,
                })
            }
            RecordOrder::StreamEnded { group, media } => {
                Job::StreamEnded { group: text(group), media: media.0 }
            }
            RecordOrder::Note { group, what } => Job::Note { group: text(group), what },
            RecordOrder::End { group } => Job::End { group: text(group) },
        }
    }

    /// Our candidates over UDP at these addresses.
    pub(crate) fn candidates(&self, advertise: &[IpAddr]) -> Vec<SocketAddr> {
        let at = |port: u16| advertise.iter().map(move |ip| SocketAddr::new(*ip, port));
        self.ports().into_iter().flat_map(at).collect()
    }

    /// How many shards run.
    pub(crate) fn shards(&self) -> usize {
        self.dataplane.shards()
    }

    /// The UDP ports, sorted, each once.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let sockets = &self.dataplane.listening().sockets;
        let mut ports: Vec<u16> = sockets.iter().map(|socket| socket.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The latest counters of each shard, in order.
    pub(crate) fn counters(&self) -> Vec<ShardCounters> {
        self.counters.clone()
    }

    /// Asks all shards how viewers fare; [`Self::events`] takes the answers in.
    pub(crate) fn begin_survey(&mut self) {
        let id = self.survey.id + 1;
        self.survey = Survey { id, waiting: self.dataplane.survey(id), sent: Sent::new() };
    }

    /// Whether every shard has told all.
    pub(crate) fn is_surveyed(&self) -> bool {
        self.survey.waiting == 0
    }

    /// What the shards have told so far. What they tell later is ignored.
    pub(crate) fn take_survey(&mut self) -> Sent {
        let id = self.survey.id + 1;
        std::mem::replace(&mut self.survey, Survey { id, ..Survey::default() }).sent
    }

    /// Adds what a viewer gets, if both ends are still known.
    fn note_sent(&self, rate: &SubscriptionRate, sent: &mut Sent) {
        let publisher = self.media.get(&rate.publication.transport).copied();
        let viewer = self.media.get(&rate.transport).copied();
        if let (Some(publisher), Some(viewer)) = (publisher, viewer) {
            let publication = PublicationKey { media: publisher, m_line: rate.publication.m_line };
            sent.entry(viewer).or_default().push(sent_rate(rate, publication));
        }
    }

    /// Closes every transport and ends the shards.
    pub(crate) fn shut_down(self) {
        self.dataplane.shut_down();
    }

    /// Passes a wish on.
    pub(crate) fn request(&mut self, request: MediaRequest) {
        match request {
            MediaRequest::Publish { media, offer, codecs, reached } => {
                let transport = self.transport(media, None, "up");
                let codecs = codecs.iter().filter_map(|name| Codec::from_name(name)).collect();
                self.ask(media, Command::Publish { transport, offer, codecs, reached });
            }
            MediaRequest::Subscribe { media, client, msid, wants, is_restart } => {
                let transport = self.transport(media, Some(client), "down");
                let subscriptions = wants.iter().filter_map(|want| self.subscription(want));
                let subscriptions = subscriptions.collect();
                let (client, ice_restart) = (ClientKey(client.0), is_restart);
                let command =
                    Command::Subscribe { transport, client, msid, subscriptions, ice_restart };
                self.ask(media, command);
            }
            MediaRequest::View { media, client, offer, msid, codecs, reached } => {
                let transport = self.transport(media, Some(client), "view");
                let client = ClientKey(client.0);
                let codecs = codecs.iter().filter_map(|name| Codec::from_name(name)).collect();
                let offer = match offer {
                    Ok(offer) => ViewOffer::Theirs(offer),
                    Err((audio, video)) => ViewOffer::Ours { audio, video },
                };
                let command = Command::View { transport, client, offer, msid, codecs, reached };
                self.ask(media, command);
            }
            MediaRequest::Watch { media, wants } => {
                if let Some(transport) = self.transports.get(&media).copied() {
                    let subscriptions = wants.iter().filter_map(|want| self.subscription(want));
                    let subscriptions = subscriptions.collect();
                    // The hub does not say it again: what comes last must arrive.
                    self.unsent.retain(|unsent| !is_watch_of(unsent, transport));
                    self.insist(Command::Watch { transport, subscriptions });
                }
            }
            MediaRequest::AcceptAnswer { media, answer } => {
                if let Some(transport) = self.transports.get(&media).copied() {
                    self.ask(media, Command::AcceptAnswer { transport, answer });
                }
            }
            MediaRequest::SetCap { media, want } => {
                let publication = self.publication_id(want.publication);
                let transport = self.transports.get(&media).copied();
                if let (Some(transport), Some(publication)) = (transport, publication) {
                    let cap = cap(want);
                    self.insist(Command::SetCap { transport, publication, cap });
                }
            }
            MediaRequest::SetHeard { publication, is_heard } => {
                if let Some(publication) = self.publication_id(publication) {
                    self.insist(Command::SetHeard { publication, is_heard });
                }
            }
            MediaRequest::AddCandidate { media, candidate } => {
                if let Some(transport) = self.transports.get(&media).copied() {
                    self.tell(Command::AddCandidate { transport, candidate });
                }
            }
            MediaRequest::Number { media } => {
                // What is lost is asked for again.
                if let Some(transport) = self.transports.get(&media).copied() {
                    self.tell(Command::Number { transport });
                }
            }
            MediaRequest::Close { media } => {
                if let Some(transport) = self.forget(media) {
                    // Media to someone who was sent out must end, however busy the shard is.
                    self.insist(Command::Close { transport });
                }
            }
        }
    }

    /// Gives a command that nobody repeats: it waits until the shard takes it.
    fn insist(&mut self, command: Command) {
        self.unsent.push_back(command);
        self.send_unsent();
    }

    /// The transport under an id of signalling's, placed on a shard if it is new.
    fn transport(
        &mut self,
        media: MediaId,
        client: Option<ConnId>,
        direction: &'static str,
    ) -> TransportId {
        if let Some(transport) = self.transports.get(&media) {
            return *transport;
        }
        // All that one member gets comes from one shard, which knows its path.
        let home = client.and_then(|client| self.clients.get(&client)).map(|(shard, _)| *shard);
        let transport = self.dataplane.place(home);
        if let Some(client) = client {
            self.client_of.insert(media, client);
            self.clients.entry(client).or_insert_with(|| (transport.shard(), 0)).1 += 1;
        }
        let ShardId(shard) = transport.shard();
        tracing::info!(direction, shard, transport = transport.as_u64(), "transport placed");
        self.transports.insert(media, transport);
        self.media.insert(transport, media);
        transport
    }

    /// Whether a transport of a client's that is gone was its last one.
    fn is_last_of(&mut self, client: ConnId) -> bool {
        let Some((_, transports)) = self.clients.get_mut(&client) else {
            return false;
        };
        *transports -= 1;
        let is_last = *transports == 0;
        if is_last {
            self.clients.remove(&client);
        }
        is_last
    }

    fn forget(&mut self, media: MediaId) -> Option<TransportId> {
        let transport = self.transports.remove(&media)?;
        self.media.remove(&transport);
        let is_last = match self.client_of.remove(&media) {
            Some(client) => self.is_last_of(client),
            // A publisher's.
            None => true,
        };
        if is_last {
            self.dataplane.leave(transport.shard());
        }
        self.publications.retain(|id, _| id.transport != transport);
        Some(transport)
    }

    fn publication_id(&self, key: PublicationKey) -> Option<PublicationId> {
        let transport = self.transports.get(&key.media).copied()?;
        Some(PublicationId { transport, m_line: key.m_line })
    }

    fn subscription(&self, want: &Want) -> Option<SubscriptionSpec> {
        let id = self.publication_id(want.publication)?;
        let publication = self.publications.get(&id)?.clone();
        Some(SubscriptionSpec { publication, cap: cap(*want), priority: u8::from(!want.is_screen) })
    }

    /// A command that must be answered: if it cannot be sent, that is the answer.
    fn ask(&mut self, media: MediaId, command: Command) {
        if let Err(Busy) = self.dataplane.command(command) {
            self.own_events.push(MediaEvent::Refused {
                media,
                text: "server busy, try again".to_owned(),
                cause: Cause::Busy,
            });
        }
    }

    /// A command that may be lost: the transport lives on, or its timers end it.
    fn tell(&mut self, command: Command) {
        if let Err(Busy) = self.dataplane.command(command) {
            tracing::warn!("a shard's command queue is full: a command is lost");
        }
    }

    fn send_unsent(&mut self) {
        while let Some(command) = self.unsent.pop_front() {
            if let Err(Busy) = self.dataplane.command(command.clone()) {
                self.unsent.push_front(command);
                return;
            }
        }
    }

    /// Whether [`Self::events`] has more to give.
    pub(crate) fn has_events(&self) -> bool {
        !self.own_events.is_empty() || !self.dataplane.events().is_empty()
    }

    /// What has happened, up to a batch.
    pub(crate) fn events(&mut self) -> Vec<MediaEvent> {
        self.send_unsent();
        let mut events = std::mem::take(&mut self.own_events);
        for _ in 0..EVENT_BATCH_MAX {
            let Ok(event) = self.dataplane.events().try_recv() else {
                break;
            };
            events.extend(self.translate(event));
        }
        events
    }

    #[expect(clippy::too_many_lines, reason = "a table: what their events are to the other side")]
    fn translate(&mut self, event: Event) -> Option<MediaEvent> {
        let media = |bridge: &Self, transport| bridge.media.get(&transport).copied();
        Some(match event {
            Event::Answered { transport, answer, publications, unused } => {
                let media = media(self, transport)?;
                // Nobody misses what is neither audio nor video.
                let unused = unused.iter().filter(|unused| unused.why != Why::Kind);
                let unused = unused.map(ToString::to_string).collect();
                MediaEvent::Answered { media, answer, publications, unused }
            }
            Event::Unshown { transport, publication, codec } => {
                let publisher = media(self, publication.transport)?;
                MediaEvent::Unshown {
                    media: media(self, transport)?,
                    publication: PublicationKey { media: publisher, m_line: publication.m_line },
                    codec: codec.name(),
                    kind: kind_of(codec.kind()),
                }
            }
            Event::Paused { transport, publication, is_paused } => {
                let publisher = media(self, publication.transport)?;
                MediaEvent::Paused {
                    media: media(self, transport)?,
                    publication: PublicationKey { media: publisher, m_line: publication.m_line },
                    is_paused,
                }
            }
            Event::Offered { transport, offer } => {
                MediaEvent::Offered { media: media(self, transport)?, offer }
            }
            Event::Refused { transport, error } => MediaEvent::Refused {
                media: media(self, transport)?,
                cause: match &error {
                    PeerError::ServerFull => Cause::Busy,
                    error if error.is_malformed() => Cause::Malformed,
                    error if error.is_about_codecs() => Cause::Codecs,
                    _ => Cause::Other,
                },
                text: error.to_string(),
            },
            Event::Viewed { transport, answer, seats, .. } => {
                let seats = seats.into_iter().map(|(mid, kind)| (mid, kind_of(kind))).collect();
                MediaEvent::Viewed { media: media(self, transport)?, answer, seats }
            }
            Event::Watching { transport, seats } => {
                let key = |id: PublicationId| {
                    let media = self.media.get(&id.transport).copied()?;
                    Some(PublicationKey { media, m_line: id.m_line })
                };
                let seats = seats.into_iter().map(|id| id.and_then(key)).collect();
                MediaEvent::Watching { media: media(self, transport)?, seats }
            }
            Event::Received { transport, rates } => {
                let rates = rates.iter().map(|rate| Rate {
                    m_line: rate.publication.m_line,
                    encoding: rate.encoding,
                    bits_per_second: rate.bits_per_second,
                    loss_256: rate.loss_256,
                    jitter_us: rate.jitter_us,
                    rtt_us: rate.rtt_us,
                    codec: rate.codec.name(),
                    layers_max: rate.layers_max,
                });
                MediaEvent::Received { media: media(self, transport)?, rates: rates.collect() }
            }
            Event::Connected { transport } => {
                MediaEvent::Connected { media: media(self, transport)? }
            }
            Event::Published { transport, publication } => {
                let id = publication.id;
                let media = media(self, transport)?;
                let kind = kind_of(publication.kind);
                let rids = publication.rids.clone();
                self.publications.insert(id, publication);
                let publication = PublicationKey { media, m_line: id.m_line };
                MediaEvent::Published { publication, kind, rids }
            }
            Event::Path { transport, report } => {
                let stage = match report.stage {
                    dataplane::PathStage::Waiting => PathStage::Waiting,
                    dataplane::PathStage::Checked => PathStage::Checked,
                    dataplane::PathStage::Connected => PathStage::Connected,
                    dataplane::PathStage::Flowing => PathStage::Flowing,
                    dataplane::PathStage::Silent => PathStage::Silent,
                };
                let over = report.over.map(|over| match over {
                    dataplane::Over::Udp => Over::Udp,
                    dataplane::Over::Tcp => Over::Tcp,
                    dataplane::Over::TurnUdp => Over::TurnUdp,
                    dataplane::Over::TurnTcp => Over::TurnTcp,
                    dataplane::Over::TurnTls => Over::TurnTls,
                });
                let path = PathState { stage, over };
                MediaEvent::Path { media: media(self, transport)?, path }
            }
            Event::Wanted { publication, encodings } => {
                let media = media(self, publication.transport)?;
                let publication = PublicationKey { media, m_line: publication.m_line };
                MediaEvent::Wanted { publication, encodings }
            }
            Event::Voice { publication, report } => {
                let media = media(self, publication.transport)?;
                MediaEvent::Voice {
                    publication: PublicationKey { media, m_line: publication.m_line },
                    loudness: report.loudness,
                    is_speaking: report.is_speaking,
                }
            }
            Event::Reconnected { transport } => {
                MediaEvent::Reconnected { media: media(self, transport)? }
            }
            Event::Disconnected { transport } => {
                MediaEvent::Disconnected { media: media(self, transport)? }
            }
            Event::Closed { transport, reason, detail } => {
                let media = media(self, transport)?;
                self.forget(media);
                let is_by_peer = reason == CloseReason::DtlsClosed;
                MediaEvent::Closed { media, text: reason.to_string(), detail, is_by_peer }
            }
            Event::Stats { shard: ShardId(shard), counters } => {
                self.dataplane.note_stats(ShardId(shard), &counters);
                if let Some(known) = self.counters.get_mut(usize::from(shard)) {
                    *known = *counters;
                }
                return None;
            }
            Event::Numbers { transport, rates } => {
                let mut sent = Sent::new();
                rates.iter().for_each(|rate| self.note_sent(rate, &mut sent));
                MediaEvent::Numbers { media: media(self, transport)?, sent }
            }
            Event::Surveyed { survey, rates, is_last } => {
                // A late answer to an earlier question is of no use to anybody.
                if survey == self.survey.id {
                    let mut sent = std::mem::take(&mut self.survey.sent);
                    rates.iter().for_each(|rate| self.note_sent(rate, &mut sent));
                    self.survey.sent = sent;
                    self.survey.waiting -= usize::from(is_last).min(self.survey.waiting);
                }
                return None;
            }
        })
    }
}

fn is_watch_of(command: &Command, viewer: TransportId) -> bool {
    matches!(command, Command::Watch { transport, .. } if *transport == viewer)
}

fn sent_rate(rate: &SubscriptionRate, publication: PublicationKey) -> SentRate {
    SentRate {
        publication,
        kind: kind_of(rate.codec.kind()),
        codec: rate.codec.name(),
        encoding: rate.encoding,
        aim: rate.aim.map(|aim| Aim {
            encoding: aim.encoding,
            spatial: aim.spatial,
            temporal: aim.temporal,
        }),
        held: rate.held.map(|held| match held {
            dataplane::Held::Path => Held::Path,
            dataplane::Held::Publisher => Held::Publisher,
            dataplane::Held::Keyframe => Held::Keyframe,
        }),
        still: rate.still,
        keyframes_asked: rate.keyframes_asked,
        spatial: rate.spatial,
        temporal: rate.temporal,
        bits_per_second: rate.bits_per_second,
        estimate_bits_per_second: rate.estimate_bits_per_second,
        loss_256: rate.loss_256,
        rtt_us: rate.rtt_us,
        jitter_us: rate.jitter_us,
    }
}

fn kind_of(kind: dataplane::MediaKind) -> MediaKind {
    match kind {
        dataplane::MediaKind::Audio => MediaKind::Audio,
        dataplane::MediaKind::Video => MediaKind::Video,
    }
}

fn cap(want: Want) -> LayerCap {
    match want.layers {
        Some(layers) => LayerCap::Chosen(Layers {
            encoding: layers.encoding,
            spatial_max: layers.spatial_max,
            temporal_max: layers.temporal_max,
        }),
        None if want.is_low => LayerCap::Low,
        None => LayerCap::High,
    }
}

#[cfg(test)]
mod tests;

//! One publisher on a good path, one viewer behind a link, and the server's own shard between them, in
//! virtual time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dataplane::client::generate_certificate;
use dataplane::simulation::VirtualShard;
use dataplane::{
    ClientKey, Command, Event, LayerCap, PublicationInfo, SubscriptionSpec, TransportId,
};
use loadtest::netem::{Impairment, Link};

use super::sound::Sound;
use super::viewer::Viewer;
use crate::client::{Client, Role};
use crate::load::{Checks, Load};
use crate::peer::Peer;
use crate::publisher::Publisher;
use crate::totals::Totals;

const SERVER: &str = "10.0.0.1:8443";
const PUBLISHER: &str = "10.0.1.1:5000";
const VIEWER: &str = "10.0.1.2:5000";
/// The headers of IPv4 (20 octets) and UDP (8).
const NETWORK_BYTES: usize = 28;
/// Virtual time moves so far where something is overdue.
const STEP_US: u64 = 50;
/// Connecting takes no longer.
const CONNECT_US: u64 = 30_000_000;

/// See the module's documentation.
pub(super) struct World {
    epoch: Instant,
    now_us: u64,
    server: VirtualShard,
    publishing: TransportId,
    viewing: TransportId,
    publisher: Client,
    /// What the viewer has got.
    pub viewer: Viewer,
    down: Link<Vec<u8>>,
    up: Link<Vec<u8>>,
    is_impaired: bool,
    known: Vec<PublicationInfo>,
    /// For how long each packet to the viewer waited before the line, in microseconds.
    pub queued_us: Vec<u64>,
    /// How many packets went to the viewer, and how many of those were lost.
    pub sent: (u64, u64),
    totals: Totals,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text} is no address"))
}

impl World {
    /// The publisher sends, the viewer is about to be connected over links that do what is asked of
    /// them once it is.
    pub(super) fn new(load: Load, link: Impairment) -> Result<Self, String> {
        let epoch = Instant::now();
        let certificate = || generate_certificate().ok_or("no DTLS certificate");
        let (cert, server) = (certificate()?, address(SERVER)?);
        let mut shard = VirtualShard::new(server, load.seed, epoch).ok_or("no shard")?;
        let (publishing, viewing) = (shard.transport(), shard.transport());
        let checks = Checks { verify_every: 1, freeze_us: 0, feedback: false };
        let at = address(PUBLISHER)?;
        let mut peer = Peer::new(at, &cert, Some(load.codec), epoch);
        let offer = peer.offer(&load).ok_or("no offer")?;
        let role = Role::Publisher(Publisher::new(load, 0, 0));
        let publisher = Client::new(at, peer, role, checks);
        let at = address(VIEWER)?;
        let viewer = Viewer::new(at, server, Peer::new(at, &certificate()?, None, epoch));
        let codecs = vec![load.codec, dataplane::Codec::Opus];
        let publish = Command::Publish { transport: publishing, offer, codecs, reached: None };
        shard.command(publish, epoch);
        let mut world = Self {
            epoch,
            now_us: 0,
            server: shard,
            publishing,
            viewing,
            publisher,
            viewer,
            down: Link::new(link, load.seed),
            up: Link::new(link, load.seed + 1),
            is_impaired: false,
            known: Vec::new(),
            queued_us: Vec::new(),
            sent: (0, 0),
            totals: Totals::default(),
        };
        world.settle()?;
        Ok(world)
    }

    /// What time it is, in microseconds from the beginning.
    pub(super) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Connects the viewer, over a good path still, and begins to impair it.
    pub(super) fn connect(&mut self) -> Result<(), String> {
        // Sound and pictures.
        self.run_until("the publisher is heard", |world| world.known.len() == 2)?;
        let subscriptions = self.known.iter().map(|publication| SubscriptionSpec {
            publication: publication.clone(),
            cap: LayerCap::High,
            priority: 1,
        });
        let subscribe = Command::Subscribe {
            transport: self.viewing,
            client: ClientKey(1),
            msid: "ladder".to_owned(),
            subscriptions: subscriptions.collect(),
            ice_restart: false,
        };
        self.server.command(subscribe, self.now());
        self.run_until("a picture comes", |world| !world.viewer.pictures.decoded.is_empty())?;
        self.is_impaired = true;
        // What came over the good path would make all that follows seem late.
        self.viewer.sound = Sound::default();
        Ok(())
    }

    /// Both directions are like this from now on.
    pub(super) fn change(&mut self, link: Impairment) {
        self.down.change(link, self.now_us);
        self.up.change(link, self.now_us);
    }

    fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        while !done(self) {
            if self.now_us > CONNECT_US {
                return Err(format!("it did not happen that {what}"));
            }
            self.step()?;
        }
        Ok(())
    }

    /// Lets so much time pass.
    pub(super) fn run_for(&mut self, length: Duration) -> Result<(), String> {
        let until_us = self.now_us + length.as_micros() as u64;
        while self.now_us < until_us {
            self.step()?;
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        self.epoch + Duration::from_micros(self.now_us)
    }

    /// Not before `at`.
    fn us(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_nanos().div_ceil(1000) as u64
    }

    fn step(&mut self) -> Result<(), String> {
        let Role::Publisher(publisher) = &self.publisher.role else {
            return Err("no publisher".to_owned());
        };
        let media_us = self.publisher.sealer.as_ref().map_or(u64::MAX, |_| publisher.next_at_us());
        let times = [
            self.us(self.server.next_at()),
            self.us(self.publisher.peer.timeout),
            media_us,
            self.viewer.next_at_us(self.epoch),
            self.down.next_at_us().unwrap_or(u64::MAX),
            self.up.next_at_us().unwrap_or(u64::MAX),
        ];
        let next_us = times.into_iter().min().unwrap_or(0);
        // What is overdue waits a moment, so that time moves.
        self.now_us = if next_us > self.now_us { next_us } else { self.now_us + STEP_US };
        let now = self.now();
        if self.server.next_at() <= now {
            self.server.pass(now);
        }
        let mut sent: Vec<Vec<u8>> = Vec::new();
        self.publisher.take_timer();
        let timeout = self.publisher.peer.timeout;
        if timeout <= now {
            self.publisher.handle_timeout(timeout, now, &mut |_, bytes| sent.push(bytes.to_vec()));
        }
        let (at_us, totals) = (self.now_us, &mut self.totals);
        self.publisher.publish(at_us, totals, &mut |_, bytes| sent.push(bytes.to_vec()));
        self.reach_server(address(PUBLISHER)?, sent);
        let mut sent = Vec::new();
        self.viewer.pass(now, self.now_us, &mut sent);
        sent.into_iter().for_each(|datagram| self.send_up(datagram));
        self.settle()
    }

    /// Moves what can be moved at this instant.
    fn settle(&mut self) -> Result<(), String> {
        let now = self.now();
        loop {
            let mut has_moved = false;
            while let Some(datagram) = self.up.pop(self.now_us) {
                has_moved = true;
                self.reach_server(address(VIEWER)?, vec![datagram]);
            }
            while let Some((to, mut datagram)) = self.server.sent() {
                has_moved = true;
                if to == self.viewer.address {
                    self.send_down(datagram);
                    continue;
                }
                let (mut sent, from) = (Vec::new(), address(SERVER)?);
                self.publisher.handle_datagram(
                    from,
                    &mut datagram,
                    now,
                    self.now_us,
                    &mut self.totals,
                    &mut |_, bytes| sent.push(bytes.to_vec()),
                );
                self.reach_server(address(PUBLISHER)?, sent);
            }
            while let Some(mut datagram) = self.down.pop(self.now_us) {
                has_moved = true;
                self.reach_viewer(&mut datagram);
            }
            for event in self.server.events() {
                has_moved = true;
                self.take_event(event)?;
            }
            if !has_moved {
                return Ok(());
            }
        }
    }

    fn reach_server(&mut self, from: SocketAddr, datagrams: Vec<Vec<u8>>) {
        let now = self.now();
        for mut datagram in datagrams {
            self.server.receive(from, &mut datagram, now);
        }
    }

    fn reach_viewer(&mut self, datagram: &mut [u8]) {
        let mut sent = Vec::new();
        self.viewer.receive(datagram, self.now(), self.now_us, &mut sent);
        sent.into_iter().for_each(|datagram| self.send_up(datagram));
    }

    fn send_up(&mut self, datagram: Vec<u8>) {
        if !self.is_impaired {
            let from = self.viewer.address;
            return self.reach_server(from, vec![datagram]);
        }
        let bytes = datagram.len() + NETWORK_BYTES;
        self.up.push(datagram, bytes, self.now_us);
    }

    fn send_down(&mut self, mut datagram: Vec<u8>) {
        if !self.is_impaired {
            return self.reach_viewer(&mut datagram);
        }
        let before = self.down.stats();
        let waits_us = self.down.waits_us(self.now_us);
        let bytes = datagram.len() + NETWORK_BYTES;
        self.down.push(datagram, bytes, self.now_us);
        let after = self.down.stats();
        let lost = (after.lost + after.overflowed) - (before.lost + before.overflowed);
        self.sent = (self.sent.0 + 1, self.sent.1 + lost);
        self.queued_us.push(waits_us);
    }

    fn take_event(&mut self, event: Event) -> Result<(), String> {
        let mut sent = Vec::new();
        match event {
            Event::Answered { answer, .. } => {
                self.publisher.accept_answer(&answer, &mut |_, bytes| sent.push(bytes.to_vec()))?;
                self.reach_server(address(PUBLISHER)?, sent);
            }
            Event::Published { transport, publication } if transport == self.publishing => {
                self.known.retain(|known| known.id != publication.id);
                self.known.push(publication);
            }
            Event::Offered { offer, .. } => {
                let answer = self.viewer.answer(&offer, &mut sent)?;
                sent.into_iter().for_each(|datagram| self.send_up(datagram));
                let accept = Command::AcceptAnswer { transport: self.viewing, answer };
                self.server.command(accept, self.now());
            }
            Event::Refused { error, .. } => return Err(format!("refused: {error}")),
            Event::Closed { detail, .. } => return Err(format!("closed: {detail}")),
            _ => {}
        }
        Ok(())
    }
}

//! Fuzzes the signalling state machines: some clients that send what they like in any order, and
//! a data plane that answers. One line of the input is one step; its first byte says whose.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use signalling::{
    Caller, Action, Cause, ConnId, GroupFile, MediaEvent, MediaKind, MediaRequest, Now, PublicationKey,
    Switchboard, UnixMs, Verdict, parse_description,
};

const CLIENTS: usize = 3;
const STEPS_MAX: usize = 200;
/// What one step gives rise to is bounded; more than this is a loop.
const ACTIONS_MAX: usize = 10_000;
const GROUP: &[u8] = br#"{"wildcard-user": {"password": {"type": "wildcard"},
    "permissions": "op"}, "max-clients": 2, "auto-subgroups": true}"#;

fuzz_target!(|data: &[u8]| {
    let mut clients = Vec::new();
    let mut now = Now { mono: Duration::ZERO, unix: UnixMs(1_700_000_000_000) };
    let mut switchboard = Switchboard::new([7; 32]);
    for line in data.split(|byte| *byte == b'\n').take(STEPS_MAX) {
        let Some((first, rest)) = line.split_first() else { continue };
        let index = usize::from(*first) % (CLIENTS + 1);
        if index == CLIENTS {
            now.mono += Duration::from_millis(u64::from(rest.len() as u16) * 500);
            switchboard.tick(now);
        } else {
            while clients.len() <= index {
                clients.push(enter(&mut switchboard, clients.len(), now));
            }
            if rest.is_empty() {
                switchboard.disconnected(clients[index], now);
                clients[index] = enter(&mut switchboard, index, now);
            } else if let Ok(text) = std::str::from_utf8(rest) {
                switchboard.text(clients[index], text.to_owned(), now);
            }
        }
        settle(&mut switchboard, now);
    }
});

/// A client that has shaken hands and joined, so that the interesting part begins at once.
fn enter(switchboard: &mut Switchboard, index: usize, now: Now) -> ConnId {
    let conn = switchboard.connected(Caller::default(), now);
    for text in [
        format!(r#"{{"type":"handshake","version":["2"],"id":"c{index}"}}"#),
        format!(r#"{{"type":"join","kind":"join","group":"g","username":"u{index}"}}"#),
        r#"{"type":"request","request":{"":["audio","video"]}}"#.to_owned(),
    ] {
        switchboard.text(conn, text, now);
        settle(switchboard, now);
    }
    conn
}

/// Plays the files, the password checks and the data plane until nothing is left to do.
fn settle(switchboard: &mut Switchboard, now: Now) {
    let mut actions = 0;
    while let Some(action) = switchboard.poll_action() {
        actions += 1;
        assert!(actions < ACTIONS_MAX, "the state machine goes round in circles");
        match action {
            Action::Load(name) => {
                let (description, _) = parse_description("g.json", GROUP).expect("it is valid");
                let file = GroupFile::Found(Arc::new(description));
                switchboard.group_file(&name, file, now);
            }
            Action::Check(conn, _) => switchboard.verdict(conn, Verdict::Right, now),
            Action::Media(MediaRequest::Publish { media, offer, .. }) => {
                if offer.len() % 5 == 4 {
                    let text = "no".to_owned();
                    switchboard.media(MediaEvent::Refused { media, text, cause: Cause::Other }, now);
                    continue;
                }
                let answer = "answer".to_owned();
                switchboard.media(MediaEvent::Answered { media, answer, publications: 2, unused: Vec::new() }, now);
                switchboard.media(MediaEvent::Connected { media }, now);
                for (m_line, kind) in [(0, MediaKind::Audio), (1, MediaKind::Video)] {
                    let publication = PublicationKey { media, m_line };
                    switchboard.media(MediaEvent::Published { publication, kind, rids: Vec::new() }, now);
                }
            }
            Action::Media(MediaRequest::Subscribe { media, .. }) => {
                let offer = "offer".to_owned();
                switchboard.media(MediaEvent::Offered { media, offer }, now);
            }
            Action::Media(MediaRequest::AcceptAnswer { media, answer }) => {
                if answer.is_empty() {
                    let text = "gone".to_owned();
                    switchboard.media(MediaEvent::Closed { media, text, detail: String::new(), is_by_peer: false }, now);
                } else {
                    switchboard.media(MediaEvent::Connected { media }, now);
                }
            }
            // Everything else ends outside of the state machine.
            _ => {}
        }
    }
}

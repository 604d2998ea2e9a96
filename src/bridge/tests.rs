//! What the shards tell, in the ids of signalling.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::*;

fn bridge() -> Bridge {
    let config = MediaConfig::new(UdpPorts::Shared(0), vec![Ipv4Addr::LOCALHOST.into()]);
    Bridge::start(config, Arc::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn late_answers_to_a_survey_count_for_nothing() {
    let mut bridge = bridge();
    bridge.begin_survey();
    let late = bridge.survey.id;
    assert!(!bridge.is_surveyed());
    // The time was up.
    assert!(bridge.take_survey().is_empty());
    bridge.begin_survey();
    bridge.translate(Event::Surveyed { survey: late, rates: Vec::new(), is_last: true });
    assert!(!bridge.is_surveyed(), "this question has not been answered");
    let deadline = Instant::now() + Duration::from_secs(240);
    while !bridge.is_surveyed() {
        assert!(Instant::now() < deadline, "the shard does not answer");
        assert!(bridge.events().is_empty(), "it is nobody else's business");
        std::thread::sleep(Duration::from_millis(5));
    }
    bridge.shut_down();
}

#[test]
fn a_survey_is_told_by_the_ids_of_signalling() {
    let mut bridge = bridge();
    let publisher = bridge.transport(MediaId(1), None, "up");
    let viewer = bridge.transport(MediaId(2), None, "down");
    let stranger = bridge.dataplane.place(None);
    bridge.begin_survey();
    let rate = |publisher, transport| SubscriptionRate {
        transport,
        publication: PublicationId { transport: publisher, m_line: 3 },
        codec: Codec::Vp8,
        encoding: Some(1),
        aim: Some(dataplane::Aim { encoding: 0, spatial: 1, temporal: 0 }),
        held: None,
        still: (2, 3000),
        keyframes_asked: 1,
        spatial: (0, 1),
        temporal: (0, 0),
        bits_per_second: 1000,
        estimate_bits_per_second: None,
        loss_256: 0,
        rtt_us: 0,
        jitter_us: 0,
    };
    // Of those that have been closed meanwhile nothing is known any more.
    let rates = vec![rate(publisher, viewer), rate(stranger, viewer), rate(publisher, stranger)];
    let survey = bridge.survey.id;
    bridge.translate(Event::Surveyed { survey, rates, is_last: false });
    let sent = bridge.take_survey();
    assert_eq!(sent.len(), 1);
    let publication = PublicationKey { media: MediaId(1), m_line: 3 };
    assert_eq!(sent[&MediaId(2)].iter().map(|r| r.publication).collect::<Vec<_>>(), [publication]);
    bridge.shut_down();
}

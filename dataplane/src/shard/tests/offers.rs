//! What is answered to the offers of real clients (`offer_cases.rs`), and to some that nobody has
//! made yet.

use super::net::Net;
use super::offer_cases::{
    CHROMIUM_AUDIO, CHROMIUM_VIDEO, Case, LINK, OPUS, OPUS_ON, TWO, VP8, VP8_ON, browsers,
    encoders, refused, spellings, text,
};
use super::strict;
use crate::api::{ClientKey, Command, Event, ViewOffer};
use crate::codec::Codec;

fn codecs(names: &str) -> Vec<Codec> {
    names.split(' ').map(|name| Codec::from_name(name).expect("a codec")).collect()
}

/// What a fresh Transport says to an offer.
fn answer_to(
    net: &mut Net,
    offer: &str,
    codecs: Vec<Codec>,
    is_viewer: bool,
) -> Result<String, String> {
    let transport = net.id_on(0);
    let offer = offer.to_owned();
    net.command(match is_viewer {
        false => Command::Publish { transport, offer, codecs, reached: None },
        true => {
            let (offer, msid) = (ViewOffer::Theirs(offer), "class".to_owned());
            let client = ClientKey(transport.as_u64());
            Command::View { transport, client, offer, msid, codecs, reached: None }
        }
    });
    let events = std::mem::take(&mut net.shards[0].events);
    net.command(Command::Close { transport });
    match events.into_iter().next().expect("an event") {
        Event::Answered { answer, .. } | Event::Viewed { answer: Some(answer), .. } => Ok(answer),
        Event::Refused { error, .. } => Err(error.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn offers_of_real_clients_are_answered_section_by_section() {
    let mut net = Net::new(1);
    let cases: Vec<Case> =
        [browsers(), encoders(), spellings(), refused()].into_iter().flatten().collect();
    assert!(cases.len() >= 60, "{}", cases.len());
    for Case { name, codecs: names, offer, answer: expected } in cases {
        let answer = answer_to(&mut net, &offer, codecs(names), false);
        match (answer, expected) {
            (Ok(answer), Ok(expected)) => {
                let sections = strict::check_answer(&offer, &answer);
                let found: Vec<String> = sections.iter().map(strict::Section::summary).collect();
                assert_eq!(found, expected, "{name}\n{answer}");
            }
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{name}: {said}"),
            (found, expected) => panic!("{name}: {found:?} instead of {expected:?}\n{offer}"),
        }
    }
}

/// The same offers by players: what is sent there is received here.
#[test]
fn offers_of_players_are_answered_section_by_section() {
    let mut net = Net::new(1);
    for Case { name, codecs: names, offer, answer: expected } in
        [browsers(), encoders(), spellings()].into_iter().flatten()
    {
        let offer = offer.replace("a=sendonly", "a=recvonly");
        let expected: Vec<String> = expected
            .expect("these are answered")
            .into_iter()
            .map(|section| section.replace("recvonly", "sendonly"))
            // To players we send each sound more than once where that is of use, and not first of all.
            .map(|section| section.replace(" 63 111 ", " 111 63 "))
            .collect();
        let answer = answer_to(&mut net, &offer, codecs(names), true);
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        let sections = strict::check_answer(&offer, &answer);
        let found: Vec<String> = sections.iter().map(strict::Section::summary).collect();
        assert_eq!(found, expected, "{name}\n{answer}");
        for section in sections.iter().filter(|s| s.direction.as_deref() == Some("sendonly")) {
            assert_eq!(
                section.value("msid").and_then(|msid| msid.split(' ').next()),
                Some("class")
            );
            assert!(section.value("ssrc").is_some(), "{name}");
            assert_eq!(section.value("rid"), None, "{name}");
        }
    }
}

#[test]
fn what_is_agreed_is_said_and_nothing_else() {
    let mut net = Net::new(1);
    let video = CHROMIUM_VIDEO.replace("a=ssrc-group:FID 21 22\n", "")
        + "a=rid:q send pt=96;max-width=320\na=rid:h send\na=rid:f send\na=simulcast:send f,h;~q recv x\n";
    let offer = text(TWO, &[CHROMIUM_AUDIO, &video]);
    let answer = answer_to(&mut net, &offer, codecs("vp8 opus"), false).expect("an answer");
    let sections = strict::check_answer(&offer, &answer);
    let [audio, video] = &sections[..] else { panic!("{answer}") };
    let fmtp: Vec<&str> = audio.values("fmtp").collect();
    assert_eq!(fmtp, ["63 111/111", "111 minptime=10;useinbandfec=1"]);
    let rtpmap: Vec<&str> = audio.values("rtpmap").collect();
    assert_eq!(rtpmap, ["63 red/48000/2", "111 opus/48000/2"]);
    assert_eq!(audio.value("rtcp-fb"), Some("111 transport-cc"));
    assert_eq!(audio.value("rtcp-rsize"), Some(""));
    let feedback: Vec<&str> = video.values("rtcp-fb").collect();
    assert_eq!(
        feedback,
        ["96 goog-remb", "96 transport-cc", "96 ccm fir", "96 nack", "96 nack pli"]
    );
    // Of alternatives the first, and none of what is left out.
    assert_eq!(video.values("rid").collect::<Vec<_>>(), ["f recv", "q recv max-width=320"]);
    assert_eq!(video.value("simulcast"), Some("recv f;q"));
    let extensions: Vec<&str> =
        video.values("extmap").filter_map(|v| v.split(' ').next()).collect();
    assert_eq!(extensions, ["2", "4", "10"], "toffset is none of ours");
    assert!(!answer.contains("extmap-allow-mixed"));
}

/// Pages that strip header extensions from what Firefox offers: all packets would be of no stream.
#[test]
fn a_simulcast_whose_streams_do_not_say_their_rid_is_one_stream() {
    let mut net = Net::new(1);
    let rid = "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\n";
    let lines = "a=rid:1 send\na=rid:2 send\na=simulcast:send 1;2\n";
    let plain = CHROMIUM_VIDEO.replace("a=ssrc-group:FID 21 22\n", "");
    let receives_only = rid.replace(":10", ":10/recvonly");
    for (video, expected) in [
        (plain.clone(), &["1 recv", "2 recv"][..]),
        (plain.replace(rid, ""), &[]),
        (plain.replace(rid, &receives_only), &[]),
    ] {
        let offer = text(TWO, &[CHROMIUM_AUDIO, &(video + lines)]);
        let answer = answer_to(&mut net, &offer, codecs("vp8 opus"), false).expect("an answer");
        let [_, video] = &strict::check_answer(&offer, &answer)[..] else { panic!("{answer}") };
        assert_eq!(video.values("rid").collect::<Vec<_>>(), expected);
        assert_eq!(video.value("simulcast").is_some(), !expected.is_empty());
        assert_eq!(video.direction.as_deref(), Some("recvonly"));
    }
}

/// RFC 8888 s6: for all formats, and instead of what else would tell the same.
#[test]
fn feedback_by_ssrc_is_answered_to_who_offers_it() {
    let mut net = Net::new(1);
    let with_it = |section: &str| format!("{section}a=rtcp-fb:* ack ccfb\n");
    let sections = [with_it(CHROMIUM_AUDIO), with_it(CHROMIUM_VIDEO)];
    let offer = text(TWO, &[&sections[0], &sections[1]]);
    let answer = answer_to(&mut net, &offer, codecs("vp8 opus"), false).expect("an answer");
    for section in strict::check_answer(&offer, &answer) {
        let feedback: Vec<&str> = section.values("rtcp-fb").collect();
        assert_eq!(feedback[0], "* ack ccfb");
        assert!(!feedback.iter().any(|value| value.contains("transport-cc")), "{feedback:?}");
    }
}

/// Two sides that wait, or two that begin, never meet.
#[test]
fn the_handshake_has_one_who_begins() {
    let mut net = Net::new(1);
    for (offered, answered) in
        [("actpass", "passive"), ("active", "passive"), ("passive", "active")]
    {
        let offer = text(TWO, &[OPUS, VP8]).replace("actpass", offered);
        let answer = answer_to(&mut net, &offer, codecs("vp8 opus"), false).expect("an answer");
        let sections = strict::check_answer(&offer, &answer);
        assert!(sections.iter().all(|s| s.value("setup") == Some(answered)), "{offered}");
    }
}

/// FFmpeg tries the first candidate only.
#[test]
fn the_candidate_of_the_address_that_was_reached_is_first() {
    let candidates: Vec<std::net::SocketAddr> =
        ["10.0.0.1:1", "192.0.2.1:1", "[2001:db8::1]:1"].map(|a| a.parse().expect("one")).to_vec();
    let first = |near: Option<&str>| {
        let near = near.map(|near| near.parse().expect("an address"));
        crate::describe::Candidates::nearest_first(&candidates, &[], near)
            .udp
            .first()
            .map(|a| a.ip().to_string())
    };
    assert_eq!(first(None).as_deref(), Some("10.0.0.1"));
    assert_eq!(first(Some("192.0.2.1")).as_deref(), Some("192.0.2.1"));
    assert_eq!(first(Some("2001:db8::1")).as_deref(), Some("2001:db8::1"));
    assert_eq!(first(Some("198.51.100.1")).as_deref(), Some("10.0.0.1"));
}

/// RFC 3264 s8: what a later offer may change, and what not.
#[test]
fn later_offers_keep_the_sections_of_the_one_before() {
    let mut net = Net::new(1);
    let transport = net.id_on(0);
    let mut publish = |offer: String| {
        let codecs = codecs("vp8 opus");
        net.command(Command::Publish { transport, offer: offer.clone(), codecs, reached: None });
        match std::mem::take(&mut net.shards[0].events).into_iter().next() {
            Some(Event::Answered { answer, .. }) => {
                let sections = strict::check_answer(&offer, &answer);
                Ok(sections.iter().map(strict::Section::summary).collect::<Vec<_>>())
            }
            Some(Event::Refused { error, .. }) => Err(error.to_string()),
            other => panic!("{other:?}"),
        }
    };
    let first = text(TWO, &[OPUS, VP8]);
    assert_eq!(publish(first.clone()), Ok(vec![OPUS_ON.to_owned(), VP8_ON.to_owned()]));
    // The camera is turned off, in either way, and on again, with new ICE credentials.
    let off = first.replace("m=video 9", "m=video 0").replace("BUNDLE 0 1", "BUNDLE 0");
    let expected = [OPUS_ON, "video 0 96 inactive mid=1"].map(str::to_owned);
    assert_eq!(publish(off), Ok(expected.to_vec()));
    let restart = first.replace("abcdefghijklmnopqrstuvwx", "zzzzzzzzzzzzzzzzzzzzzzzz");
    assert_eq!(publish(restart), Ok(vec![OPUS_ON.to_owned(), VP8_ON.to_owned()]));
    let third = text("a=group:BUNDLE 0 1 2\n", &[OPUS, VP8, &VP8.replace("mid:1", "mid:2")]);
    assert_eq!(publish(third).map(|sections| sections.len()), Ok(3));
    let moved = "must keep the m-sections";
    for offer in [
        first.clone(),
        text("a=group:BUNDLE 0 1 2\n", &[VP8, OPUS, &VP8.replace("mid:1", "mid:2")]),
    ] {
        assert!(publish(offer).is_err_and(|said| said.contains(moved)));
    }
    let other = first.replace("AB:AB", "CD:CD") + &VP8.replace("mid:1", "mid:2").replace('@', LINK);
    assert!(publish(other).is_err_and(|said| said.contains("another certificate")));
    // What was a camera cannot become a microphone: viewers hang on it.
    let kind = text(
        "a=group:BUNDLE 0 1 2\n",
        &[OPUS, &OPUS.replace("mid:0", "mid:7"), &VP8.replace("mid:1", "mid:2")],
    );
    let sections = publish(kind.replace("BUNDLE 0 1 2", "BUNDLE 0 7 2")).expect("an answer");
    assert_eq!(sections[1], "audio 0 111 inactive mid=7");
}

/// A generator of offers that nobody has thought of, from what anybody might write.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind of line of a section")]
    fn section(&mut self, at: usize) -> (String, bool) {
        let media = self.one(&["audio", "audio", "video", "video", "video", "application", "text"]);
        let port = self.one(&["9", "9", "9", "9", "0", "5004", "9/2"]);
        let proto = self.one(&[
            "UDP/TLS/RTP/SAVPF",
            "UDP/TLS/RTP/SAVPF",
            "UDP/TLS/RTP/SAVP",
            "RTP/SAVPF",
            "RTP/AVP",
            "TCP/DTLS/RTP/SAVPF",
            "UDP/DTLS/SCTP",
            "udp",
        ]);
        let mid = self.one(&["", "a=mid:X\n", "a=mid:X\n", "a=mid:X\n", "a=mid:x-X.1\n"]);
        let mid = mid.replace('X', &at.to_string());
        let names = [
            "opus/48000/2",
            "VP8/90000",
            "VP9/90000",
            "H264/90000",
            "AV1/90000",
            "rtx/90000",
            "PCMU/8000",
            "red/90000",
            "opus/48000",
            "G722/8000",
            "telephone-event/8000",
        ];
        let (mut pts, mut lines) = (Vec::new(), String::new());
        for _ in 0..=self.below(6) {
            let pt =
                self.one(&["0", "8", "9", "35", "63", "72", "96", "97", "98", "102", "111", "127"]);
            pts.push(pt);
            if self.below(8) > 0 {
                lines += &format!("a=rtpmap:{pt} {}\n", self.one(&names));
            }
            if self.below(2) > 0 {
                let fmtp = self.one(&[
                    "apt=96",
                    "apt=111",
                    "profile-level-id=42e01f;packetization-mode=1",
                    "packetization-mode=2",
                    "profile-id=2",
                    "stereo=1;usedtx=1",
                    ";;=;x",
                    "",
                ]);
                lines += &format!("a=fmtp:{pt} {fmtp}\n");
            }
            if self.below(3) > 0 {
                lines += &format!(
                    "a=rtcp-fb:{} {}\n",
                    self.one(&[pt, "*"]),
                    self.one(&["nack", "nack pli", "goog-remb", "x"])
                );
            }
        }
        for _ in 0..self.below(4) {
            lines += self.one(&[
                "a=bundle-only\n",
                "a=sendonly\n",
                "a=recvonly\n",
                "a=inactive\n",
                "a=sendrecv\n",
                "b=AS:9\n",
                "i=title\n",
                "a=rid:a send\na=rid:b send\na=simulcast:send a;b\n",
                "a=rid:c send pt=96;max-fps=5\n",
                "a=simulcast:recv z\n",
                "a=ssrc:5 cname:x\n",
                "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\n",
                "a=extmap:0 x\n",
                "a=extmap:8/sendonly urn:3gpp:video-orientation\n",
                "a=extmap:14/inactive urn:3gpp:video-orientation\n",
                "a=msid:- v\n",
                "a=candidate:x\n",
                "a=end-of-candidates\n",
            ]);
        }
        let link = if self.below(6) > 0 { LINK } else { "c=IN IP6 ::\n" };
        let text = format!("m={media} {port} {proto} {}\n{link}{mid}{lines}", pts.join(" "));
        (text, !mid.is_empty())
    }

    fn offer(&mut self) -> String {
        let sections: Vec<(String, bool)> =
            (0..=self.below(5)).map(|at| self.section(at)).collect();
        let mids: Vec<&str> = sections
            .iter()
            .filter_map(|(text, _)| text.lines().find_map(|line| line.strip_prefix("a=mid:")))
            .collect();
        let session = match self.below(6) {
            0 => String::new(),
            1 => "a=group:BUNDLE\na=sendonly\n".to_owned(),
            2 => format!("a=group:BUNDLE 99 {}\na=extmap-allow-mixed\n", mids.join(" ")),
            3 if mids.len() > 1 => {
                format!("a=group:BUNDLE {}\na=group:BUNDLE {}\n", mids[1], mids[0])
            }
            _ => format!("a=group:BUNDLE {}\n", mids.join(" ")),
        };
        let sections: Vec<&str> = sections.iter().map(|(text, _)| text.as_str()).collect();
        text(&session, &sections)
    }
}

/// Whatever is offered, an answer is whole: as many sections, each with a format, in a shape that
/// a strict reader takes.
#[test]
fn any_answer_to_any_offer_is_whole() {
    let mut net = Net::new(1);
    let (mut answered, mut refused) = (0, 0);
    for seed in 0..4000 {
        let mut dice = Dice(seed);
        let offer = dice.offer();
        let names = ["vp8 opus", "opus", "vp8 vp9 av1 h264 opus g722 pcmu pcma", "h264 pcmu"];
        let names = dice.one(&names);
        match answer_to(&mut net, &offer, codecs(names), dice.below(2) > 0) {
            Ok(answer) => {
                strict::check_answer(&offer, &answer);
                answered += 1;
            }
            Err(said) => {
                assert!(!said.is_empty());
                refused += 1;
            }
        }
    }
    // Neither half of the test may die out.
    assert!(answered > 800 && refused > 400, "{answered} answered, {refused} refused");
}

//! Offers as real clients make them, and what is answered to each: the table that whoever reports
//! a client that does not get in adds a line to.

/// What every section of a browser has: ICE, DTLS, one port.
pub(super) const LINK: &str = "c=IN IP4 0.0.0.0\na=ice-ufrag:abcd\na=ice-pwd:abcdefghijklmnopqrstuvwx\n\
    a=ice-options:trickle\na=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:\
    AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB\na=setup:actpass\na=rtcp-mux\n";

/// Chromium's formats of audio and video, shortened where nothing new would come.
pub(super) const CHROMIUM_AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\n@a=mid:0\n\
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\n\
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\na=sendonly\na=msid:s a\na=rtcp-rsize\n\
    a=rtpmap:111 opus/48000/2\na=rtcp-fb:111 transport-cc\na=fmtp:111 minptime=10;useinbandfec=1\n\
    a=rtpmap:63 red/48000/2\na=fmtp:63 111/111\na=rtpmap:9 G722/8000\na=rtpmap:0 PCMU/8000\n\
    a=rtpmap:8 PCMA/8000\na=rtpmap:13 CN/8000\na=rtpmap:110 telephone-event/48000\n\
    a=rtpmap:126 telephone-event/8000\na=ssrc:11 cname:c\na=ssrc:11 msid:s a\n";
pub(super) const CHROMIUM_VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 104 105 106 107 45 46 98 99 \
    112 113 114\n@a=mid:1\na=extmap:14 urn:ietf:params:rtp-hdrext:toffset\n\
    a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\n\
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\n\
    a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\na=sendonly\na=msid:s v\n\
    a=rtcp-rsize\na=rtpmap:96 VP8/90000\na=rtcp-fb:96 goog-remb\na=rtcp-fb:96 transport-cc\n\
    a=rtcp-fb:96 ccm fir\na=rtcp-fb:96 nack\na=rtcp-fb:96 nack pli\na=rtpmap:97 rtx/90000\n\
    a=fmtp:97 apt=96\na=rtpmap:102 H264/90000\na=rtcp-fb:102 nack pli\n\
    a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\n\
    a=rtpmap:103 rtx/90000\na=fmtp:103 apt=102\na=rtpmap:104 H264/90000\n\
    a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f\n\
    a=rtpmap:105 rtx/90000\na=fmtp:105 apt=104\na=rtpmap:106 H264/90000\n\
    a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\n\
    a=rtpmap:107 rtx/90000\na=fmtp:107 apt=106\na=rtpmap:45 AV1/90000\n\
    a=fmtp:45 level-idx=5;profile=0;tier=0\na=rtpmap:46 rtx/90000\na=fmtp:46 apt=45\n\
    a=rtpmap:98 VP9/90000\na=fmtp:98 profile-id=0\na=rtpmap:99 rtx/90000\na=fmtp:99 apt=98\n\
    a=rtpmap:112 red/90000\na=rtpmap:113 rtx/90000\na=fmtp:113 apt=112\na=rtpmap:114 ulpfec/90000\n\
    a=ssrc-group:FID 21 22\na=ssrc:21 cname:c\na=ssrc:22 cname:c\n";
pub(super) const FIREFOX_VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 120 124 126 127 97 98\n@a=mid:1\na=sendonly\n\
    a=rtpmap:120 VP8/90000\na=rtcp-fb:120 nack\na=fmtp:120 max-fs=12288;max-fr=60\n\
    a=rtpmap:124 rtx/90000\na=fmtp:124 apt=120\na=rtpmap:126 H264/90000\n\
    a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1\n\
    a=rtpmap:127 rtx/90000\na=fmtp:127 apt=126\na=rtpmap:97 H264/90000\n\
    a=fmtp:97 profile-level-id=42e01f;level-asymmetry-allowed=1\na=rtpmap:98 rtx/90000\n\
    a=fmtp:98 apt=97\n";

pub(super) const OPUS: &str =
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\n@a=mid:0\na=sendonly\na=rtpmap:111 opus/48000/2\n";
pub(super) const VP8: &str =
    "m=video 9 UDP/TLS/RTP/SAVPF 96\n@a=mid:1\na=sendonly\na=rtpmap:96 VP8/90000\n";
pub(super) const TWO: &str = "a=group:BUNDLE 0 1\n";

pub(super) const OPUS_ON: &str = "audio 9 111 recvonly mid=0";
/// Where it is offered redundant: publishers send what they find first.
const OPUS_TWICE_ON: &str = "audio 9 63 111 recvonly mid=0";
pub(super) const VP8_ON: &str = "video 9 96 recvonly mid=1";

/// An offer of a publisher to a group with codecs, and the sections of the answer; or what is said
/// of it.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) codecs: &'static str,
    pub(super) offer: String,
    pub(super) answer: Result<Vec<&'static str>, &'static str>,
}

pub(super) fn text(session: &str, sections: &[&str]) -> String {
    let head = "v=0\no=- 4611731400430051336 2 IN IP4 127.0.0.1\ns=-\nt=0 0\n";
    format!("{head}{session}{}", sections.concat()).replace('@', LINK).replace('\n', "\r\n")
}

pub(super) fn case(
    name: &'static str,
    codecs: &'static str,
    session: &str,
    sections: &[&str],
    answer: &[&'static str],
) -> Case {
    Case { name, codecs, offer: text(session, sections), answer: Ok(answer.to_vec()) }
}

pub(super) fn refusal(
    name: &'static str,
    session: &str,
    sections: &[&str],
    says: &'static str,
) -> Case {
    Case { name, codecs: "vp8 opus", offer: text(session, sections), answer: Err(says) }
}

/// A variation of the plain offer of opus and VP8 whose answer is as plain.
pub(super) fn plain(name: &'static str, from: &str, to: &str) -> Case {
    let offer = text(TWO, &[OPUS, VP8]);
    let (from, to) = (from.replace('\n', "\r\n"), to.replace('\n', "\r\n"));
    assert!(offer.contains(&from), "{name} changes nothing");
    let answer = Ok(vec![OPUS_ON, VP8_ON]);
    Case { name, codecs: "vp8 opus", offer: offer.replace(&from, &to), answer }
}

#[expect(clippy::too_many_lines, reason = "a table of offers")]
pub(super) fn browsers() -> Vec<Case> {
    let firefox_audio = "m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101\n@a=mid:0\na=sendonly\n\
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\n\
        a=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level\n\
        a=rtpmap:109 opus/48000/2\na=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1\n\
        a=rtpmap:9 G722/8000/1\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\n\
        a=rtpmap:101 telephone-event/8000/1\na=fmtp:101 0-15\n";
    let simulcast = CHROMIUM_VIDEO.replace("a=ssrc-group:FID 21 22\n", "")
        + "a=rid:q send\na=rid:h send\na=rid:f send\na=simulcast:send q;h;~f\n";
    let off_first = "m=audio 0 UDP/TLS/RTP/SAVPF 0\nc=IN IP4 0.0.0.0\na=mid:0\na=inactive\n\
        a=rtpmap:0 PCMU/8000\n";
    let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\n@a=mid:2\na=sctp-port:5000\n";
    let stopped = VP8.replace("sendonly", "inactive");
    vec![
        case(
            "Chromium, all codecs",
            "vp8 vp9 av1 h264 opus",
            TWO,
            &[CHROMIUM_AUDIO, CHROMIUM_VIDEO],
            &[OPUS_TWICE_ON, "video 9 96 97 98 99 45 46 106 107 102 103 104 105 recvonly mid=1"],
        ),
        case(
            "Chromium, a group of VP8",
            "vp8 opus",
            "a=extmap-allow-mixed\na=msid-semantic: WMS s\na=group:BUNDLE 0 1\n",
            &[CHROMIUM_AUDIO, CHROMIUM_VIDEO],
            &[OPUS_TWICE_ON, "video 9 96 97 recvonly mid=1"],
        ),
        case(
            "Chromium, the group's order counts",
            "h264 vp8 g722 opus",
            TWO,
            &[CHROMIUM_AUDIO, CHROMIUM_VIDEO],
            &[
                "audio 9 9 63 111 recvonly mid=0",
                "video 9 106 107 102 103 104 105 96 97 recvonly mid=1",
            ],
        ),
        case(
            "Chromium with a camera in a group without video",
            "opus",
            TWO,
            &[CHROMIUM_AUDIO, CHROMIUM_VIDEO],
            &[OPUS_TWICE_ON, "video 0 96 inactive mid=1"],
        ),
        case(
            "Chromium, microphone in a group without audio",
            "vp8",
            TWO,
            &[CHROMIUM_AUDIO, CHROMIUM_VIDEO],
            &["audio 9 111 inactive mid=0", "video 9 96 97 recvonly mid=1"],
        ),
        case(
            "Chromium, simulcast",
            "vp8 opus",
            TWO,
            &[CHROMIUM_AUDIO, &simulcast],
            &[OPUS_TWICE_ON, "video 9 96 97 recvonly mid=1"],
        ),
        case(
            "Chromium with a data channel",
            "vp8 opus",
            "a=group:BUNDLE 0 1 2\n",
            &[OPUS, VP8, data],
            &[OPUS_ON, VP8_ON, "application 0 UDP/DTLS/SCTP webrtc-datachannel mid=2"],
        ),
        case(
            "a data channel first",
            "vp8 opus",
            "a=group:BUNDLE 2 0\n",
            &[data, OPUS],
            &["application 0 UDP/DTLS/SCTP webrtc-datachannel mid=2", OPUS_ON],
        ),
        case(
            "Chromium, max-bundle",
            "vp8 opus",
            TWO,
            &[
                OPUS,
                &VP8.replace("video 9", "video 0")
                    .replace('@', "c=IN IP4 0.0.0.0\na=bundle-only\n"),
            ],
            &[OPUS_ON, VP8_ON],
        ),
        case(
            "bundle-only outside of a bundle is off",
            "vp8 opus",
            "a=group:BUNDLE 0\n",
            &[
                OPUS,
                &VP8.replace("video 9", "video 0")
                    .replace('@', "c=IN IP4 0.0.0.0\na=bundle-only\n"),
            ],
            &[OPUS_ON, "video 0 96 inactive mid=1"],
        ),
        case(
            "Firefox",
            "vp8 h264 opus",
            "a=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:\
             AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB\na=group:BUNDLE 0 1\na=ice-options:trickle\n\
             a=msid-semantic:WMS *\na=sendrecv\n",
            &[firefox_audio, FIREFOX_VIDEO],
            &["audio 9 109 recvonly mid=0", "video 9 120 124 126 127 97 98 recvonly mid=1"],
        ),
        case(
            "Firefox, first section stopped",
            "vp8 opus",
            "a=group:BUNDLE 1\n",
            &[off_first, VP8],
            &["audio 0 0 inactive mid=0", VP8_ON],
        ),
        case(
            "stopped without a mid, and said to send",
            "vp8 opus",
            "a=group:BUNDLE 1\n",
            &["m=audio 0 UDP/TLS/RTP/SAVPF 111\na=sendonly\na=rtpmap:111 opus/48000/2\n", VP8],
            &["audio 0 111 inactive", VP8_ON],
        ),
        case(
            "a transceiver that is inactive",
            "vp8 opus",
            TWO,
            &[OPUS, &stopped],
            &[OPUS_ON, "video 9 96 inactive mid=1"],
        ),
        case(
            "the first one inactive, and not ours anyway",
            "vp8",
            TWO,
            &[&OPUS.replace("sendonly", "inactive"), VP8],
            &["audio 9 111 inactive mid=0", VP8_ON],
        ),
        case(
            "the section that leads the bundle is the last",
            "vp8 opus",
            "a=group:BUNDLE 1 0\n",
            &[OPUS, VP8],
            &[OPUS_ON, VP8_ON],
        ),
        case(
            "three videos",
            "vp8 opus",
            "a=group:BUNDLE 0 1 2 3\n",
            &[OPUS, VP8, &VP8.replace("mid:1", "mid:2"), &VP8.replace("mid:1", "mid:3")],
            &[OPUS_ON, VP8_ON, "video 9 96 recvonly mid=2", "video 9 96 recvonly mid=3"],
        ),
        case(
            "Safari: payload types of its own",
            "h264 opus",
            TWO,
            &[
                OPUS,
                "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99\n@a=mid:1\na=sendrecv\n\
                 a=rtpmap:96 H264/90000\n\
                 a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f\n\
                 a=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\na=rtpmap:98 H264/90000\n\
                 a=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\n\
                 a=rtpmap:99 rtx/90000\na=fmtp:99 apt=98\n",
            ],
            &[OPUS_ON, "video 9 98 99 96 97 recvonly mid=1"],
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of offers")]
pub(super) fn encoders() -> Vec<Case> {
    let h264 = |fmtp: &str| {
        let line = if fmtp.is_empty() { String::new() } else { format!("a=fmtp:106 {fmtp}\n") };
        format!(
            "m=video 9 UDP/TLS/RTP/SAVPF 106\n@a=mid:1\na=sendonly\na=rtpmap:106 H264/90000\n{line}"
        )
    };
    let on = ["audio 9 111 recvonly mid=0", "video 9 106 recvonly mid=1"];
    let mut cases = vec![
        case(
            "FFmpeg 9",
            "h264 opus",
            TWO,
            &[
                &OPUS.replace('@', &LINK.replace("actpass", "passive")),
                "m=video 9 UDP/TLS/RTP/SAVPF 106 105\n@a=setup:passive\na=mid:1\na=sendonly\n\
                 a=rtpmap:106 H264/90000\na=rtcp-fb:106 nack\n\
                 a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f\n\
                 a=rtpmap:105 rtx/90000\na=fmtp:105 apt=106\n",
            ],
            &["audio 9 111 recvonly mid=0", "video 9 106 105 recvonly mid=1"],
        ),
        case(
            "FFmpeg 8 with video only: the bundle names a section that is not there",
            "h264",
            TWO,
            &[&h264("packetization-mode=1;profile-level-id=42c01f")],
            &["video 9 106 recvonly mid=1"],
        ),
        case(
            "one section, no bundle, no mid",
            "opus",
            "",
            &[&OPUS.replace("a=mid:0\n", "")],
            &["audio 9 111 recvonly"],
        ),
        case(
            "OBS: stream ids differ, three rids, four layers",
            "h264 opus",
            TWO,
            &[
                OPUS,
                &(h264("profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1")
                    + "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\n\
                       a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\n\
                       a=rid:0 send\na=rid:1 send\na=rid:2 send\na=rid:3 send\n\
                       a=simulcast:send 0;1;2;3\n"),
            ],
            &on,
        ),
        case(
            "GStreamer: OPUS without channels, old profile",
            "h264 opus",
            "a=group:BUNDLE audio0 video1\na=ice-options:trickle\n",
            &[
                "m=audio 9 UDP/TLS/RTP/SAVPF 96\n@a=mid:audio0\na=sendonly\na=rtpmap:96 OPUS/48000\n",
                "m=video 9 UDP/TLS/RTP/SAVPF 97\n@a=mid:video1\na=sendonly\na=rtpmap:97 H264/90000\n\
                 a=rtcp-fb:97 nack pli\na=framerate:30\n\
                 a=fmtp:97 packetization-mode=1;profile-level-id=4d001f;sprop-parameter-sets=Z00,aO4=\n",
            ],
            &["audio 9 96 recvonly mid=audio0", "video 9 97 recvonly mid=video1"],
        ),
        case(
            "aiortc: 96 and 97 for audio, everything listed",
            "vp8 pcmu",
            TWO,
            &[
                "m=audio 45678 UDP/TLS/RTP/SAVPF 96 0 8\n@a=mid:0\na=sendonly\n\
                 a=rtpmap:96 opus/48000/2\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\n\
                 a=candidate:1 1 udp 2130706431 192.0.2.1 45678 typ host\na=end-of-candidates\n",
                VP8,
            ],
            &["audio 9 0 recvonly mid=0", VP8_ON],
        ),
        case(
            "libdatachannel: mids are words with hyphens",
            "vp8 opus",
            "a=group:BUNDLE audio-stream video-stream.1\na=group:LS audio-stream video-stream.1\n",
            &[
                &OPUS.replace("mid:0", "mid:audio-stream"),
                &VP8.replace("mid:1", "mid:video-stream.1"),
            ],
            &["audio 9 111 recvonly mid=audio-stream", "video 9 96 recvonly mid=video-stream.1"],
        ),
        case(
            "a mid as long as a uuid, and its neighbour",
            "vp8 opus",
            "a=group:BUNDLE {0bdc3c0e-6c0f-4b0b-8a6c-8b5d9fd7a001} 0bdc3c0e-6c0f-4b0b-8a6c-8b5d9fd7a002\n",
            &[
                &OPUS.replace("mid:0", "mid:{0bdc3c0e-6c0f-4b0b-8a6c-8b5d9fd7a001}"),
                &VP8.replace("mid:1", "mid:0bdc3c0e-6c0f-4b0b-8a6c-8b5d9fd7a002"),
            ],
            &[
                "audio 9 111 recvonly mid={0bdc3c0e-6c0f-4b0b-8a6c-8b5d9fd7a001}",
                "video 9 96 recvonly mid=0bdc3c0e-6c0f-4b0b-8a6c-8b5d9fd7a002",
            ],
        ),
        case(
            "telephony: static payload types without rtpmap",
            "pcma pcmu",
            "",
            &["m=audio 9 UDP/TLS/RTP/SAVPF 8 0 101\n@a=mid:0\na=sendrecv\n\
               a=rtpmap:101 telephone-event/8000\n"],
            &["audio 9 8 0 recvonly mid=0"],
        ),
        case(
            "lower and upper case of codecs",
            "vp8 opus",
            TWO,
            &[&OPUS.replace("opus", "OPUS"), &VP8.replace("VP8", "vp8")],
            &[OPUS_ON, VP8_ON],
        ),
        case(
            "payload types of RTCP are left alone",
            "vp8",
            "",
            &["m=video 9 UDP/TLS/RTP/SAVPF 72 96\n@a=mid:1\na=sendonly\na=rtpmap:72 VP8/90000\n\
               a=rtpmap:96 VP8/90000\n"],
            &[VP8_ON],
        ),
    ];
    for (name, fmtp) in [
        ("H.264 without parameters", ""),
        ("H.264 high", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f"),
        ("H.264 main", "packetization-mode=1;profile-level-id=4D0028"),
        ("H.264 in mode 0", "profile-level-id=42e01f;packetization-mode=0"),
        ("H.264 of another kind", "packetization-mode=1;profile-level-id=f4001f"),
        (
            "H.264 with parameter sets",
            "sprop-parameter-sets=Z0LAH9o=,aM48gA==;profile-level-id=42c01f",
        ),
        ("H.264, spaces", "packetization-mode=1; profile-level-id=42e01f"),
    ] {
        cases.push(case(name, "h264 opus", TWO, &[OPUS, &h264(fmtp)], &on));
    }
    cases
}

/// Ways to say the same, and things that do not matter.
#[expect(clippy::too_many_lines, reason = "a table of offers")]
pub(super) fn spellings() -> Vec<Case> {
    let proto = |name, proto: &'static str, video: &'static str| {
        let offer = text(TWO, &[OPUS, &VP8.replace("UDP/TLS/RTP/SAVPF", proto)]);
        Case { name, codecs: "vp8 opus", offer, answer: Ok(vec![OPUS_ON, video]) }
    };
    let candidates = "a=candidate:1 1 udp 2122260223 4f6d.local 5 typ host\n".repeat(200);
    let hash =
        |name: &str, len: usize| format!("a=fingerprint:{name} {}\n", vec!["ab"; len].join(":"));
    let old = hash("sha-256", 32).replace("ab", "AB");
    let plus = |to: String| plain("another hash", &old, &to);
    let mut cases = vec![
        plain("two bandwidths", "a=mid:1\n", "b=AS:500\nb=TIAS:500000\na=mid:1\n"),
        plain(
            "a bandwidth and a title",
            "t=0 0\n",
            "i=a lecture\nu=https://example.org/\nb=CT:9\nt=0 0\n",
        ),
        plain("a media title", "a=mid:1\n", "i=the camera\na=mid:1\n"),
        plain("an encryption key that nobody needs", "a=mid:1\n", "k=prompt\na=mid:1\n"),
        plain("times of a broadcast", "t=0 0\n", "t=3034423619 3042462419\nr=7d 1h 0 25h\nz=0 0\n"),
        plain("direction of the session", "a=sendonly\n", ""),
        plain("direction of the session, said", "t=0 0\n", "t=0 0\na=sendonly\n"),
        plain("no connection line", "c=IN IP4 0.0.0.0\n", ""),
        plain("IPv6", "IN IP4", "IN IP6"),
        plain("as many ports", "m=video 9 ", "m=video 9/1 "),
        Case {
            name: "bare line feeds",
            codecs: "vp8 opus",
            offer: text(TWO, &[OPUS, VP8]).replace('\r', ""),
            answer: Ok(vec![OPUS_ON, VP8_ON]),
        },
        plain("spaces at the end", "a=mid:1\n", "a=mid:1 \n"),
        plain("attributes of tomorrow", "a=mid:1\n", "a=mid:1\na=future:1 2 3\na=flag\n"),
        plain("more candidates than anybody has", "a=mid:1\n", &format!("a=mid:1\n{candidates}")),
        plain("a candidate that nobody can read", "a=mid:1\n", "a=mid:1\na=candidate:nonsense\n"),
        plain("nobody's name", "o=- ", "o= "),
        plain("a blank before a name", "o=- ", "o= - "),
        plain("a tab before the digest", "sha-256 ", "sha-256\t"),
        plain("a line of blanks", "a=mid:1\n", "a=mid:1\n \n"),
        plain("a tab before the codec", "rtpmap:96 ", "rtpmap:96\t"),
        plain("hash in capitals", "sha-256", "SHA-256"),
        plain("a hash of tomorrow", "a=fingerprint:", "a=fingerprint:sha9 x~y\na=fingerprint:"),
        plain("digest in small letters", "AB:AB", "ab:ab"),
        plain("setup in capitals", "actpass", "ACTPASS"),
        plain("setup: they begin", "actpass", "active"),
        plain("setup: we begin", "actpass", "passive"),
        plain("no setup", "a=setup:actpass\n", ""),
        plain("RTCP on the port beside, if it must", "a=rtcp-mux\n", "a=rtcp:10\na=rtcp-mux\n"),
        plain("RTCP on the same port only", "a=rtcp-mux\n", "a=rtcp-mux-only\n"),
        plain(
            "an extension of two bytes",
            "a=mid:1\n",
            "a=mid:1\na=extmap:15 urn:3gpp:video-orientation\n",
        ),
        plain(
            "feedback of all formats",
            "a=mid:1\n",
            "a=mid:1\na=rtcp-fb:* nack\na=rtcp-fb:* ccm  fir\n",
        ),
        plain("a feedback of tomorrow", "a=mid:1\n", "a=mid:1\na=rtcp-fb:96 ack tomorrow\n"),
        plain("a format twice", "SAVPF 96\n", "SAVPF 96 96\n"),
        plain("a parameter without a value", "a=mid:1\n", "a=mid:1\na=fmtp:96 x\n"),
        plain(
            "a group of another kind",
            TWO,
            "a=group:BUNDLE 0 1\na=group:LS 0 1\na=group:ANAT 0\n",
        ),
        plus(hash("sha-512", 64)),
        plus(hash("sha-384", 48)),
        plus(hash("SHA-1", 20) + &hash("sha-256", 32)),
        plus(hash("sha-256", 32) + &hash("sha-256", 32) + &hash("sha-512", 64)),
        proto("SAVP", "UDP/TLS/RTP/SAVP", "video 9 UDP/TLS/RTP/SAVP 96 recvonly mid=1"),
        proto("RTP/SAVPF", "RTP/SAVPF", "video 9 RTP/SAVPF 96 recvonly mid=1"),
        proto("RTP/SAVP", "RTP/SAVP", "video 9 RTP/SAVP 96 recvonly mid=1"),
        proto("RTP/AVPF", "RTP/AVPF", "video 9 RTP/AVPF 96 recvonly mid=1"),
        proto("RTP/AVP", "RTP/AVP", "video 9 RTP/AVP 96 recvonly mid=1"),
        proto("TCP", "TCP/DTLS/RTP/SAVPF", "video 9 TCP/DTLS/RTP/SAVPF 96 recvonly mid=1"),
        proto("TCP, SAVP", "TCP/DTLS/RTP/SAVP", "video 9 TCP/DTLS/RTP/SAVP 96 recvonly mid=1"),
        proto("TLS", "TCP/TLS/RTP/SAVPF", "video 9 TCP/TLS/RTP/SAVPF 96 recvonly mid=1"),
        proto("DTLS", "DTLS/RTP/SAVPF", "video 9 DTLS/RTP/SAVPF 96 recvonly mid=1"),
        proto("fax", "UDP/TLS/UDPTL", "video 0 UDP/TLS/UDPTL 96 inactive mid=1"),
        proto("UDP", "UDP", "video 0 UDP 96 inactive mid=1"),
    ];
    let text_section = "m=text 9 RTP/AVP 98\n@a=mid:2\na=rtpmap:98 t140/1000\n";
    let image = "m=image 9 UDPTL t38\nc=IN IP4 0.0.0.0\na=mid:3\n";
    cases.push(case(
        "captions and fax",
        "vp8 opus",
        "a=group:BUNDLE 0 1 2\n",
        &[OPUS, text_section, VP8, image],
        &[OPUS_ON, "text 0 RTP/AVP 98 mid=2", VP8_ON, "image 0 UDPTL t38 mid=3"],
    ));
    cases.push(case(
        "ICE and DTLS of the session",
        "vp8 opus",
        &format!("{TWO}{}", LINK.replace("c=IN IP4 0.0.0.0\n", "")),
        &[&OPUS.replace('@', ""), &VP8.replace('@', "")],
        &[OPUS_ON, VP8_ON],
    ));
    cases.push(case(
        "an unbundled section has no transport",
        "vp8 opus",
        "a=group:BUNDLE 0\n",
        &[OPUS, VP8],
        &[OPUS_ON, "video 0 96 inactive mid=1"],
    ));
    cases.push(case(
        "two bundles: there is one transport",
        "vp8 opus",
        "a=group:BUNDLE 0\na=group:BUNDLE 1\n",
        &[OPUS, VP8],
        &[OPUS_ON, "video 0 96 inactive mid=1"],
    ));
    cases
}

pub(super) fn refused() -> Vec<Case> {
    let without =
        |what: &str| [OPUS, VP8].map(|section| section.replace('@', &LINK.replace(what, "")));
    let lacks = |name, what: &str, says| {
        let [audio, video] = without(what);
        refusal(name, TWO, &[&audio, &video], says)
    };
    let sha_1 = LINK.replace("sha-256", "sha-1");
    vec![
        refusal("nothing is sent", TWO, &[&OPUS.replace("sendonly", "recvonly")], "sends no audio"),
        refusal(
            "nothing but data",
            "",
            &["m=application 9 UDP/DTLS/SCTP webrtc-datachannel\n@"],
            "sends no audio",
        ),
        refusal("all is off", "", &[&OPUS.replace("audio 9", "audio 0")], "sends no audio"),
        refusal(
            "no codec of ours",
            "",
            &[&OPUS.replace("opus", "speex")],
            "none of the offered codecs",
        ),
        refusal(
            "a wrong clock",
            "",
            &[&OPUS.replace("48000", "16000")],
            "none of the offered codecs",
        ),
        refusal(
            "a foreign protocol",
            "",
            &[&OPUS.replace("UDP/TLS/RTP/SAVPF", "UDP/TLS/UDPTL")],
            "m-section 1 (audio): the transport protocol UDP/TLS/UDPTL is not RTP over DTLS",
        ),
        lacks(
            "no password",
            "a=ice-pwd:abcdefghijklmnopqrstuvwx\n",
            "lacks a=ice-ufrag or a=ice-pwd",
        ),
        lacks("two ports", "a=rtcp-mux\n", "lacks a=rtcp-mux"),
        refusal(
            "no fingerprint",
            "",
            &[&OPUS.replace('@', &without_print())],
            "lacks a=fingerprint",
        ),
        refusal("a weak hash", "", &[&OPUS.replace('@', &sha_1)], "no a=fingerprint by sha-256"),
        refusal(
            "nobody would begin",
            "",
            &[&OPUS.replace('@', &LINK.replace("actpass", "holdconn"))],
            "a=setup must be",
        ),
        refusal("two that wait", "a=ice-lite\n", &[OPUS], "a=ice-lite on both sides"),
        refusal("a mid twice", TWO, &[OPUS, &VP8.replace("mid:1", "mid:0")], "repeats a mid"),
        refusal("no format", "", &["m=audio 9 UDP/TLS/RTP/SAVPF\n@"], "cannot parse SDP at line 5"),
        refusal(
            "a format that is none",
            "",
            &[&OPUS.replace("SAVPF 111", "SAVPF 128")],
            "cannot parse SDP at line 5",
        ),
    ]
}

pub(super) fn without_print() -> String {
    LINK.lines()
        .filter(|line| !line.starts_with("a=fingerprint"))
        .map(|line| format!("{line}\n"))
        .collect()
}

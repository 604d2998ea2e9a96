//! SDP fragments (RFC 8840 s9) and the few things that WHIP and WHEP do to descriptions.

use serde_json::Value;

/// The content type of fragments.
pub(crate) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// What a client trickles. Candidates are not kept: an ICE-lite agent learns addresses from
/// checks, and names of hosts are never looked up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Fragment {
    /// ICE user name fragment and password, of the session or the first m-line that has them.
    pub(crate) ufrag: Option<String>,
    pub(crate) pwd: Option<String>,
    /// The values of `a=candidate` lines, with their names.
    pub(crate) candidates: Vec<String>,
}

/// RFC 8839 s5.4.
const UFRAG_MIN: usize = 4;
const PWD_MIN: usize = 22;
/// Pairs of credentials that are kept of one description; there is one, mostly.
const CREDENTIALS_MAX: usize = 8;
/// Lines of one fragment; a browser's has a few dozen.
const LINES_MAX: usize = 1024;

impl Fragment {
    /// Reads a fragment; on failure says in which line, from 1.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, usize> {
        // Lines that mean nothing to us may have any bytes.
        let text = String::from_utf8_lossy(body);
        let text = text.trim_start_matches('\u{feff}').trim_end_matches('\0');
        if let Some(fragment) = Self::of_json(text) {
            return Ok(fragment);
        }
        let mut fragment = Self::default();
        let mut has_lines = false;
        for (number, line) in (1..).zip(text.lines().map(str::trim_end)) {
            if line.is_empty() {
                continue;
            }
            // As browsers have it in `RTCIceCandidate.candidate`.
            let is_bare = line.starts_with("candidate:");
            if number > LINES_MAX || !(is_bare || line.as_bytes().get(1) == Some(&b'=')) {
                return Err(number);
            }
            has_lines = true;
            let attribute = if is_bare { Some(line) } else { line.strip_prefix("a=") };
            let Some(attribute) = attribute else { continue };
            match attribute.split_once(':') {
                Some(("ice-ufrag" | "ice-pwd", value)) if !is_ice_token(value, 1) => {
                    return Err(number);
                }
                Some(("ice-ufrag", value)) => {
                    fragment.ufrag.get_or_insert_with(|| value.to_owned());
                }
                Some(("ice-pwd", value)) => {
                    fragment.pwd.get_or_insert_with(|| value.to_owned());
                }
                Some(("candidate", _)) => fragment.candidates.push(attribute.to_owned()),
                _ => {}
            }
        }
        if has_lines { Ok(fragment) } else { Err(1) }
    }

    /// Reads a candidate, or a list, as browsers write it in JSON (`RTCIceCandidateInit`), which some players
    /// send in place of a fragment and end if that is refused.
    fn of_json(text: &str) -> Option<Self> {
        let init: Value = serde_json::from_str(text).ok()?;
        let inits = init.as_array().map_or_else(|| std::slice::from_ref(&init), Vec::as_slice);
        let mut fragment = Self::default();
        for init in inits.iter().take(LINES_MAX) {
            let candidate = init.get("candidate")?.as_str()?;
            let ufrag = init.get("usernameFragment").and_then(Value::as_str);
            let ufrag = ufrag.filter(|ufrag| is_ice_token(ufrag, 1)).map(str::to_owned);
            fragment.ufrag = fragment.ufrag.or(ufrag);
            if candidate.starts_with("candidate:") {
                fragment.candidates.push(candidate.to_owned());
            }
        }
        (!inits.is_empty()).then_some(fragment)
    }

    /// The user name fragment and password of an ICE session to come, if it has both and they are as
    /// long as they must be (RFC 8839 s5.4).
    pub(crate) fn into_credentials(self) -> Option<(String, String)> {
        let (ufrag, pwd) = (self.ufrag?, self.pwd?);
        (is_ice_token(&ufrag, UFRAG_MIN) && is_ice_token(&pwd, PWD_MIN)).then_some((ufrag, pwd))
    }

    /// The fragment with our new credentials and candidates, from an answer: that of the section
    /// that has them, which need not be the first one.
    pub(crate) fn of_answer(answer: &str) -> String {
        let mut out = String::new();
        let (session, media) = answer.split_once("\r\nm=").unwrap_or((answer, ""));
        for line in session
            .lines()
            .filter(|line| line.starts_with("a=ice-lite") || line.starts_with("a=ice-options"))
        {
            out.push_str(line);
            out.push_str("\r\n");
        }
        let mut sections = media.split("\r\nm=");
        let tagged = sections.find(|section| section.contains("\r\na=candidate:"));
        let tagged = tagged.or_else(|| media.split("\r\nm=").next()).unwrap_or_default();
        out.push_str("m=");
        for (at, line) in tagged.lines().enumerate() {
            let is_ice = ["a=mid:", "a=ice-", "a=candidate:", "a=end-of-candidates"]
                .iter()
                .any(|prefix| line.starts_with(prefix));
            if at == 0 || is_ice {
                out.push_str(line);
                out.push_str("\r\n");
            }
        }
        out
    }
}

/// The ICE credentials in a description: of each section, its own or the session's, each pair once.
pub(crate) fn credentials_in(sdp: &str) -> Vec<(String, String)> {
    let said = |part: &str, name: &str| {
        part.lines().find_map(|line| line.trim_end().strip_prefix(name)).map(str::to_owned)
    };
    let mut parts = sdp.split("\nm=");
    let session = parts.next().unwrap_or_default();
    let mut found = Vec::new();
    for section in parts {
        let of = |name| said(section, name).or_else(|| said(session, name));
        let pair = of("a=ice-ufrag:").zip(of("a=ice-pwd:"));
        if let Some(pair) = pair.filter(|pair| !found.contains(pair))
            && found.len() < CREDENTIALS_MAX
        {
            found.push(pair);
        }
    }
    found
}

/// RFC 8839 s5.4: ice-char, so many at least and 256 at most.
fn is_ice_token(value: &str, at_least: usize) -> bool {
    let is_ice_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    // Some clients write `-`, `_` or `=`; they do no harm.
    let is_tolerated = |byte: u8| is_ice_char(byte) || matches!(byte, b'-' | b'_' | b'=');
    (at_least..=256).contains(&value.len()) && value.bytes().all(is_tolerated)
}

/// The same description with other ICE credentials, as after a restart.
pub(crate) fn with_credentials(sdp: &str, ufrag: &str, pwd: &str) -> String {
    let mut out = String::with_capacity(sdp.len() + 64);
    for line in sdp.lines() {
        if line.starts_with("a=ice-ufrag:") {
            out.push_str("a=ice-ufrag:");
            out.push_str(ufrag);
        } else if line.starts_with("a=ice-pwd:") {
            out.push_str("a=ice-pwd:");
            out.push_str(pwd);
        } else {
            out.push_str(line.trim_end());
        }
        out.push_str("\r\n");
    }
    out
}

/// An answer with what RFC 9725 s4.4.1 asks for: RTP and RTCP on one port only.
pub(crate) fn polished(answer: &str) -> String {
    answer.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n")
}

/// Whether an offer asks to receive: some audio or video section that is on is `recvonly`. What a POST to
/// a group's own URL is for shows in that.
pub fn would_receive(offer: &str) -> bool {
    directions(offer).contains(&"recvonly")
}

/// What an offer's audio and video sections want to do, by section. Those that are off do not
/// count, whatever they say.
pub(crate) fn directions(sdp: &str) -> Vec<&str> {
    let mut session = "sendrecv";
    let mut found: Vec<(Option<&str>, bool)> = Vec::new();
    let (mut is_media, mut is_session) = (false, true);
    for line in sdp.lines().map(str::trim_end) {
        if let Some(media) = line.strip_prefix("m=") {
            let mut words = media.split_whitespace();
            is_media = matches!(words.next(), Some("audio" | "video"));
            is_session = false;
            if is_media {
                found.push((None, words.next() != Some("0")));
            }
        } else if let Some(direction @ ("sendrecv" | "sendonly" | "recvonly" | "inactive")) =
            line.strip_prefix("a=")
        {
            match found.last_mut() {
                Some((last, _)) if is_media => *last = Some(direction),
                _ if is_session => session = direction,
                _ => {}
            }
        } else if line == "a=bundle-only"
            && let Some((_, is_on)) = found.last_mut().filter(|_| is_media)
        {
            *is_on = true;
        }
    }
    let on = found.into_iter().filter(|(_, is_on)| *is_on);
    on.map(|(direction, _)| direction.unwrap_or(session)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_of_real_clients_are_read() {
        // RFC 8840 s9, a medooze player (credentials first), simple-whip-client (bare LF).
        for (text, candidates) in [
            (
                "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
              a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
              a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\n\
              a=end-of-candidates\r\n",
                1,
            ),
            (
                "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
              m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 tcp 1 x.local 9 typ host\r\n\
              a=candidate:2 1 udp 1 2001:db8::1 9 typ host\r\n",
                2,
            ),
            ("a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\nm=audio 9 RTP/AVP 0\n", 0),
        ] {
            let fragment = Fragment::parse(text.as_bytes()).expect("a fragment");
            assert_eq!(fragment.ufrag.as_deref(), Some("EsAw"));
            assert_eq!(fragment.pwd.as_deref(), Some("P2uYro0UCOQ4zxjKXaWCBui1"));
            assert_eq!(fragment.candidates.len(), candidates);
        }
        for (text, line) in
            [("", 1), ("hello", 1), ("a=mid:0\r\nxyz", 2), ("a=ice-ufrag:ab cd\r\n", 1)]
        {
            assert_eq!(Fragment::parse(text.as_bytes()), Err(line), "{text:?}");
        }
        assert_eq!(Fragment::parse(&[0xff]), Err(1));
        for text in [
            &b"\xef\xbb\xbfa=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n\0"[..],
            b"candidate:1 1 udp 1 192.0.2.1 9 typ host",
            b"a=x-owner:J\xfcrgen\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n",
        ] {
            assert_eq!(Fragment::parse(text).expect("a fragment").candidates.len(), 1);
        }
    }

    #[test]
    fn a_candidate_in_json_is_a_fragment() {
        let parse = |text: &str| Fragment::parse(text.as_bytes());
        let line = "candidate:1 1 udp 1 192.0.2.1 9 typ host";
        let json = format!(
            r#"{{"candidate":"{line}","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"EsAw"}}"#
        );
        let fragment = parse(&json).expect("a candidate");
        assert_eq!(fragment.candidates, [line]);
        assert_eq!((fragment.ufrag.as_deref(), fragment.pwd), (Some("EsAw"), None));
        let list = parse(&format!("[{json},{json}]")).expect("two");
        assert_eq!(list.candidates, [line, line]);
        let last = parse(r#"{"candidate":"","usernameFragment":null}"#);
        assert_eq!(last, Ok(Fragment::default()));
        for text in ["{", "{}", r#"{"candidate":null}"#, r#"["candidate"]"#, r#""candidate""#] {
            assert_eq!(parse(text), Err(1), "{text}");
        }
    }

    #[test]
    fn a_restart_needs_credentials_as_long_as_they_must_be() {
        let next = |text: &str| Fragment::parse(text.as_bytes()).expect("one").into_credentials();
        let pwd = "P2uYro0UCOQ4zxjKXaWCBui1";
        let long = format!("a=ice-ufrag:EsAw\r\na=ice-pwd:{pwd}\r\n");
        assert_eq!(next(&long), Some(("EsAw".to_owned(), pwd.to_owned())));
        assert_eq!(next(&format!("a=ice-ufrag:x\r\na=ice-pwd:{pwd}\r\n")), None);
        assert_eq!(next("a=ice-ufrag:EsAw\r\na=ice-pwd:short\r\n"), None);
        assert_eq!(next("a=ice-ufrag:EsAw\r\n"), None);
    }

    #[test]
    fn credentials_are_those_of_each_section_or_of_the_session() {
        let sdp = "v=0\r\na=ice-ufrag:u0\r\na=ice-pwd:p0\r\nm=audio 0 X 1\r\na=ice-ufrag:u1\r\n\
            a=ice-pwd:p1\r\nm=video 9 X 2\r\nm=video 9 X 3\r\na=mid:2\r\n";
        let pair = |ufrag: &str, pwd: &str| (ufrag.to_owned(), pwd.to_owned());
        assert_eq!(credentials_in(sdp), [pair("u1", "p1"), pair("u0", "p0")]);
        assert_eq!(credentials_in("v=0\nm=audio 9 X 1\n"), []);
    }

    const ANSWER: &str = "v=0\r\na=ice-lite\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\n\
        a=rtcp-mux\r\na=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\na=end-of-candidates\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n";

    #[test]
    fn the_restart_fragment_has_what_belongs_to_ice() {
        assert_eq!(
            Fragment::of_answer(ANSWER),
            "a=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:abcd\r\n\
             a=ice-pwd:secret\r\na=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n\
             a=end-of-candidates\r\n"
        );
        let second = "v=0\r\nm=audio 0 X 0\r\na=mid:0\r\nm=video 9 X 96\r\na=mid:1\r\n\
            a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n";
        assert!(Fragment::of_answer(second).starts_with("m=video 9 X 96\r\na=mid:1\r\n"));
    }

    #[test]
    fn descriptions_are_compared_and_changed() {
        let offer = "v=0\r\na=ice-ufrag:old1\r\na=ice-pwd:oldpass\r\nm=audio 9 X 111\r\n\
            a=sendonly\r\nm=video 9 X 96\r\n";
        let restarted = with_credentials(offer, "new1", "newpass");
        assert!(restarted.contains("a=ice-ufrag:new1\r\na=ice-pwd:newpass\r\nm=audio"));
        assert!(polished(ANSWER).contains("a=rtcp-mux\r\na=rtcp-mux-only\r\n"));
        assert_eq!(directions(offer), ["sendonly", "sendrecv"]);
        assert_eq!(directions("v=0\r\na=recvonly\r\nm=audio 9 X 1\r\n"), ["recvonly"]);
        let off = "v=0\r\nm=audio 0 X 1\r\na=inactive\r\nm=video 9 X 1\r\na=sendonly\r\n";
        assert_eq!(directions(off), ["sendonly"]);
        assert_eq!(directions("m=text 9 X 1\r\na=inactive\r\nm=audio 9 X 1\r\n"), ["sendrecv"]);
        let bundled = "m=audio 0 X 1\r\na=recvonly\r\na=bundle-only\r\n";
        assert_eq!(directions(bundled), ["recvonly"]);
    }
}

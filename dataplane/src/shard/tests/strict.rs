//! A strict reader of session descriptions, for tests only: what RFC 8866, 3264, 9143 and 8829
//! say that an answer must be. It shares no code with what it judges.

/// An m-section of an answer that has passed.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) media: String,
    pub(super) port: u16,
    pub(super) proto: String,
    pub(super) formats: Vec<String>,
    pub(super) mid: Option<String>,
    pub(super) direction: Option<String>,
    pub(super) attributes: Vec<String>,
}

impl Section {
    /// The value of the first attribute of a name.
    pub(super) fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.values(name).next()
    }

    /// The values of all attributes of a name.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes.iter().filter_map(move |attribute| {
            let (found, value) = attribute.split_once(':').unwrap_or((attribute, ""));
            (found == name).then_some(value)
        })
    }

    /// Media, port, protocol, formats, direction and mid in one line.
    pub(super) fn summary(&self) -> String {
        let Self { media, port, proto, formats, mid, direction, .. } = self;
        let proto = if proto == "UDP/TLS/RTP/SAVPF" { String::new() } else { format!(" {proto}") };
        let direction = direction.as_ref().map_or(String::new(), |found| format!(" {found}"));
        let mid = mid.as_ref().map_or(String::new(), |mid| format!(" mid={mid}"));
        format!("{media} {port}{proto} {}{direction}{mid}", formats.join(" "))
    }
}

/// Reads a description, line by line in the order of RFC 8866 s9; panics at what it forbids.
pub(super) fn read(sdp: &str) -> (Vec<String>, Vec<Section>) {
    assert!(sdp.ends_with("\r\n"), "the last line ends");
    let lines: Vec<&str> = sdp.split_terminator("\r\n").collect();
    assert!(lines.iter().all(|line| !line.contains(['\r', '\n', '\0'])), "lines end with CRLF");
    assert_eq!(lines[0], "v=0");
    let origin: Vec<&str> = lines[1].strip_prefix("o=").expect("an origin").split(' ').collect();
    let [_, id, version, "IN", "IP4" | "IP6", _] = origin[..] else { panic!("{origin:?}") };
    assert!(id.parse::<i64>().is_ok() && version.parse::<u64>().is_ok(), "{origin:?}");
    assert!(lines[2].starts_with("s=") && lines[2].len() > 2, "a session has a name");
    assert_eq!(lines[3], "t=0 0");
    let mut session: Vec<String> = Vec::new();
    let mut sections: Vec<Section> = Vec::new();
    for line in &lines[4..] {
        let (kind, value) = line.split_once('=').expect("type=value");
        match kind {
            "m" => {
                let words: Vec<&str> = value.split(' ').collect();
                let [media, port, proto, ref formats @ ..] = words[..] else { panic!("{line}") };
                assert!(!formats.is_empty(), "an m-line has a format: {line}");
                assert!(formats.iter().all(|format| !format.is_empty()), "{line:?}");
                sections.push(Section {
                    media: media.to_owned(),
                    port: port.parse().expect("a port"),
                    proto: proto.to_owned(),
                    formats: formats.iter().map(|format| (*format).to_owned()).collect(),
                    mid: None,
                    direction: None,
                    attributes: Vec::new(),
                });
            }
            "c" => {
                let section = sections.last().expect("we write it behind m-lines only");
                assert!(section.attributes.is_empty(), "c= stands before a=");
            }
            "a" => match sections.last_mut() {
                Some(section) => section.attributes.push(value.to_owned()),
                None => session.push(value.to_owned()),
            },
            _ => panic!("a line that we never write: {line}"),
        }
    }
    for section in &mut sections {
        section.mid = section.value("mid").map(str::to_owned);
        let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
        let mut found = section.attributes.iter().filter(|a| directions.contains(&a.as_str()));
        section.direction = found.next().cloned();
        assert_eq!(found.next(), None, "one direction");
        check_section(section);
    }
    check_bundle(&session, &sections);
    (session, sections)
}

fn check_section(section: &Section) {
    let rtpmaps: Vec<(&str, &str)> =
        section.values("rtpmap").map(|value| value.split_once(' ').expect("a map")).collect();
    let is_listed = |pt: &str| section.formats.iter().any(|format| format == pt);
    for (pt, encoding) in &rtpmaps {
        assert!(is_listed(pt), "rtpmap of a format that is not listed: {pt}");
        assert!(encoding.split('/').nth(1).is_some_and(|hz| hz.parse::<u32>().is_ok()));
        assert_eq!(rtpmaps.iter().filter(|(other, _)| other == pt).count(), 1);
    }
    if section.port == 0 {
        return;
    }
    assert!(matches!(section.media.as_str(), "audio" | "video"), "{}", section.media);
    assert!(section.direction.is_some(), "a section that is on has a direction");
    for format in &section.formats {
        let pt: u8 = format.parse().expect("a payload type");
        // What carries nothing repeats what was offered.
        let is_idle = section.direction.as_deref() == Some("inactive");
        assert!(is_idle || pt < 64 || (96..128).contains(&pt), "RFC 5761 s4: {pt}");
        let is_mapped = rtpmaps.iter().any(|(known, _)| known == format);
        assert!(is_mapped || is_idle, "rtpmap of {format}");
        assert_eq!(section.formats.iter().filter(|other| *other == format).count(), 1);
    }
    for name in ["fmtp", "rtcp-fb"] {
        for value in section.values(name) {
            let pt = value.split(' ').next().expect("a format");
            // RFC 4585 s4.2: feedback may be for all formats.
            let is_for_all = pt == "*" && name == "rtcp-fb";
            assert!(is_listed(pt) || is_for_all, "{name} of {pt}");
        }
    }
    for (pt, _) in rtpmaps.iter().filter(|(_, encoding)| encoding.starts_with("rtx/")) {
        let prefix = format!("{pt} apt=");
        let apt = section.values("fmtp").find_map(|value| value.strip_prefix(&prefix));
        let is_idle = section.direction.as_deref() == Some("inactive");
        assert!(is_idle || apt.is_some_and(is_listed), "rtx {pt} repairs what is listed");
    }
    let mut ids: Vec<&str> = Vec::new();
    for value in section.values("extmap") {
        let id = value.split([' ', '/']).next().expect("an id");
        assert!(id.parse::<u8>().is_ok_and(|id| (1..15).contains(&id)), "{value}");
        assert!(!ids.contains(&id), "extmap {id} twice");
        ids.push(id);
    }
    for name in ["ice-ufrag", "ice-pwd", "fingerprint", "setup"] {
        assert_eq!(section.values(name).count(), 1, "{name}");
    }
    assert!(matches!(section.value("setup"), Some("active" | "passive")));
    assert!(section.value("ice-ufrag").is_some_and(|ufrag| (4..=256).contains(&ufrag.len())));
    assert!(section.value("ice-pwd").is_some_and(|pwd| (22..=256).contains(&pwd.len())));
    assert!(section.value("rtcp-mux").is_some());
    let rids: Vec<&str> = section.values("rid").collect();
    let names_rids = |extmap: &str| extmap.ends_with(":sdes:rtp-stream-id");
    assert!(rids.is_empty() || section.values("extmap").any(names_rids), "rids that nothing says");
    if let Some(simulcast) = section.value("simulcast") {
        let list = simulcast.strip_prefix("recv ").expect("we only receive simulcast");
        for rid in list.split(';') {
            assert!(rids.iter().any(|known| known.split(' ').next() == Some(rid)), "{rid}");
        }
    }
    let ssrcs: Vec<&str> = section.values("ssrc").filter_map(|it| it.split(' ').next()).collect();
    for group in section.values("ssrc-group") {
        assert!(group.split(' ').skip(1).all(|ssrc| ssrcs.contains(&ssrc)), "{group}");
    }
}

fn check_bundle(session: &[String], sections: &[Section]) {
    let on: Vec<&Section> = sections.iter().filter(|section| section.port != 0).collect();
    let group = session.iter().find_map(|attribute| attribute.strip_prefix("group:BUNDLE"));
    let Some(group) = group else {
        assert!(on.len() <= 1, "without a bundle there is one transport");
        return;
    };
    let mids: Vec<&str> = group.split_whitespace().collect();
    assert_eq!(mids.len(), on.len(), "the bundle has what is on: {group}");
    for mid in &mids {
        assert!(on.iter().any(|section| section.mid.as_deref() == Some(mid)), "{mid}");
    }
    // RFC 9143 s7.3: the transport's part stands in the first one of the bundle.
    let first = on.iter().find(|section| section.mid.as_deref() == mids.first().copied());
    let first = first.expect("somebody is on");
    assert!(first.value("candidate").is_some() && first.value("end-of-candidates").is_some());
    let with = on.iter().filter(|section| section.value("candidate").is_some());
    assert_eq!(with.count(), 1, "candidates once");
}

/// Whether an answer fits an offer (RFC 3264 s6), as far as it can be said without knowing what
/// codecs there are.
pub(super) fn check_answer(offer: &str, answer: &str) -> Vec<Section> {
    let (session, sections) = read(answer);
    let offered: Vec<&str> = offer.lines().filter_map(|line| line.strip_prefix("m=")).collect();
    assert_eq!(offered.len(), sections.len(), "as many sections as were offered");
    let bodies: Vec<&str> = offer.split("\nm=").skip(1).collect();
    for ((line, body), section) in offered.iter().zip(&bodies).zip(&sections) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0], section.media, "the same kinds in the same order");
        assert_eq!(words[2], section.proto, "the offer's protocol (RFC 8829 s5.1.2)");
        for format in &section.formats {
            assert!(words[3..].contains(&format.as_str()), "{format} was not offered");
        }
        let find = |name: &str| body.lines().find_map(|line| line.trim_end().strip_prefix(name));
        assert_eq!(find("a=mid:").map(str::trim), section.mid.as_deref(), "the offer's mid");
        if words[1] == "0" && !body.contains("a=bundle-only") {
            assert_eq!(section.port, 0, "what is off stays off");
        }
        for value in section.values("extmap") {
            let (id, uri) = value.split_once(' ').expect("id and uri");
            let id = id.split('/').next().expect("an id");
            assert!(
                body.lines().any(|line| {
                    let line = line.trim_end();
                    line.starts_with(&format!("a=extmap:{id}")) && line.contains(uri)
                }),
                "extmap {value} was not offered"
            );
        }
        for rid in section.values("rid") {
            let rid = rid.split(' ').next().expect("an id");
            assert!(body.contains(&format!("a=rid:{rid} send")), "rid {rid} was not offered");
        }
    }
    if session.iter().any(|attribute| attribute == "extmap-allow-mixed") {
        assert!(offer.contains("a=extmap-allow-mixed"), "nobody spoke of mixed extensions");
    }
    if session.iter().any(|attribute| attribute.starts_with("group:BUNDLE")) {
        assert!(offer.contains("a=group:BUNDLE"), "nobody spoke of a bundle");
    }
    sections
}

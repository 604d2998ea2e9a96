//! A publisher's media on their way out: RTP headers, extensions, numbering.

use dataplane::Codec;
use dataplane::client::{
    Description, Extension, ExtensionMap, ONE_BYTE_PROFILE, Section, TWO_BYTE_PROFILE,
};

use crate::load::Load;
use crate::media::{AUDIO_INTERVAL_US, Audio, Packet, Video, next_due};

/// Header and extensions at most: mid, rid, sequence number and the longest dependency descriptor
/// take less than half of it.
pub(crate) const HEADER_BYTES_MAX: usize = 128;
/// What sound takes, with headers.
const AUDIO_BPS: u64 = 60_000;
/// The rids of simulcast, with each encoding's share of the rate of the best one: a quarter of the
/// pixels each.
pub(crate) const SIMULCAST: [(&str, u64); 3] = [("h", 1), ("m", 4), ("l", 16)];

/// What one publisher sends.
pub(crate) struct Publisher {
    codec: Codec,
    audio: Option<(Audio, Outgoing)>,
    audio_at_us: u64,
    videos: Vec<(Video, Outgoing)>,
    twcc: u16,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    ssrc: u32,
    pt: u8,
    seq: u64,
    mid: String,
    rid: &'static str,
    ids: ExtensionMap,
}

impl Publisher {
    /// Media that begin at once when the connection is up. `number` makes the streams of one run
    /// differ.
    pub(crate) fn new(load: Load, number: usize, at_us: u64) -> Self {
        let encodings = if load.simulcast { &SIMULCAST[..] } else { &SIMULCAST[..1] };
        let encodings = if load.video_bps > 0 { encodings } else { &[] };
        let videos = (0..).zip(encodings).map(|(at, (rid, share))| {
            let seed = load.seed << 32 | (number as u64) << 8 | at;
            // Publishers' frames do not all fall on the same instant.
            let start_us = at_us + number as u64 * 7_919 % 33_333;
            let codec = (load.codec, load.is_svc);
            let video = Video::new(codec, load.video_bps / share, load.fps, seed, start_us);
            let rid = if load.simulcast { rid } else { "" };
            (video, Outgoing { rid, ..Outgoing::default() })
        });
        Self {
            codec: load.codec,
            videos: videos.collect(),
            audio: load.audio.then(|| (Audio::default(), Outgoing::default())),
            audio_at_us: at_us,
            twcc: 0,
        }
    }

    /// When something is to be sent.
    pub(crate) fn next_at_us(&self) -> u64 {
        let audio = self.audio.as_ref().map(|_| self.audio_at_us);
        let videos = self.videos.iter().map(|(video, _)| video.next_at_us());
        videos.chain(audio).min().unwrap_or(u64::MAX / 2)
    }

    /// The next frame of every encoding is to be a keyframe.
    pub(crate) fn want_keyframe(&mut self, ssrc: u32) {
        for (video, _) in self.videos.iter_mut().filter(|(_, outgoing)| outgoing.ssrc == ssrc) {
            video.keyframe_wanted = true;
        }
    }

    /// Keeps within what the server asks for (REMB), as far as there is one encoding only: of several
    /// it leaves none out, so that a run has what it says.
    pub(crate) fn bound(&mut self, bitrate_bps: u64) {
        let audio_bps = if self.audio.is_some() { AUDIO_BPS } else { 0 };
        if let [(video, _)] = self.videos.as_mut_slice() {
            video.bound(bitrate_bps.saturating_sub(audio_bps));
        }
    }

    /// Takes payload types and extension ids from the server's answer. `ssrc_of` knows our SSRCs
    /// by m-section and rid.
    pub(crate) fn configure(
        &mut self,
        answer: &str,
        mut ssrc_of: impl FnMut(usize, &str) -> Option<u32>,
    ) -> Result<(), String> {
        let sections = Description::read(answer).sections;
        let audio = self.audio.iter_mut().map(|(_, outgoing)| (Codec::Opus, outgoing));
        let codec = self.codec;
        let videos = self.videos.iter_mut().map(|(_, outgoing)| (codec, outgoing));
        let has_audio = usize::from(audio.len() > 0);
        for (codec, outgoing) in audio.chain(videos) {
            let at = if codec == Codec::Opus { 0 } else { has_audio };
            let section = sections.get(at).ok_or("the answer lacks an m-section")?;
            outgoing.pt = payload_type(section, codec).ok_or_else(|| {
                let name = codec.name();
                format!("the server takes no {name} here; list it under \"codecs\" in the group")
            })?;
            if !outgoing.rid.is_empty() && section.extensions.id_of(Extension::Rid).is_none() {
                return Err("the server takes no simulcast".to_owned());
            }
            outgoing.ssrc = ssrc_of(at, outgoing.rid).ok_or("no SSRC")?;
            outgoing.mid.clone_from(&section.mid);
            outgoing.ids = section.extensions;
        }
        Ok(())
    }

    /// Calls `send` with SSRC's rollover counter, header and payload of every packet that is due.
    pub(crate) fn poll(&mut self, at_us: u64, mut send: impl FnMut(u32, &[u8], &[u8])) {
        let twcc = &mut self.twcc;
        if let Some((audio, outgoing)) = &mut self.audio
            && at_us >= self.audio_at_us
        {
            self.audio_at_us = next_due(self.audio_at_us, AUDIO_INTERVAL_US, at_us);
            let (rtp_time, payload) = audio.next_packet(at_us);
            outgoing.emit(twcc, (rtp_time, false), &[], |roc, header| send(roc, header, &payload));
        }
        for (video, outgoing) in &mut self.videos {
            video.poll(at_us, |Packet { rtp_time, marker, payload, dependency }| {
                outgoing.emit(twcc, (*rtp_time, *marker), dependency, |roc, header| {
                    send(roc, header, payload);
                });
            });
        }
    }
}

/// The payload type for a codec; of H.264's formats one with packetization mode 1.
fn payload_type(section: &Section, codec: Codec) -> Option<u8> {
    let wanted = |fmtp: &str| codec != Codec::H264 || fmtp.contains("packetization-mode=1");
    let mut formats = section.formats.iter().filter(|_| section.is_active);
    formats.find(|f| f.codec == Some(codec) && wanted(&f.fmtp)).map(|format| format.pt)
}

impl Outgoing {
    fn emit(
        &mut self,
        twcc: &mut u16,
        (rtp_time, marker): (u32, bool),
        dependency: &[u8],
        send: impl FnOnce(u32, &[u8]),
    ) {
        let mut header = [0; HEADER_BYTES_MAX];
        header[0] = 0x80;
        header[1] = u8::from(marker) << 7 | self.pt;
        header[2..4].copy_from_slice(&(self.seq as u16).to_be_bytes());
        header[4..8].copy_from_slice(&rtp_time.to_be_bytes());
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        let len = self.put_extensions(&mut header, *twcc, dependency);
        *twcc = twcc.wrapping_add(1);
        send((self.seq >> 16) as u32, &header[..len]);
        self.seq += 1;
    }

    /// RFC 8285, in the two-byte form if a value is longer than 16 octets. Returns the header's
    /// length.
    fn put_extensions(
        &self,
        header: &mut [u8; HEADER_BYTES_MAX],
        twcc: u16,
        dependency: &[u8],
    ) -> usize {
        let twcc = twcc.to_be_bytes();
        // RFC 8852 s3.1: mid and rid are what a receiver of simulcast binds SSRCs by.
        let mid = if self.rid.is_empty() { &[][..] } else { self.mid.as_bytes() };
        let elements = [
            (Extension::Twcc, &twcc[..]),
            (Extension::Mid, mid),
            (Extension::Rid, self.rid.as_bytes()),
            (Extension::DependencyDescriptor, dependency),
        ];
        let is_two_byte = dependency.len() > 16;
        let mut at = 16;
        for (extension, value) in elements {
            let Some(id) = self.ids.id_of(extension).filter(|_| !value.is_empty()) else {
                continue;
            };
            if is_two_byte {
                header[at..at + 2].copy_from_slice(&[id, value.len() as u8]);
                at += 2;
            } else {
                header[at] = id << 4 | (value.len() - 1) as u8;
                at += 1;
            }
            header[at..at + value.len()].copy_from_slice(value);
            at += value.len();
        }
        if at == 16 {
            return 12;
        }
        let end = at.next_multiple_of(4);
        header[0] |= 0x10;
        let profile = if is_two_byte { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE };
        header[12..14].copy_from_slice(&profile.to_be_bytes());
        header[14..16].copy_from_slice(&(((end - 16) / 4) as u16).to_be_bytes());
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::client::{RtpHeader, parse_descriptor};

    const ANSWER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=rtpmap:111 opus/48000/2\r\n\
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 98 45 127 108 96\r\na=mid:v1\r\n\
        a=rtpmap:98 VP9/90000\r\na=rtpmap:45 AV1/90000\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:127 H264/90000\r\na=fmtp:127 packetization-mode=0\r\n\
        a=rtpmap:108 H264/90000\r\na=fmtp:108 packetization-mode=1;profile-level-id=42e01f\r\n\
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
        a=extmap:8 https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension\r\n";

    fn load(codec: Codec, simulcast: bool) -> Load {
        Load { codec, simulcast, is_svc: false, video_bps: 700_000, fps: 30, audio: true, seed: 1 }
    }

    fn publisher(codec: Codec, simulcast: bool) -> Publisher {
        let mut publisher = Publisher::new(load(codec, simulcast), 0, 0);
        publisher
            .configure(ANSWER, |section, rid| {
                Some(100 * section as u32 + u32::from(rid.bytes().next().unwrap_or(0)))
            })
            .expect("a usable answer");
        publisher
    }

    /// The packets of the first second.
    fn packets(publisher: &mut Publisher) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while publisher.next_at_us() < 1_000_000 {
            let at_us = publisher.next_at_us();
            publisher.poll(at_us, |_, header, payload| packets.push([header, payload].concat()));
        }
        packets
    }

    #[test]
    fn packets_carry_the_negotiated_types_and_number_on() {
        for (codec, pt) in
            [(Codec::Vp8, 96), (Codec::Vp9, 98), (Codec::H264, 108), (Codec::Av1, 45)]
        {
            let mut next_seq = [0u16; 2];
            let mut has_both_forms = [false; 2];
            for (twcc, packet) in (0u16..).zip(packets(&mut publisher(codec, false))) {
                let header = RtpHeader::parse(&packet).expect("RTP");
                let is_video = usize::from(header.ssrc == 100);
                assert_eq!(header.pt, [111, pt][is_video]);
                assert_eq!(header.seq_no, next_seq[is_video]);
                next_seq[is_video] += 1;
                let elements: Vec<(u8, &[u8])> = header.elements(&packet).collect();
                assert_eq!(elements[0], (3, &twcc.to_be_bytes()[..]));
                let (_, start, _) = header.extension.expect("extensions");
                has_both_forms[usize::from(packet[start - 4] == 0x10)] = true;
                let has_dependency = codec == Codec::Av1 && is_video == 1;
                assert_eq!(elements.iter().any(|(id, _)| *id == 8), has_dependency);
                assert!(parse_descriptor(codec, &packet[header.header_len..]).tid < 3);
            }
            assert!(next_seq[0] > 40 && next_seq[1] > 30, "{next_seq:?}");
            assert_eq!(has_both_forms, [true, codec == Codec::Av1]);
        }
    }

    #[test]
    fn simulcast_has_three_rates_told_apart_by_rid() {
        let mut bytes = std::collections::HashMap::<Vec<u8>, usize>::new();
        for packet in packets(&mut publisher(Codec::Vp8, true)) {
            let header = RtpHeader::parse(&packet).expect("RTP");
            let mut elements = header.elements(&packet);
            let rid = elements.clone().find(|(id, _)| *id == 10).map(|(_, rid)| rid.to_vec());
            let mid = elements.find(|(id, _)| *id == 4).map(|(_, mid)| mid);
            assert_eq!(mid.is_some_and(|mid| mid == b"v1"), header.pt == 96);
            if let Some(rid) = rid {
                assert_eq!(header.ssrc, 100 + u32::from(rid[0]));
                *bytes.entry(rid).or_default() += packet.len() - header.header_len;
            }
        }
        let [h, m, l] = [b"h", b"m", b"l"].map(|rid| bytes[&rid.to_vec()]);
        assert!(h > 2 * m && m > 2 * l, "{h} {m} {l}");
    }

    #[test]
    fn an_answer_without_the_codec_says_what_to_do() {
        let mut publisher = Publisher::new(load(Codec::Av1, false), 0, 0);
        let answer = ANSWER.replace("AV1/90000", "VP8/90000");
        let error = publisher.configure(&answer, |_, _| Some(1)).expect_err("no AV1");
        assert!(error.contains("takes no av1") && error.contains("codecs"), "{error}");
    }
}

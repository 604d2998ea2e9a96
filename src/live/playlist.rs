//! Playlists of HTTP Live Streaming (RFC 8216, and rfc8216bis for the parts of segments).

use std::fmt::Write as _;

use recording::{Config, Track};

use super::cast::Film;
use super::programme::{PART_US_MAX, Programme, Segment, TARGET_US};

/// Players may ask for parts of so many of the last segments.
const SEGMENTS_IN_PARTS: usize = 3;
/// What is promised of a stream of which nothing has been sent.
const BANDWIDTH_BPS_LEAST: u64 = 64_000;

/// What players need to know of tracks before they load any.
pub(super) fn tracks_of(film: Option<&Film>) -> Vec<Track> {
    let video = film.and_then(|film| film.tracks.get(film.video?).cloned());
    video.into_iter().chain([Track { config: Config::opus() }]).collect()
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// The playlist that names the other one. `folder` is where that is, `query` what opens it.
pub(super) fn multivariant(programme: &Programme, folder: &str, query: &str) -> String {
    let segments = programme.segments();
    let film = segments.back().and_then(|segment| segment.film.clone());
    let tracks = tracks_of(film.as_deref());
    let names: Vec<String> = tracks
        .iter()
        .map(|track| match track.config.codec.is_audio() {
            // As its registration spells it.
            true => "Opus".to_owned(),
            false => track.config.mime_codec(),
        })
        .collect();
    let rates = segments.iter().filter_map(|segment| {
        let (start_us, end_us) = segment.span();
        (segment.bytes() * 8_000_000).checked_div(end_us.saturating_sub(start_us))
    });
    let rates: Vec<u64> = rates.collect();
    let average = rates.iter().sum::<u64>().checked_div(rates.len() as u64).unwrap_or_default();
    let peak = rates.into_iter().max().unwrap_or_default().max(BANDWIDTH_BPS_LEAST);
    let average = average.max(BANDWIDTH_BPS_LEAST);
    let size = tracks.first().map_or((0, 0), |track| track.config.size);
    let resolution = match size {
        (0, _) | (_, 0) => String::new(),
        (width, height) => format!(",RESOLUTION={width}x{height}"),
    };
    format!(
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-STREAM-INF:BANDWIDTH={peak},\
         AVERAGE-BANDWIDTH={average},CODECS=\"{}\"{resolution}\n{folder}/media.m3u8{query}\n",
        names.join(",")
    )
}

/// Whether a request for segment `number`, or for a part of it, can be answered.
pub(super) fn has(programme: &Programme, number: u64, part: Option<usize>) -> bool {
    let Some(last) = programme.segments().back() else {
        return false;
    };
    let is_whole = last.number > number || programme.is_over();
    let has_part = |part| last.number == number && last.parts.len() > part;
    is_whole || part.is_some_and(has_part)
}

/// The playlist of segments. Addresses in it are relative.
pub(super) fn media(programme: &Programme, query: &str) -> String {
    let mut out = String::with_capacity(16 * 1024);
    let segments = programme.segments();
    let (part_s, hold_s) = (seconds(PART_US_MAX), seconds(3 * PART_US_MAX));
    let (number, breaks) = segments.front().map_or((0, 0), |first| (first.number, first.breaks));
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:{}\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={hold_s:.3}\n\
         #EXT-X-PART-INF:PART-TARGET={part_s:.3}\n#EXT-X-MEDIA-SEQUENCE:{number}\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:{breaks}\n",
        TARGET_US / 1_000_000
    );
    let mut before: Option<&Segment> = None;
    for (at, segment) in segments.iter().enumerate() {
        let number = segment.number;
        if before.is_some_and(|before| before.breaks != segment.breaks) {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        let name = |segment: &Segment| segment.film.as_ref().map(|film| film.number);
        if before.is_none_or(|before| name(before) != name(segment)) {
            let name =
                name(segment).map_or_else(|| "sound".to_owned(), |number| number.to_string());
            let _ = writeln!(out, "#EXT-X-MAP:URI=\"init-{name}.mp4{query}\"");
        }
        let (start_us, end_us) = segment.span();
        let date = date_time(programme.unix_ms + start_us / 1000);
        let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{date}");
        if at + SEGMENTS_IN_PARTS >= segments.len() && !programme.is_over() {
            for (at, part) in segment.parts.iter().enumerate() {
                let lasts = seconds(part.span.1 - part.span.0);
                let more = if part.is_independent { ",INDEPENDENT=YES" } else { "" };
                let uri = format!("{number}.{at}.m4s{query}");
                let _ = writeln!(out, "#EXT-X-PART:DURATION={lasts:.5},URI=\"{uri}\"{more}");
            }
        }
        if at + 1 < segments.len() || programme.is_over() {
            let lasts = seconds(end_us - start_us);
            let _ = write!(out, "#EXTINF:{lasts:.5},\n{number}.m4s{query}\n");
        }
        before = Some(segment);
    }
    if programme.is_over() {
        out.push_str("#EXT-X-ENDLIST\n");
    }
    out
}

/// `2026-11-29T10:15:00.123Z`.
fn date_time(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Days since 1 March of the year 0, in eras of 400 years, all of which are equally long.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (seconds, ms) = (ms / 1000, ms % 1000);
    format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix_ms, date) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_947_300_123, "2026-11-29T10:15:00.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(date_time(unix_ms), date);
        }
    }
}

//! Files for editors and podcasts, made of a session by ffmpeg: one for each person and screen, all
//! beginning with the session, and all sound in one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::recordings::{Film, Session};
use crate::{Done, say};

/// Pictures a second where files have to be joined: cameras have no rate that holds.
const JOINED_FPS: u32 = 25;
/// Room for a name in a file system, with what is added to it.
const NAME_CHARS_MAX: usize = 60;

pub(crate) fn run(session: &Session, out: &Path, ffmpeg: &str) -> Done {
    find(ffmpeg)?;
    let films: Vec<&Film> = session.films.iter().filter(|film| session.has(film)).collect();
    if films.is_empty() {
        return Err(Failure::about(&session.name, "none of its files is there any more"));
    }
    fs::create_dir_all(out).map_err(|error| Failure::about(out.display(), error))?;
    let mut people: BTreeMap<(&str, &str), Vec<&Film>> = BTreeMap::new();
    for film in &films {
        people.entry((&film.username, &film.label)).or_default().push(film);
    }
    for ((username, label), films) in &people {
        let path = free(out, &named(username, label), "mkv");
        let arguments = match films.as_slice() {
            [only] => copied(only),
            several => joined(several, session.duration_us),
        };
        convert(ffmpeg, session, films, arguments, &path)?;
    }
    let sounding: Vec<&Film> = films.into_iter().filter(|film| film.has_audio).collect();
    if !sounding.is_empty() {
        let mut arguments = vec!["-filter_complex".to_owned(), mixed(&sounding, "alimiter")];
        arguments.extend(["-map", "[audio]", "-c:a", "aac", "-b:a", "160k"].map(str::to_owned));
        convert(ffmpeg, session, &sounding, arguments, &free(out, "all-sound", "m4a"))?;
    }
    Ok(())
}

fn find(ffmpeg: &str) -> Done {
    let asked = Command::new(ffmpeg)
        .arg("-version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match asked {
        Ok(status) if status.success() => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::about(
            ffmpeg,
            "there is no such program, and exporting needs it: apt install ffmpeg, or name it \
             with -ffmpeg",
        )),
        Ok(status) => Err(Failure::about(ffmpeg, format!("does not work: {status}"))),
        Err(error) => Err(Failure::about(ffmpeg, error)),
    }
}

fn named(username: &str, label: &str) -> String {
    let tame = |text: &str| -> String {
        let letters = text.chars().take(NAME_CHARS_MAX);
        letters.map(|letter| if letter.is_alphanumeric() { letter } else { '_' }).collect()
    };
    let name = if username.is_empty() { "anonymous".to_owned() } else { tame(username) };
    if label == "camera" || label.is_empty() { name } else { format!("{name}-{}", tame(label)) }
}

/// A name that nothing has yet.
fn free(out: &Path, stem: &str, extension: &str) -> PathBuf {
    let first = out.join(format!("{stem}.{extension}"));
    let others = (2..).map(|number| out.join(format!("{stem}-{number}.{extension}")));
    // Numbers do not run out before names do.
    std::iter::once(first).chain(others).find(|path| !path.exists()).unwrap_or_default()
}

/// One file is taken as it is, at its place in the session.
fn copied(film: &Film) -> Vec<String> {
    let offset = seconds(film.start_us);
    ["-map", "0", "-c", "copy", "-output_ts_offset", &offset].map(str::to_owned).to_vec()
}

/// Several are joined, with black and silence between them; that needs an encoder.
fn joined(films: &[&Film], duration_us: u64) -> Vec<String> {
    let mut filter = String::new();
    let mut outputs = Vec::new();
    let pictures: Vec<(usize, &&Film, (u32, u32))> =
        films.iter().enumerate().filter_map(|(at, film)| Some((at, film, film.size?))).collect();
    let even = |max: Option<u32>| max.unwrap_or(2).max(2).next_multiple_of(2);
    let width = even(pictures.iter().map(|(.., size)| size.0).max());
    let height = even(pictures.iter().map(|(.., size)| size.1).max());
    for (number, (at, film, _)) in pictures.iter().enumerate() {
        let next_us = pictures.get(number + 1).map_or(duration_us, |(_, next, _)| next.start_us);
        let before_us = if number == 0 { film.start_us } else { 0 };
        let own_us = film.end_us.min(next_us).saturating_sub(film.start_us);
        // Writing to a string cannot fail; so below.
        let _ = write!(
            filter,
            "[{at}:v:0]setpts=PTS-STARTPTS,fps={JOINED_FPS},trim=duration={},\
             scale={width}:{height}:force_original_aspect_ratio=decrease,\
             pad={width}:{height}:-1:-1,setsar=1,format=yuv420p,\
             tpad=start_duration={}:stop_duration={}:color=black,trim=duration={}[v{number}];",
            seconds(own_us),
            seconds(before_us),
            seconds(next_us.saturating_sub(film.start_us)),
            seconds(before_us + next_us.saturating_sub(film.start_us)),
        );
    }
    if !pictures.is_empty() {
        (0..pictures.len()).for_each(|number| {
            let _ = write!(filter, "[v{number}]");
        });
        let _ = write!(filter, "concat=n={}:v=1:a=0[video];", pictures.len());
        outputs.extend(["-map", "[video]", "-c:v", "libx264", "-preset", "veryfast", "-crf", "20"]);
    }
    if films.iter().any(|film| film.has_audio) {
        filter.push_str(&mixed(films, "anull"));
        outputs.extend(["-map", "[audio]", "-c:a", "libopus", "-b:a", "96k"]);
    }
    let filter = filter.trim_end_matches(';').to_owned();
    let mut arguments = vec!["-filter_complex".to_owned(), filter];
    arguments.extend(outputs.into_iter().map(str::to_owned));
    arguments
}

/// All sound, each at its place.
fn mixed(films: &[&Film], last: &str) -> String {
    let mut filter = String::new();
    let mut count = 0;
    for (at, film) in films.iter().enumerate().filter(|(_, film)| film.has_audio) {
        let delay_ms = film.start_us / 1000;
        let _ = write!(
            filter,
            "[{at}:a:0]aresample=48000:async=1:first_pts=0,aformat=channel_layouts=stereo,\
             adelay={delay_ms}:all=1[a{at}];"
        );
        count += 1;
    }
    for (at, _) in films.iter().enumerate().filter(|(_, film)| film.has_audio) {
        let _ = write!(filter, "[a{at}]");
    }
    let _ = write!(filter, "amix=inputs={count}:normalize=0,{last}[audio]");
    filter
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

fn convert(
    ffmpeg: &str,
    session: &Session,
    films: &[&Film],
    arguments: Vec<String>,
    path: &Path,
) -> Done {
    let mut command = Command::new(ffmpeg);
    command.args(["-hide_banner", "-nostdin", "-v", "error", "-n"]);
    for film in films {
        command.arg("-i").arg(session.folder.join(&film.name));
    }
    command.args(arguments).arg(path);
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::about(ffmpeg, error))?;
    if output.status.success() {
        return say(&format!("{}\n", path.display()));
    }
    // Half a file would be taken for a whole one.
    let _ = fs::remove_file(path);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(Failure::about(path.display(), format!("ffmpeg says: {last}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn film(start_s: u64, end_s: u64, size: Option<(u32, u32)>) -> Film {
        Film {
            name: format!("{start_s}.mp4"),
            username: "ann".to_owned(),
            label: "camera".to_owned(),
            start_us: start_s * 1_000_000,
            end_us: end_s * 1_000_000,
            has_audio: true,
            size,
        }
    }

    #[test]
    fn pieces_keep_their_places() {
        let films =
            [film(2, 10, Some((640, 480))), film(12, 20, None), film(30, 40, Some((1281, 720)))];
        let films: Vec<&Film> = films.iter().collect();
        let arguments = joined(&films, 45_000_000);
        let filter = &arguments[1];
        // Black up to 2 s; 8 s of pictures and black up to 30 s.
        assert!(filter.contains("start_duration=2.000000:stop_duration=28.000000"), "{filter}");
        assert!(filter.contains("trim=duration=30.000000[v0]"), "{filter}");
        assert!(filter.contains("[2:v:0]") && !filter.contains("[1:v:0]"), "{filter}");
        assert!(filter.contains("scale=1282:720"), "the encoder wants even sizes: {filter}");
        for (at, delay_ms) in [(0, 2000), (1, 12_000), (2, 30_000)] {
            assert!(filter.contains(&format!("adelay={delay_ms}:all=1[a{at}]")), "{filter}");
        }
    }

    #[test]
    fn names_lead_nowhere() {
        assert_eq!(named("../../etc/passwd", "camera"), "______etc_passwd");
        assert_eq!(named("Zoë", "screenshare"), "Zoë-screenshare");
        assert_eq!(named("", ""), "anonymous");
    }
}

//! Static files: the web client in the binary, or a directory. Conditional requests and single
//! ranges as RFC 9110 has them.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::BodyExt;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};
use tokio::io::AsyncSeekExt;

use super::body::{Body, FileBody, empty, full};

/// Browsers ask whether it is still the same.
const ASK_AGAIN: &str = "no-cache";
/// What is at such an address never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Where this very web client is: an upgrade cannot mix its modules with those of the one before.
const VERSIONED: &str = concat!("v/", env!("AULA_WEB_HASH"), "/");

/// The file that the web client looks for, of the npm package `@mediapipe/selfie_segmentation`.
const BLUR_SCRIPT: &str = "selfie_segmentation.js";

/// A file of the built-in web client.
struct Embedded {
    path: &'static str,
    etag: &'static str,
    bytes: &'static [u8],
}

static EMBEDDED: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Where static files come from.
pub(crate) enum Files {
    /// Those that were built into the binary.
    BuiltIn {
        /// Where an administrator may have put what blurs backgrounds.
        blur: PathBuf,
    },
    /// A directory, as its canonical path.
    Directory(PathBuf),
}

enum Contents {
    Bytes(&'static [u8]),
    Made(Vec<u8>),
    File(tokio::fs::File),
}

struct Found {
    contents: Contents,
    length: u64,
    etag: String,
    modified: Option<SystemTime>,
    media_type: &'static str,
    cache_control: &'static str,
}

enum Lookup {
    Found(Found),
    Directory,
    Missing,
}

impl Files {
    /// The directory must exist. `data` is that of the server.
    pub(crate) fn open(directory: Option<&Path>, data: &Path) -> io::Result<Self> {
        match directory {
            None => Ok(Self::BuiltIn { blur: data.join("blur") }),
            Some(directory) => {
                let directory = directory.canonicalize()?;
                if !directory.is_dir() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                Ok(Self::Directory(directory))
            }
        }
    }

    /// What pages may do beside running scripts of ours: Galene's client needs `eval`, ours does not, but
    /// what blurs backgrounds, if it is there, is WebAssembly.
    pub(crate) fn script_sources(&self) -> &'static str {
        match self {
            Self::Directory(_) => "'unsafe-eval' ",
            Self::BuiltIn { blur } if blur.join(BLUR_SCRIPT).is_file() => "'wasm-unsafe-eval' ",
            Self::BuiltIn { .. } => "",
        }
    }

    /// The file at a path. In pages, addresses are those below `base`.
    async fn find(&self, path: &str, base: &str) -> Lookup {
        match self {
            Self::BuiltIn { blur } => {
                let (path, cache_control) = match path.strip_prefix(VERSIONED) {
                    Some(path) => (path, FOR_EVER),
                    None => (path, ASK_AGAIN),
                };
                if let Some(name) = path.strip_prefix("blur/") {
                    return match tokio::fs::canonicalize(blur).await {
                        Ok(root) => find_in(&root, name).await.unwrap_or(Lookup::Missing),
                        Err(_) => Lookup::Missing,
                    };
                }
                if let Ok(at) = EMBEDDED.binary_search_by_key(&path, |file| file.path)
                    && let Some(file) = EMBEDDED.get(at)
                {
                    let (contents, length, etag) = match path.ends_with(".html") {
                        true => page_at(file, base),
                        false => {
                            let contents = Contents::Bytes(file.bytes);
                            (contents, file.bytes.len(), file.etag.to_owned())
                        }
                    };
                    let (modified, media_type) = (None, media_type(path));
                    let length = length as u64;
                    return Lookup::Found(Found {
                        contents,
                        length,
                        etag,
                        modified,
                        media_type,
                        cache_control,
                    });
                }
                let folder = format!("{path}/");
                let is_folder = EMBEDDED.iter().any(|file| file.path.starts_with(&folder));
                if is_folder || path.is_empty() { Lookup::Directory } else { Lookup::Missing }
            }
            Self::Directory(root) => find_in(root, path).await.unwrap_or(Lookup::Missing),
        }
    }

    /// Serves `path` (decoded, without its leading slash, nothing that climbs). `query` is kept
    /// by redirects.
    pub(crate) async fn serve(
        &self,
        method: &Method,
        path: &str,
        (query, base): (&str, &str),
        headers: &HeaderMap,
    ) -> Response<Body> {
        let is_folder = path.is_empty() || path.ends_with('/');
        let wanted = if is_folder { format!("{path}index.html") } else { path.to_owned() };
        match self.find(&wanted, base).await {
            Lookup::Found(found) => respond(method, found, headers).await,
            Lookup::Directory if !is_folder => {
                let encoded = signalling::encode_path(path);
                super::redirect(StatusCode::PERMANENT_REDIRECT, &format!("/{encoded}/{query}"))
            }
            Lookup::Missing if is_folder => match self.find(path.trim_end_matches('/'), base).await
            {
                Lookup::Directory => super::text(StatusCode::FORBIDDEN, "Forbidden\n"),
                _ => self.not_found(base).await,
            },
            Lookup::Directory | Lookup::Missing => self.not_found(base).await,
        }
    }

    /// A page of the web client, whatever its URL.
    pub(crate) async fn page(
        &self,
        method: &Method,
        (name, base): (&str, &str),
        headers: &HeaderMap,
    ) -> Response<Body> {
        match self.find(name, base).await {
            Lookup::Found(found) => respond(method, found, headers).await,
            Lookup::Directory | Lookup::Missing => self.not_found(base).await,
        }
    }

    /// The page that says so.
    pub(crate) async fn not_found(&self, base: &str) -> Response<Body> {
        let body = match self.find("404.html", base).await {
            Lookup::Found(Found { contents: Contents::Bytes(bytes), .. }) => full(bytes),
            Lookup::Found(Found { contents: Contents::Made(bytes), .. }) => full(bytes),
            Lookup::Found(Found { contents: Contents::File(file), length, .. }) => {
                FileBody::new(file, length).boxed()
            }
            Lookup::Directory | Lookup::Missing => full("<p>Not found</p>"),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::NOT_FOUND;
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, html);
        response
    }
}

/// A file of a folder, which its name must not leave; nothing if there is none. `cached` tells how
/// long it may be kept, by its age.
pub(super) async fn download(
    method: &Method,
    (folder, name): (&Path, &str),
    headers: &HeaderMap,
    cached: impl Fn(Option<Duration>) -> &'static str,
) -> Option<Response<Body>> {
    let folder = tokio::fs::canonicalize(folder).await.ok()?;
    let Lookup::Found(found) = find_in(&folder, name).await.ok()? else {
        return None;
    };
    let age = found.modified.and_then(|modified| modified.elapsed().ok());
    let found = Found { cache_control: cached(age), ..found };
    Some(respond(method, found, headers).await)
}

/// A page of ours whose addresses are below `base`, and name this very web client.
fn page_at(file: &Embedded, base: &str) -> (Contents, usize, String) {
    let text = String::from_utf8_lossy(file.bytes);
    let mut out = String::with_capacity(text.len() + 256);
    let mut rest = &*text;
    while let Some(at) = ["href=\"/", "src=\"/"]
        .iter()
        .filter_map(|start| Some(rest.find(start)? + start.len() - 1))
        .min()
    {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        out.push_str(base);
        let end = after.find(['"', '#', '?']).unwrap_or(after.len());
        let path = after.get(1..end).unwrap_or_default();
        out.push('/');
        if EMBEDDED.binary_search_by_key(&path, |file| file.path).is_ok() {
            out.push_str(VERSIONED);
        }
        rest = after.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    let mut etag = file.etag.trim_end_matches('"').to_owned();
    let hash = base.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    etag.push_str(&format!("-{}-{hash:x}\"", env!("AULA_WEB_HASH")));
    let length = out.len();
    (Contents::Made(out.into_bytes()), length, etag)
}

/// A file below `root`, wherever links point.
async fn find_in(root: &Path, path: &str) -> io::Result<Lookup> {
    let full_path = tokio::fs::canonicalize(root.join(path.trim_end_matches('/'))).await?;
    if !full_path.starts_with(root) {
        return Ok(Lookup::Missing);
    }
    let file = tokio::fs::File::open(&full_path).await?;
    let metadata = file.metadata().await?;
    if metadata.is_dir() {
        return Ok(Lookup::Directory);
    }
    if !metadata.is_file() {
        return Ok(Lookup::Missing);
    }
    let modified = metadata.modified()?;
    let nanos = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Ok(Lookup::Found(Found {
        contents: Contents::File(file),
        length: metadata.len(),
        etag: format!("\"{}-{nanos}\"", metadata.len()),
        modified: Some(modified),
        media_type: media_type(path),
        cache_control: ASK_AGAIN,
    }))
}

async fn respond(method: &Method, found: Found, headers: &HeaderMap) -> Response<Body> {
    let Found { contents, length, etag, modified, media_type, cache_control } = found;
    let mut response = Response::new(empty());
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.extend(HeaderValue::from_str(&etag).ok().map(|etag| (header::ETAG, etag)));
    let modified = modified.map(http_date);
    if let Some(modified) = modified.as_deref().and_then(|date| HeaderValue::from_str(date).ok()) {
        out.insert(header::LAST_MODIFIED, modified);
    }
    if is_unmodified(headers, &etag, modified.as_deref()) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let range = match range(headers, length, &etag) {
        Some(Ok(range)) => range,
        Some(Err(())) => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            let all = HeaderValue::from_str(&format!("bytes */{length}"));
            response.headers_mut().extend(all.ok().map(|all| (header::CONTENT_RANGE, all)));
            return response;
        }
        None => (0, length),
    };
    let (start, end) = range;
    if (start, end) != (0, length) {
        let value = format!("bytes {start}-{}/{length}", end - 1);
        let value = HeaderValue::from_str(&value).ok();
        response.headers_mut().extend(value.map(|value| (header::CONTENT_RANGE, value)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    if *method == Method::HEAD {
        return response;
    }
    *response.body_mut() = match contents {
        Contents::Bytes(bytes) => {
            let bounds = usize::try_from(start).ok().zip(usize::try_from(end).ok());
            full(bounds.and_then(|(start, end)| bytes.get(start..end)).unwrap_or_default())
        }
        Contents::Made(bytes) => {
            let bounds = usize::try_from(start).ok().zip(usize::try_from(end).ok());
            full(bounds.and_then(|(start, end)| bytes.get(start..end)).unwrap_or_default().to_vec())
        }
        Contents::File(mut file) => {
            if start > 0 && file.seek(SeekFrom::Start(start)).await.is_err() {
                return super::text(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error\n");
            }
            FileBody::new(file, end - start).boxed()
        }
    };
    response
}

/// RFC 9110 s13.2.2: If-None-Match decides where there is one.
fn is_unmodified(headers: &HeaderMap, etag: &str, modified: Option<&str>) -> bool {
    let get = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(tags) = get(header::IF_NONE_MATCH) {
        let mut tags = tags.split(',').map(str::trim);
        return tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag);
    }
    // Browsers send back the date that they were given; other dates are not worth comparing.
    get(header::IF_MODIFIED_SINCE).is_some_and(|since| Some(since) == modified)
}

/// One range of bytes as start and end (exclusive); an error if it lies outside; nothing if
/// the whole file is to be sent.
fn range(headers: &HeaderMap, length: u64, etag: &str) -> Option<Result<(u64, u64), ()>> {
    let value = headers.get(header::RANGE)?.to_str().ok()?;
    let condition = headers.get(header::IF_RANGE);
    if condition.is_some_and(|condition| condition.as_bytes() != etag.as_bytes()) {
        return None;
    }
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    if last.contains(',') {
        return None;
    }
    if first.is_empty() {
        let suffix: u64 = last.parse().ok()?;
        let start = length.saturating_sub(suffix);
        return Some(if suffix == 0 || length == 0 { Err(()) } else { Ok((start, length)) });
    }
    let start: u64 = first.parse().ok()?;
    let end = match last {
        "" => length,
        last => last.parse::<u64>().ok()?.saturating_add(1).min(length),
    };
    Some(if start >= length || end <= start { Err(()) } else { Ok((start, end)) })
}

/// A date as HTTP has it (RFC 9110 s5.6.7).
fn http_date(at: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let text = signalling::UnixMs(i64::try_from(seconds).unwrap_or_default() * 1000).to_rfc3339();
    let weekday = DAYS.get((seconds / 86_400 % 7) as usize).copied().unwrap_or("Thu");
    let month: usize = text.get(5..7).and_then(|month| month.parse().ok()).unwrap_or(1);
    let month = MONTHS.get(month - 1).copied().unwrap_or("Jan");
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    format!("{weekday}, {} {month} {} {} GMT", part(8, 10), part(0, 4), part(11, 19))
}

fn media_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "txt" | "md" => "text/plain; charset=utf-8",
        "pdf" => "application/pdf",
        "xml" => "text/xml; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        "mp3" => "audio/mpeg",
        "ogg" | "opus" => "audio/ogg",
        "webm" => "video/webm",
        "mp4" => "video/mp4",
        "mkv" => "video/x-matroska",
        "jsonl" => "application/jsonl",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_has_the_pages() {
        assert!(EMBEDDED.is_sorted_by_key(|file| file.path));
        for page in ["galene.html", "index.html", "404.html"] {
            assert!(EMBEDDED.iter().any(|file| file.path == page), "{page}");
        }
    }

    #[test]
    fn dates_are_written_as_http_has_them() {
        assert_eq!(http_date(UNIX_EPOCH), "Thu, 01 Jan 1970 00:00:00 GMT");
        let at = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(http_date(at), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn ranges() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(value));
            range(&headers, 10, "\"e\"")
        };
        assert_eq!(with("bytes=0-3"), Some(Ok((0, 4))));
        assert_eq!(with("bytes=4-"), Some(Ok((4, 10))));
        assert_eq!(with("bytes=-3"), Some(Ok((7, 10))));
        assert_eq!(with("bytes=5-100"), Some(Ok((5, 10))));
        assert_eq!(with("bytes=10-"), Some(Err(())));
        assert_eq!(with("bytes=-0"), Some(Err(())));
        assert_eq!(with("bytes=3-1"), Some(Err(())));
        assert_eq!(with("bytes=0-1,3-4"), None);
        assert_eq!(with("lines=0-1"), None);
        assert_eq!(range(&HeaderMap::new(), 10, "\"e\""), None);
    }
}

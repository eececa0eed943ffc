//! What a request is answered: a file, a part of one, that it has not changed, an index, or that there is none.

use super::Shared;
use super::path::Place;
use crate::http::head::Request;
use crate::http::pages::escape;
use crate::limits::SITE_LISTING;
use http_range_header::parse_range_header;
use ramson_wire::crypto::hash::sha256;
use ramson_wire::data::base32;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The pages that stand for a folder.
const INDEX: [&str; 2] = ["index.html", "index.htm"];
/// The page that stands for all that are missing.
const MISSING: &str = "404.html";
/// Pages are asked for again, and answered briefly where they have not changed; what stands in them is kept a while.
const FRESH_PAGE: &str = "no-cache";
const FRESH_PART: &str = "max-age=600";

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Text(String),
    File { file: File, from: u64, len: u64 },
}

impl Body {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File { len, .. } => *len,
        }
    }
}

impl Answer {
    /// A status in words.
    pub(super) fn said(code: u16) -> Self {
        let headers = vec![("content-type", "text/plain; charset=utf-8".to_owned())];
        Self { code, headers, body: Body::Text(format!("{}\n", super::reason(code))) }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A file that is open.
struct Found {
    file: File,
    len: u64,
    tag: String,
}

impl Shared {
    pub(super) fn answer(&self, request: &Request) -> Answer {
        if !request.is_repeatable() {
            return Answer::said(405).with("allow", "GET, HEAD");
        }
        let Some(place) = Place::of(&request.target) else { return self.missing() };
        let Place { path, is_folder, written } = place;
        if is_folder || self.is_folder(&path) {
            if !is_folder {
                // Relative links in the page count from the folder.
                return Answer::said(301).with("location", format!("{written}/"));
            }
            let index = INDEX.iter().find_map(|name| self.open(&path.join(name)).map(|found| (path.join(name), found)));
            return match index {
                Some((path, found)) => whole_or_part(request, &path, found),
                None if self.listing => self.list(&path).unwrap_or_else(|| self.missing()),
                None => self.missing(),
            };
        }
        match self.open(&path) {
            Some(found) => whole_or_part(request, &path, found),
            None => self.missing(),
        }
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || self.dir.metadata(path).is_ok_and(|found| found.is_dir())
    }

    /// Opens a file below the folder. Links that lead elsewhere are not followed, whatever becomes of them meanwhile.
    fn open(&self, path: &Path) -> Option<Found> {
        // What is no file is not opened: a pipe would never answer.
        if !self.dir.metadata(path).ok()?.is_file() {
            return None;
        }
        let file = self.dir.open(path).ok()?.into_std();
        let found = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let written = found.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let of = [
            &self.secret[..],
            path.as_os_str().as_encoded_bytes(),
            &found.len().to_be_bytes(),
            &written.as_nanos().to_be_bytes(),
        ];
        let tag = sha256(&of.concat());
        let tag = base32::encode(tag.first_chunk::<16>().unwrap_or(&[0; 16]));
        Some(Found { file, len: found.len(), tag: format!("\"{tag}\"") })
    }

    fn missing(&self) -> Answer {
        match self.open(Path::new(MISSING)) {
            Some(Found { file, len, .. }) => {
                let headers = vec![("content-type", kind(Path::new(MISSING)))];
                Answer { code: 404, headers, body: Body::File { file, from: 0, len } }
            }
            None => Answer::said(404),
        }
    }

    /// The names of what a folder holds.
    fn list(&self, path: &Path) -> Option<Answer> {
        let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
        let mut names: Vec<String> = Vec::new();
        for entry in self.dir.read_dir(&path).ok()?.flatten().take(SITE_LISTING) {
            let Ok(name) = entry.file_name().into_string() else { continue };
            // As it would be answered: a link that leads elsewhere is not there.
            let Ok(found) = self.dir.metadata(path.join(&name)) else { continue };
            let end = if found.is_dir() { "/" } else { "" };
            if !name.starts_with('.') && !name.contains(['\\']) && (found.is_dir() || found.is_file()) {
                names.push(name + end);
            }
        }
        names.sort();
        let mut html =
            "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>Index</title></head><body><ul>".to_owned();
        if path != Path::new(".") {
            html.push_str("<li><a href=\"../\">../</a></li>");
        }
        for name in names {
            let _ = write!(html, "<li><a href=\"./{}\">{}</a></li>", percent_encode(&name), escape(&name));
        }
        html.push_str("</ul></body></html>\n");
        let headers =
            vec![("content-type", "text/html; charset=utf-8".to_owned()), ("cache-control", FRESH_PAGE.into())];
        Some(Answer { code: 200, headers, body: Body::Text(html) })
    }
}

/// The file, as much of it as is wanted.
fn whole_or_part(request: &Request, path: &Path, found: Found) -> Answer {
    let Found { file, len, tag } = found;
    let kind = kind(path);
    let fresh = if kind.starts_with("text/html") { FRESH_PAGE } else { FRESH_PART };
    let headers = vec![("etag", tag.clone()), ("cache-control", fresh.to_owned())];
    if request.headers.all("if-none-match").any(|tags| names_tag(tags, &tag)) {
        return Answer { code: 304, headers, body: Body::Text(String::new()) };
    }
    let whole = |file| Answer { code: 200, headers: headers.clone(), body: Body::File { file, from: 0, len } };
    let answer = match wanted_range(request, &tag, len) {
        Wanted::All => whole(file),
        Wanted::Part { from, to } => {
            let body = Body::File { file, from, len: to - from + 1 };
            let answer = Answer { code: 206, headers: headers.clone(), body };
            answer.with("content-range", format!("bytes {from}-{to}/{len}"))
        }
        Wanted::Beyond => return Answer::said(416).with("content-range", format!("bytes */{len}")),
    };
    answer.with("accept-ranges", "bytes").with("content-type", kind)
}

enum Wanted {
    All,
    Part { from: u64, to: u64 },
    Beyond,
}

fn wanted_range(request: &Request, tag: &str, len: u64) -> Wanted {
    let headers = &request.headers;
    // A part of another version is of no use; dates are never told, so none is the right one.
    let same = headers.text("if-range").is_none_or(|if_range| if_range.trim() == tag);
    let ranges = match headers.single("range") {
        Ok(Some(value)) if same && request.method == "GET" => std::str::from_utf8(value).ok(),
        _ => None,
    };
    let Some(ranges) = ranges.and_then(|text| parse_range_header(text).ok()) else { return Wanted::All };
    match ranges.validate(len) {
        // Several at once are answered with all.
        Ok(ranges) => match ranges.as_slice() {
            [one] => Wanted::Part { from: *one.start(), to: *one.end() },
            _ => Wanted::All,
        },
        Err(_) => Wanted::Beyond,
    }
}

/// Whether a list of tags has this one, weakly compared.
fn names_tag(tags: &[u8], tag: &str) -> bool {
    let mut tags = tags.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    tags.any(|other| other == b"*" || other.strip_prefix(b"W/").unwrap_or(other) == tag.as_bytes())
}

fn kind(path: &Path) -> String {
    let kind = mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream");
    let is_text = kind.starts_with("text/")
        || matches!(kind, "application/javascript" | "application/json" | "application/xml" | "image/svg+xml");
    if is_text { format!("{kind}; charset=utf-8") } else { kind.to_owned() }
}

fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(b)),
            _ => drop(write!(out, "%{b:02X}")),
        }
        out
    })
}

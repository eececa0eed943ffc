//! The first visit to a name whose meaning the user did not choose himself: one page of the proxy's own origin says who
//! gives the name its meaning. It is asked once for each meaning, and never for what a program or a page fetches.

use super::doubt::Doubt;
use super::head::{Headers, Request};
use super::helper::{ORIGIN, field, gone, is_foreign, nonce};
use super::pages::{self, Page, escape};
use crate::files;
use crate::limits::{PENDING_HELPER_TIME, PENDING_HELPERS, USED_NAMES, USED_NAMES_BYTES};
use crate::names::{HostName, Source};
use ramson_wire::data::{Hash, base32};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// Names that the user has gone on to, and questions that wait for his word.
#[derive(Debug)]
pub(crate) struct FirstUses {
    /// Where they are kept: a line `name=b32` each, in the order of the names, so that it does not tell when. Without a
    /// file only names that may deceive are asked about, and nothing is kept.
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: BTreeMap<HostName, Hash>,
    pending: VecDeque<Pending>,
}

#[derive(Clone, Debug)]
struct Pending {
    id: String,
    /// Stands only in the form, so that knowing the id is not enough.
    token: String,
    name: HostName,
    hash: Hash,
    source: Source,
    /// The feed that says so.
    feed: Option<Arc<str>>,
    /// What may deceive about the name, as HTML.
    doubt: String,
    url: String,
    since: Instant,
}

/// A visit that the user is to be asked about.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) name: HostName,
    pub(crate) hash: Hash,
    pub(crate) source: Source,
    pub(crate) feed: Option<Arc<str>>,
    pub(crate) doubt: Doubt,
    pub(crate) url: String,
}

/// Whether a person asks for a whole page. Sub-resources say so, or do not ask for HTML; no more do programs.
pub(crate) fn is_page_visit(request: &Request) -> bool {
    request.method == "GET"
        && match request.headers.text("sec-fetch-dest") {
            Some(destination) => destination == "document",
            None => request.headers.text("accept").is_some_and(|accept| accept.contains("text/html")),
        }
}

impl FirstUses {
    /// Reads the names used before. What cannot be read is asked again.
    pub(crate) fn open(file: Option<PathBuf>) -> Self {
        let read = |file: &PathBuf| {
            files::forget_unfinished(file);
            files::read(file, USED_NAMES_BYTES).unwrap_or_else(|why| {
                tracing::warn!("names: {why}");
                None
            })
        };
        let used = read_names(&file.as_ref().and_then(read).unwrap_or_default());
        Self { file, state: Mutex::new(State { used, pending: VecDeque::new() }) }
    }

    /// Whether the user is to be asked about every name, or only about those that may deceive.
    pub(crate) fn asks_always(&self) -> bool {
        self.file.is_some()
    }

    /// Whether the user has gone on to this name with this meaning.
    pub(crate) fn knows(&self, name: &HostName, hash: &Hash) -> bool {
        self.lock().used.get(name) == Some(hash)
    }

    /// Keeps the visit until the user answers, and sends the browser to the page that asks.
    pub(crate) fn ask(&self, visit: Visit) -> Page {
        let Visit { name, hash, source, feed, doubt, url } = visit;
        let (id, token) = (nonce(), nonce());
        let page = Page::new(302, "Found", "A name for the first time", "Your router says first who names this site.")
            .with_header("location", format!("{ORIGIN}/name?id={id}"));
        let pending = &mut self.lock().pending;
        pending.retain(|p| p.since.elapsed() < PENDING_HELPER_TIME);
        if pending.len() >= PENDING_HELPERS {
            pending.pop_front();
        }
        let (doubt, since) = (doubt.html, Instant::now());
        pending.push_back(Pending { id, token, name, hash, source, feed, doubt, url, since });
        page
    }

    /// The page that asks.
    pub(crate) fn page(&self, query: &str) -> Page {
        let Some(p) = field(query, "id").and_then(|id| self.find(&id)) else { return gone() };
        let mut html = p.doubt.clone() + &pages::meaning(&base32::host_name(&p.hash), p.source);
        if let Some(feed) = &p.feed {
            let _ = write!(html, "<p>The list is <code>{}</code>.</p>", escape(feed));
        }
        let _ = write!(
            html,
            "<p>Asked for: {}</p><form method=\"post\" action=\"{ORIGIN}/name\">\
             <input type=\"hidden\" name=\"id\" value=\"{}\"><input type=\"hidden\" name=\"token\" value=\"{}\"><button name=\"do\" value=\"go\">Go on</button></form>",
            escape(&p.url),
            p.id,
            p.token
        );
        Page::new(
            200,
            "OK",
            format!("{} for the first time", p.name),
            "Names in I2P mean what a list says. You did not put this one into yours: the list below did.\n\
             If you know the site's address from elsewhere, compare it. This is asked once for each name.",
        )
        .with_html(&html)
    }

    /// The user's answer.
    pub(crate) fn answer(&self, headers: &Headers, form: &str) -> Page {
        let found = field(form, "id").and_then(|id| self.find(&id));
        let token = field(form, "token").unwrap_or_default();
        let is_his = |p: &Pending| !is_foreign(headers) && bool::from(p.token.as_bytes().ct_eq(token.as_bytes()));
        let Some(p) = found.filter(is_his) else { return gone() };
        self.remember(&p);
        let link = format!("<p><a href=\"{}\">Go on</a></p>", escape(&p.url));
        Page::new(200, "OK", format!("On the way to {}", p.name), "You are taken there.")
            .with_html(&link)
            .with_header("refresh", format!("0; url={}", p.url))
    }

    fn remember(&self, p: &Pending) {
        let mut state = self.lock();
        state.pending.retain(|other| other.id != p.id);
        if state.used.len() >= USED_NAMES && !state.used.contains_key(&p.name) {
            state.used.pop_first();
        }
        state.used.insert(p.name.clone(), p.hash);
        let text = state.used.iter().fold(String::new(), |mut text, (name, hash)| {
            let _ = writeln!(text, "{name}={}", base32::host_name(hash));
            text
        });
        // In memory it is known all the same.
        let Some(file) = &self.file else { return };
        if let Err(why) = files::write_atomic(file, text.as_bytes(), false) {
            tracing::warn!("names: {why}");
        }
    }

    fn find(&self, id: &str) -> Option<Pending> {
        let state = self.lock();
        state.pending.iter().find(|p| p.id == id && p.since.elapsed() < PENDING_HELPER_TIME).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_names(bytes: &[u8]) -> BTreeMap<HostName, Hash> {
    let line = |line: &str| {
        let (name, b32) = line.split_once('=')?;
        Some((HostName::parse(name).ok()?, base32::host_hash(b32)?))
    };
    String::from_utf8_lossy(bytes).lines().filter_map(line).take(USED_NAMES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn visit(text: &str, hash: Hash) -> Visit {
        let doubt = Doubt { html: "<p>doubt</p>".into(), is_warning: false };
        Visit { name: name(text), hash, source: Source::Shipped, feed: None, doubt, url: format!("http://{text}/") }
    }

    fn go(uses: &FirstUses, text: &str, hash: Hash) -> Page {
        uses.ask(visit(text, hash));
        let p = uses.lock().pending.back().unwrap().clone();
        uses.answer(&Headers::default(), &format!("id={}&token={}&do=go", p.id, p.token))
    }

    #[test]
    fn a_name_is_asked_for_once_a_meaning_and_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("names");
        let uses = FirstUses::open(Some(file.clone()));
        for text in ["b.i2p", "a.i2p", "c.i2p"] {
            assert!(!uses.knows(&name(text), &Hash([1; 32])));
            assert_eq!(go(&uses, text, Hash([1; 32])).code, 200);
        }
        let again = FirstUses::open(Some(file.clone()));
        assert!(again.knows(&name("b.i2p"), &Hash([1; 32])));
        assert!(!again.knows(&name("b.i2p"), &Hash([2; 32])), "another meaning is another question");
        let text = std::fs::read_to_string(&file).unwrap();
        let b32 = base32::host_name(&Hash([1; 32]));
        assert_eq!(text, format!("a.i2p={b32}\nb.i2p={b32}\nc.i2p={b32}\n"), "no times, and not the order of visits");
    }

    #[test]
    fn a_file_that_cannot_be_written_keeps_nobody_from_going_on() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plain"), b"").unwrap();
        let uses = FirstUses::open(Some(folder.path().join("plain/names")));
        assert_eq!(go(&uses, "a.i2p", Hash([1; 32])).code, 200);
        assert!(uses.knows(&name("a.i2p"), &Hash([1; 32])));
    }

    #[test]
    fn memory_and_questions_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let uses = FirstUses::open(Some(folder.path().join("names")));
        let all = (0..USED_NAMES).map(|n| (name(&format!("n{n}.i2p")), Hash([0; 32])));
        uses.lock().used = all.collect();
        assert_eq!(go(&uses, "new.i2p", Hash([1; 32])).code, 200);
        assert!(uses.knows(&name("new.i2p"), &Hash([1; 32])));
        assert_eq!(uses.lock().used.len(), USED_NAMES);
        let size = std::fs::metadata(folder.path().join("names")).unwrap().len();
        let longest = crate::limits::NAME_LENGTH + base32::host_name(&Hash([0; 32])).len() + 2;
        assert!(size <= USED_NAMES_BYTES && (longest * USED_NAMES) as u64 <= USED_NAMES_BYTES);
        for n in 0..PENDING_HELPERS + 5 {
            uses.ask(visit(&format!("n{n}.i2p"), Hash([9; 32])));
        }
        assert_eq!(uses.lock().pending.len(), PENDING_HELPERS);
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), lines in "([a-z.]{0,8}=?[a-z2-7.]{0,60}\n){0,4}") {
            read_names(&bytes);
            read_names(lines.as_bytes());
        }
    }
}

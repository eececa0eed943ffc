//! Address helpers: a link that carries a destination for a name. Nothing is stored before the user has said so on a
//! page of the proxy's own origin, which no site can read or send in the user's place.

use super::address::percent_decode;
use super::doubt::Doubt;
use super::head::Headers;
use super::pages::{Page, escape};
use crate::limits::{DESTINATION_BASE64, PENDING_HELPER_TIME, PENDING_HELPERS};
use crate::names::{HostName, Names};
use ramson::{LocalDestination, Target};
use ramson_wire::crypto;
use ramson_wire::data::{Destination, base32};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// The proxy's own origin.
pub(super) const ORIGIN: &str = "http://proxy.i2p";

/// Address helpers that wait for the user's word.
#[derive(Debug, Default)]
pub(crate) struct Helpers {
    pending: Mutex<VecDeque<Pending>>,
}

#[derive(Clone, Debug)]
struct Pending {
    id: String,
    /// Stands only in the form, so that knowing the id is not enough.
    token: String,
    name: HostName,
    target: Target,
    url: String,
    since: Instant,
}

/// Reads the value of an address helper: a destination in base64, or a b32 address.
pub(crate) fn read_target(value: &str) -> Option<Target> {
    if let Some(hash) = base32::host_hash(value) {
        return Some(Target::Hash(hash));
    }
    let short = value.len() <= DESTINATION_BASE64;
    short.then(|| Destination::from_base64(value).ok().map(Target::Destination)).flatten()
}

impl Helpers {
    /// Keeps a helper until the user answers, and sends the browser to the page that asks.
    pub(crate) fn ask(&self, name: HostName, target: Target, url: String) -> Page {
        let (id, token) = (nonce(), nonce());
        let page = Page::new(302, "Found", "An address helper", "Your router asks before it takes a new name.")
            .with_header("location", format!("{ORIGIN}/helper?id={id}"));
        let mut pending = self.lock();
        pending.retain(|p| p.since.elapsed() < PENDING_HELPER_TIME);
        if pending.len() >= PENDING_HELPERS {
            pending.pop_front();
        }
        pending.push_back(Pending { id, token, name, target, url, since: Instant::now() });
        page
    }

    /// The page that asks.
    pub(crate) fn page(&self, query: &str, names: &Names) -> Page {
        let Some(p) = field(query, "id").and_then(|id| self.find(&id)) else { return gone() };
        let b32 = base32::host_name(&p.target.hash());
        let known = names.resolve(&p.name);
        let (title, text) = if known.is_some() {
            (
                format!("Somebody gives {} another address", p.name),
                "You know this name already, with another destination. A link that changes it is how impostors would take a name over.\n\
              Keep what you know, unless the site itself told you of the change.",
            )
        } else {
            (
                format!("Add {} to your names?", p.name),
                "A link gives this name an address. Anybody can write such a link: take it if you trust where you found it.",
            )
        };
        let mut html = Doubt::of(names, &p.name).html;
        let _ = write!(html, "<table><tr><th>New address</th><td><code>{b32}</code></td></tr>");
        if let Some((destination, source)) = &known {
            let old = base32::host_name(&destination.hash());
            let _ = write!(html, "<tr><th>Known address</th><td><code>{old}</code>, from {source}</td></tr>");
        }
        let url = escape(&p.url);
        let _ = write!(
            html,
            "<tr><th>Asked for</th><td>{url}</td></tr></table><form method=\"post\" action=\"{ORIGIN}/helper\">\
            <input type=\"hidden\" name=\"id\" value=\"{}\"><input type=\"hidden\" name=\"token\" value=\"{}\">",
            p.id, p.token
        );
        html.push_str(if known.is_some() {
            "<button name=\"do\" value=\"cancel\">Keep what I know</button>\
             <button class=\"quiet\" name=\"do\" value=\"once\">Use the new one until the router stops</button>\
             <button class=\"quiet\" name=\"do\" value=\"save\">Replace it for good</button></form>"
        } else {
            "<button name=\"do\" value=\"save\">Add and go on</button>\
             <button class=\"quiet\" name=\"do\" value=\"once\">Only until the router stops</button>\
             <button class=\"quiet\" name=\"do\" value=\"cancel\">No</button></form>"
        });
        Page::new(200, "OK", title, text).with_html(&html)
    }

    /// The user's answer.
    pub(crate) async fn answer(&self, headers: &Headers, form: &str, names: &Names, local: &LocalDestination) -> Page {
        let found = field(form, "id").and_then(|id| self.find(&id));
        let token = field(form, "token").unwrap_or_default();
        let Some(p) = found.filter(|p| !is_foreign(headers) && bool::from(p.token.as_bytes().ct_eq(token.as_bytes())))
        else {
            return gone();
        };
        self.lock().retain(|other| other.id != p.id);
        let action = field(form, "do").unwrap_or_default();
        if !matches!(action.as_str(), "save" | "once") {
            return Page::new(200, "OK", "Nothing was changed", "The name keeps the meaning that it had.");
        }
        let destination = match &p.target {
            Target::Destination(destination) => destination.clone(),
            Target::Hash(hash) => match local.lookup(*hash).await {
                Ok(destination) => destination,
                Err(e) => return super::pages::unreachable(p.name.as_str(), &e, false),
            },
        };
        if action == "save" {
            if let Err(e) = names.store(&p.name, &destination) {
                return Page::new(500, "Not Stored", "The name could not be stored", &e.to_string());
            }
        } else if !names.accept_for_session(p.name.clone(), destination) {
            return Page::new(503, "Too Many", "Too many names", "Too many names are known until the router stops.");
        }
        let link = format!("<p><a href=\"{}\">Go on</a></p>", escape(&p.url));
        Page::new(200, "OK", format!("{} is known now", p.name), "You are taken there.")
            .with_html(&link)
            .with_header("refresh", format!("0; url={}", p.url))
    }

    fn find(&self, id: &str) -> Option<Pending> {
        let pending = self.lock();
        pending.iter().find(|p| p.id == id && p.since.elapsed() < PENDING_HELPER_TIME).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a form was not sent from the proxy's own pages.
pub(super) fn is_foreign(headers: &Headers) -> bool {
    headers.all("origin").any(|o| o != ORIGIN.as_bytes()) || headers.all("sec-fetch-site").any(|s| s != b"same-origin")
}

pub(super) fn gone() -> Page {
    Page::new(
        403,
        "Not Accepted",
        "This question is over",
        "Nothing was stored. Follow the link again, if you want the name.",
    )
}

pub(super) fn nonce() -> String {
    base32::encode(&crypto::random::<16>(&mut rand_core::UnwrapErr(getrandom::SysRng)))
}

/// A field of a query or form.
pub(super) fn field(text: &str, name: &str) -> Option<String> {
    text.split('&')
        .filter_map(|part| part.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, v)| percent_decode(v))
}

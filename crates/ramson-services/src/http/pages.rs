//! The pages that the proxy shows itself: what failed, what to try. No script, nothing from elsewhere.

use super::head::Headers;
use crate::names::{BadName, Source};
use ramson::{Error, ErrorKind, Progress, Stage};
use std::fmt::Write as _;

/// A page with its status.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    title: String,
    /// Escaped HTML.
    body: String,
    /// Load again by itself after so many seconds.
    reload: Option<u32>,
    pub(crate) headers: Headers,
}

impl Page {
    /// A page with one paragraph of text per line.
    pub(crate) fn new(code: u16, reason: &'static str, title: impl Into<String>, text: &str) -> Self {
        let body = text.lines().fold(String::new(), |mut body, line| {
            let _ = write!(body, "<p>{}</p>", escape(line));
            body
        });
        Self { code, reason, title: title.into(), body, reload: None, headers: Headers::default() }
    }

    /// Adds HTML that is escaped already.
    pub(crate) fn with_html(mut self, html: &str) -> Self {
        self.body.push_str(html);
        self
    }

    pub(crate) fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(name, value);
        self
    }

    fn reloading(mut self, seconds: u32) -> Self {
        self.reload = Some(seconds);
        self.with_header("retry-after", seconds.to_string())
    }

    /// The whole response; the body stays away for HEAD.
    pub(crate) fn to_bytes(&self, keep_alive: bool, with_body: bool) -> Vec<u8> {
        let html = self.html();
        let mut out = format!("HTTP/1.1 {} {}\r\n", self.code, self.reason);
        for (name, value) in &self.headers.0 {
            let _ = write!(out, "{name}: {}\r\n", String::from_utf8_lossy(value));
        }
        if let Some(seconds) = self.reload {
            let _ = write!(out, "Refresh: {seconds}\r\n");
        }
        let alive = if keep_alive { "keep-alive" } else { "close" };
        let _ = write!(
            out,
            "Content-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; form-action http://proxy.i2p; frame-ancestors 'none'; base-uri 'none'\r\n\
             X-Frame-Options: DENY\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: same-origin\r\nConnection: {alive}\r\n\r\n",
            html.len()
        );
        if with_body {
            out.push_str(&html);
        }
        out.into_bytes()
    }

    fn html(&self) -> String {
        let title = escape(&self.title);
        let waiting = self.reload.map_or("", |_| "<div class=\"bar\"><i></i></div>");
        format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head>\
             <body><main><h1>{title}</h1>{waiting}{}</main><footer>Ramson, your I2P router. This page comes from your own computer.</footer></body></html>\n",
            self.body
        )
    }
}

const STYLE: &str = ":root{color-scheme:light dark;--b:#f6f8f4;--c:#fff;--t:#1f2a1f;--m:#5b6b5b;--a:#2f7d3b;--l:#dbe4d8}\
@media(prefers-color-scheme:dark){:root{--b:#141a14;--c:#1d251d;--t:#e3ebe1;--m:#9aab99;--a:#7ccf85;--l:#324032}}\
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:flex;flex-direction:column;align-items:center;justify-content:center;\
padding:1.5rem;background:var(--b);color:var(--t);font:1.05rem/1.55 system-ui,sans-serif}\
main{width:100%;max-width:40rem;background:linear-gradient(var(--a) 0 .3rem,var(--c) 0);border:1px solid var(--l);border-radius:.6rem;padding:1.9rem clamp(1rem,5vw,2rem) 1.6rem}\
h1{font-size:1.5rem;margin:0 0 1rem;overflow-wrap:anywhere}p{margin:.6rem 0;overflow-wrap:anywhere}\
table{border-collapse:collapse;margin:1rem 0;width:100%}td,th{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--l);overflow-wrap:anywhere}\
tr:last-child>*{border-bottom:0}th{color:var(--m);font-weight:500;width:35%}code{overflow-wrap:anywhere}a{color:var(--a)}\
button{font:inherit;padding:.5rem 1rem;margin:.3rem .5rem .3rem 0;border:1px solid var(--a);border-radius:.4rem;background:var(--a);color:var(--c);cursor:pointer}\
button.quiet{background:none;color:var(--a)}footer{color:var(--m);text-align:center;font-size:.85rem;margin-top:1rem}\
.bar{height:.3rem;background:var(--l);border-radius:.2rem;overflow:hidden;margin:0 0 1rem}.bar i{display:block;height:100%;width:30%;background:var(--a);animation:m 1.6s ease-in-out infinite alternate}\
@keyframes m{to{margin-left:70%}}@media(prefers-reduced-motion:reduce){.bar i{animation:none}}";

/// The text with everything escaped that HTML reads.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Marks that turn the direction of text could make one name look like another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The page for a destination that could not be reached. `repeatable`: the request may be sent again by itself.
pub(crate) fn unreachable(host: &str, error: &Error, repeatable: bool) -> Page {
    match error.kind() {
        ErrorKind::NotReady => not_ready(host, error.progress(), repeatable),
        ErrorKind::NotFound => Page::new(
            504,
            "LeaseSet Not Found",
            format!("{host} was not found in the network"),
            "The address is right in form, but no router knows where it is now: its LeaseSet was not found.\n\
             Most often the site is offline. If it is yours, its tunnels may still be coming up.\n\
             Try again in some minutes, and check the address if it still fails.",
        ),
        ErrorKind::PeerNotAnswering => Page::new(
            504,
            "Destination Does Not Answer",
            format!("{host} does not answer"),
            "The site is known to the network, but did not answer in time. It may have just gone offline, or its tunnels are overloaded.\n\
             Try again; if it fails for longer, the site is down.",
        ),
        ErrorKind::Refused | ErrorKind::Reset | ErrorKind::Closed => Page::new(
            502,
            "Connection Refused",
            format!("{host} refused the connection"),
            "The destination was reached, but it closed the connection. Perhaps nothing is served at this port, or you were refused.\n\
             Check the address and the port; trying again at once rarely helps.",
        ),
        ErrorKind::Overloaded => Page::new(
            503,
            "Router Overloaded",
            "Too many connections",
            "Your router has reached a limit of open connections. Close some tabs or downloads, then try again.",
        ),
        ErrorKind::ShuttingDown => Page::new(
            503,
            "Router Shutting Down",
            "The router is shutting down",
            "Your router is closing its tunnels. Start it again to go on.",
        ),
        _ => Page::new(500, "Internal Error", "The router could not do this", &error.to_string()),
    }
}

fn not_ready(host: &str, progress: Option<&Progress>, repeatable: bool) -> Page {
    let advice = if repeatable {
        "Your router is still building its tunnels. This page loads again by itself until the site is there.\n\
         After the first start this takes some minutes, later less than one."
    } else {
        "Your router is still building its tunnels. What you sent has not left your computer, and is not sent again by itself.\n\
         Go back, wait a minute, and send it once more."
    };
    let trouble = progress.and_then(|p| p.trouble.as_deref());
    let advice = trouble.map(|trouble| format!("Something is wrong: {trouble}\n{advice}")).unwrap_or(advice.to_owned());
    let mut page = Page::new(503, "Tunnels Not Ready", format!("On the way to {host}"), &advice);
    if let Some(p) = progress {
        page = page.with_html(&format!(
            "<table><tr><th>Now</th><td>{}</td></tr><tr><th>Routers known</th><td>{}</td></tr>\
             <tr><th>Connected to</th><td>{}</td></tr><tr><th>Tunnels in</th><td>{} of {}</td></tr>\
             <tr><th>Tunnels out</th><td>{} of {}</td></tr></table>",
            doing(p.stage),
            p.known_routers,
            p.sessions,
            p.inbound,
            p.inbound_wanted,
            p.outbound,
            p.outbound_wanted
        ));
    }
    if repeatable { page.reloading(4) } else { page.with_header("retry-after", "30") }
}

/// The stage, without the numbers that stand beside it.
fn doing(stage: Stage) -> &'static str {
    match stage {
        Stage::Reseeding => "fetching the first routers",
        Stage::Connecting => "connecting to peers",
        Stage::BuildingTunnels => "building tunnels",
        Stage::Publishing => "telling the network where it is",
        Stage::Ready => "ready",
        Stage::ShuttingDown => "shutting down",
        _ => "starting",
    }
}

/// A site answered something that cannot be passed on.
pub(crate) fn bad_gateway(host: &str, what: &str) -> Page {
    Page::new(502, "Bad Gateway", format!("{host} gave no good answer"), what)
}

/// A request that cannot be read.
pub(crate) fn bad_request(what: &str) -> Page {
    let text = format!(
        "The proxy refused what your browser or program sent: {what}. Nothing went on to any site.\n\
         Try the address again. If it fails again, the link or the program that made it is at fault."
    );
    Page::new(400, "Bad Request", "The request cannot be read", &text)
}

/// Somebody opened the proxy's address like that of a site.
pub(crate) fn no_site() -> Page {
    Page::new(
        400,
        "Bad Request",
        "This is a proxy, not a site",
        "You reached Ramson's HTTP proxy, but your browser does not use it as one.\n\
         Set this address as the HTTP proxy in the settings of your browser, then open http://proxy.i2p/ to see whether it works.",
    )
}

/// A name that cannot be one.
pub(crate) fn bad_name(host: &str, e: BadName) -> Page {
    let text = format!("The address cannot be right: {e}.\nCheck the spelling, or ask where you got it from.");
    Page::new(400, "Bad Name", format!("{host} is no address in I2P"), &text)
}

/// What a name means here, and who says so: a wrong list is a reason why a site is not found.
pub(crate) fn meaning(b32: &str, source: Source) -> String {
    let source = escape(&source.to_string());
    format!(
        "<table><tr><th>Address of this name</th><td><code>{}</code></td></tr><tr><th>From</th><td>{source}</td></tr></table>",
        escape(b32)
    )
}

/// A name that nobody knows here.
pub(crate) fn unknown_name(name: &str) -> Page {
    Page::new(
        404,
        "Unknown Name",
        format!("{name} is not in your address book"),
        "Names under .i2p are not global: your router knows those of its lists only, and this one is not among them.\n\
         Check the spelling. If you got the name from a person or a site, ask for its b32 address or an address helper link.\n\
         You can add names yourself, with `ramson name add`, or to hosts.txt in the data folder of Ramson, as lines of name=destination.",
    )
}

/// Something that this proxy never fetches.
pub(crate) fn forbidden(host: &str, local: bool) -> Page {
    let text = if local {
        "This address is on your own computer or network. The proxy never fetches those, so that no site can reach them through it.\n\
         Tell your browser not to use the proxy for this address, if you meant it."
    } else {
        "This proxy leads into I2P only, and there is no outproxy: nothing was sent, not even a DNS query.\n\
         Open the address in another browser, or without the proxy."
    };
    Page::new(403, "Not In I2P", format!("{host} is not in I2P"), text)
}

/// What an outproxy would read, and is not sent.
pub(crate) fn only_encrypted(host: &str) -> Page {
    Page::new(
        403,
        "Not Encrypted",
        format!("{host} was asked for without encryption"),
        "Your outproxy is for encrypted connections (https) only: it would read everything else, and could change it. Nothing was sent.\n\
         Try the address with https, or allow plain connections in the config (outproxy_plain).",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_shown_is_escaped() {
        let page = unknown_name("<script>alert('x')</script>\u{202e}\r\n.i2p");
        let text = String::from_utf8(page.to_bytes(false, true)).unwrap();
        assert!(!text.contains("<script>") && !text.contains('\u{202e}'));
        let head = text.split("\r\n\r\n").next().unwrap();
        assert!(!head.contains("alert"), "nothing of the request stands in the head");
    }

    #[test]
    fn only_what_may_be_repeated_reloads() {
        let error = Error::not_ready(Progress::default());
        let text =
            |repeatable| String::from_utf8(unreachable("a.i2p", &error, repeatable).to_bytes(true, true)).unwrap();
        assert!(text(true).contains("\r\nRefresh: 4\r\n"));
        assert!(!text(false).contains("Refresh"));
        assert!(text(false).contains("has not left your computer"));
        let progress = Progress { trouble: Some("no <router> is known".into()), ..Progress::default() };
        let page = unreachable("a.i2p", &Error::not_ready(progress), true);
        assert_eq!(page.body.matches("no &lt;router&gt; is known").count(), 1);
    }

    #[test]
    fn each_failure_has_its_own_words() {
        let kinds = [
            ErrorKind::NotFound,
            ErrorKind::PeerNotAnswering,
            ErrorKind::Refused,
            ErrorKind::Overloaded,
            ErrorKind::ShuttingDown,
        ];
        let titles: std::collections::BTreeSet<_> =
            kinds.iter().map(|k| unreachable("a.i2p", &Error::new(*k, "x"), true).title).collect();
        assert_eq!(titles.len(), kinds.len());
    }
}

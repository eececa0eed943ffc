//! The eepsite of the network in this process, which tells each reader the way that the request took.

use super::SITE;
use super::picture::{Picture, Seen, Way};
use ramson::{Hash, InboundTunnel, Incoming, Listener, LocalDestination, Route, Stream};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The page, with places for the ways.
const PAGE: &str = include_str!("page.html");
/// The longest head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// The most header fields; the proxy lets fewer through.
const FIELDS: usize = 64;
/// The largest file.
const FILE_BYTES: usize = 1_000_000_000;
/// How long a connection may wait for its next request, and each write for its reader.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections at once.
const CONNECTIONS: usize = 64;

/// Knows the routers by name, and both ends of each way. In the real network nobody does: each end knows its own
/// tunnels alone.
#[derive(Clone)]
pub(super) struct Guide {
    pub(super) names: BTreeMap<Hash, &'static str>,
    pub(super) reader: LocalDestination,
    pub(super) site: LocalDestination,
}

impl Guide {
    /// The ways of requests and of answers, at this moment.
    async fn ways(&self) -> (Way, Way) {
        let there = self.way(&self.reader, &self.site).await;
        let mut back = self.way(&self.site, &self.reader).await;
        // As it is drawn: from the reader on the left to the site on the right.
        back.reverse();
        (there, back)
    }

    async fn way(&self, from: &LocalDestination, to: &LocalDestination) -> Way {
        let route = from.route(to.hash()).await.ok().flatten();
        let tunnels = to.inbound_tunnels().await.unwrap_or_default();
        self.name(route, &tunnels)
    }

    fn name(&self, route: Option<Route>, tunnels: &[InboundTunnel]) -> Way {
        let Some(route) = route else { return Way::default() };
        let name = |hash: &Hash| self.names.get(hash).copied().unwrap_or("?");
        let of_lease = tunnels.iter().find(|t| (t.gateway, t.tunnel) == (route.gateway, route.tunnel));
        // A tunnel that has just ended is known by its first router only.
        let inbound = of_lease.map_or_else(|| vec![name(&route.gateway)], |t| t.hops.iter().map(name).collect());
        Way { near: route.outbound.iter().map(name).collect(), far: inbound }
    }
}

/// Serves until the router stops.
pub(super) async fn serve(mut listener: Listener, guide: Guide, picture: Picture) {
    let mut tasks = JoinSet::new();
    while let Ok(Incoming { stream, .. }) = listener.accept().await {
        while tasks.try_join_next().is_some() {}
        if tasks.len() < CONNECTIONS {
            tasks.spawn(connection(stream, guide.clone(), picture.clone()));
        }
    }
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Page,
    File(usize),
    Nothing,
}

impl Asked {
    fn of(path: &str) -> Self {
        match path.strip_prefix("/bytes/").map(str::parse) {
            None if path == "/" => Self::Page,
            Some(Ok(bytes)) if bytes <= FILE_BYTES => Self::File(bytes),
            _ => Self::Nothing,
        }
    }
}

/// Answers the requests of one connection, one after the other.
async fn connection(mut stream: Stream, guide: Guide, picture: Picture) {
    let mut waiting = Vec::new();
    while let Ok(Some((method, path))) = timeout(PATIENCE, next(&mut stream, &mut waiting)).await {
        let started = Instant::now();
        let (there, back) = guide.ways().await;
        let asked = Asked::of(&path);
        let (code, kind, mut len) = match asked {
            Asked::Page => (200, "text/html; charset=utf-8", 0),
            Asked::File(bytes) => (200, "application/octet-stream", bytes),
            Asked::Nothing => (404, "text/plain; charset=utf-8", 0),
        };
        let text = match asked {
            Asked::Page => page(&there, &back),
            Asked::File(_) => String::new(),
            Asked::Nothing => "There is no such page here. Try / or /bytes/10000000.\n".to_owned(),
        };
        len = len.max(text.len());
        let reason = if code == 200 { "OK" } else { "Not Found" };
        let head = format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\nCache-Control: no-store\r\n\r\n"
        );
        let number = picture.begins(&method, &path, &there);
        let written = write(&mut stream, head.as_bytes(), &text, if method == "HEAD" { 0 } else { len }).await;
        picture.ends(number, &back, &Seen { code, bytes: len, took: started.elapsed(), whole: written.is_some() });
        if written.is_none() {
            return;
        }
    }
    let _ = timeout(PATIENCE, stream.shutdown()).await;
}

/// Writes a head, and a body: the text, or zeros in its place.
async fn write(stream: &mut Stream, head: &[u8], text: &str, mut len: usize) -> Option<()> {
    let zeros = [0; 16 << 10];
    timeout(PATIENCE, stream.write_all(head)).await.ok()?.ok()?;
    while len > 0 {
        let part = if text.is_empty() { &zeros[..] } else { text.as_bytes() };
        let part = part.get(..len.min(part.len())).unwrap_or_default();
        timeout(PATIENCE, stream.write_all(part)).await.ok()?.ok()?;
        len -= part.len();
    }
    timeout(PATIENCE, stream.flush()).await.ok()?.ok()
}

/// The next request's method and path; `None` at the end, and for what is none.
async fn next(stream: &mut Stream, waiting: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        if let httparse::Status::Complete(len) = request.parse(waiting).ok()? {
            let (method, path) = (request.method?.to_owned(), request.path?.to_owned());
            waiting.drain(..len);
            // Nothing here takes a body, and what follows one could not be read.
            return matches!(method.as_str(), "GET" | "HEAD").then_some((method, path));
        }
        if waiting.len() >= HEAD_BYTES {
            return None;
        }
        let mut part = [0; 4 << 10];
        let len = stream.read(&mut part).await.ok().filter(|len| *len > 0)?;
        waiting.extend_from_slice(part.get(..len)?);
    }
}

/// The page for a request that came and goes by these ways.
fn page(there: &Way, back: &Way) -> String {
    PAGE.replace("{{site}}", SITE).replace("{{there}}", &items(there)).replace("{{back}}", &items(back))
}

fn items(way: &Way) -> String {
    let mut html = String::new();
    for (class, names) in [("near", &way.near), ("far", &way.far)] {
        for name in names {
            let _ = write!(html, "<li class=\"{class}\">{name}</li>");
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_can_be_asked_for() {
        assert_eq!(Asked::of("/"), Asked::Page);
        assert_eq!(Asked::of("/bytes/0"), Asked::File(0));
        assert_eq!(Asked::of("/bytes/1000000000"), Asked::File(FILE_BYTES));
        for path in ["", "/x", "/bytes/", "/bytes/-1", "/bytes/1000000001", "/bytes/99999999999999999999", "/../etc"] {
            assert_eq!(Asked::of(path), Asked::Nothing, "{path}");
        }
    }

    #[test]
    fn the_page_has_a_place_for_each_router() {
        let way = Way { near: vec!["anise", "dill"], far: vec!["mint"] };
        let html = page(&way, &way);
        assert_eq!(
            html.matches("<li class=\"near\">anise</li><li class=\"near\">dill</li><li class=\"far\">mint</li>")
                .count(),
            2
        );
        assert!(!html.contains("{{"), "every place is filled");
    }
}

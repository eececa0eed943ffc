//! The proxy itself: its door, and one task per connection of a browser.

use super::address::{Address, Site};
use super::doubt::{self, Doubt};
use super::exchange::{Asked, ExchangeError, Failure, exchange};
use super::first_use::{FirstUses, Visit, is_page_visit};
use super::head::{Framing, Request, Response};
use super::helper::{Helpers, read_target};
use super::hygiene;
use super::idle::Idle;
use super::pages::{self, Page};
use super::wire::{HeadError, Side, pass_body, write};
use crate::isolation::Isolation;
use crate::limits::{
    FORM_BYTES, HEAD_TIME, KEEP_ALIVE_TIME, LOCAL_CONNECTIONS, READY_TIME_BROWSER, READY_TIME_PROGRAM, SHOWN_NAMES,
};
use crate::names::{Host, HostName, I2pUrl, Names, Source};
use crate::outlet::{Outlet, Remote, Traffic};
use crate::outproxy::{Outproxy, OutproxyConfig, begins_tls};
use crate::port::Port;
use crate::tunnels::relay;
use ramson::{DestinationOptions, Error, ErrorKind, LocalDestination, Ramson, Target};
use ramson_wire::crypto::hash::sha256_of;
use ramson_wire::data::{base32, base64};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use subtle::ConstantTimeEq;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How the proxy is reached.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    pub listen: SocketAddr,
    /// Asked of every client. Without them the proxy listens on loopback only.
    pub credentials: Option<Credentials>,
    /// Say who names a site before the first visit, where the user did not name it himself. The file remembers the
    /// names that were visited. Without one nothing is asked.
    pub ask_first_use: Option<PathBuf>,
    /// Services that look up names which are known to no list here; the name is put behind each.
    pub jump_services: Vec<I2pUrl>,
    /// The way to the clear net; without one there is none.
    pub outproxy: Option<OutproxyConfig>,
    /// Each site is visited from a destination of its own, so that two sites cannot tell that they have the same visitor.
    pub per_site: Option<PerSite>,
}

impl ProxyConfig {
    /// A proxy for who reaches `listen`, which must be on loopback, and into I2P only.
    pub fn new(listen: SocketAddr) -> Self {
        let jump_services = Vec::new();
        Self { listen, credentials: None, ask_first_use: None, jump_services, outproxy: None, per_site: None }
    }
}

/// What the destinations are made by, and like, from which single sites are visited.
#[derive(Clone, Debug)]
pub struct PerSite {
    pub ramson: Ramson,
    pub options: DestinationOptions,
}

/// A user name and password, for `Proxy-Authorization: Basic`.
#[derive(Clone)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Everybody in reach could use it.
    #[error("the HTTP proxy at {0} is open to others: set a user and password, or listen on loopback")]
    Unprotected(SocketAddr),
    /// It cannot listen there.
    #[error(transparent)]
    Bind(Error),
    /// Its settings cannot be.
    #[error(transparent)]
    Setup(#[from] Error),
}

/// An HTTP proxy that is bound to its address.
#[derive(Debug)]
pub struct HttpProxy {
    port: Port,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outlet: Outlet,
    per_site: Option<Isolation>,
    outproxy: Option<Outproxy>,
    names: Arc<Names>,
    helpers: Helpers,
    first_uses: FirstUses,
    jump_services: Vec<I2pUrl>,
    idle: Idle,
    /// The value of `Proxy-Authorization` that is accepted, behind `Basic `.
    password: Option<Accepted>,
    /// Names whose source was told.
    shown: Mutex<HashSet<HostName>>,
}

/// A secret of the user's, which is not shown.
struct Accepted(String);

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Accepted(..)")
    }
}

impl HttpProxy {
    /// Binds the proxy. It sends everything through `local`.
    pub async fn bind(config: ProxyConfig, local: LocalDestination, names: Arc<Names>) -> Result<Self, ProxyError> {
        if config.credentials.is_none() && !config.listen.ip().is_loopback() {
            return Err(ProxyError::Unprotected(config.listen));
        }
        let port = Port::bind(config.listen, "the HTTP proxy").await.map_err(ProxyError::Bind)?;
        Self::new(config, port, local.into(), names)
    }

    /// A proxy at a port that is bound. It sends everything through `outlet`, but what `per_site` says.
    pub fn new(config: ProxyConfig, port: Port, outlet: Outlet, names: Arc<Names>) -> Result<Self, ProxyError> {
        let at = port.local_addr().map_err(|e| Error::new(ErrorKind::Setup, e.to_string()))?;
        if config.credentials.is_none() && !at.ip().is_loopback() {
            return Err(ProxyError::Unprotected(at));
        }
        let password =
            config.credentials.map(|c| Accepted(standard_base64(format!("{}:{}", c.user, c.password).as_bytes())));
        let first_uses = FirstUses::open(config.ask_first_use);
        let jump_services = config.jump_services;
        let (helpers, idle, shown) = (Helpers::default(), Idle::default(), Mutex::default());
        let isolated = |it: PerSite| Isolation::new(it.ramson, it.options, outlet.traffic().clone());
        let (per_site, outproxy) = (config.per_site.map(isolated), config.outproxy.map(Outproxy::new).transpose()?);
        let shared =
            Shared { outlet, per_site, outproxy, names, helpers, first_uses, jump_services, idle, password, shown };
        Ok(Self { port, shared: Arc::new(shared) })
    }

    /// What passes it.
    pub fn traffic(&self) -> &Traffic {
        self.shared.outlet.traffic()
    }

    /// The address that it listens at.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.port.local_addr()
    }

    /// Serves until the future is dropped; its connections end with it.
    pub async fn run(self) {
        let slots = Arc::new(Semaphore::new(LOCAL_CONNECTIONS));
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            let stream = self.port.accept().await;
            if slots.available_permits() == 0 {
                self.shared.idle.make_room();
            }
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let shared = Arc::clone(&self.shared);
            tasks.spawn(async move {
                shared.serve(stream).await;
                drop(slot);
            });
        }
    }
}

/// A kept connection to a site.
struct Upstream {
    authority: String,
    side: Side<Remote>,
}

/// Whether the client's connection goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Again,
    End,
}

impl Shared {
    async fn serve(&self, stream: TcpStream) {
        let mut client = Side::new(stream);
        let mut upstream = None;
        let mut first = HEAD_TIME;
        loop {
            let Some(head) = self.idle.wait(client.from.head(first, HEAD_TIME)).await else { break };
            let page = match head {
                Ok(Some(head)) => match Request::parse(&head) {
                    Ok(request) => match self.request(&mut client, &mut upstream, request).await {
                        Next::Again => None,
                        Next::End => break,
                    },
                    Err(e) => Some(pages::bad_request(e.0)),
                },
                Ok(None) | Err(HeadError::Io | HeadError::Timeout { began: false }) => break,
                Err(HeadError::TooLarge) => Some(pages::bad_request("its head is too large")),
                Err(HeadError::Timeout { began: true }) => {
                    Some(pages::bad_request("it did not come to its end in time"))
                }
            };
            if let Some(page) = page {
                let _ = write(&mut client.to, &page.to_bytes(false, true)).await;
                break;
            }
            first = KEEP_ALIVE_TIME;
        }
        // The upstream is idle or broken here: an end in order where it is idle.
        if let Some(Upstream { mut side, .. }) = upstream {
            let _ = side.to.shutdown().await;
        }
        let _ = client.to.shutdown().await;
    }

    async fn request(&self, client: &mut Side<TcpStream>, upstream: &mut Option<Upstream>, request: Request) -> Next {
        if !self.is_allowed(&request) {
            let page = Page::new(
                407,
                "Proxy Authentication Required",
                "A password is needed",
                "This proxy asks for a user and a password.",
            )
            .with_header("proxy-authenticate", "Basic realm=\"I2P\"");
            return show(client, &page, &request, false).await;
        }
        if request.method == "CONNECT" {
            return self.connect(client, request).await;
        }
        if request.target.starts_with('/') {
            return show(client, &pages::no_site(), &request, false).await;
        }
        let read = Address::of(&request).and_then(|address| Asked::new(request.clone()).map(|asked| (address, asked)));
        let (address, asked) = match read {
            Ok(read) => read,
            Err(e) => return show(client, &pages::bad_request(e.0), &request, false).await,
        };
        // Only a request without a body leaves the connection at the start of the next.
        let alive = asked.keep_alive && asked.framing == Framing::None;
        match address.site() {
            Site::Own => self.own(client, &address, &asked).await,
            Site::I2p(host) => match self.route(host, address, &asked.request) {
                Ok(route) => self.pass(client, upstream, route, asked).await,
                Err(page) => show(client, &page, &asked.request, alive).await,
            },
            Site::Bad(e) => show(client, &pages::bad_name(&address.host, e), &asked.request, alive).await,
            Site::Local => show(client, &pages::forbidden(&address.host, true), &asked.request, alive).await,
            Site::Clear => match &self.outproxy {
                Some(outproxy) if outproxy.plain => {
                    let route = Route { address, way: Way::Out, source: None, is_first_use: false };
                    self.pass(client, upstream, route, asked).await
                }
                Some(_) => show(client, &pages::only_encrypted(&address.host), &asked.request, alive).await,
                None => show(client, &pages::forbidden(&address.host, false), &asked.request, alive).await,
            },
        }
    }

    fn is_allowed(&self, request: &Request) -> bool {
        let Some(password) = &self.password else { return true };
        let given = request.headers.text("proxy-authorization").and_then(|v| v.split_once(' '));
        given.is_some_and(|(scheme, value)| {
            scheme.eq_ignore_ascii_case("basic") && bool::from(value.trim().as_bytes().ct_eq(password.0.as_bytes()))
        })
    }

    /// Finds out where a request goes; or the page to show instead.
    fn route(&self, host: Host, mut address: Address, request: &Request) -> Result<Route, Box<Page>> {
        let helper = address.take_helper();
        let name = match host {
            Host::B32(hash) => {
                return Ok(Route { address, way: Way::I2p(Target::Hash(hash)), source: None, is_first_use: false });
            }
            Host::Name(name) => name,
        };
        let known = self.names.resolve(&name);
        if let Some(value) = helper {
            let target =
                read_target(&value).ok_or_else(|| pages::bad_request("its address helper holds no destination"))?;
            let same = known.as_ref().is_some_and(|(d, _)| d.hash() == target.hash());
            if !same && !request.is_repeatable() {
                return Err(Box::new(pages::bad_request("an address helper comes with a link, not with a form")));
            }
            if !same {
                return Err(Box::new(self.helpers.ask(name, target, address.url())));
            }
        }
        let Some((destination, source)) = known else {
            let jumps = doubt::jumps(&self.jump_services, &self.names, &name);
            return Err(Box::new(pages::unknown_name(name.as_str()).with_html(&jumps)));
        };
        let hash = destination.hash();
        if !source.is_own() && is_page_visit(request) && !self.first_uses.knows(&name, &hash) {
            let doubt = Doubt::of(&self.names, &name);
            if self.first_uses.asks_always() || doubt.is_warning {
                let feed = self.names.told_by(&name).filter(|_| source == Source::Subscribed);
                let visit = Visit { name, hash, source, feed, doubt, url: address.url() };
                return Err(Box::new(self.first_uses.ask(visit)));
            }
        }
        let is_first_use = is_navigation(request) && self.is_first_use(&name);
        let way = Way::I2p(Target::Destination(destination));
        Ok(Route { address, way, source: Some(source), is_first_use })
    }

    fn is_first_use(&self, name: &HostName) -> bool {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.len() < SHOWN_NAMES && shown.insert(name.clone())
    }

    /// Passes a request to its site.
    async fn pass(
        &self,
        client: &mut Side<TcpStream>,
        upstream: &mut Option<Upstream>,
        route: Route,
        mut asked: Asked,
    ) -> Next {
        let Route { address, way, source, is_first_use } = route;
        let patience = if asked.request.headers.text("accept").is_some_and(|a| a.contains("text/html")) {
            READY_TIME_BROWSER
        } else {
            READY_TIME_PROGRAM
        };
        // An outproxy is a proxy as this one, and reads the whole address.
        asked.request.target = if way == Way::Out { address.url() } else { address.path.clone() };
        hygiene::clean_request(&mut asked.request, &address.authority);
        let alive = asked.keep_alive && asked.framing == Framing::None;
        let may_repeat = asked.request.is_repeatable() && asked.framing == Framing::None;
        let clean = |response: &mut Response| {
            hygiene::clean_response(response, &address.host).map_err(|_| Failure::LocalRedirect)?;
            if let Some(source) = source.filter(|_| is_first_use) {
                response.headers.push("x-i2p-name-source", source.to_string());
            }
            Ok(())
        };
        let mut kept = upstream.take().filter(|u| u.authority == address.authority);
        loop {
            let reused = kept.is_some();
            let mut side = match kept.take() {
                Some(kept) => kept.side,
                None => match self.open(&way, &address, patience).await {
                    Ok(remote) => Side::new(remote),
                    Err(e) => {
                        let mut page = pages::unreachable(&address.host, &e, asked.request.is_repeatable());
                        // Where the site is at fault, the list that named it may be.
                        let ours =
                            [ErrorKind::NotReady, ErrorKind::Overloaded, ErrorKind::ShuttingDown].contains(&e.kind());
                        if let (Some(source), Way::I2p(target)) = (source.filter(|_| !ours), &way) {
                            page = page.with_html(&pages::meaning(&base32::host_name(&target.hash()), source));
                        }
                        return show(client, &page, &asked.request, alive).await;
                    }
                },
            };
            let failure = match exchange(client, &mut side, &asked, clean).await {
                Ok(outcome) => {
                    if outcome.server_alive {
                        *upstream = Some(Upstream { authority: address.authority.clone(), side });
                    } else {
                        let _ = side.to.shutdown().await;
                    }
                    return if outcome.client_alive { Next::Again } else { Next::End };
                }
                // A connection that was idle may have been closed by the site just now.
                Err(ExchangeError::Early(Failure::Closed)) if reused && may_repeat => continue,
                Err(ExchangeError::Early(failure)) => failure,
                Err(ExchangeError::Late | ExchangeError::Client) => return Next::End,
            };
            return show(client, &failed(&address.host, failure), &asked.request, alive).await;
        }
    }

    /// Whence a host is visited.
    fn outlet(&self, host: &str) -> Result<Outlet, Error> {
        let Some(per_site) = &self.per_site else { return Ok(self.outlet.clone()) };
        per_site.outlet(sha256_of(&[site_of_host(host).as_bytes()]))
    }

    /// Opens a stream; waits for our tunnels first, but not for ever.
    async fn open(&self, way: &Way, address: &Address, patience: std::time::Duration) -> Result<Remote, Error> {
        let outlet = self.outlet(&address.host)?;
        match (way, &self.outproxy) {
            (Way::I2p(target), _) => outlet.connect(target.clone(), address.port, patience).await,
            (Way::Out, Some(outproxy)) => outproxy.open(&outlet, &self.names).await,
            (Way::Out, None) => Err(Error::new(ErrorKind::Misuse, "there is no outproxy")),
        }
    }

    /// CONNECT: bytes both ways, to a destination, or by an outproxy.
    async fn connect(&self, client: &mut Side<TcpStream>, request: Request) -> Next {
        let address = match Address::of_connect(&request) {
            Ok(address) => address,
            Err(e) => return show(client, &pages::bad_request(e.0), &request, false).await,
        };
        let page = match address.site() {
            Site::I2p(host) => match self.route(host, address.clone(), &request) {
                Ok(route) => match self.open(&route.way, &address, READY_TIME_PROGRAM).await {
                    Ok(remote) => return self.tunnel(client, Side::new(remote), false).await,
                    Err(e) => pages::unreachable(&address.host, &e, false),
                },
                Err(page) => *page,
            },
            Site::Bad(e) => pages::bad_name(&address.host, e),
            Site::Own | Site::Local => pages::forbidden(&address.host, true),
            Site::Clear => match &self.outproxy {
                Some(outproxy) => {
                    let opened = async {
                        let outlet = self.outlet(&address.host)?;
                        outproxy.connect(&outlet, &self.names, &address.host, address.port).await
                    };
                    match opened.await {
                        Ok(side) => return self.tunnel(client, side, !outproxy.plain).await,
                        Err(e) => pages::unreachable(&address.host, &e, false),
                    }
                }
                None => pages::forbidden(&address.host, false),
            },
        };
        show(client, &page, &request, false).await
    }

    /// Bytes both ways. With `only_tls` they must begin as TLS does.
    async fn tunnel(&self, client: &mut Side<TcpStream>, mut remote: Side<Remote>, only_tls: bool) -> Next {
        if write(&mut client.to, b"HTTP/1.1 200 Connection established\r\n\r\n").await.is_err() {
            return Next::End;
        }
        if only_tls && !timeout(HEAD_TIME, is_tls(client)).await.unwrap_or(false) {
            return Next::End;
        }
        let early = client.from.buffered().to_vec();
        client.from.consume(early.len());
        if write(&mut remote.to, &early).await.is_ok() && write(&mut client.to, remote.from.buffered()).await.is_ok() {
            let _ = relay(client.from.inner(), &mut client.to, remote.from.inner(), &mut remote.to).await;
        }
        Next::End
    }

    /// The proxy's own pages, at `http://proxy.i2p`.
    async fn own(&self, client: &mut Side<TcpStream>, address: &Address, asked: &Asked) -> Next {
        let (path, query) = address.path.split_once('?').unwrap_or((&address.path, ""));
        let alive = asked.keep_alive && asked.framing == Framing::None;
        let page = match (asked.request.method.as_str(), path, asked.framing) {
            ("GET", "/helper", Framing::None) => self.helpers.page(query, &self.names),
            ("GET", "/name", Framing::None) => self.first_uses.page(query),
            ("POST", "/helper" | "/name", Framing::Length(n)) if n <= FORM_BYTES => {
                let mut form = Vec::new();
                if pass_body(&mut client.from, &mut form, asked.framing, false).await.is_err() {
                    return Next::End;
                }
                let form = String::from_utf8_lossy(&form).into_owned();
                let headers = &asked.request.headers;
                let page = match path {
                    "/name" => self.first_uses.answer(headers, &form),
                    _ => match self.outlet.enter().await {
                        Ok(inside) => self.helpers.answer(headers, &form, &self.names, &inside.local).await,
                        Err(e) => pages::unreachable("proxy.i2p", &e, false),
                    },
                };
                return show(client, &page, &asked.request, asked.keep_alive).await;
            }
            ("GET" | "HEAD", "/", Framing::None) => self.home(),
            _ => Page::new(404, "Not Found", "There is no such page", "The proxy has no page at this address."),
        };
        show(client, &page, &asked.request, alive).await
    }

    fn home(&self) -> Page {
        let tunnels = self
            .outlet
            .open_now()
            .map_or_else(|| "built with the first request".to_owned(), |local| local.progress().borrow().to_string());
        let else_where = match &self.outproxy {
            None => "everything else is refused",
            Some(outproxy) if outproxy.plain => "everything else goes by an outproxy, which sees what is not encrypted",
            Some(_) => "everything else goes by an outproxy, if it is encrypted",
        };
        let text = format!(
            "Your browser goes through Ramson. Addresses that end in .i2p work now; {else_where}.\n\
             Your tunnels: {tunnels}.\nYour own names are in {}.",
            self.names.path().display()
        );
        Page::new(200, "OK", "The proxy works", &text)
    }
}

/// Where a request goes.
struct Route {
    address: Address,
    way: Way,
    /// Whose word the name's meaning is, where a name was asked for.
    source: Option<Source>,
    /// The source is to be told with the answer.
    is_first_use: bool,
}

/// By what.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    I2p(Target),
    /// The outproxy.
    Out,
}

/// What belongs together: a name and those under it. Sites under one name know each other as it is.
fn site_of_host(host: &str) -> &str {
    if host.ends_with(".b32.i2p") || !host.ends_with(".i2p") {
        return host;
    }
    let dots = host.rmatch_indices('.').nth(1);
    dots.and_then(|(at, _)| host.get(at + 1..)).unwrap_or(host)
}

/// Whether what a client sends begins as TLS does.
async fn is_tls(client: &mut Side<TcpStream>) -> bool {
    loop {
        match begins_tls(client.from.buffered()) {
            Some(is) => return is,
            None => match client.from.fill().await {
                Ok(n) if n > 0 => {}
                _ => return false,
            },
        }
    }
}

/// Sends a page in answer to a request.
async fn show(client: &mut Side<TcpStream>, page: &Page, request: &Request, keep_alive: bool) -> Next {
    let bytes = page.to_bytes(keep_alive, request.method != "HEAD");
    match write(&mut client.to, &bytes).await {
        Ok(()) if keep_alive => Next::Again,
        _ => Next::End,
    }
}

fn failed(host: &str, failure: Failure) -> Page {
    match failure {
        Failure::Closed => pages::bad_gateway(
            host,
            "The site closed the connection before it answered.\nTry again; if it fails for longer, the site is in trouble.",
        ),
        Failure::Silent => Page::new(
            504,
            "Gateway Timeout",
            format!("{host} took too long"),
            "The site accepted the request, but did not answer in time.\nTry again later.",
        ),
        Failure::BadResponse(e) => pages::bad_gateway(host, &format!("The site's answer cannot be read: {e}.")),
        Failure::LocalRedirect => pages::bad_gateway(
            host,
            "The site tried to send your browser to your own computer or network. The proxy does not pass that on.",
        ),
    }
}

/// Whether a person looks at the answer. Scripts of a site cannot read the headers of a navigation.
fn is_navigation(request: &Request) -> bool {
    request.headers.text("sec-fetch-mode").is_none_or(|mode| mode == "navigate")
}

/// The common base 64, from that of I2P.
fn standard_base64(bytes: &[u8]) -> String {
    base64::encode(bytes).replace('-', "+").replace('~', "/")
}

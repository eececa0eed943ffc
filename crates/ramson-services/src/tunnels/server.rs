//! A server behind a destination of ours, as plain TCP or as HTTP.

use super::access::{Access, AccessConfig, Meter, RatesConfig};
use super::{hold, irc, let_go, relay};
use crate::http::exchange::{Asked, ExchangeError, exchange};
use crate::http::head::{Request, Response};
use crate::http::wire::{HeadError, Side, write};
use crate::limits::{HEAD_TIME, KEEP_ALIVE_TIME, LOCAL_CONNECT_TIME};
use crate::names::Names;
use crate::outlet::{Remote, Traffic};
use crate::site::Site;
use ramson::{Destination, Error, Incoming, Listener, LocalDestination};
use ramson_wire::data::{Hash, base32, base64};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How a server tunnel works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTunnelConfig {
    pub name: String,
    pub kind: ServerKind,
    /// The local server; of no use to a site.
    pub target: SocketAddr,
    /// The port of the destination; `None` takes all.
    pub port: Option<u16>,
    /// Streams of all clients at once.
    pub max_streams: usize,
    /// Streams of one client at once.
    pub max_streams_per_client: usize,
    /// Who may come.
    pub access: AccessConfig,
    /// How often.
    pub rates: RatesConfig,
}

impl ServerTunnelConfig {
    /// A tunnel to `target` for everybody, within the usual limits.
    pub fn new(name: impl Into<String>, kind: ServerKind, target: SocketAddr) -> Self {
        let (access, rates) = (AccessConfig::default(), RatesConfig::default());
        let (max_streams, max_streams_per_client) = (256, 32);
        Self { name: name.into(), kind, target, port: None, max_streams, max_streams_per_client, access, rates }
    }
}

/// What the server speaks.
#[derive(Clone, PartialEq, Eq)]
pub enum ServerKind {
    /// Bytes as they are.
    Tcp,
    /// HTTP: the client's destination is told to the server, and what could pose as such a word is removed.
    Http {
        /// What the server reads as `Host`; without it, the b32 address.
        host: Option<String>,
    },
    /// A folder, which is served here: there is no local server.
    Site(SharedSite),
    /// IRC: the client's destination stands in the place of its host.
    Irc {
        /// The server also believes WEBIRC with this password.
        webirc: Option<String>,
    },
}

impl std::fmt::Debug for ServerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp => f.write_str("Tcp"),
            Self::Http { host } => f.debug_struct("Http").field("host", host).finish(),
            Self::Site(_) => f.write_str("Site"),
            Self::Irc { .. } => f.debug_struct("Irc").finish_non_exhaustive(),
        }
    }
}

/// A site that several tunnels may serve.
#[derive(Clone, Debug)]
pub struct SharedSite(pub Arc<Site>);

impl PartialEq for SharedSite {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedSite {}

/// A server tunnel that listens.
#[derive(Debug)]
pub struct ServerTunnel {
    listener: Listener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: ServerTunnelConfig,
    /// What the server reads as `Host`.
    host: String,
    access: Access,
    meter: Meter,
    traffic: Traffic,
    open: Mutex<HashMap<Hash, usize>>,
}

impl ServerTunnel {
    /// Listens at `local`, which was made with [`ramson::DestinationOptions::server`].
    pub async fn listen(
        config: ServerTunnelConfig,
        local: &LocalDestination,
        names: Arc<Names>,
    ) -> Result<Self, Error> {
        let access = Access::new(config.access.clone(), names)?;
        let listener = local.listen(config.port).await?;
        let host = match &config.kind {
            ServerKind::Http { host: Some(host) } => host.clone(),
            _ => local.b32(),
        };
        let (meter, traffic) = (Meter::new(config.rates), Traffic::default());
        Ok(Self { listener, shared: Arc::new(Shared { config, host, access, meter, traffic, open: Mutex::default() }) })
    }

    /// What passes it.
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// Serves until the router stops or the future is dropped; its connections end with it.
    pub async fn run(mut self) {
        let mut tasks = JoinSet::new();
        while let Ok(incoming) = self.listener.accept().await {
            while tasks.try_join_next().is_some() {}
            let hash = incoming.from.hash();
            // Dropping the stream resets it.
            if !self.shared.access.admits(&hash) || !self.shared.meter.admits(hash) {
                tracing::debug!("server tunnel {}: a client is not let in", self.shared.config.name);
                continue;
            }
            let Some(slot) = Slot::take(&self.shared, hash) else {
                // Dropping the stream resets it.
                tracing::debug!("server tunnel {}: too many streams", self.shared.config.name);
                continue;
            };
            tasks.spawn(async move {
                slot.shared.serve(incoming).await;
                drop(slot);
            });
        }
    }
}

/// A place among the streams of a client.
struct Slot {
    shared: Arc<Shared>,
    client: Hash,
}

impl Slot {
    fn take(shared: &Arc<Shared>, client: Hash) -> Option<Self> {
        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (open.values().sum::<usize>(), open.get(&client).copied().unwrap_or(0));
        if all >= shared.config.max_streams || own >= shared.config.max_streams_per_client {
            return None;
        }
        open.insert(client, own + 1);
        Some(Self { shared: Arc::clone(shared), client })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = open.get_mut(&self.client) {
            *n -= 1;
            if *n == 0 {
                open.remove(&self.client);
            }
        }
    }
}

impl Shared {
    async fn serve(&self, incoming: Incoming) {
        let Incoming { stream, from, .. } = incoming;
        let stream = Remote::incoming(stream, &self.traffic);
        match &self.config.kind {
            ServerKind::Tcp => self.serve_bytes(stream).await,
            ServerKind::Http { .. } => self.serve_http(stream, &from).await,
            ServerKind::Site(site) => site.0.serve(stream).await,
            ServerKind::Irc { webirc } => self.serve_irc(stream, &from, webirc.as_deref()).await,
        }
    }

    async fn dial(&self) -> Option<TcpStream> {
        let stream = match timeout(LOCAL_CONNECT_TIME, TcpStream::connect(self.config.target)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => {
                tracing::warn!("server tunnel {}: the local server cannot be reached: {e}", self.config.name);
                return None;
            }
            Err(_) => {
                tracing::warn!("server tunnel {}: the local server does not answer", self.config.name);
                return None;
            }
        };
        let _ = stream.set_nodelay(true);
        Some(stream)
    }

    async fn serve_bytes(&self, stream: Remote) {
        let Some(mut server) = self.dial().await else { return };
        hold(&server);
        let (mut from, mut to) = tokio::io::split(stream);
        let (mut server_from, mut server_to) = server.split();
        if relay(&mut from, &mut to, &mut server_from, &mut server_to).await.is_ok() {
            let_go(&server);
        }
    }

    async fn serve_irc(&self, mut stream: Remote, from: &Destination, webirc: Option<&str>) {
        let Some(mut server) = self.dial().await else {
            let _ = stream.write_all(irc::DOWN).await;
            let _ = stream.shutdown().await;
            return;
        };
        let host = base32::host_name(&from.hash());
        let webirc = webirc.zip(server.local_addr().ok().map(|at| at.ip()));
        hold(&server);
        if irc::pass_registered(stream, &mut server, &host, webirc).await.is_ok() {
            let_go(&server);
        }
    }

    async fn serve_http(&self, stream: Remote, from: &Destination) {
        let mut client = Side::new(stream);
        let mut server: Option<Side<TcpStream>> = None;
        let mut first = HEAD_TIME;
        loop {
            let head = match client.from.head(first, HEAD_TIME).await {
                Ok(Some(head)) => head,
                Ok(None) | Err(HeadError::Timeout { began: false } | HeadError::Io) => break,
                Err(HeadError::TooLarge | HeadError::Timeout { began: true }) => {
                    say(&mut client, "400 Bad Request").await;
                    break;
                }
            };
            let Ok(mut asked) = Request::parse(&head).and_then(Asked::new) else {
                say(&mut client, "400 Bad Request").await;
                break;
            };
            if asked.request.method == "CONNECT" || asked.request.headers.single("host").is_err() {
                say(&mut client, "400 Bad Request").await;
                break;
            }
            mark(&mut asked.request, from, &self.host);
            let reused = server.is_some();
            let mut side = match server.take() {
                Some(side) => side,
                None => match self.dial().await {
                    Some(stream) => Side::new(stream),
                    None => {
                        say(&mut client, "503 Service Unavailable").await;
                        break;
                    }
                },
            };
            let mut result = exchange(&mut client, &mut side, &asked, clean).await;
            let may_repeat =
                reused && asked.request.is_repeatable() && asked.framing == crate::http::head::Framing::None;
            if may_repeat && matches!(result, Err(ExchangeError::Early(crate::http::exchange::Failure::Closed))) {
                // The server closed the idle connection just now.
                let Some(stream) = self.dial().await else { break };
                side = Side::new(stream);
                result = exchange(&mut client, &mut side, &asked, clean).await;
            }
            match result {
                Ok(outcome) => {
                    server = outcome.server_alive.then_some(side);
                    if !outcome.client_alive {
                        break;
                    }
                }
                Err(ExchangeError::Early(_)) => {
                    say(&mut client, "502 Bad Gateway").await;
                    break;
                }
                // Dropped without an end in order: the client must see that the answer is not whole.
                Err(ExchangeError::Late | ExchangeError::Client) => return,
            }
            first = KEEP_ALIVE_TIME;
        }
        let _ = client.to.shutdown().await;
    }
}

/// Tells the server who asks, and removes what could pose as that or as another proxy's word.
fn mark(request: &mut Request, from: &Destination, host: &str) {
    let headers = &mut request.headers;
    headers.strip_hop_by_hop();
    headers.retain(|name, _| {
        let posing = [
            "x-i2p-",
            "x-forwarded",
            "x-real-",
            "x-original-",
            "x-client-ip",
            "x-cluster-",
            "x-remote-",
            "true-client-ip",
            "cf-",
        ];
        !matches!(name, "forwarded" | "via" | "host" | "client-ip" | "x-host" | "x-http-host-override")
            && !posing.iter().any(|p| name.starts_with(p))
            // Servers that turn hyphens into underscores would take `X_Forwarded_For` for the other.
            && !name.contains('_')
    });
    headers.0.insert(0, ("host".to_owned(), host.as_bytes().to_vec()));
    headers.push("x-i2p-desthash", base64::encode(from.hash().as_bytes()));
    headers.push("x-i2p-destb64", from.to_base64());
    headers.push("x-i2p-destb32", base32::host_name(&from.hash()));
    headers.push("connection", "keep-alive");
    // A client that sends an absolute address, as to a proxy, would choose the host by it.
    if let Some(rest) = request.target.split_once("://").map(|(_, rest)| rest) {
        request.target = rest.find('/').and_then(|i| rest.get(i..)).unwrap_or("/").to_owned();
    }
}

/// Removes what tells of the server's software and clock.
fn clean(response: &mut Response) -> Result<(), crate::http::exchange::Failure> {
    response.headers.strip_hop_by_hop();
    response.headers.retain(|name, _| {
        !matches!(
            name,
            "server" | "date" | "via" | "x-powered-by" | "x-aspnet-version" | "x-runtime" | "x-generator" | "alt-svc"
        )
    });
    Ok(())
}

async fn say(client: &mut Side<Remote>, status: &str) {
    let text = status.split_once(' ').map_or(status, |(_, text)| text);
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    let _ = write(&mut client.to, response.as_bytes()).await;
}

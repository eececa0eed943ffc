//! Which services the settings want, each as a value that can be compared with what runs.

use crate::folder::Folder;
use crate::settings::{Client, ClientKind, HttpProxy, Kind, Server, Settings, Socks};
use ramson::DestinationOptions;
use ramson_services::http::{Credentials, PerSite, ProxyConfig};
use ramson_services::names::I2pUrl;
use ramson_services::socks::SocksConfig;
use ramson_services::tunnels::{
    AccessConfig, ClientKind as Speaks, ClientTunnelConfig, ServerKind, ServerTunnelConfig, SharedSite,
    StreamrClientConfig, StreamrServerConfig, UdpClientConfig, UdpServerConfig,
};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A destination that is not asked for all the time closes after so long without a use.
const IDLE: Duration = Duration::from_secs(20 * 60);

/// One proxy or tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) what: What,
    pub(super) home: Home,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Http(HttpProxy),
    Socks(Socks),
    Client(Client),
    Server(Server),
    /// The proxy of a bidirectional server.
    Proxy {
        name: String,
        listen: SocketAddr,
    },
}

/// A destination of ours, and how it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// What tells it from others.
    pub(super) id: String,
    pub(super) options: DestinationOptions,
    pub(super) keys: Option<PathBuf>,
    /// Opened by the first connection, and closed after this time without one.
    pub(super) on_demand: Option<Option<Duration>>,
}

impl Plan {
    /// All that the settings want.
    pub(super) fn all(folder: &Folder, settings: &Settings) -> Vec<Self> {
        let mut plans = Vec::new();
        let http = &settings.http_proxy;
        if http.enabled {
            let home = Home::open("http proxy", http.shape().apply(DestinationOptions::client("http proxy")));
            plans.push(Self { what: What::Http(http.clone()), home });
        }
        if settings.socks.is_on() {
            let options = settings.socks.shape().apply(DestinationOptions::client("socks proxy"));
            let home = Home { on_demand: Some(Some(IDLE)), ..Home::open("socks proxy", options) };
            plans.push(Self { what: What::Socks(settings.socks.clone()), home });
        }
        plans.extend(settings.client.iter().map(|client| Self::client(folder, settings, client)));
        for server in &settings.server {
            let keys = folder.path().join(&server.keys);
            // The first of those that share it names it.
            let first = settings.server.iter().find(|other| other.keys == server.keys).unwrap_or(server);
            let options = server.shape().apply(DestinationOptions::server(first.name.0.clone()));
            let home = Home { keys: Some(keys.clone()), ..Home::open(&id_of_keys(&keys), options) };
            if let (Kind::HttpBidirectional, Some(listen)) = (server.kind, server.listen) {
                let what = What::Proxy { name: server.name.0.clone(), listen: listen.0 };
                plans.push(Self { what, home: home.clone() });
            }
            plans.push(Self { what: What::Server(server.clone()), home });
        }
        plans
    }

    fn client(folder: &Folder, settings: &Settings, client: &Client) -> Self {
        let home = if client.shared {
            let options = settings.shared.shape().apply(DestinationOptions::client("shared"));
            Home { on_demand: Some(Some(IDLE)), ..Home::open("shared", options) }
        } else {
            let name = &client.name.0;
            let options = client.shape().apply(DestinationOptions::client(name.clone()));
            let keys = client.keys.as_ref().map(|keys| folder.path().join(keys));
            let id = keys.as_ref().map_or_else(|| format!("client {name}"), |keys| id_of_keys(keys));
            let on_demand = client.is_delayed().then(|| client.close_after());
            Home { keys, on_demand, ..Home::open(&id, options) }
        };
        Self { what: What::Client(client.clone()), home }
    }

    /// What it is called, among all.
    pub(super) fn id(&self) -> String {
        match &self.what {
            What::Http(_) => "HTTP proxy".into(),
            What::Socks(_) => "SOCKS proxy".into(),
            What::Client(client) => format!("client {}", client.name.0),
            What::Server(server) => format!("server {}", server.name.0),
            What::Proxy { name, .. } => format!("proxy of server {name}"),
        }
    }

    pub(super) fn name(&self) -> String {
        match &self.what {
            What::Http(_) => "http".into(),
            What::Socks(_) => "socks".into(),
            What::Client(client) => client.name.0.clone(),
            What::Server(server) => server.name.0.clone(),
            What::Proxy { name, .. } => name.clone(),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match &self.what {
            What::Http(_) => "http-proxy",
            What::Socks(_) => "socks-proxy",
            What::Client(client) => match client.kind {
                ClientKind::Tcp => "tcp-client",
                ClientKind::Irc => "irc-client",
                ClientKind::Streamr => "streamr-client",
                ClientKind::Udp => "udp-client",
            },
            What::Server(server) => match server.kind {
                Kind::Http => "http-server",
                Kind::HttpBidirectional => "http-bidirectional",
                Kind::Irc => "irc-server",
                Kind::Site => "site",
                Kind::Tcp => "tcp-server",
                Kind::Streamr => "streamr-server",
                Kind::Udp => "udp-server",
            },
            What::Proxy { .. } => "http-bidirectional-proxy",
        }
    }

    /// The local port that it needs.
    pub(super) fn listens(&self) -> Option<Listens> {
        match &self.what {
            What::Http(http) => Some(Listens::Tcp(http.listen.0)),
            What::Socks(socks) => Some(Listens::Tcp(socks.listen.0)),
            What::Client(client) => match client.kind {
                ClientKind::Streamr => None,
                ClientKind::Udp => Some(Listens::Udp(client.at())),
                ClientKind::Irc | ClientKind::Tcp => Some(Listens::Tcp(client.at())),
            },
            What::Server(server) => (server.kind == Kind::Streamr).then(|| Listens::Udp(server.at())),
            What::Proxy { listen, .. } => Some(Listens::Tcp(*listen)),
        }
    }

    /// The local address that people know it by.
    pub(super) fn address(&self) -> SocketAddr {
        match (&self.what, self.listens()) {
            (What::Server(server), _) => server.at(),
            (What::Client(client), _) => client.at(),
            (_, Some(Listens::Tcp(at) | Listens::Udp(at))) => at,
            (_, None) => SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }

    /// Whether the router must not run without it.
    pub(super) fn is_asked_for(&self) -> bool {
        match &self.what {
            What::Socks(socks) => socks.is_asked_for(),
            _ => true,
        }
    }
}

/// A local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Listens {
    Tcp(SocketAddr),
    Udp(SocketAddr),
}

fn id_of_keys(keys: &std::path::Path) -> String {
    format!("keys {}", keys.display())
}

impl Home {
    fn open(id: &str, options: DestinationOptions) -> Self {
        Self { id: id.to_owned(), options, keys: None, on_demand: None }
    }
}

// ---- what each service is told ----

/// What the HTTP proxies say of names.
#[derive(Clone, Debug, Default)]
pub(super) struct Asks {
    pub(super) ask_first_use: Option<PathBuf>,
    pub(super) jump_services: Vec<I2pUrl>,
}

pub(super) fn http(http: &HttpProxy, asks: Asks, home: &Home, ramson: &ramson::Ramson) -> ProxyConfig {
    let credentials =
        http.user.clone().zip(http.password.clone()).map(|(user, password)| Credentials { user, password: password.0 });
    let options = DestinationOptions { name: "http proxy, one site".into(), ..home.options.clone() };
    let per_site = http.per_site.then(|| PerSite { ramson: ramson.clone(), options });
    let Asks { ask_first_use, jump_services } = asks;
    let outproxy = http.outproxy();
    ProxyConfig { credentials, ask_first_use, jump_services, outproxy, per_site, ..ProxyConfig::new(http.listen.0) }
}

pub(super) fn socks(socks: &Socks, home: &Home) -> SocksConfig {
    let isolated = DestinationOptions { name: "socks proxy, one user".into(), ..home.options.clone() };
    SocksConfig { isolated, outproxy: socks.outproxy() }
}

pub(super) fn client(client: &Client) -> ClientTunnelConfig {
    ClientTunnelConfig {
        name: client.name.0.clone(),
        kind: if client.kind == ClientKind::Irc { Speaks::Irc } else { Speaks::Tcp },
        to: client.to.0.iter().map(|to| to.0.clone()).collect(),
        order: client.order.0,
        port: client.port,
        max_connections: client.max_connections,
    }
}

pub(super) fn udp_client(client: &Client) -> Option<UdpClientConfig> {
    Some(UdpClientConfig {
        name: client.name.0.clone(),
        listen: client.at(),
        to: client.to.0.first()?.0.clone(),
        port: client.port,
        format: client.datagram.map(|version| version.0).unwrap_or_default(),
    })
}

pub(super) fn streamr_client(client: &Client) -> Option<StreamrClientConfig> {
    Some(StreamrClientConfig {
        name: client.name.0.clone(),
        target: client.at(),
        to: client.to.0.first()?.0.clone(),
        port: client.port,
        format: client.datagram.map(|version| version.0).unwrap_or_default(),
    })
}

fn access(server: &Server) -> AccessConfig {
    let list = |list: &[crate::settings::Listed]| list.iter().map(|listed| listed.0.clone()).collect();
    AccessConfig { allow: list(&server.allow), deny: list(&server.deny) }
}

pub(super) fn server(server: &Server, site: Option<SharedSite>) -> ServerTunnelConfig {
    let kind = match (server.kind, site) {
        (_, Some(site)) => ServerKind::Site(site),
        (Kind::Tcp | Kind::Udp | Kind::Streamr | Kind::Site, _) => ServerKind::Tcp,
        (Kind::Http | Kind::HttpBidirectional, _) => ServerKind::Http { host: server.host.clone() },
        (Kind::Irc, _) => ServerKind::Irc { webirc: server.webirc_password.clone().map(|password| password.0.0) },
    };
    ServerTunnelConfig {
        name: server.name.0.clone(),
        kind,
        target: server.at(),
        port: server.port,
        max_streams: server.max_streams,
        max_streams_per_client: server.max_streams_per_client,
        access: access(server),
        rates: server.rates(),
    }
}

pub(super) fn udp_server(server: &Server) -> UdpServerConfig {
    UdpServerConfig { name: server.name.0.clone(), target: server.at(), port: server.port, access: access(server) }
}

pub(super) fn streamr_server(server: &Server) -> StreamrServerConfig {
    StreamrServerConfig {
        name: server.name.0.clone(),
        listen: server.at(),
        port: server.port,
        max_subscribers: server.max_subscribers(),
        access: access(server),
    }
}

//! The proxies and tunnels of a running router. A new config changes those that differ, and no others; one that cannot
//! be leaves all as it was.

use super::plan::{self, Asks, Home, Listens, Plan, What};
use super::read;
use crate::asks::{Ask, Changes, TunnelReport};
use crate::folder::Folder;
use crate::hosted;
use crate::settings::{ClientKind, Kind, Server, Settings};
use ramson::{LocalDestination, PrivateKeys, Ramson};
use ramson_services::http::HttpProxy;
use ramson_services::names::Names;
use ramson_services::site::Site;
use ramson_services::socks::Socks;
use ramson_services::tunnels::{
    ClientTunnel, ServerTunnel, SharedSite, StreamrClient, StreamrServer, UdpClient, UdpServer, load_keys,
    load_or_create_keys,
};
use ramson_services::{Outlet, Port, Traffic};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// What all services are made with.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) folder: Folder,
    /// The config file.
    pub(super) config: PathBuf,
    pub(super) ramson: Ramson,
    pub(super) names: Arc<Names>,
    /// Files outside of the data folder cannot be opened.
    pub(super) is_confined: bool,
    /// A server that no config file has.
    pub(super) hosted: Option<Server>,
    /// What it says is for programs.
    pub(super) json: bool,
}

/// All that run.
#[derive(Debug)]
pub(super) struct Services {
    base: Base,
    settings: Settings,
    /// Tunnels that were started or stopped since the config was read, against what it says.
    switched: BTreeMap<String, bool>,
    running: BTreeMap<String, Running>,
    homes: BTreeMap<String, (Home, Outlet)>,
}

/// One that runs.
#[derive(Debug)]
struct Running {
    plan: Plan,
    socket: Option<Socket>,
    outlet: Outlet,
    traffic: Traffic,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A local port, which is handed on when what stands behind it changes.
#[derive(Clone, Debug)]
enum Socket {
    Tcp(Port),
    Udp(Arc<UdpSocket>),
}

/// What a new config needs, all there before anything that runs is touched.
#[derive(Default)]
struct Prepared {
    sockets: BTreeMap<String, Socket>,
    homes: BTreeMap<String, (Home, Outlet)>,
    /// Homes whose keys are in use by what they replace.
    late: Vec<(Home, PrivateKeys)>,
    /// Services that are left out.
    without: Vec<(String, String)>,
}

impl Services {
    /// None yet. `keys` are those that were read before.
    pub(super) fn new(base: Base, settings: Settings) -> Self {
        Self { base, settings, switched: BTreeMap::new(), running: BTreeMap::new(), homes: BTreeMap::new() }
    }

    /// Starts what the settings want at the start of the router.
    pub(super) async fn start(&mut self, keys: BTreeMap<PathBuf, PrivateKeys>) -> Result<(), String> {
        let settings = self.settings.clone();
        let changes = self.apply(&settings, keys).await?;
        match changes.problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    /// Answers until the last asker has gone.
    pub(super) async fn run(mut self, mut asks: UnboundedReceiver<Ask>) {
        while let Some(ask) = asks.recv().await {
            match ask {
                Ask::Reload { file, reply } => {
                    let done = self.reload(file.as_deref()).await;
                    tell(&done);
                    let _ = reply.send(done);
                }
                Ask::Run { name, on, reply } => drop(reply.send(self.switch(name, on).await)),
                Ask::List { reply } => drop(reply.send(self.list())),
                Ask::Local { reply } => drop(reply.send(self.local())),
            }
        }
    }

    async fn reload(&mut self, file: Option<&Path>) -> Result<Changes, String> {
        let path = file.unwrap_or(&self.base.config);
        // People know the file by its own name, not by that of a copy.
        let shown = self.base.config.display();
        let text = read(path).map_err(|why| self.cannot_read(path, &why))?;
        let mut new = Settings::parse(&text).map_err(|why| format!("{shown}: {why}"))?;
        new.server.extend(self.base.hosted.clone());
        let switched = std::mem::take(&mut self.switched);
        let mut changes = match self.apply(&new, BTreeMap::new()).await {
            Ok(changes) => changes,
            Err(why) => {
                self.switched = switched;
                return Err(why);
            }
        };
        changes.after_a_restart = self.settings.need_a_restart(&new).into_iter().map(str::to_owned).collect();
        self.settings.take_services(new);
        Ok(changes)
    }

    /// Starts or stops a tunnel, until the config is read again.
    async fn switch(&mut self, name: String, on: bool) -> Result<(), String> {
        let settings = self.settings.clone();
        let mut names = settings.client.iter().map(|c| &c.name.0).chain(settings.server.iter().map(|s| &s.name.0));
        if !names.any(|known| *known == name) {
            return Err(format!("there is no tunnel {name}"));
        }
        let before = self.switched.insert(name.clone(), on);
        let problem = match self.apply(&settings, BTreeMap::new()).await {
            Ok(changes) => match changes.problems.into_iter().next() {
                None => return Ok(()),
                Some(problem) => problem,
            },
            Err(why) => why,
        };
        match before {
            Some(before) => drop(self.switched.insert(name, before)),
            None => drop(self.switched.remove(&name)),
        }
        Err(problem)
    }

    /// The settings without the tunnels that are off.
    fn without_those_off(&self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        let is_on = |name: &str, enabled| self.switched.get(name).copied().unwrap_or(enabled);
        settings.client.retain(|client| is_on(&client.name.0, client.enabled));
        settings.server.retain(|server| is_on(&server.name.0, server.enabled));
        settings
    }

    fn cannot_read(&self, path: &Path, why: &std::io::Error) -> String {
        let shown = path.display();
        if self.base.is_confined && why.kind() == std::io::ErrorKind::PermissionDenied {
            return format!(
                "{shown}: {why}. The router is confined to its own files; `ramson reload` hands it this one"
            );
        }
        format!("{shown}: {why}")
    }

    /// Makes what runs what `settings` want.
    async fn apply(&mut self, settings: &Settings, keys: BTreeMap<PathBuf, PrivateKeys>) -> Result<Changes, String> {
        let plans = Plan::all(&self.base.folder, &self.without_those_off(settings));
        let differs = |plan: &&Plan| self.running.get(&plan.id()).is_none_or(|running| running.plan != **plan);
        let wanted: Vec<Plan> = plans.iter().filter(differs).cloned().collect();
        let gone: Vec<String> =
            self.running.keys().filter(|id| !plans.iter().any(|plan| plan.id() == **id)).cloned().collect();
        let prepared = self.prepare(&wanted, &gone, keys).await?;
        // From here on nothing is turned back.
        let mut changes = Changes::default();
        let asks = Asks {
            ask_first_use: settings.names.ask_first_use.then(|| self.base.folder.used_names()),
            jump_services: settings.names.jump_services(settings.is_public()),
        };
        for id in gone {
            self.stop(&id).await;
            changes.stopped.push(id);
        }
        let mut before = Vec::new();
        for plan in &wanted {
            before.push(self.stop(&plan.id()).await);
        }
        self.move_in(&plans, prepared.homes, prepared.late, &mut changes).await;
        for (plan, was_there) in wanted.into_iter().zip(before) {
            let id = plan.id();
            if let Some((_, why)) = prepared.without.iter().find(|(other, _)| *other == id) {
                warn!("{id}: {why}");
                continue;
            }
            let socket = prepared.sockets.get(&id).cloned();
            match self.serve(&plan, socket, asks.clone()).await {
                Ok(running) => {
                    running.announce();
                    self.running.insert(id.clone(), running);
                    if was_there { changes.changed.push(id) } else { changes.started.push(id) }
                }
                Err(why) => changes.problems.push(format!("{id}: {why}")),
            }
        }
        Ok(changes)
    }

    /// Binds, reads and opens all that is new. An error leaves nothing behind but keys that were made.
    async fn prepare(
        &self,
        wanted: &[Plan],
        gone: &[String],
        mut keys: BTreeMap<PathBuf, PrivateKeys>,
    ) -> Result<Prepared, String> {
        let mut prepared = Prepared::default();
        let leaves = |id: &String| gone.contains(id) || wanted.iter().any(|plan| plan.id() == *id);
        let mut free: BTreeMap<Listens, Socket> = BTreeMap::new();
        for (_, running) in self.running.iter().filter(|(id, _)| leaves(id)) {
            if let (Some(at), Some(socket)) = (running.plan.listens(), &running.socket) {
                free.insert(at, socket.clone());
            }
        }
        for plan in wanted {
            let id = plan.id();
            if let What::Server(server) = &plan.what {
                self.site(server).map_err(|why| format!("{id}: {why}"))?;
            }
            match self.socket(plan, &mut free).await {
                Ok(Some(socket)) => drop(prepared.sockets.insert(id, socket)),
                Ok(None) => {}
                Err(why) if plan.is_asked_for() => return Err(why),
                Err(why) => prepared.without.push((id, why)),
            }
            let home = &plan.home;
            let old = self.homes.get(&home.id);
            if prepared.homes.contains_key(&home.id) || old.is_some_and(|(old, _)| old == home) {
                continue;
            }
            let own = match &home.keys {
                None => None,
                Some(path) => Some(match keys.remove(path) {
                    Some(keys) => keys,
                    None => self.read_keys(path)?,
                }),
            };
            match own {
                Some(keys) if old.is_some() => {
                    if !prepared.late.iter().any(|(late, _)| late.id == home.id) {
                        prepared.late.push((home.clone(), keys));
                    }
                }
                own => {
                    let outlet = self.open(home, own).await?;
                    prepared.homes.insert(home.id.clone(), (home.clone(), outlet));
                }
            }
        }
        Ok(prepared)
    }

    async fn socket(&self, plan: &Plan, free: &mut BTreeMap<Listens, Socket>) -> Result<Option<Socket>, String> {
        let Some(at) = plan.listens() else { return Ok(None) };
        if let Some(socket) = free.remove(&at) {
            return Ok(Some(socket));
        }
        let id = plan.id();
        Ok(Some(match at {
            Listens::Tcp(at) => Socket::Tcp(Port::bind(at, &id).await.map_err(|why| why.to_string())?),
            Listens::Udp(at) => {
                let cannot = |why| format!("{id} cannot listen at UDP {at}: {why}");
                Socket::Udp(Arc::new(UdpSocket::bind(at).await.map_err(cannot)?))
            }
        }))
    }

    fn read_keys(&self, path: &Path) -> Result<PrivateKeys, String> {
        let outside = self.base.is_confined && !path.starts_with(self.base.folder.path());
        load_or_create_keys(path).map_err(|why| match outside {
            true => format!(
                "{why}. They are outside of the data folder, and the router is confined to its own files: restart it"
            ),
            false => why.to_string(),
        })
    }

    async fn open(&self, home: &Home, keys: Option<PrivateKeys>) -> Result<Outlet, String> {
        let ramson = self.base.ramson.clone();
        match home.on_demand {
            Some(idle) => Ok(Outlet::on_demand(ramson, home.options.clone(), keys, idle)),
            None => {
                let local = ramson.destination(home.options.clone(), keys).await;
                local.map(Outlet::from).map_err(|why| format!("{}: {why}", home.options.name))
            }
        }
    }

    /// Ends a service, if it runs.
    async fn stop(&mut self, id: &str) -> bool {
        let Some(mut running) = self.running.remove(id) else { return false };
        running.task.abort();
        // What it holds is free when it has ended.
        let _ = (&mut running.task).await;
        true
    }

    /// Takes the new destinations in the place of the old ones, and closes those that nobody needs.
    async fn move_in(
        &mut self,
        plans: &[Plan],
        new: BTreeMap<String, (Home, Outlet)>,
        late: Vec<(Home, PrivateKeys)>,
        changes: &mut Changes,
    ) {
        self.homes.retain(|id, _| plans.iter().any(|plan| plan.home.id == *id));
        self.homes.extend(new);
        for (home, keys) in late {
            if let Some((_, old)) = self.homes.remove(&home.id)
                && let Some(local) = old.open_now()
            {
                local.close();
            }
            match self.open(&home, Some(keys)).await {
                Ok(outlet) => drop(self.homes.insert(home.id.clone(), (home, outlet))),
                Err(why) => changes.problems.push(why),
            }
        }
    }

    async fn serve(&self, plan: &Plan, socket: Option<Socket>, asks: Asks) -> Result<Running, String> {
        let (_, home) = self.homes.get(&plan.home.id).ok_or("its destination could not be opened")?;
        let outlet = home.counted_by(Traffic::default());
        let names = Arc::clone(&self.base.names);
        let ramson = &self.base.ramson;
        let (task, traffic) = match (&plan.what, &socket) {
            (What::Http(http), Some(Socket::Tcp(port))) => {
                let config = plan::http(http, asks, &plan.home, ramson);
                let proxy = HttpProxy::new(config, port.clone(), outlet.clone(), names).map_err(|e| e.to_string())?;
                let traffic = proxy.traffic().clone();
                (tokio::spawn(proxy.run()), traffic)
            }
            (What::Proxy { listen, .. }, Some(Socket::Tcp(port))) => {
                let Asks { ask_first_use, jump_services } = asks;
                let config = ramson_services::http::ProxyConfig {
                    ask_first_use,
                    jump_services,
                    ..ramson_services::http::ProxyConfig::new(*listen)
                };
                let proxy = HttpProxy::new(config, port.clone(), outlet.clone(), names).map_err(|e| e.to_string())?;
                let traffic = proxy.traffic().clone();
                (tokio::spawn(proxy.run()), traffic)
            }
            (What::Socks(socks), Some(Socket::Tcp(port))) => {
                let config = plan::socks(socks, &plan.home);
                let made = Socks::new(config, port.clone(), outlet.clone(), ramson.clone(), names);
                let proxy = made.map_err(|e| e.to_string())?;
                let traffic = proxy.traffic().clone();
                (tokio::spawn(proxy.run()), traffic)
            }
            (What::Client(client), Some(Socket::Udp(socket))) if client.kind == ClientKind::Udp => {
                let config = plan::udp_client(client).ok_or("it has no destination")?;
                let made = UdpClient::new(config, Arc::clone(socket), outlet.clone(), names);
                let tunnel = made.map_err(|e| e.to_string())?;
                let traffic = tunnel.traffic().clone();
                (tokio::spawn(tunnel.run()), traffic)
            }
            (What::Client(client), None) if client.kind == ClientKind::Streamr => {
                let config = plan::streamr_client(client).ok_or("it has no destination")?;
                let tunnel = StreamrClient::new(config, outlet.clone(), names);
                let traffic = tunnel.traffic().clone();
                (tokio::spawn(tunnel.run()), traffic)
            }
            (What::Client(client), Some(Socket::Tcp(port))) => {
                let made = ClientTunnel::new(plan::client(client), port.clone(), outlet.clone(), names);
                let tunnel = made.map_err(|e| e.to_string())?;
                let traffic = tunnel.traffic().clone();
                (tokio::spawn(tunnel.run()), traffic)
            }
            (What::Server(server), _) => {
                let local = outlet.open_now().ok_or("its destination is closed")?;
                if server.announced {
                    tokio::spawn(hosted::announce(local.clone(), self.base.json));
                }
                if let Some(Socket::Udp(source)) = &socket {
                    let config = plan::streamr_server(server);
                    let made = StreamrServer::listen(config, Arc::clone(source), &local, names).await;
                    let tunnel = made.map_err(|e| e.to_string())?;
                    let traffic = tunnel.traffic().clone();
                    (tokio::spawn(tunnel.run()), traffic)
                } else if server.kind == Kind::Udp {
                    let made = UdpServer::listen(plan::udp_server(server), &local, names).await;
                    let tunnel = made.map_err(|e| e.to_string())?;
                    let traffic = tunnel.traffic().clone();
                    (tokio::spawn(tunnel.run()), traffic)
                } else {
                    let site = self.site(server)?;
                    let made = ServerTunnel::listen(plan::server(server, site), &local, names).await;
                    let tunnel = made.map_err(|e| e.to_string())?;
                    let traffic = tunnel.traffic().clone();
                    (tokio::spawn(tunnel.run()), traffic)
                }
            }
            _ => return Err("it has no port".into()),
        };
        Ok(Running { plan: plan.clone(), socket, outlet, traffic, task })
    }

    /// The folder of a server that is one.
    fn site(&self, server: &Server) -> Result<Option<SharedSite>, String> {
        let folder = &self.base.folder;
        let Some(site) = server.site(folder.path()) else { return Ok(None) };
        let own = folder.path().join(&server.keys);
        let keys = self.homes.values().filter_map(|(home, _)| home.keys.as_ref());
        hosted::holds_no_keys(folder, &site, keys.chain([&own])).map_err(|e| e.text)?;
        // Where they are out of reach for a confined process, ETags are others after each start.
        let keys = load_keys(&own).ok().flatten();
        let outside = self.base.is_confined && !site.starts_with(folder.path());
        match Site::open(&site, keys.as_ref(), server.listing) {
            Ok(site) => Ok(Some(SharedSite(Arc::new(site)))),
            Err(why) if outside => Err(format!(
                "{why}. It is outside of the data folder, and the router is confined to its own: restart it"
            )),
            Err(why) => Err(why.to_string()),
        }
    }

    pub(super) fn list(&self) -> Vec<TunnelReport> {
        let report = |running: &Running| {
            let local = running.outlet.open_now();
            let state = match &local {
                _ if running.task.is_finished() => "ended".to_owned(),
                Some(local) => local.progress().borrow().to_string(),
                None => "opens with the first connection".to_owned(),
            };
            TunnelReport {
                name: running.plan.name(),
                kind: running.plan.kind().to_owned(),
                address: running.address(),
                b32: local.map(|local| local.b32()),
                state,
                connections: running.traffic.open(),
                opened: running.traffic.opened(),
                bytes_out: running.traffic.sent(),
                bytes_in: running.traffic.received(),
            }
        };
        self.running.values().map(report).collect()
    }

    /// A destination whose tunnels can be asked by: a ready one first.
    fn local(&self) -> Option<LocalDestination> {
        let open: Vec<LocalDestination> = self.homes.values().filter_map(|(_, outlet)| outlet.open_now()).collect();
        let ready = open.iter().find(|local| local.progress().borrow().is_ready());
        ready.or(open.first()).cloned()
    }
}

impl Running {
    fn address(&self) -> String {
        let bound = match &self.socket {
            Some(Socket::Tcp(port)) => port.local_addr().ok(),
            Some(Socket::Udp(socket)) => socket.local_addr().ok(),
            None => None,
        };
        bound.unwrap_or_else(|| self.plan.address()).to_string()
    }
}

impl Running {
    fn announce(&self) {
        let (name, at) = (self.plan.name(), self.address());
        match &self.plan.what {
            What::Http(_) => info!("the HTTP proxy listens at {at}"),
            What::Socks(_) => info!("the SOCKS proxy listens at {at}"),
            What::Client(client) if client.kind == ClientKind::Streamr => {
                info!("streamr client {name} gives {at} what it hears");
            }
            What::Client(_) => info!("client tunnel {name} listens at {at}"),
            What::Server(server) if server.kind == Kind::Streamr => {
                info!("streamr server {name} offers what comes to UDP {at}; `ramson status` says its address");
            }
            What::Server(server) if server.kind == Kind::Site => {
                info!("site {name} is offered; `ramson status` says its address");
            }
            What::Server(_) => info!("server tunnel {name} offers {at}; `ramson status` says its address"),
            What::Proxy { .. } => info!("the proxy of server tunnel {name} listens at {at}"),
        }
    }
}

/// Says in the log what a reload has done.
fn tell(done: &Result<Changes, String>) {
    match done {
        Ok(changes) => {
            let Changes { started, changed, stopped, after_a_restart, problems } = changes;
            info!(
                "the config was read again: {} started, {} changed, {} stopped",
                started.len(),
                changed.len(),
                stopped.len()
            );
            if !after_a_restart.is_empty() {
                warn!("these sections take effect after a restart: {}", after_a_restart.join(", "));
            }
            for problem in problems {
                warn!("{problem}");
            }
        }
        Err(why) => warn!("the config was not taken, and all is as before: {why}"),
    }
}

#[cfg(test)]
#[path = "services_tests.rs"]
mod tests;

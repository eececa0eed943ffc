//! I2PControl, and what the binary does for it.

use super::{manage, read, tls};
use crate::Failure;
use crate::asks::{Ask, TunnelReport};
use crate::folder::Folder;
use crate::settings::Settings;
use crate::stop::Stop;
use ramson::Ramson;
use ramson_services::i2pcontrol::{Host, I2pControl, Later, Tunnel};
use ramson_services::names::Names;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::info;

/// Opens it, if it is on.
pub(super) async fn open(
    settings: &Settings,
    folder: &Folder,
    ramson: &Ramson,
    names: &Arc<Names>,
    house: House,
    tasks: &mut JoinSet<()>,
) -> Result<(), Failure> {
    let Some(mut config) = settings.i2pcontrol.config(folder.path()) else { return Ok(()) };
    if settings.i2pcontrol.is_by_tls() {
        tls::add(&mut config.door, folder)?;
    }
    let at = config.door.listen;
    let control = I2pControl::bind(config, ramson.clone(), Arc::clone(names), Arc::new(house)).await;
    let control = control.map_err(Failure::failed)?;
    info!("programs that control the router come by I2PControl at {}", control.local_addr().unwrap_or(at));
    tasks.spawn(control.run());
    Ok(())
}

/// The router that is controlled.
#[derive(Clone)]
pub(super) struct House {
    pub(super) asks: UnboundedSender<Ask>,
    pub(super) stop: UnboundedSender<Stop>,
    /// The config file, and what stood in it at the start.
    pub(super) config: PathBuf,
    pub(super) settings: Settings,
    pub(super) folder: Folder,
    /// Held by who changes the file.
    pub(super) writing: Arc<Mutex<()>>,
}

impl House {
    /// What the file says now; what it said at the start where it cannot be read.
    fn now(&self) -> Settings {
        let settings = read(&self.config).ok().and_then(|text| Settings::parse(&text).ok());
        settings.unwrap_or_else(|| self.settings.clone())
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).ok()?;
        answer.await.ok()
    }

    async fn list(&self) -> Vec<TunnelReport> {
        self.ask(|reply| Ask::List { reply }).await.unwrap_or_default()
    }

    /// Changes the file, and has it read again. Says which sections take effect after a restart only.
    async fn change(&self, change: impl FnOnce(&str) -> Result<String, String>) -> Result<Vec<String>, String> {
        let _one = self.writing.lock().await;
        let shown = self.config.display();
        let cannot = |why: &dyn std::fmt::Display| format!("{shown}: {why}");
        let old = read(&self.config).map_err(|why| cannot(&why))?;
        let new = change(&old)?;
        ramson::store::replace(&self.config, new.as_bytes()).map_err(|why| cannot(&why))?;
        let reloaded = self.ask(|reply| Ask::Reload { file: None, reply }).await.ok_or("the router stops")?;
        let problem = match reloaded {
            Ok(changes) => match changes.problems.into_iter().next() {
                None => return Ok(changes.after_a_restart),
                Some(problem) => problem,
            },
            Err(why) => why,
        };
        // What does not work is not left behind.
        ramson::store::replace(&self.config, old.as_bytes()).map_err(|why| cannot(&why))?;
        let _ = self.ask(|reply| Ask::Reload { file: None, reply }).await;
        Err(problem)
    }

    async fn run(&self, name: &str, on: bool) -> Result<(), String> {
        let name = name.to_owned();
        self.ask(|reply| Ask::Run { name, on, reply }).await.unwrap_or_else(|| Err("the router stops".into()))
    }

    /// `TunnelManager`.
    async fn manage(&self, params: &Map<String, Value>) -> Result<Value, String> {
        let text = |key: &str| params.get(key).and_then(Value::as_str);
        let action = text("Action").ok_or("Action is missing")?;
        let all = params.get("All").is_some_and(|all| *all == json!(true) || *all == json!("true"));
        let names = match text("Name") {
            _ if all && matches!(action, "start" | "stop" | "restart") => manage::names(&self.now()),
            Some(name) => vec![name.to_owned()],
            None => return Err("Name is missing".into()),
        };
        let [name, ..] = names.as_slice() else { return Err("there are no tunnels".into()) };
        let said = if all { "all tunnels".to_owned() } else { format!("tunnel {name}") };
        match action {
            "create" => {
                self.change(|old| manage::create(old, name, params)).await?;
                let tunnel = self.list().await.into_iter().find(|tunnel| tunnel.name == *name);
                let keys = manage::key_file(&self.now(), name).map(|keys| self.folder.path().join(keys));
                let results = json!([{"keys": keys, "destinationB32": tunnel.and_then(|tunnel| tunnel.b32)}]);
                return Ok(json!({"status": format!("success - created {said}"), "results": results}));
            }
            "edit" => drop(self.change(|old| manage::edit(old, name, params)).await?),
            "delete" => drop(self.change(|old| manage::delete(old, name)).await?),
            "get" => {
                let raw = read(&self.config).map_err(|why| why.to_string())?;
                let raw = manage::raw(&raw, name).ok_or_else(|| format!("there is no tunnel {name}"))?;
                let tunnel = self.list().await.into_iter().find(|tunnel| tunnel.name == *name);
                let info = json!({
                    "client": raw.is_client,
                    "status": tunnel.as_ref().map_or("stopped", |_| "running"),
                    "state": tunnel.as_ref().map(|tunnel| tunnel.state.clone()),
                    "persistentClientKey": raw.is_client && raw.config.get("keys").is_some(),
                    "offlineKeys": false,
                    "targetDestination": raw.config.get("to"),
                    "destinationB32": tunnel.and_then(|tunnel| tunnel.b32),
                    "rawConfig": raw.config,
                });
                return Ok(json!({"status": format!("success - options for {name}"), "info": info}));
            }
            "start" | "stop" | "restart" => {
                for name in &names {
                    if action != "start" {
                        self.run(name, false).await?;
                    }
                    if action != "stop" {
                        self.run(name, true).await?;
                    }
                }
            }
            _ => return Err(format!("there is no action {action:?}")),
        }
        let did = match action {
            "edit" => "edited",
            "delete" => "deleted",
            "start" => "starting",
            "stop" => "stopping",
            _ => "restarting",
        };
        Ok(json!({"status": format!("success - {did} {said}")}))
    }
}

impl Host for House {
    fn stop(&self, graceful: bool) {
        // One who does not listen any more stops already.
        let _ = self.stop.send(if graceful { Stop::Graceful } else { Stop::Now });
    }

    fn tunnels(&self) -> Later<Vec<Tunnel>> {
        let house = self.clone();
        let told = |report: TunnelReport| Tunnel {
            is_server: !report.kind.ends_with("-client") && !report.kind.ends_with("-proxy"),
            name: report.name,
            kind: report.kind,
            address: report.address,
            b32: report.b32,
            state: report.state,
            connections: report.connections,
            bytes_out: report.bytes_out,
            bytes_in: report.bytes_in,
        };
        Box::pin(async move { house.list().await.into_iter().map(told).collect() })
    }

    fn manage_tunnels(&self, params: Map<String, Value>) -> Later<Result<Value, String>> {
        let house = self.clone();
        Box::pin(async move {
            let done = house.manage(&params).await;
            Ok(done.unwrap_or_else(|why| json!({"status": format!("error - {why}")})))
        })
    }

    fn network(&self) -> Map<String, Value> {
        manage::network(&self.now())
    }

    fn set_network(&self, settings: Map<String, Value>) -> Later<Result<bool, String>> {
        let house = self.clone();
        Box::pin(async move {
            let sections = house.change(|old| manage::set_network(old, &settings)).await?;
            Ok(!sections.is_empty())
        })
    }

    fn subscriptions(&self) -> Vec<String> {
        let settings = self.now();
        let urls = settings.names.subscriptions(settings.is_public());
        urls.iter().map(|url| url.as_str().to_owned()).collect()
    }

    fn set_subscriptions(&self, urls: Vec<String>) -> Later<Result<String, String>> {
        let house = self.clone();
        Box::pin(async move {
            house.change(|old| manage::set_subscriptions(old, &urls)).await?;
            Ok(format!("Successfully modified: {}; it takes effect after a restart", house.config.display()))
        })
    }

    fn doors(&self) -> (bool, bool) {
        let folder = self.folder.path();
        let (sam, i2cp) = (self.settings.sam.config(folder), self.settings.i2cp.config(folder, (None, None)));
        (sam.is_some(), i2cp.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::services::{Base, Services};
    use super::*;
    use ramson::testing::Network;
    use std::collections::BTreeMap;
    use std::path::Path;

    const CONFIG: &str = "# mine\nnetwork.id = 99\nhttp_proxy.enabled = false\nsocks.enabled = false\n";

    async fn house(folder: &Path) -> House {
        let config = folder.join("ramson.toml");
        std::fs::write(&config, CONFIG).unwrap();
        let settings = Settings::parse(CONFIG).unwrap();
        let folder = Folder::find(Some(folder.to_owned())).unwrap();
        let base = Base {
            names: Arc::new(Names::open(folder.hosts()).unwrap()),
            folder: folder.clone(),
            config: config.clone(),
            ramson: Network::default().router(),
            is_confined: false,
            hosted: None,
            json: false,
        };
        let mut services = Services::new(base, settings.clone());
        services.start(BTreeMap::new()).await.unwrap();
        let (asks, asked) = tokio::sync::mpsc::unbounded_channel();
        let (stop, _) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(services.run(asked));
        House { asks, stop, config, settings, folder, writing: Arc::default() }
    }

    async fn manage(house: &House, params: Value) -> Value {
        house.manage_tunnels(params.as_object().unwrap().clone()).await.unwrap()
    }

    fn free() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn tunnels_are_made_started_stopped_and_taken_away_while_the_router_runs() {
        let temporary = tempfile::tempdir().unwrap();
        let house = house(temporary.path()).await;
        let port = free();
        let server = json!({"Name": "site", "Action": "create", "Type": "server", "TargetPort": port});
        let made = manage(&house, server.clone()).await;
        assert_eq!(made["status"], json!("success - created tunnel site"));
        let file = made["results"][0]["keys"].as_str().unwrap();
        assert!(Path::new(file).exists(), "{file}");
        let b32 = made["results"][0]["destinationB32"].as_str().unwrap().to_owned();
        assert!(manage(&house, server).await["status"].as_str().unwrap().starts_with("error - there is a tunnel"));
        let client = json!({"Name": "way", "Action": "create", "Type": "client", "Port": free(), "Destination": b32});
        assert_eq!(manage(&house, client).await["status"], json!("success - created tunnel way"));
        let status =
            async |name: &str| manage(&house, json!({"Name": name, "Action": "get"})).await["info"]["status"].take();
        assert_eq!([status("site").await, status("way").await], ["running", "running"]);
        manage(&house, json!({"Name": "way", "Action": "stop"})).await;
        assert_eq!([status("site").await, status("way").await], ["running", "stopped"]);
        manage(&house, json!({"Action": "restart", "All": true})).await;
        assert_eq!([status("site").await, status("way").await], ["running", "running"]);
        let told = manage(&house, json!({"Name": "site", "Action": "get"})).await;
        assert_eq!(told["info"]["destinationB32"], json!(b32), "a restart keeps the keys");
        let tunnels = house.tunnels().await;
        assert_eq!(
            tunnels.iter().map(|t| (t.name.as_str(), t.is_server)).collect::<Vec<_>>(),
            [("way", false), ("site", true)]
        );
        let edited =
            manage(&house, json!({"Name": "way", "Action": "edit", "NewName": "road", "StartOnLoad": false})).await;
        assert_eq!(edited["status"], json!("success - edited tunnel way"));
        assert_eq!([status("way").await, status("road").await], [Value::Null, json!("stopped")]);
        manage(&house, json!({"Name": "road", "Action": "start"})).await;
        assert_eq!(status("road").await, json!("running"));
        for name in ["road", "site"] {
            let gone = manage(&house, json!({"Name": name, "Action": "delete"})).await;
            assert_eq!(gone["status"], json!(format!("success - deleted tunnel {name}")));
        }
        assert_eq!(std::fs::read_to_string(&house.config).unwrap().trim_end(), CONFIG.trim_end());
        for wrong in [
            json!({"Name": "no", "Action": "start"}),
            json!({"Name": "no", "Action": "jump"}),
            json!({"Action": "get"}),
        ] {
            let said = manage(&house, wrong.clone()).await;
            assert!(said["status"].as_str().unwrap().starts_with("error - "), "{wrong}: {said}");
        }
    }

    #[tokio::test]
    async fn what_does_not_work_leaves_the_config_as_it_was() {
        let temporary = tempfile::tempdir().unwrap();
        let house = house(temporary.path()).await;
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let client = json!({"Name": "way", "Action": "create", "Type": "client", "Port": port, "Destination": "a.i2p"});
        let said = manage(&house, client).await;
        assert!(said["status"].as_str().unwrap().contains("cannot listen"), "{said}");
        assert_eq!(std::fs::read_to_string(&house.config).unwrap(), CONFIG);
        assert!(house.tunnels().await.is_empty());
        let rate = Map::from_iter([("i2p.router.net.bw.in".to_owned(), json!("900"))]);
        assert_eq!(house.set_network(rate).await, Ok(true), "it needs a restart");
        assert_eq!(house.network()["i2p.router.net.bw.in"], json!("900"));
        assert!(house.set_subscriptions(vec!["http://a.com/".into()]).await.is_err());
        house.set_subscriptions(vec!["http://a.i2p/".into()]).await.unwrap();
        assert_eq!(house.subscriptions(), ["http://a.i2p/"]);
        assert_eq!(house.doors(), (true, true));
    }
}

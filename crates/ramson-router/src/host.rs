//! `ramson host`: a folder as an eepsite, by the router that runs, or by one of its own.

use crate::confine::{self, Files};
use crate::control::{self, Guest, Welcome, keys_file};
use crate::folder::Folder;
use crate::hosted::{Teller, holds_no_keys};
use crate::settings::{NetworkId, Server};
use crate::stop::Signals;
use crate::{Failure, run, show};
use clap::Args;
use ramson_services::limits::LOCAL_CONNECTIONS;
use ramson_services::site::Site;
use ramson_services::tunnels::load_or_create_keys;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How often the router hears of us; while it is not reachable yet, more often.
const AGAIN: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// The folder, with an index.html
    site: PathBuf,
    /// The name by which the keys are kept, and so the address; that of the folder, if none is said
    #[arg(long)]
    name: Option<String>,
    /// Show what is in folders without an index.html
    #[arg(long)]
    list: bool,
    /// The data folder of the router
    #[arg(long, value_name = "FOLDER", env = "RAMSON_DATA")]
    data: Option<PathBuf>,
    /// The network, on first start: "public", or the number of a private one
    #[arg(long, value_name = "NETWORK")]
    network: Option<NetworkId>,
    /// Say what happens as JSON lines
    #[arg(long)]
    json: bool,
}

impl HostArgs {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let cannot = |e| Failure::failed(format!("{}: {e}", self.site.display()));
        let site = std::fs::canonicalize(&self.site).map_err(cannot)?;
        if !site.is_dir() {
            return Err(Failure::usage(format!("{} is no folder", self.site.display())));
        }
        let folder = Folder::find(self.data.clone())?;
        holds_no_keys(&folder, &site, std::iter::empty())?;
        let name = self.name.clone().unwrap_or_else(|| name_of(&site));
        let file = keys_file(&folder, &name).map_err(Failure::usage)?;
        if control::is_running(&folder) {
            return self.offer(&folder, &site, &name, &file);
        }
        let server = Server::hosted(&name, &site, &file, self.list).map_err(Failure::usage)?;
        run::run(&folder, None, self.network, self.json, Some(server))
    }

    /// Serves here, and has the running router lead to it: what it may read does not grow.
    fn offer(&self, folder: &Folder, site: &Path, name: &str, file: &Path) -> Result<(), Failure> {
        let keys = load_or_create_keys(file).map_err(Failure::failed)?;
        let opened = Site::open(site, Some(&keys), self.list).map_err(Failure::failed)?;
        drop(keys);
        confine::quietly(&Files::of_site(site));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(Failure::failed)?;
        let result = runtime.block_on(serve(folder, opened, name, self.json));
        runtime.shutdown_timeout(Duration::from_secs(1));
        result
    }
}

async fn serve(folder: &Folder, site: Site, name: &str, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Failure::failed)?;
    let at = listener.local_addr().map_err(Failure::failed)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(listener, Arc::new(site)));
    let result = tokio::select! {
        _ = signals.next() => Ok(()),
        failed = keep_offered(folder, name, at, json) => failed,
    };
    let _ = ask(folder, name, at, true).await;
    tasks.shutdown().await;
    result
}

async fn accept(listener: TcpListener, site: Arc<Site>) {
    let slots = Arc::new(Semaphore::new(LOCAL_CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let site = Arc::clone(&site);
        tasks.spawn(async move {
            let _ = stream.set_nodelay(true);
            site.serve(stream).await;
            drop(slot);
        });
    }
}

/// Tells the router again and again that we are here, and the user how far it is.
async fn keep_offered(folder: &Folder, name: &str, at: SocketAddr, json: bool) -> Result<(), Failure> {
    let mut teller = Teller::new(json);
    let mut gone = false;
    let mut was_offered = false;
    loop {
        match ask(folder, name, at, false).await {
            Ok(welcome) => {
                gone = false;
                was_offered = true;
                teller.tell(&welcome)?;
            }
            Err(why) if !was_offered => return Err(why),
            // It may be started again.
            Err(why) => {
                if !std::mem::replace(&mut gone, true) {
                    show::error(&Failure::failed(format!("{}; waiting for it", why.text)));
                    teller.forget();
                }
            }
        }
        tokio::time::sleep(if teller.is_done { AGAIN } else { SOON }).await;
    }
}

async fn ask(folder: &Folder, name: &str, at: SocketAddr, ends: bool) -> Result<Welcome, Failure> {
    let (folder, guest) = (folder.clone(), Guest { name: name.to_owned(), at, ends });
    let asked = tokio::task::spawn_blocking(move || control::ask(&folder, &control::Request::Host { guest })).await;
    asked.map_err(Failure::failed)?
}

/// The name of a folder, as a file of keys may be called.
fn name_of(site: &Path) -> String {
    let name = site.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = name.chars().map(plain).take(64).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "site".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_called_as_the_folder_is() {
        for (path, name) in
            [("/a/my-site", "my-site"), ("/a/Blog é", "Blog--"), ("/", "site"), ("/a/.x", "x"), ("/a/é", "site")]
        {
            assert_eq!(name_of(Path::new(path)), name, "{path}");
            let folder = Folder::find(Some("/data".into())).unwrap();
            assert_eq!(keys_file(&folder, name).unwrap(), Path::new("/data/hosted").join(format!("{name}.dat")));
        }
    }
}

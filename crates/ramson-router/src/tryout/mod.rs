//! `ramson try`: a whole I2P network inside this process, over loopback, with an eepsite to open and a picture of the
//! way that each request takes.

mod network;
mod picture;
mod site;

use crate::Failure;
use crate::stop::Signals;
use network::Network;
use picture::Picture;
use ramson::DestinationOptions;
use ramson_services::http::{HttpProxy, ProxyConfig, ProxyError};
use ramson_services::names::Names;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What the eepsite is called, inside this process only.
pub(crate) const SITE: &str = "wild-garlic.i2p";
/// The usual place of an I2P HTTP proxy.
const PROXY_PORT: u16 = 4444;
/// No start takes longer on a machine that works.
const START_TIME: Duration = Duration::from_secs(60);

/// What `ramson try` can be told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TryArgs {
    /// How many routers carry the tunnels
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u8).range(6..=20))]
    routers: u8,
    /// Where the HTTP proxy listens; without it at 127.0.0.1:4444, or at any free port if that is taken
    #[arg(long, value_name = "ADDRESS")]
    proxy: Option<SocketAddr>,
}

impl TryArgs {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        crate::process::allow_many_files();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::failed)?;
        let result = runtime.block_on(self.live());
        runtime.shutdown_timeout(Duration::from_secs(1));
        result
    }

    async fn live(self) -> Result<(), Failure> {
        let mut signals = Signals::new()?;
        let picture = Picture::of_terminal();
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        let network = tokio::select! {
            network = tokio::time::timeout(START_TIME, self.start(&picture, &mut tasks)) => {
                network.map_err(|_| Failure::failed("the network did not stand within a minute"))??
            }
            _ = signals.next() => return Ok(()),
        };
        let Open { network, proxy } = network;
        picture.ready(proxy, started.elapsed());
        tokio::select! {
            _ = signals.next() => {}
            _ = tasks.join_next() => return Err(Failure::failed("the site or the proxy has stopped by itself")),
        }
        picture.bye();
        tasks.shutdown().await;
        network.stop().await;
        Ok(())
    }

    /// Starts the network, the site and the proxy; answers when a page can be opened.
    async fn start(&self, picture: &Picture, tasks: &mut JoinSet<()>) -> Result<Open, Failure> {
        let network = Network::start(usize::from(self.routers), picture).await?;
        let (reader, server) = (network.reader(), network.server());
        let local = reader.destination(DestinationOptions::client("you"), None).await.map_err(Failure::failed)?;
        let home = server.destination(DestinationOptions::server("site"), None).await.map_err(Failure::failed)?;
        picture.step("building tunnels, three routers each");
        for destination in [&local, &home] {
            destination.progress().wait_for(ramson::Progress::is_ready).await.map_err(Failure::failed)?;
        }
        let hosts = network.folder().join("hosts.txt");
        std::fs::write(&hosts, format!("{SITE}={}\n", home.base64())).map_err(Failure::failed)?;
        let names = Arc::new(Names::open(hosts).map_err(Failure::failed)?);
        let proxy = self.bind(&local, &names).await?;
        let at = proxy.local_addr().map_err(Failure::failed)?;
        let guide = network.guide(local, home.clone());
        let listener = home.listen(None).await.map_err(Failure::failed)?;
        tasks.spawn(site::serve(listener, guide, picture.clone()));
        tasks.spawn(proxy.run());
        Ok(Open { network, proxy: at })
    }

    async fn bind(&self, local: &ramson::LocalDestination, names: &Arc<Names>) -> Result<HttpProxy, Failure> {
        let bind = |listen| HttpProxy::bind(ProxyConfig::new(listen), local.clone(), Arc::clone(names));
        let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, PROXY_PORT));
        let bound = match bind(self.proxy.unwrap_or(usual)).await {
            Err(ProxyError::Bind(..)) if self.proxy.is_none() => bind(SocketAddr::new(usual.ip(), 0)).await,
            bound => bound,
        };
        bound.map_err(Failure::failed)
    }
}

/// The network, and where it can be used.
struct Open {
    network: Network,
    proxy: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn get(proxy: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(proxy).await.unwrap();
        let request = format!("GET http://{SITE}{path} HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_network_in_the_process_serves_pages_and_shows_their_ways() {
        let args = TryArgs { routers: 6, proxy: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))) };
        let (picture, shown) = Picture::recorded();
        let mut tasks = JoinSet::new();
        let open = args.start(&picture, &mut tasks).await.unwrap();
        let page = get(open.proxy, "/").await;
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("</html>"), "{page}");
        let file = get(open.proxy, "/bytes/300000").await;
        assert!(file.starts_with("HTTP/1.1 200") && file.len() > 300_000, "{} bytes", file.len());
        for (path, code) in [("/nothing", "404"), ("/bytes/1000000000000", "404"), ("/bytes/x", "404")] {
            assert!(get(open.proxy, path).await.starts_with(&format!("HTTP/1.1 {code}")), "{path}");
        }
        tasks.shutdown().await;
        let folder = open.network.folder().to_owned();
        open.network.stop().await;
        assert!(!folder.exists(), "nothing is left on disk");
        // Three routers on our side and three on the site's, both ways, each with its name.
        let shown = String::from_utf8(shown.lock().unwrap().clone()).unwrap();
        let there: Vec<&str> = shown.lines().filter(|line| line.contains("you ─▶ ")).collect();
        let back: Vec<&str> = shown.lines().filter(|line| line.contains("you ◀─ ")).collect();
        assert_eq!((there.len(), back.len()), (5, 5), "{shown}");
        for line in there.iter().chain(&back) {
            let names = line.split_whitespace().filter(|word| network::NAMES.contains(word)).count();
            assert!(names == 6 && line.trim_end().ends_with(SITE), "{line}");
            assert_eq!(line.matches('─').count(), 7, "seven links: {line}");
        }
    }
}

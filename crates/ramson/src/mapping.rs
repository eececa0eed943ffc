//! Ports that the gateway of the local network forwards to us, asked for by PCP, NAT-PMP or UPnP.
//!
//! A task of its own asks (`mapper.rs`), asks again before a mapping ends, and takes all back when the router stops. What the
//! gateway says is one opinion on our address among others: it goes to the core as that. Nothing is sent beyond the
//! gateway but the search for UPnP, which the local network hears; and nothing of what it says is trusted further than that.

#[cfg(feature = "port-mapping")]
mod gateway;
#[cfg(feature = "port-mapping")]
mod mapper;
#[cfg(feature = "port-mapping")]
mod pmp;
#[cfg(feature = "port-mapping")]
mod route;
#[cfg(feature = "port-mapping")]
mod upnp;

use crate::config::{Config, PortMapping as Wish};
use ramson_core::router::Mapped;
use ramson_wire::data::router_address::is_public;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
#[cfg(feature = "port-mapping")]
use tokio::sync::mpsc::channel;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// All that taking back may hold up the end of the router.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is to be mapped: UDP and TCP ports of this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) udp: Option<NonZeroU16>,
    pub(crate) tcp: Option<NonZeroU16>,
}

/// The mapper at work; pending for ever where there is nothing to map.
pub(crate) struct Mapping {
    reports: Option<Receiver<Option<Mapped>>>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Mapping {
    /// Nothing is mapped.
    pub(crate) const fn off() -> Self {
        Self { reports: None, stop: None, task: None }
    }

    /// Begins, where the settings and the machine's address ask for it.
    pub(crate) fn start(config: &Config, ports: Ports, source: Option<IpAddr>) -> Self {
        if ports == Ports::default() || !is_wanted(config, source) {
            return Self::off();
        }
        Self::run(config, ports)
    }

    #[cfg(feature = "port-mapping")]
    fn run(config: &Config, ports: Ports) -> Self {
        let (said, reports) = channel(1);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(mapper::Mapper::new(config, ports, said).run(stopped));
        Self { reports: Some(reports), stop: Some(stop), task: Some(task) }
    }

    /// Who has said that ports must be mapped was refused before.
    #[cfg(not(feature = "port-mapping"))]
    fn run(_: &Config, ports: Ports) -> Self {
        tracing::debug!(?ports, "no gateway is asked to forward ports: built without the feature port-mapping");
        Self::off()
    }

    /// The next thing that the gateway has said; `None` in it when there is no mapping any more.
    pub(crate) async fn next(&mut self) -> Option<Mapped> {
        let Some(reports) = &mut self.reports else { return std::future::pending().await };
        match reports.recv().await {
            Some(report) => report,
            // The task has ended by a bug: what it mapped is not renewed.
            None => {
                self.reports = None;
                None
            }
        }
    }

    /// Takes back what is mapped, as far as the gateway lets us within two seconds.
    pub(crate) async fn finish(mut self) {
        drop(self.reports.take());
        if let (Some(stop), Some(task)) = (self.stop.take(), self.task.take()) {
            let abort = task.abort_handle();
            let _ = stop.send(());
            if tokio::time::timeout(FAREWELL, task).await.is_err() {
                abort.abort();
            }
        }
    }
}

/// Whether ports are to be mapped: when the settings say so, or when they say nothing and a private IPv4 address is all
/// that the machine has. Never behind a proxy, or for who hides or does not listen.
fn is_wanted(config: &Config, source: Option<IpAddr>) -> bool {
    let knows = config.ntcp2.publish.iter().any(SocketAddr::is_ipv4);
    if config.proxy.is_some() || config.ntcp2.outbound_only || config.hidden {
        return false;
    }
    match config.port_mapping.wish {
        Wish::No => false,
        Wish::Yes => true,
        Wish::Auto => config.network.is_public() && !knows && source.is_some_and(|ip| !is_public(ip)),
    }
}

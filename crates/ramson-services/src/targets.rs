//! One destination or several that serve the same: whom the next connection goes to.

use crate::limits::{OTHER_TARGET_TIME, READY_TIME_PROGRAM, TARGET_REST_TIME, TARGETS};
use crate::names::{Host, Names};
use crate::outlet::{Outlet, Remote, target};
use ramson::{Error, ErrorKind};
use std::sync::{Mutex, PoisonError};
use tokio::time::{Instant, timeout};

/// In which order several destinations are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Each connection begins with the next one.
    #[default]
    InTurn,
    /// Each begins with one that is drawn.
    Random,
}

/// Destinations, and who of them did not answer of late.
#[derive(Debug)]
pub(crate) struct Targets {
    hosts: Vec<Host>,
    order: Order,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    turn: usize,
    failed: Vec<Option<Instant>>,
}

impl Targets {
    /// Fails with [`ErrorKind::Misuse`] if there are none, or too many.
    pub(crate) fn new(hosts: Vec<Host>, order: Order) -> Result<Self, Error> {
        if hosts.is_empty() || hosts.len() > TARGETS {
            return Err(Error::new(ErrorKind::Misuse, format!("there are 1 to {TARGETS} destinations")));
        }
        let state = Mutex::new(State { turn: 0, failed: vec![None; hosts.len()] });
        Ok(Self { hosts, order, state })
    }

    /// A stream to the first that answers. Those that failed of late come last.
    pub(crate) async fn connect(&self, outlet: &Outlet, names: &Names, port: u16) -> Result<Remote, Error> {
        let mut last = Error::new(ErrorKind::NotFound, "there is no destination");
        // Whoever waits for our own tunnels holds that against no destination.
        let _inside = outlet.ready(READY_TIME_PROGRAM).await?;
        let order = self.order();
        let mut rest = order.len();
        for index in order {
            rest -= 1;
            let Some(host) = self.hosts.get(index) else { continue };
            let attempt = async { outlet.connect_for_program(target(names, host)?, port).await };
            let result = if rest == 0 {
                attempt.await
            } else {
                let late = |_| Err(Error::new(ErrorKind::PeerNotAnswering, "no answer in time"));
                timeout(OTHER_TARGET_TIME, attempt).await.unwrap_or_else(late)
            };
            match result {
                Ok(remote) => {
                    self.note(index, None);
                    return Ok(remote);
                }
                // It is we who cannot; another destination does not help.
                Err(e) if [ErrorKind::NotReady, ErrorKind::Overloaded, ErrorKind::ShuttingDown].contains(&e.kind()) => {
                    return Err(e);
                }
                Err(e) => {
                    self.note(index, Some(Instant::now()));
                    last = e;
                }
            }
        }
        Err(last)
    }

    fn order(&self) -> Vec<usize> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.hosts.len();
        let first = match self.order {
            Order::InTurn => state.turn,
            Order::Random => getrandom::u32().unwrap_or_default() as usize,
        } % count;
        state.turn = (first + 1) % count;
        let resting = |index: &usize| {
            state.failed.get(*index).copied().flatten().is_some_and(|since| since.elapsed() < TARGET_REST_TIME)
        };
        let all = (first..count).chain(0..first);
        let (late, mut order): (Vec<_>, Vec<_>) = all.partition(resting);
        order.extend(late);
        order
    }

    fn note(&self, index: usize, failed: Option<Instant>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = state.failed.get_mut(index) {
            *slot = failed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson::testing::Network;
    use ramson::{DestinationOptions, Hash, Listener};
    use tokio::io::AsyncWriteExt;

    async fn three(network: &Network) -> (Vec<Host>, Vec<Listener>) {
        let ramson = network.router();
        let (mut hosts, mut listeners) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let local = ramson.destination(DestinationOptions::server("s"), None).await.unwrap();
            hosts.push(Host::B32(local.hash()));
            listeners.push(local.listen(None).await.unwrap());
        }
        (hosts, listeners)
    }

    /// Which of the listeners has got the connection.
    async fn who(targets: &Targets, outlet: &Outlet, names: &Names, listeners: &mut [Listener]) -> usize {
        let mut remote = targets.connect(outlet, names, 0).await.unwrap();
        remote.shutdown().await.unwrap();
        for (index, listener) in listeners.iter_mut().enumerate() {
            if let Ok(Ok(_)) = timeout(std::time::Duration::from_millis(1), listener.accept()).await {
                return index;
            }
        }
        panic!("nobody");
    }

    #[tokio::test(start_paused = true)]
    async fn destinations_take_turns_and_one_that_fails_rests() {
        let network = Network::default();
        let (hosts, mut listeners) = three(&network).await;
        let folder = tempfile::tempdir().unwrap();
        let names = Names::open(folder.path().join("hosts.txt")).unwrap();
        let outlet = Outlet::on_demand(network.router(), DestinationOptions::client("c"), None, None);
        let targets = Targets::new(hosts.clone(), Order::InTurn).unwrap();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(who(&targets, &outlet, &names, &mut listeners).await);
        }
        assert_eq!(seen, [0, 1, 2, 0]);
        let Host::B32(dead) = hosts[1] else { panic!() };
        network.fault(dead, Some(Error::new(ErrorKind::PeerNotAnswering, "silent")));
        seen.clear();
        for _ in 0..4 {
            seen.push(who(&targets, &outlet, &names, &mut listeners).await);
        }
        assert_eq!(seen, [2, 2, 0, 2], "the dead one is passed over, and tried once");
        network.fault(dead, None);
        tokio::time::sleep(TARGET_REST_TIME).await;
        seen.clear();
        for _ in 0..3 {
            seen.push(who(&targets, &outlet, &names, &mut listeners).await);
        }
        assert_eq!(seen, [2, 0, 1], "and is one of them again");
        let random = Targets::new(hosts, Order::Random).unwrap();
        let mut drawn = std::collections::BTreeSet::new();
        for _ in 0..100 {
            drawn.insert(who(&random, &outlet, &names, &mut listeners).await);
        }
        assert_eq!(drawn.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_fail_the_last_error_is_said_and_our_own_at_once() {
        let network = Network::default();
        let folder = tempfile::tempdir().unwrap();
        let names = Names::open(folder.path().join("hosts.txt")).unwrap();
        let outlet = Outlet::on_demand(network.router(), DestinationOptions::client("c"), None, None);
        let name = Host::parse("unknown.i2p").unwrap();
        let targets = Targets::new(vec![name, Host::B32(Hash([1; 32]))], Order::InTurn).unwrap();
        assert_eq!(targets.connect(&outlet, &names, 0).await.unwrap_err().kind(), ErrorKind::NotFound);
        network.set_progress(&ramson::Progress::default());
        assert_eq!(targets.connect(&outlet, &names, 0).await.unwrap_err().kind(), ErrorKind::NotReady);
        let many = vec![Host::B32(Hash([1; 32])); TARGETS + 1];
        assert!(Targets::new(many, Order::InTurn).is_err() && Targets::new(Vec::new(), Order::InTurn).is_err());
    }
}

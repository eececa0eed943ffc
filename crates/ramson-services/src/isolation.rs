//! Destinations of ours for those who must not be taken for one another: one per user of a proxy, or per site.

use crate::limits::{ISOLATED, ISOLATION_IDLE_TIME};
use crate::outlet::{Outlet, Traffic};
use ramson::{DestinationOptions, Error, ErrorKind, Ramson};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What tells them apart: a hash, so that no password is kept.
pub(crate) type Key = [u8; 32];

/// Outlets by key. Each opens its destination when it is used, and closes it when it was idle; where there are too many
/// the one goes that was asked for the longest ago and is not in use.
#[derive(Debug)]
pub(crate) struct Isolation {
    ramson: Ramson,
    options: DestinationOptions,
    traffic: Traffic,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    turn: u64,
    outlets: BTreeMap<Key, (u64, Outlet)>,
}

impl Isolation {
    pub(crate) fn new(ramson: Ramson, options: DestinationOptions, traffic: Traffic) -> Self {
        Self { ramson, options, traffic, state: Mutex::default() }
    }

    /// The outlet of this key. Fails with [`ErrorKind::Overloaded`] where as many as there may be are in use.
    pub(crate) fn outlet(&self, key: Key) -> Result<Outlet, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.turn += 1;
        let turn = state.turn;
        if let Some((last, outlet)) = state.outlets.get_mut(&key) {
            *last = turn;
            return Ok(outlet.clone());
        }
        if state.outlets.len() >= ISOLATED {
            let idle = state.outlets.iter().filter(|(_, (_, outlet))| outlet.is_held_once());
            let oldest = idle.min_by_key(|(_, (last, _))| *last).map(|(key, _)| *key);
            let full = || Error::new(ErrorKind::Overloaded, "too many users or sites at once");
            state.outlets.remove(&oldest.ok_or_else(full)?);
        }
        let options = self.options.clone();
        let outlet = Outlet::on_demand(self.ramson.clone(), options, None, Some(ISOLATION_IDLE_TIME));
        let outlet = outlet.counted_by(self.traffic.clone());
        state.outlets.insert(key, (turn, outlet.clone()));
        Ok(outlet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ramson::testing::Network;

    fn key(n: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_be_bytes());
        key
    }

    #[tokio::test]
    async fn each_key_has_a_destination_and_the_longest_unused_makes_room() {
        let network = Network::default();
        let isolation = Isolation::new(network.router(), DestinationOptions::client("c"), Traffic::default());
        let hash = async |n| isolation.outlet(key(n)).unwrap().enter().await.unwrap().local.hash();
        let first = hash(0).await;
        for n in 1..ISOLATED {
            assert_ne!(hash(n).await, first);
        }
        assert_eq!(hash(0).await, first, "the same again");
        assert_eq!(network.destinations(), ISOLATED);
        hash(ISOLATED).await;
        assert_eq!(hash(0).await, first, "it was used of late");
        let state = isolation.state.lock().unwrap();
        assert!(state.outlets.len() == ISOLATED && !state.outlets.contains_key(&key(1)), "the oldest has gone");
    }

    #[tokio::test]
    async fn who_is_in_use_stays_and_beyond_the_limit_nobody_comes() {
        let network = Network::default();
        let isolation = Isolation::new(network.router(), DestinationOptions::client("c"), Traffic::default());
        let mut used: Vec<_> = (0..ISOLATED).map(|n| isolation.outlet(key(n)).unwrap()).collect();
        assert_eq!(isolation.outlet(key(ISOLATED)).unwrap_err().kind(), ErrorKind::Overloaded);
        used.remove(7);
        isolation.outlet(key(ISOLATED)).unwrap();
        assert!(!isolation.state.lock().unwrap().outlets.contains_key(&key(7)));
    }
}

//! Where peers see us.

use crate::limits::reach as limits;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// What a peer has said counts so long.
const AGE: Duration = Duration::from_hours(6);
/// Of so many votes of late, an address needs three quarters.
const WINDOW: usize = 9;
/// So many networks must say the same before an address is ours, and in a small network so many hosts.
const LEAST: usize = 4;
const LEAST_SMALL: usize = 2;
/// An address is left for another when the latest votes of so many networks, one after the other, say the other: so liars
/// would have to be nearly all.
const RUN: usize = 12;
const RUN_SMALL: usize = 3;

/// Who has voted: an IPv4 /16 or IPv6 /32, in a small network a host. Each has one vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voter {
    Network(bool, [u8; 4]),
    Host(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Vote {
    at: Instant,
    by: Voter,
    seen: SocketAddr,
}

/// Votes, the oldest first, and what they have agreed on.
pub(super) struct Votes {
    small_network: bool,
    votes: VecDeque<Vote>,
    agreed: Option<IpAddr>,
}

impl Votes {
    pub(super) const fn new(small_network: bool) -> Self {
        Self { small_network, votes: VecDeque::new(), agreed: None }
    }

    pub(super) fn add(&mut self, now: Instant, by: IpAddr, seen: SocketAddr) {
        let by = self.voter(by);
        self.votes.retain(|vote| vote.by != by && now.since(vote.at) < AGE);
        if self.votes.len() >= limits::VOTES {
            self.votes.pop_front();
        }
        self.votes.push_back(Vote { at: now, by, seen });
        let (least, run) = if self.small_network { (LEAST_SMALL, RUN_SMALL) } else { (LEAST, RUN) };
        let latest = |n: usize| self.votes.iter().rev().take(n);
        match self.agreed {
            Some(agreed) if agreed == seen.ip() => {}
            Some(_) => {
                if latest(run).count() == run && latest(run).all(|vote| vote.seen.ip() == seen.ip()) {
                    self.agreed = Some(seen.ip());
                }
            }
            None => {
                let (of, all) =
                    (latest(WINDOW).filter(|vote| vote.seen.ip() == seen.ip()).count(), latest(WINDOW).count());
                if of >= least && of * 4 >= all * 3 {
                    self.agreed = Some(seen.ip());
                }
            }
        }
    }

    /// The address that is ours, and the port if it is the same for most.
    pub(super) fn agreed(&self) -> Option<(IpAddr, Option<u16>)> {
        let ip = self.agreed?;
        let ports: Vec<u16> = self
            .votes
            .iter()
            .rev()
            .filter(|vote| vote.seen.ip() == ip)
            .take(WINDOW)
            .map(|vote| vote.seen.port())
            .collect();
        let count = |port: &u16| ports.iter().filter(|other| *other == port).count();
        let most = ports.iter().max_by_key(|port| count(port)).copied();
        Some((ip, most.filter(|port| count(port) >= 2 && count(port) * 3 >= ports.len() * 2)))
    }

    /// What was agreed on is wrong: all begin anew.
    pub(super) fn forget(&mut self) {
        self.votes.clear();
        self.agreed = None;
    }

    fn voter(&self, ip: IpAddr) -> Voter {
        match ip.to_canonical() {
            ip if self.small_network => Voter::Host(ip),
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                Voter::Network(true, [a, b, 0, 0])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.octets();
                Voter::Network(false, [a, b, c, d])
            }
        }
    }

    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(super) fn len(&self) -> usize {
        self.votes.len()
    }
}

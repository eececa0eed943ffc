//! Tunnels: our own, in pools, and those of others that we serve.
//!
//! [`Tunnels`] is the plane that the router drives. Messages of links and of opened garlic come in by
//! `handle_message`, own messages leave by `send`, jobs come back by `handle_job`, and hops that were asked for by
//! `handle_hops`; then `poll_event` until it is empty, which also ends the turn: what waits to share a tunnel message
//! goes out. `next_timeout` says when `handle_timeout` is due.
//!
//! A build of a pool takes its reply through an inbound tunnel of the same pool, or goes out through an outbound one
//! of it; the exploratory pool stands in as long as there is none. Only the exploratory pool itself may begin without
//! any: its first builds go directly to their first hop, and their replies come directly to us.

pub mod build;
mod endpoint;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod gateway;
mod own;
mod plane;
mod pool;
mod tester;
#[cfg(test)]
mod tests;
mod transit;

pub use build::{BuildId, CreateJob, Created, Direction, Hop};
pub use gateway::MAX_MESSAGE;
pub use own::Inbound;
pub use plane::{Outbound, Stats, TunnelConfig, Tunnels};
pub use pool::{PoolConfig, PoolError, PoolId, Wanted};
pub use ramson_wire::tunnel::TunnelId;
pub use ramson_wire::tunnel::delivery::Target;
pub use transit::{
    Congestion, Declined, Refused, RequestDone, RequestJob, StaticKey, TransitError, TransitRules, TransitStats,
};

use crate::link::Class;
use crate::rng::Rng;
use crate::time::Duration;
use ramson_wire::data::Hash;
use ramson_wire::i2np::Message;

/// What the tunnels tell the router.
#[derive(Debug)]
pub enum Event {
    /// Hand to the links; dial when there is no session, after a look-up when the router is unknown.
    Send {
        to: Hash,
        message: Message,
        /// Whether it is of our tunnels or of those of others.
        class: Class,
    },
    /// Answer by `handle_job`.
    Job(TunnelJob),
    /// Came out of an own inbound tunnel.
    Inbound {
        pool: PoolId,
        tunnel: TunnelId,
        message: Message,
    },
    /// The end of another's tunnel delivered a message to us as a router; `from` is the hop before. To be treated as
    /// anything that comes by a tunnel: from nobody known (threats T82). Of a build request we are the gateway, and the hop
    /// before us answers for it: back by `handle_message`.
    Local {
        from: Hash,
        message: Message,
    },
    /// A build waits for its hops; answer by `handle_hops`.
    NeedHops {
        pool: PoolId,
        direction: Direction,
        build: BuildId,
        /// How many, no less.
        length: usize,
        /// Outbound: whom the last hop must reach, ourselves included. Inbound: who must reach the first hop.
        other_end: Hash,
        /// The pool's secret, by which its hops are ordered (`peers::Terms::order`).
        order: (u64, u64),
        /// Far ends of tunnels that seem to lead nowhere: not these, where others will do.
        avoid: Vec<Hash>,
    },
    /// The inbound tunnels changed, and so do leases made of them.
    PoolChanged {
        pool: PoolId,
    },
    TunnelReady {
        pool: PoolId,
        direction: Direction,
        tunnel: TunnelId,
    },
    /// The tunnel is over, or failed its tests.
    TunnelLost {
        pool: PoolId,
        direction: Direction,
        tunnel: TunnelId,
    },
    /// How the hops of a build answered, for their profiles.
    Outcome {
        pool: PoolId,
        /// The hop next to us.
        nearest: Option<Hash>,
        hops: Vec<(Hash, Answer)>,
    },
    /// A tunnel has passed a test, or is given up after others, for the profiles of its hops.
    Tested {
        hops: Vec<Hash>,
        passed: Option<Passed>,
    },
}

/// A hop's answer to a build request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Agreed,
    Declined,
    /// The build did not come back; which hop it was is not known.
    Unanswered,
}

/// What a test that came back says of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// It is the first one of the tunnel.
    pub first: bool,
    /// The way out by one tunnel and in by another.
    pub rtt: Duration,
    /// Bytes per second that the tunnel has carried since the test before.
    pub rate: u32,
}

/// Public-key work of the tunnels.
#[derive(Debug)]
pub enum TunnelJob {
    /// A build of our own.
    Create(Box<CreateJob>),
    /// A request of another router.
    Request(Box<RequestJob>),
}

/// The result of a [`TunnelJob`].
#[derive(Debug)]
pub enum TunnelDone {
    Create(Box<Created>),
    Request(Box<RequestDone>),
}

impl TunnelJob {
    pub fn run(self, rng: &mut Rng) -> TunnelDone {
        match self {
            Self::Create(job) => TunnelDone::Create(Box::new(job.run(rng))),
            Self::Request(job) => TunnelDone::Request(Box::new(job.run(rng))),
        }
    }
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The pool has no outbound tunnel, or not the one that was asked for.
    #[error("no such outbound tunnel")]
    NoTunnel,
    /// The message is larger than a tunnel carries.
    #[error(transparent)]
    TooLarge(#[from] gateway::TooLarge),
}

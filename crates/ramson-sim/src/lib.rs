//! A whole I2P network in one thread and virtual time, out of the production core.
//!
//! [`Net`] holds routers, a simulated TCP between them, and one queue of events ordered by time and sequence. One
//! seed decides everything that is left to chance; [`Net::trace`] is a hash over all that happened, so that two runs
//! can be compared. [`Pair`] is the smallest net: two routers and one clock. [`Transfer`] plays the programs at both
//! ends of a stream and checks every byte.
//!
//! [`scenario::Scenario`] is a world in a file, with what must hold in it; [`run`] runs it, [`measure`] and [`property`]
//! say what came of it. [`swarm`] draws faults by the seed.
//!
//! It stands beside the shell `ramson`: both carry out the outputs of a [`ramson_core::router::Router`] and feed it
//! inputs, and [`Net`] asserts on every turn that the law of that door is kept.
//!
//! Not in this crate: sockets, files, clocks, a runtime; and no protocol of its own, but for [`Puppet`], a peer
//! that says what a test wants it to say and plays the adversaries ([`Role`]).
//!
//! ```
//! use ramson_core::time::Duration;
//! use ramson_sim::{Net, Settings};
//!
//! let mut net = Net::new(Settings { seed: 7, ..Settings::default() });
//! let (a, _b, _floodfill) = (net.add_router(), net.add_router(), net.add_floodfill());
//! net.reseed();
//! net.run_for(Duration::from_secs(60));
//! assert_eq!(net.snapshot(a).routers, 2);
//! ```

mod arena;
mod churn;
mod geo;
mod invariants;
mod link;
pub mod measure;
mod nat;
mod net;
mod node;
mod outcome;
mod pair;
pub mod property;
mod puppet;
mod role;
pub mod scenario;
pub mod selection;
pub mod swarm;
mod trace;
mod transfer;

pub use arena::{run, run_with};
pub use geo::Region;
pub use link::{Access, Link, NodeId};
pub use nat::{Dependence, Nat, NatKind};
pub use net::{Meter, Net, Settings, Transport};
pub use node::{NETWORK_ID, Place, UdpStats, router_config};
pub use outcome::{LookUp, Outcome, Passage, Sample};
pub use pair::Pair;
pub use puppet::{Puppet, PuppetStats};
pub use role::Role;
pub use scenario::Kind;
pub use trace::Trace;
pub use transfer::{End, Progress, Transfer};

//! The network database. As a client of the floodfills sees it: known routers, look-ups, publication, exploration. As a
//! floodfill serves it: what others store is taken in (`flood`) and told (`serve`), where the router is fit (`fitness`).
//! <https://geti2p.net/en/docs/how/network-database>
//!
//! Every context (the router, each local destination) has its own look-ups, and each destination its own
//! LeaseSets (see `dest`): nothing that reaches one context can be asked of another.

pub mod closest;
mod crowd;
pub mod explore;
pub mod fitness;
pub mod flood;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod lease_sets;
pub mod lookup;
#[cfg(any(test, fuzzing))]
pub(crate) mod made;
mod nearest;
pub mod publish;
pub mod routing_key;
pub mod serve;
mod silence;
pub mod store;

pub use explore::Explorer;
pub use fitness::{Fitness, FloodfillMode};
pub use flood::Floodfill;
pub use lease_sets::LeaseSets;
pub use lookup::Lookups;
pub use publish::{LeaseSetPublisher, RouterInfoPublisher};
pub use store::{Known, RouterStore, Verified};

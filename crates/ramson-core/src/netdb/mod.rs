//! The network database as a client of the floodfills sees it: known routers, look-ups, publication, exploration.
//! <https://geti2p.net/en/docs/how/network-database>
//!
//! Every context (the router, each local destination) has its own look-ups, and each destination its own
//! LeaseSets (see `dest`): nothing that reaches one context can be asked of another.

pub mod closest;
pub mod explore;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod lookup;
mod nearest;
pub mod publish;
pub mod routing_key;
pub mod store;

pub use explore::Explorer;
pub use lookup::Lookups;
pub use publish::{LeaseSetPublisher, RouterInfoPublisher};
pub use store::RouterStore;

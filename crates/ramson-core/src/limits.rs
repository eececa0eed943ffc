//! Every bound on what a stranger can make the router hold or do, in one place. Each says what happens at the limit.

/// Links: sessions and what waits in them.
pub mod link {}

/// The network database.
pub mod netdb {}

/// Profiles and choice of peers.
pub mod peers {}

/// Own and foreign tunnels.
pub mod tunnel {}

/// Local destinations: sessions, LeaseSets, queues.
pub mod dest {}

/// Streams and datagrams.
pub mod stream {}

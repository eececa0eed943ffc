//! NTCP2: the handshake as typestates whose public-key steps are jobs, and the data phase.
//! <https://geti2p.net/spec/ntcp2>, proposal 111.

pub mod handshake;
pub mod padding;
pub mod session;

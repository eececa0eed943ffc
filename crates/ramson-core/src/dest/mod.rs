//! Local destinations.

pub mod ratchet;
pub mod session;

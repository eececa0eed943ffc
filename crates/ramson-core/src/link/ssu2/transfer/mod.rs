//! The data phase of an SSU2 session.

mod congestion;
mod hystart;
mod mtu;
mod pacer;
mod recovery;
mod rtt;

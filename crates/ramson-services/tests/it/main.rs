//! The services over a network in memory, with real sockets on loopback.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod names;
mod outproxy;
mod proxy;
mod servers;
mod tunnels;
mod world;

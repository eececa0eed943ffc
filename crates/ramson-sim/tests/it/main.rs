//! Routers end to end, in virtual time. Every assertion names the seed that it ran with.

#![allow(clippy::unwrap_used, reason = "a test ends where its world is not as it should be")]

mod barren;
mod bounds;
mod clock;
mod datagrams;
mod floodfill;
mod guards;
mod hostile;
mod introductions;
mod isolation;
mod keyless;
mod losses;
mod neighbours;
mod netdb;
mod questions;
mod reach;
mod replay;
mod scenarios;
mod session;
mod sizes;
mod streams;
mod swarm;
mod tunnels;
mod udp;
mod world;

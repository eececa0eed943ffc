//! Routers end to end, in virtual time. Every assertion names the seed that it ran with.

mod clock;
mod netdb;
mod replay;
mod session;
mod streams;
mod tunnels;
mod world;

//! Three machines and one clock.

mod hostile;
mod roles;
mod world;

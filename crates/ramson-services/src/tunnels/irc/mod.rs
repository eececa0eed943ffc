//! IRC through tunnels: what a program tells about its user is filtered on the way out, what would have it open
//! connections of its own on the way in; and a server of ours reads who comes.

mod client;
mod filter;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod line;
mod server;

pub(super) use client::pass as pass_filtered;
pub(super) use server::{DOWN, pass as pass_registered};

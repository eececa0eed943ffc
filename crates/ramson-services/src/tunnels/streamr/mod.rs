//! One source of datagrams for many, such as a radio, as Java's streamr tunnels do it, which can be at the other end: who
//! wants to hear says so by a signed datagram of one byte, again and again, and gets what the source says as plain ones.

mod client;
mod server;
mod subscribers;
#[cfg(test)]
mod tests;

pub use client::{StreamrClient, StreamrClientConfig};
pub use server::{StreamrServer, StreamrServerConfig};
use subscribers::Subscribers;

/// The first byte of a datagram that says that its sender wants to hear.
const SUBSCRIBE: u8 = 0;
/// The same of one that says that he does not any more.
const UNSUBSCRIBE: u8 = 1;

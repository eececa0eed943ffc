//! A living I2P router, and the library that programs embed.
//!
//! [`Ramson`] is the handle of a running router: [`Ramson::start`] makes it from a [`Config`]. A [`LocalDestination`]
//! is an address of our own; it [connects](LocalDestination::connect) to others and [listens](LocalDestination::listen)
//! for them, and both give a [`Stream`], which reads and writes like a TCP connection. It sends [datagrams](OutgoingDatagram)
//! and [receives](LocalDestination::datagrams) them, too. Of a [`KeylessDestination`] the program keeps the keys, and brings
//! its own streams.
//!
//! Not in this crate: names (a program resolves them, see `ramson-services`), and any protocol above streams.
//! Below this API stands the seam to the driver, [`seam`]; the driver owns sockets, disk and clock.

#[cfg(ramson_fuzz_crypto)]
compile_error!("without its cryptography this is no router; ramson_fuzz_crypto is for fuzzing the core alone");

mod client;
pub mod config;
mod datagram;
mod driver;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod keyless;
mod net;
pub mod reseed;
pub mod seam;
mod status;
pub mod store;
mod stream;
#[doc(hidden)]
pub mod testing;

pub use client::{DestinationOptions, Found, Incoming, Listener, LocalDestination, Ramson, Target, TunnelOptions};
pub use config::Config;
pub use datagram::{Datagram, DatagramFormat, DatagramSender, Datagrams, OutgoingDatagram};
pub use error::{Error, ErrorKind};
pub use keyless::{KeylessDestination, KeylessEvent, KeylessEvents, KeylessSink, MessageRefusal, OutgoingMessage};
pub use ramson_wire::data::PrivateKeys;
pub use ramson_wire::data::{Destination, Hash, Mapping};
pub use status::{
    BuildStatus, ClockStatus, DeclinedBy, DestinationStatus, Draining, DroppedBy, Event, InboundTunnel, LinkStatus,
    NetDbStatus, Progress, Reachability, Route, Stage, Status, TransitStatus, TunnelStatus,
};
pub use stream::Stream;

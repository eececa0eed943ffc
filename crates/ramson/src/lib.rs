//! A living I2P router, and the library that programs embed.
//!
//! [`Ramson`] is the handle of a running router: [`Ramson::builder`] makes one. A [`LocalDestination`]
//! is an address of our own; it [connects](LocalDestination::connect) to others and [listens](LocalDestination::listen)
//! for them, and both give a [`Stream`], which reads and writes like a TCP connection. It sends [datagrams](OutgoingDatagram)
//! and [receives](LocalDestination::datagrams) them, too. Of a [`KeylessDestination`] the program keeps the keys, and brings
//! its own streams.
//!
//! A program that serves a page to anybody in I2P, and reads it as somebody else:
//!
//! ```no_run
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let ramson = ramson::Ramson::builder().data_dir("/var/lib/my-program").start().await?;
//!
//! // Its address stays what it is as long as the file does.
//! let site = ramson.server("site", "/var/lib/my-program/site.dat").await?;
//! let mut listener = site.listen(Some(80)).await?;
//! tokio::spawn(async move {
//!     while let Ok(mut incoming) = listener.accept().await {
//!         tokio::spawn(async move {
//!             let mut request = [0; 1024];
//!             let _ = incoming.stream.read(&mut request).await;
//!             let page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nHello\n";
//!             let _ = incoming.stream.write_all(page).await;
//!             let _ = incoming.stream.shutdown().await;
//!         });
//!     }
//! });
//! // Tunnels take some seconds; with a new identity the first reseed comes before them.
//! site.ready().await?;
//! println!("http://{}/", site.b32());
//!
//! // Another destination of the same router: nobody can tell that they belong together.
//! let reader = ramson.client("reader").await?;
//! reader.ready().await?;
//! let mut stream = reader.connect(&format!("{}:80", site.b32())).await?;
//! stream.write_all(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n").await?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer).await?;
//! println!("{answer}");
//! ramson.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! A program beside a router that runs already, be it i2pd, the Java router or Ramson, has the same API over I2CP: see
//! [`Ramson::over_i2cp`].
//!
//! `examples/` has more: an echo, a site made with axum, an HTTP client made with hyper, a chat.
//!
//! Not in this crate: names (a program gives an [`AddressBook`], such as that of `ramson-services`), and any protocol above
//! streams.
//!
//! # Features
//!
//! `port-mapping` (on by default) asks the gateway of the local network to forward ports. Without it a program has some fifty
//! crates fewer to build, and a router behind a translator is reached by introducers alone.
//!
//! Below this API stands the seam to the driver, [`seam`]; the driver owns sockets, disk and clock.

#![warn(missing_docs)]

#[cfg(ramson_fuzz_crypto)]
compile_error!("without its cryptography this is no router; ramson_fuzz_crypto is for fuzzing the core alone");

mod address;
mod builder;
mod client;
pub mod config;
mod datagram;
mod driver;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod i2cp;
pub mod key_file;
mod keyless;
mod mapping;
mod net;
pub mod reseed;
pub mod seam;
mod status;
pub mod store;
mod stream;
#[doc(hidden)]
pub mod testing;

pub use address::{Address, AddressBook};
pub use builder::Builder;
pub use client::{DestinationOptions, Found, Incoming, Listener, LocalDestination, Ramson, Target, TunnelOptions};
pub use config::Config;
pub use datagram::{Datagram, DatagramFormat, DatagramSender, Datagrams, OutgoingDatagram};
pub use error::{Error, ErrorKind};
pub use i2cp::I2cpRouter;
pub use keyless::{KeylessDestination, KeylessEvent, KeylessEvents, KeylessSink, MessageRefusal, OutgoingMessage};
pub use ramson_wire::data::PrivateKeys;
pub use ramson_wire::data::base32::host_name as b32;
pub use ramson_wire::data::{Destination, Hash, Mapping};
pub use status::{
    BuildStatus, ClockStatus, DeclinedBy, DestinationStatus, Draining, DroppedBy, Event, InboundTunnel, Inside,
    LinkStatus, NetDbStatus, OwnTunnel, Progress, Reachability, Route, Stage, Status, Tested, TransitStatus,
    TunnelStatus,
};
pub use stream::Stream;

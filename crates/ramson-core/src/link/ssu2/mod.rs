//! SSU2: sessions with other routers over UDP. <https://geti2p.net/spec/ssu2>

mod confirmed;
pub(crate) mod endpoint;
pub mod handshake;
pub(crate) mod job;
pub(in crate::link) mod outside;
mod packet;
pub(crate) mod peer_test;
pub mod relay;
mod tokens;
pub(crate) mod transfer;

pub use packet::{DataKeys, Direction, PacketError};

use crate::limits::ssu2 as limits;

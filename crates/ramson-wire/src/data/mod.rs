//! The common structures: <https://geti2p.net/spec/common-structures>.

pub mod base32;
pub mod base64;
pub mod certificate;
pub mod hash;
pub mod identity;

pub use hash::Hash;
pub use identity::{Destination, RouterIdentity};

//! The common structures: <https://geti2p.net/spec/common-structures>.

pub mod base32;
pub mod base64;
pub mod certificate;
pub mod hash;
pub mod identity;
pub mod mapping;
pub mod router_address;
pub mod router_info;

pub use hash::Hash;
pub use identity::{Destination, RouterIdentity};
pub use mapping::Mapping;
pub use router_address::RouterAddress;
pub use router_info::RouterInfo;

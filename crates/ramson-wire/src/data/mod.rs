//! The common structures: <https://geti2p.net/spec/common-structures>.

pub mod any_lease_set;
pub mod base32;
pub mod base64;
pub mod certificate;
pub mod hash;
pub mod identity;
pub mod lease;
pub mod lease_set;
pub mod lease_set2;
pub mod mapping;
pub mod offline;
pub mod private_keys;
pub mod router_address;
pub mod router_info;
pub mod ssu2_address;

pub use any_lease_set::AnyLeaseSet;
pub use hash::Hash;
pub use identity::{Destination, RouterIdentity};
pub use lease::{Lease, Lease2};
pub use lease_set::LeaseSet;
pub use lease_set2::LeaseSet2;
pub use mapping::Mapping;
pub use offline::OfflineSignature;
pub use private_keys::PrivateKeys;
pub use router_address::RouterAddress;
pub use router_info::RouterInfo;
pub use ssu2_address::Ssu2Address;

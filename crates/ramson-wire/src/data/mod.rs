//! The common structures: <https://geti2p.net/spec/common-structures>.

pub mod hash;

pub use hash::Hash;

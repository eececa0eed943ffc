//! The ratchet between destinations as values: tag sets, and the public-key work as jobs.
//! <https://geti2p.net/spec/ecies>; the whole KDFs stand in proposal 144.

pub mod handshake;
pub mod tag_set;

pub use handshake::{SessionDone, SessionJob};
pub use tag_set::{TagSet, TagSetEntry};

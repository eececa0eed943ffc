//! I2P on the wire: bytes to types and back, and the cryptography that belongs to them.
//!
//! What is here: the common structures (`data`), every live I2NP message (`i2np`), tunnel messages and build
//! records (`tunnel`), garlic blocks (`garlic`), NTCP2 blocks (`ntcp2`), SSU2 headers and blocks (`ssu2`), streaming
//! packets (`streaming`), datagrams (`datagram`), what programs say to a router (`i2cp`) and signed files (`su3`), over
//! one checked cursor
//! (`codec`). The cryptography stands in `crypto`; randomness is always an argument.
//!
//! What is not here: clocks, state of peers, sockets, files, a runtime. Parsing validates: a value that exists is
//! well formed, and decoders consume all bytes or fail with an error that names the field.
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]
#![cfg_attr(test, allow(clippy::cast_possible_truncation))]

pub mod codec;
pub mod crypto;
pub mod data;
pub mod datagram;
pub mod garlic;
pub mod i2cp;
pub mod i2np;
pub mod ntcp2;
pub mod ssu2;
pub mod streaming;
pub mod su3;
pub mod tunnel;

pub use codec::DecodeError;

//! What stands in for the cryptography while the machines behind it are fuzzed (`fuzz/machines`): a fuzzer that had to
//! find a valid tag or signature would never get past the first message.
//!
//! The cfg `ramson_fuzz_crypto` comes by RUSTFLAGS and is no feature, so that no dependent can switch it on. `guard.rs`
//! refuses to compile it outside a fuzzing build, and the crate `ramson` refuses it altogether: no router that talks to
//! a network can be built of it.
//!
//! Each stand-in keeps a way to fail, so that the failure paths are fuzzed too, and keeps what machines rely on: both
//! sides of a Diffie-Hellman get the same secret, different secrets give different keys and tags, lengths stay. Hashes,
//! key derivation and ChaCha20 (the source of all randomness) are the real ones.

#![allow(clippy::missing_const_for_fn, reason = "the signatures are those of the real primitives")]

pub(super) mod aead;
pub mod aes;
pub mod elligator2;
mod guard;
pub(super) mod sign;
pub mod siphash;
pub(super) mod x25519;

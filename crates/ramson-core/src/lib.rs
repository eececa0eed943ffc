//! The I2P router as a value: a deterministic state machine.
//!
//! Time, randomness, bytes and finished jobs come in as arguments; writes, jobs, saves and events come out. There is
//! no socket, file, clock, runtime or global here: one process can hold one router on a real network, or a thousand
//! in virtual time.

#[cfg(target_os = "linux")]
#[cfg(test)]
#[path = "../../ramson-wire/tests/it/heap.rs"]
mod heap;

mod bucket;
pub mod clock;
pub mod dest;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod i2cp;
pub mod job;
pub mod keys;
pub mod limits;
pub mod link;
mod meter;
pub mod netdb;
pub mod own_info;
pub mod peers;
pub mod reach;
pub mod rng;
pub mod router;
mod seen;
pub mod stream;
pub mod time;
pub mod timer;
pub mod tunnel;

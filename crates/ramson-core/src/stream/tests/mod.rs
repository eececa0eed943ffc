//! Two machines, one clock and a seeded link; and one machine against packets made by hand.

mod ending;
mod hostile;
mod interop;
mod pair;
mod solo;
mod transfer;

use super::*;
use crate::rng::Rng;
use crate::time::{Instant, Now};
use ramson_wire::crypto::sign::SigningKey;
use std::sync::Arc;

/// A destination and its key.
fn local(seed: u8) -> Local {
    let key = SigningKey::from_seed([seed; 32]);
    let destination = Destination::new(key.verifying_key(), &mut Rng::from_seed([seed; 32]));
    Local { destination, key: Arc::new(key), offline: None }
}

fn at(ms: u64) -> Now {
    Now::new(Instant::from_micros(1_000_000 + ms * 1000), 1_700_000_000_000 + ms)
}

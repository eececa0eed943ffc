//! Who has said the password.

use super::rpc::Fault;
use crate::limits::{I2PCONTROL_TOKEN_TIME, I2PCONTROL_TOKENS};
use ramson_wire::data::base64;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Tokens that were given out, the oldest first. They end with the router.
#[derive(Default)]
pub(super) struct Tokens(Mutex<VecDeque<(Zeroizing<String>, Instant)>>);

impl Tokens {
    /// A new one. Where there are too many the oldest ends.
    pub(super) fn give(&self) -> Result<String, Fault> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret).map_err(Fault::failed)?;
        let token = base64::encode(&*secret);
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if given.len() >= I2PCONTROL_TOKENS {
            given.pop_front();
        }
        given.push_back((Zeroizing::new(token.clone()), Instant::now()));
        Ok(token)
    }

    /// Whether it was given out, and is still good.
    pub(super) fn check(&self, token: &str) -> Result<(), Fault> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |(known, _): &(Zeroizing<String>, _)| bool::from(known.as_bytes().ct_eq(token.as_bytes()));
        let at = given.iter().position(is_it).ok_or_else(Fault::unknown_token)?;
        if given.get(at).is_some_and(|(_, since)| since.elapsed() < I2PCONTROL_TOKEN_TIME) {
            return Ok(());
        }
        given.remove(at);
        Err(Fault::old_token())
    }
}

//! The public-key work of introductions: a signature is checked, and one is made.

use crate::netdb::store::{Known, Verified};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::data::RouterInfo;
use std::sync::Arc;

/// Checks something, then signs what depends on the outcome.
pub(crate) struct RelayJob {
    pub(super) token: u64,
    pub(super) check: Option<Check>,
    pub(super) signature: Signature,
    pub(super) key: Arc<SigningKey>,
}

/// A message and who has signed it, as it says.
pub(super) struct Check {
    pub(super) signer: Arc<RouterInfo>,
    /// Nobody has verified the signer's RouterInfo so far.
    pub(super) unverified: bool,
    pub(super) message: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// What is signed after the check.
#[derive(Default)]
pub(super) struct Signature {
    /// When it was good, or there was none.
    pub(super) if_good: Option<Vec<u8>>,
    pub(super) if_bad: Option<Vec<u8>>,
}

impl Signature {
    /// Signs this in any case.
    pub(super) fn of(message: Vec<u8>) -> Self {
        Self { if_good: Some(message), if_bad: None }
    }
}

/// What came of a [`RelayJob`].
pub(crate) struct RelayDone {
    pub(super) token: u64,
    pub(super) good: bool,
    pub(super) signature: Option<Vec<u8>>,
}

impl RelayJob {
    /// Does the work: up to two verifications and a signature.
    pub(crate) fn run(self, known: Known<'_>) -> RelayDone {
        let good = self.check.is_none_or(|check| check.run(known));
        let message = if good { self.signature.if_good } else { self.signature.if_bad };
        let signature = message.map(|message| self.key.sign(&message).to_vec());
        RelayDone { token: self.token, good, signature }
    }
}

impl Check {
    fn run(self, known: Known<'_>) -> bool {
        if self.unverified && Verified::new_knowing(Arc::clone(&self.signer), known).is_err() {
            return false;
        }
        self.signer.identity().verify(&self.message, &self.signature).is_ok()
    }
}

//! The public-key work of tests.

use super::Role;
use crate::keys::RouterKeys;
use ramson_wire::data::RouterInfo;
use std::sync::Arc;

/// Verifies what another has signed, and signs what we say.
#[derive(Debug)]
pub struct TestJob {
    pub(crate) role: Role,
    pub(crate) nonce: u32,
    pub(super) verify: Option<Verify>,
    /// What is to be signed by our router.
    pub(super) sign: Option<Vec<u8>>,
}

/// A message and its signature by a router.
#[derive(Debug)]
pub(super) struct Verify {
    pub(super) by: Arc<RouterInfo>,
    /// That RouterInfo was verified before.
    pub(super) known: bool,
    pub(super) message: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// What came of a [`TestJob`].
#[derive(Debug)]
pub struct TestDone {
    pub(crate) role: Role,
    pub(crate) nonce: u32,
    /// Everything that was to be verified is good.
    pub(super) good: bool,
    pub(super) signature: Option<[u8; 64]>,
}

impl TestJob {
    pub(crate) fn run(self, keys: &RouterKeys) -> TestDone {
        let good = self.verify.is_none_or(|verify| {
            let by = &verify.by;
            let key = by.identity().signing_key();
            (verify.known || by.verify().is_ok()) && key.verify(&verify.message, &verify.signature).is_ok()
        });
        let signature = self.sign.map(|message| keys.signing.sign(&message));
        TestDone { role: self.role, nonce: self.nonce, good, signature }
    }

    /// What is told when it could not be run.
    pub(crate) const fn failed(role: Role, nonce: u32) -> TestDone {
        TestDone { role, nonce, good: false, signature: None }
    }
}

//! The verification of RouterInfos, and the mark that it was done.

use super::{Refusal, Source};
use ramson_wire::data::{Hash, RouterInfo};
use std::sync::Arc;

/// The verification of one RouterInfo.
#[derive(Debug)]
pub struct VerifyJob {
    pub(super) info: Arc<RouterInfo>,
    pub(super) source: Source,
}

impl VerifyJob {
    /// The router whose signature it is.
    pub fn hash(&self) -> Hash {
        self.info.hash()
    }

    pub fn run(self) -> VerifyDone {
        VerifyDone { hash: self.info.hash(), verified: Verified::new(self.info).ok(), source: self.source }
    }
}

/// The result of a [`VerifyJob`].
#[derive(Debug)]
pub struct VerifyDone {
    pub(super) hash: Hash,
    pub(super) verified: Option<Verified>,
    pub(super) source: Source,
}

/// A RouterInfo whose signature was verified.
#[derive(Clone, Debug)]
pub struct Verified(pub(super) Arc<RouterInfo>);

impl Verified {
    /// Verifies the signature. This is public-key work: it belongs into a job.
    pub fn new(info: Arc<RouterInfo>) -> Result<Self, Refusal> {
        info.verify().map_err(|_| Refusal::BadSignature)?;
        Ok(Self(info))
    }

    pub fn info(&self) -> &Arc<RouterInfo> {
        &self.0
    }
}

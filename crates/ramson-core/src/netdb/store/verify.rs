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

    /// The RouterInfo to verify.
    pub fn info(&self) -> &Arc<RouterInfo> {
        &self.info
    }

    /// What there is to say where the same RouterInfo was verified before, byte for byte; else the job itself. Nets
    /// of many routers in one process keep one copy of each RouterInfo so, and verify it once.
    ///
    /// # Errors
    /// Gives the job back when this is another RouterInfo.
    pub fn with_known(self, known: &Verified) -> Result<VerifyDone, Self> {
        if known.0.as_bytes() != self.info.as_bytes() {
            return Err(self);
        }
        Ok(VerifyDone { hash: known.0.hash(), verified: Some(known.clone()), source: self.source })
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

impl VerifyDone {
    /// The RouterInfo, if it verified.
    pub const fn verified(&self) -> Option<&Verified> {
        self.verified.as_ref()
    }
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

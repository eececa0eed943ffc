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

    pub fn run(self) -> VerifyDone {
        self.run_knowing(&|_| None)
    }

    /// The same where `known` may have verified this RouterInfo before.
    pub fn run_knowing(self, known: Known<'_>) -> VerifyDone {
        let Self { info, source } = self;
        VerifyDone { hash: info.hash(), verified: Verified::new_knowing(info, known).ok(), source }
    }
}

/// What was verified before of the router that this RouterInfo is of.
pub type Known<'a> = &'a dyn Fn(&RouterInfo) -> Option<Verified>;

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

    /// The same, but that what was verified before, byte for byte, is not verified again. Nets of many routers in one
    /// process keep one copy of each RouterInfo so.
    pub fn new_knowing(info: Arc<RouterInfo>, known: Known<'_>) -> Result<Self, Refusal> {
        match known(&info).filter(|known| known.0.as_bytes() == info.as_bytes()) {
            Some(known) => Ok(known),
            None => Self::new(info),
        }
    }

    pub fn info(&self) -> &Arc<RouterInfo> {
        &self.0
    }
}

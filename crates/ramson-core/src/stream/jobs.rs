//! Public-key work of streams, as values that run anywhere.

use crate::rng::Rng;
use crate::stream::StreamId;
use crate::time::{Instant, Now};
use ramson_wire::DecodeError;
use ramson_wire::crypto::sign::{SigningKey, VerifyingKey};
use ramson_wire::data::{Destination, Hash};
use ramson_wire::streaming::sign::{self, Unsigned};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Work to do outside the machine; the result goes to [`super::Streams::handle_job`].
#[derive(Debug)]
pub enum Job {
    Sign(SignJob),
    Verify(VerifyJob),
}

impl Job {
    pub(crate) const fn id(&self) -> u64 {
        match self {
            Self::Sign(job) => job.id,
            Self::Verify(job) => job.id,
        }
    }

    pub fn run(self, rng: &mut Rng) -> Done {
        match self {
            Self::Sign(job) => job.run(rng),
            Self::Verify(job) => job.run(rng),
        }
    }
}

/// Signs one packet.
#[derive(Debug)]
pub struct SignJob {
    id: u64,
    unsigned: Unsigned,
    key: Arc<SigningKey>,
}

impl SignJob {
    pub fn run(self, _rng: &mut Rng) -> Done {
        Done { id: self.id, outcome: Outcome::Signed(self.unsigned.sign(&self.key)) }
    }
}

/// Verifies one packet's signature.
#[derive(Debug)]
pub struct VerifyJob {
    id: u64,
    packet: Vec<u8>,
    by: By,
    unix_secs: u32,
}

impl VerifyJob {
    pub fn run(self, _rng: &mut Rng) -> Done {
        let verified = match &self.by {
            By::Itself(from) => {
                sign::verify(&self.packet, from, self.unix_secs).map(|key| Signer { destination: from.clone(), key })
            }
            By::Peer(signer) => sign::verify_by_key(&self.packet, &signer.destination, &signer.key, self.unix_secs)
                .map(|()| signer.clone()),
        };
        Done { id: self.id, outcome: Outcome::Verified { packet: self.packet, verified } }
    }
}

/// Who signs a stream's packets: a destination, by its own or by a transient key.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    pub(super) destination: Destination,
    pub(super) key: VerifyingKey,
}

/// By whom a packet claims to be signed.
#[derive(Debug)]
pub(super) enum By {
    /// The destination that the packet names.
    Itself(Destination),
    Peer(Signer),
}

/// What a job gave.
#[derive(Debug)]
pub struct Done {
    pub(super) id: u64,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Signed(Vec<u8>),
    Verified { packet: Vec<u8>, verified: Result<Signer, DecodeError> },
}

/// Both ends' ports: the local one first.
pub(super) type Ports = (u16, u16);

/// What a job is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The packet of a stream with this sequence.
    Sign {
        stream: StreamId,
        sequence: u32,
    },
    /// A packet that no stream waits for: RESET, ping.
    SignLoose {
        to: Hash,
        ports: Ports,
    },
    Syn {
        ports: Ports,
        /// When it came.
        since: Instant,
    },
    SynAck {
        stream: StreamId,
    },
    Close {
        stream: StreamId,
    },
    Reset {
        stream: StreamId,
    },
    Ping {
        ports: Ports,
    },
}

impl Purpose {
    /// Whether any stranger can cause it.
    const fn is_strangers(&self) -> bool {
        matches!(self, Self::Syn { .. } | Self::Ping { .. })
    }
}

/// The jobs that are out.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    last: u64,
    out: BTreeMap<u64, Purpose>,
    strangers: usize,
}

impl Jobs {
    fn register(&mut self, purpose: Purpose) -> u64 {
        self.last += 1;
        self.strangers += usize::from(purpose.is_strangers());
        self.out.insert(self.last, purpose);
        self.last
    }

    pub(super) fn sign(&mut self, key: &Arc<SigningKey>, unsigned: Unsigned, purpose: Purpose) -> Job {
        Job::Sign(SignJob { id: self.register(purpose), unsigned, key: key.clone() })
    }

    pub(super) fn verify(&mut self, now: Now, packet: Vec<u8>, by: By, purpose: Purpose) -> Job {
        let unix_secs = now.unix_secs();
        Job::Verify(VerifyJob { id: self.register(purpose), packet, by, unix_secs })
    }

    /// Takes back the purpose of a job; `None` for one that is not out.
    pub(super) fn take(&mut self, id: u64) -> Option<Purpose> {
        let purpose = self.out.remove(&id)?;
        self.strangers -= usize::from(purpose.is_strangers());
        Some(purpose)
    }

    /// Whether none is out.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Signatures of strangers that are being verified.
    pub(super) const fn strangers(&self) -> usize {
        self.strangers
    }
}

//! Public-key work as values: the shell runs them on a pool, the simulator in place.

use crate::dest::ratchet::handshake::SessionDone;
use crate::dest::{
    DestinationDone, DestinationId, DestinationJob, SignDone, VerifyDone as VerifyBundledDone, datagram::DatagramDone,
    keyless::AdoptDone,
};
use crate::keys::RouterKeys;
use crate::link::ssu2::peer_test::{Role, TestDone, TestJob};
use crate::link::{ConnId, LinkDone, LinkJob};
use crate::netdb::flood;
use crate::netdb::store::{Known, VerifyDone, VerifyJob};
use crate::own_info::OwnInfo;
use crate::rng::Rng;
use crate::stream;
use crate::tunnel::{TunnelDone, TunnelJob};
use ramson_wire::codec::DecodeError;
use ramson_wire::crypto::CryptoError;
use ramson_wire::crypto::x25519::{PublicKey, SecretKey};
use ramson_wire::data::{AnyLeaseSet, Hash, RouterInfo};
use ramson_wire::garlic;
use std::sync::Arc;

/// Classes of jobs, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Handshakes that we began, own tunnel builds, own look-ups and publications.
    Own,
    /// Streams, sessions and LeaseSets of our destinations.
    Client,
    /// Handshakes that others began.
    Inbound,
    /// Tunnel builds of others, and garlic to the router.
    Transit,
    /// RouterInfos, and LeaseSets that are stored at us.
    Verify,
}

impl Class {
    pub const COUNT: usize = 5;
}

/// One piece of public-key work.
pub enum Job {
    Link(LinkJob),
    Tunnel(TunnelJob),
    Destination(DestinationId, DestinationJob),
    Stream(DestinationId, stream::Job),
    VerifyRouter(VerifyJob),
    /// Verify a LeaseSet that was stored at us, a floodfill.
    VerifyStored(flood::VerifyJob),
    /// Sign our RouterInfo.
    SignInfo {
        own: OwnInfo,
        keys: Arc<RouterKeys>,
        unix_ms: u64,
    },
    /// A step of a peer test, with our keys.
    PeerTest(Box<TestJob>, Arc<RouterKeys>),
    /// Seal a payload to a router; the token says what for.
    SealToRouter {
        token: u64,
        key: PublicKey,
        payload: Vec<u8>,
    },
    /// Open a garlic message to us as a router.
    OpenAtRouter {
        from: Option<Hash>,
        key: SecretKey,
        body: Vec<u8>,
    },
    /// Verify a LeaseSet that a look-up of a destination has brought.
    VerifyLeaseSet {
        destination: DestinationId,
        set: Arc<AnyLeaseSet>,
    },
}

/// What a job is for: what is left of it when its run has panicked.
pub struct JobName {
    class: Class,
    pub(crate) of: JobOf,
}

/// Who waits for a job, and what it is told when there is no result.
pub(crate) enum JobOf {
    Link(ConnId),
    /// The build request of another router.
    Request,
    Session(DestinationId, SessionDone),
    SignLeaseSet(DestinationId, SignDone),
    VerifyBundled(DestinationId, VerifyBundledDone),
    Adopt(DestinationId, AdoptDone),
    Datagram(DestinationId, DatagramDone),
    Stream(DestinationId, u64),
    VerifyRouter(Hash),
    VerifyStored,
    VerifyLeaseSet(DestinationId, Hash),
    SignInfo,
    PeerTest(Role, u32),
    SealToRouter(u64),
    OpenAtRouter,
    Nobody,
}

impl JobName {
    pub const fn class(&self) -> Class {
        self.class
    }
}

/// What came of a [`Job`].
pub enum JobDone {
    Link(LinkDone),
    Tunnel(TunnelDone),
    Destination(DestinationId, DestinationDone),
    Stream(DestinationId, stream::Done),
    VerifyRouter(VerifyDone),
    VerifyStored(flood::VerifyDone),
    SignInfo(Result<RouterInfo, DecodeError>),
    PeerTest(TestDone),
    SealToRouter {
        token: u64,
        body: Result<Vec<u8>, CryptoError>,
    },
    OpenAtRouter {
        from: Option<Hash>,
        payload: Result<Vec<u8>, DecodeError>,
    },
    /// The LeaseSet, if it verifies.
    VerifyLeaseSet {
        destination: DestinationId,
        key: Hash,
        set: Option<Arc<AnyLeaseSet>>,
    },
    /// It has panicked, or there was no room for it.
    Failed(JobName),
}

impl Job {
    /// To be kept while the job runs, for [`JobDone::Failed`].
    pub fn name(&self) -> JobName {
        let of = match self {
            Self::Link(job) => JobOf::Link(job.conn),
            Self::Tunnel(TunnelJob::Request(_)) => JobOf::Request,
            Self::Destination(id, DestinationJob::Session(job)) => JobOf::Session(*id, job.failed()),
            Self::Destination(id, DestinationJob::Sign(_)) => JobOf::SignLeaseSet(*id, SignDone::failed()),
            Self::Destination(id, DestinationJob::Verify(job)) => JobOf::VerifyBundled(*id, job.failed()),
            Self::Destination(id, DestinationJob::Adopt(job)) => JobOf::Adopt(*id, job.failed()),
            Self::Destination(id, DestinationJob::Datagram(job)) => JobOf::Datagram(*id, job.failed()),
            Self::Stream(id, job) => JobOf::Stream(*id, job.id()),
            Self::VerifyRouter(job) => JobOf::VerifyRouter(job.hash()),
            Self::VerifyStored(_) => JobOf::VerifyStored,
            Self::SignInfo { .. } => JobOf::SignInfo,
            Self::PeerTest(job, _) => JobOf::PeerTest(job.role, job.nonce),
            Self::SealToRouter { token, .. } => JobOf::SealToRouter(*token),
            Self::OpenAtRouter { .. } => JobOf::OpenAtRouter,
            Self::VerifyLeaseSet { destination, set } => JobOf::VerifyLeaseSet(*destination, set.key()),
            // It has a time-out.
            Self::Tunnel(TunnelJob::Create(_)) => JobOf::Nobody,
        };
        JobName { class: self.class(), of }
    }

    pub fn class(&self) -> Class {
        match self {
            Self::Link(job) if job.conn.is_inbound() => Class::Inbound,
            Self::PeerTest(job, _) if job.role != Role::Alice => Class::Inbound,
            Self::Link(_)
            | Self::PeerTest(..)
            | Self::Tunnel(TunnelJob::Create(_))
            | Self::SignInfo { .. }
            | Self::SealToRouter { .. } => Class::Own,
            Self::Destination(..) | Self::Stream(..) | Self::VerifyLeaseSet { .. } => Class::Client,
            Self::Tunnel(TunnelJob::Request(_)) | Self::OpenAtRouter { .. } => Class::Transit,
            Self::VerifyRouter(_) | Self::VerifyStored(_) => Class::Verify,
        }
    }

    /// Does the work. What it draws at random it draws here.
    pub fn run(self, rng: &mut Rng) -> JobDone {
        self.run_knowing(rng, &|_| None)
    }

    /// The same where RouterInfos may have been verified before, by other routers of this process.
    pub fn run_knowing(self, rng: &mut Rng, known: Known<'_>) -> JobDone {
        match self {
            Self::Link(job) => JobDone::Link(job.run_knowing(rng, known)),
            Self::Tunnel(job) => JobDone::Tunnel(job.run(rng)),
            Self::Destination(id, job) => JobDone::Destination(id, job.run(rng)),
            Self::Stream(id, job) => JobDone::Stream(id, job.run(rng)),
            Self::VerifyRouter(job) => JobDone::VerifyRouter(job.run_knowing(known)),
            Self::VerifyStored(job) => JobDone::VerifyStored(job.run()),
            Self::SignInfo { own, keys, unix_ms } => JobDone::SignInfo(own.sign(&keys, unix_ms)),
            Self::PeerTest(job, keys) => JobDone::PeerTest(job.run(&keys)),
            Self::SealToRouter { token, key, payload } => {
                JobDone::SealToRouter { token, body: garlic::router::seal(rng, &key, &payload) }
            }
            Self::OpenAtRouter { from, key, body } => {
                JobDone::OpenAtRouter { from, payload: garlic::router::open(&key, &body) }
            }
            Self::VerifyLeaseSet { destination, set } => {
                let key = set.key();
                let set = set.verify().is_ok().then_some(set);
                JobDone::VerifyLeaseSet { destination, key, set }
            }
        }
    }
}

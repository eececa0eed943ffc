//! Build requests of others: their records in both forms, and the public-key work to open them.

use crate::rng::Rng;
use crate::time::Instant;
use ramson_wire::codec::{Decode, DecodeError, Encode};
use ramson_wire::crypto::aes::TunnelLayer;
use ramson_wire::crypto::x25519::{PublicKey, SecretKey};
use ramson_wire::crypto::{CryptoError, Secret};
use ramson_wire::data::Hash;
use ramson_wire::i2np::tunnel_build::{BuildRecords, LongBuildRecords};
use ramson_wire::i2np::{Kind, Message};
use ramson_wire::tunnel::bandwidth::Reply;
use ramson_wire::tunnel::build_record::{self, GarlicReply, OpenError, Request};
use ramson_wire::tunnel::long_record;
use std::sync::Arc;

/// What a waiting request takes beside its records, at most.
const OVERHEAD: usize = 256;

/// The keys by which requests to us are opened.
#[derive(Debug)]
pub struct StaticKey {
    pub secret: SecretKey,
    pub public: PublicKey,
}

/// Opening a request that is addressed to us: public-key work.
#[derive(Debug)]
pub struct RequestJob {
    pub(super) request: Waiting,
    pub(super) key: Arc<StaticKey>,
}

/// The result of a [`RequestJob`].
#[derive(Debug)]
pub struct RequestDone {
    pub(super) request: Waiting,
    pub(super) result: Result<(Request, Keys), OpenError>,
}

impl RequestJob {
    /// Draws nothing at random; the argument keeps all jobs alike.
    pub fn run(self, _rng: &mut Rng) -> RequestDone {
        let result = self.request.records.open(self.request.index, &self.key);
        RequestDone { request: self.request, result }
    }
}

/// A request that is not opened yet.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The previous hop.
    pub(super) from: Hash,
    /// Where our record stands.
    pub(super) index: u8,
    pub(super) ephemeral: [u8; 32],
    pub(super) records: Records,
    /// When it came, and when its job was begun.
    pub(super) since: Instant,
}

impl Waiting {
    /// What it takes while it waits.
    pub(super) fn bytes(&self) -> usize {
        OVERHEAD + self.records.bytes()
    }
}

/// The records of a build message, in the form in which they came and go on.
#[derive(Debug)]
pub(super) enum Records {
    Short(BuildRecords),
    /// With a count, as VariableTunnelBuild has it.
    Variable(LongBuildRecords),
    /// Eight without a count, as TunnelBuild has them.
    Fixed(LongBuildRecords),
}

/// The keys that the records of either form make.
#[derive(Debug)]
pub(super) enum Keys {
    Short(build_record::HopKeys),
    Long(long_record::HopKeys),
}

impl Records {
    pub(super) fn read(message: &Message) -> Result<Self, DecodeError> {
        Ok(match message.kind {
            Kind::TUNNEL_BUILD => Self::Fixed(LongBuildRecords::from_fixed(&message.body)?),
            Kind::VARIABLE_TUNNEL_BUILD => Self::Variable(LongBuildRecords::from_bytes(&message.body)?),
            _ => Self::Short(BuildRecords::from_bytes(&message.body)?),
        })
    }

    /// Index and ephemeral key of the one record for the router of this hash.
    pub(super) fn ours(&self, own: &Hash) -> Option<(u8, [u8; 32])> {
        let mut ours = (0u8..8).filter_map(|index| Some((index, self.ephemeral_key(index, own)?)));
        match (ours.next(), ours.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    }

    fn ephemeral_key(&self, index: u8, own: &Hash) -> Option<[u8; 32]> {
        match self {
            Self::Short(records) => {
                let record = records.records().get(usize::from(index))?;
                build_record::is_for(record, own).then(|| build_record::ephemeral_key(record))
            }
            Self::Variable(records) | Self::Fixed(records) => {
                let record = records.records().get(usize::from(index))?;
                long_record::is_for(record, own).then(|| long_record::ephemeral_key(record))
            }
        }
    }

    fn open(&self, index: u8, key: &StaticKey) -> Result<(Request, Keys), OpenError> {
        let (index, none) = (usize::from(index), OpenError::Crypto(CryptoError));
        match self {
            Self::Short(records) => {
                let record = records.records().get(index).ok_or(none)?;
                let (request, keys) = build_record::open_request(record, &key.secret, &key.public)?;
                Ok((request, Keys::Short(keys)))
            }
            Self::Variable(records) | Self::Fixed(records) => {
                let record = records.records().get(index).ok_or(none)?;
                let (request, keys) = long_record::open_request(record, &key.secret, &key.public)?;
                Ok((request, Keys::Long(keys)))
            }
        }
    }

    /// Puts our reply where our record stood, and does to the others what a hop does.
    pub(super) fn answer(&mut self, keys: &Keys, index: u8, reply: Reply, rng: &mut Rng) {
        match (self, keys) {
            (Self::Short(records), Keys::Short(keys)) => keys.answer(records.records_mut(), index, reply, rng),
            (Self::Variable(records) | Self::Fixed(records), Keys::Long(keys)) => {
                keys.answer(records.records_mut(), index, reply, rng);
            }
            // Keys are those of the records that they were opened from.
            _ => {}
        }
    }

    /// The message that goes to the next hop; from an endpoint, where `replies`, to the gateway of the reply tunnel.
    pub(super) fn message(&self, replies: bool, id: u32, expiration: u64) -> Message {
        let (kind, reply, body) = match self {
            Self::Short(records) => (Kind::SHORT_TUNNEL_BUILD, Kind::OUTBOUND_TUNNEL_BUILD_REPLY, records.to_bytes()),
            Self::Variable(records) => {
                (Kind::VARIABLE_TUNNEL_BUILD, Kind::VARIABLE_TUNNEL_BUILD_REPLY, records.to_bytes())
            }
            Self::Fixed(records) => (Kind::TUNNEL_BUILD, Kind::TUNNEL_BUILD_REPLY, records.to_fixed()),
        };
        Message { kind: if replies { reply } else { kind }, id, expiration, body }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Short(records) => records.records().len() * build_record::RECORD_LEN,
            Self::Variable(records) | Self::Fixed(records) => records.records().len() * long_record::RECORD_LEN,
        }
    }
}

impl Keys {
    /// The layer of the tunnel.
    pub(super) fn layer(&self) -> TunnelLayer {
        let (layer, iv): (&Secret, &Secret) = match self {
            Self::Short(keys) => (&keys.layer, &keys.iv),
            Self::Long(keys) => (&keys.layer, &keys.iv),
        };
        TunnelLayer::new(layer, iv)
    }

    /// Whether the records have 528 bytes.
    #[cfg(ramson_lab)]
    pub(super) const fn is_long(&self) -> bool {
        matches!(self, Self::Long(_))
    }

    /// What the reply is to be sealed with, where the form has that.
    pub(super) const fn garlic(&self) -> Option<&GarlicReply> {
        match self {
            Self::Short(keys) => keys.garlic.as_ref(),
            Self::Long(_) => None,
        }
    }
}

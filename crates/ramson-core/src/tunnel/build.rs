//! Building a tunnel: what its creator sends, and what it reads from the replies.
//! <https://geti2p.net/spec/tunnel-creation-ecies>

use crate::rng::Rng;
use crate::time::Now;
use ramson_wire::codec::Encode;
use ramson_wire::crypto::CryptoError;
use ramson_wire::crypto::aes::TunnelLayer;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::Hash;
use ramson_wire::garlic;
use ramson_wire::garlic::block::{Block, Clove, Delivery};
use ramson_wire::i2np::tunnel_build::BuildRecords;
use ramson_wire::i2np::{Kind, Message};
use ramson_wire::tunnel::TunnelId;
use ramson_wire::tunnel::bandwidth::{BandwidthRequest, Reply};
use ramson_wire::tunnel::build_record::{self, GarlicReply, HopKeys, Record, Request, Role};

/// Records of a message with few hops: one size for most tunnels, so that hops learn nothing from it.
const FEW_RECORDS: usize = 4;
const MANY_RECORDS: usize = 8;
/// Build messages are of no use after this.
const EXPIRY_MS: u64 = 10_000;

/// A router that shall be a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    pub hash: Hash,
    /// The X25519 key of its identity.
    pub static_key: PublicKey,
}

impl From<crate::peers::Selection> for Hop {
    fn from(selection: crate::peers::Selection) -> Self {
        Self { hash: selection.hash, static_key: selection.static_key }
    }
}

/// Which way a tunnel leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    Inbound,
    Outbound,
}

impl Direction {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Inbound => Self::Outbound,
            Self::Outbound => Self::Inbound,
        }
    }
}

/// The name of a build in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId(pub u64);

/// What one build consists of, before its keys are made.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) direction: Direction,
    /// In the order of the messages: the creator's neighbour is first outbound, last inbound.
    pub(super) hops: Vec<Hop>,
    /// The id under which each hop receives.
    pub(super) ids: Vec<TunnelId>,
    /// Where the last hop sends: the gateway of the reply tunnel outbound, ourselves inbound.
    pub(super) end: (Hash, TunnelId),
    /// The I2NP id under which the last hop sends.
    pub(super) reply_message_id: u32,
    /// Inbound: wrap the message in garlic for the gateway, so that who delivers it does not see what it is.
    pub(super) wrap: bool,
    /// What each hop is asked to provide, in kilobytes a second.
    pub(super) bandwidth: Option<u32>,
}

/// Making the keys and records of a build: public-key work for every hop.
#[derive(Debug)]
pub struct CreateJob {
    pub(super) id: BuildId,
    pub(super) own: Hash,
    pub(super) now: Now,
    pub(super) plan: Plan,
}

/// The result of a [`CreateJob`].
#[derive(Debug)]
pub struct Created {
    pub(super) id: BuildId,
    pub(super) result: Result<(Message, Pending), CryptoError>,
}

/// What the creator keeps until the reply.
#[derive(Debug)]
pub(super) struct Pending {
    /// Record index and keys of each hop, in order.
    keys: Vec<(u8, HopKeys)>,
    /// Hash of every record that belongs to no hop, by index.
    fakes: Vec<(usize, Hash)>,
    count: usize,
}

/// Why a reply does not make a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ReplyError {
    /// A record was changed on the way, or their number.
    #[error("the records came back changed")]
    Tampered,
}

impl CreateJob {
    pub fn run(self, rng: &mut Rng) -> Created {
        Created { id: self.id, result: self.create(rng) }
    }

    fn create(&self, rng: &mut Rng) -> Result<(Message, Pending), CryptoError> {
        let plan = &self.plan;
        let inbound = plan.direction == Direction::Inbound;
        let needed = plan.hops.len() + usize::from(inbound);
        let count = if needed <= FEW_RECORDS { FEW_RECORDS } else { MANY_RECORDS };
        let mut order: Vec<u8> = (0..8).take(count).collect();
        rng.shuffle(&mut order);
        let mut records: Vec<Record> = (0..count).map(|_| ramson_wire::crypto::random(rng)).collect();
        let mut keys = Vec::with_capacity(plan.hops.len());
        for (place, (hop, index)) in plan.hops.iter().zip(&order).enumerate() {
            let request = self.request(place, rng)?;
            let (record, secrets) = build_record::seal_request(&request, &hop.hash, &hop.static_key, rng)?;
            set(&mut records, *index, record);
            keys.push((*index, secrets));
        }
        if let (true, Some(index)) = (inbound, order.get(plan.hops.len())) {
            set(&mut records, *index, build_record::fake_record(&self.own, rng));
        }
        let fakes = records.iter().enumerate().filter(|(at, _)| keys.iter().all(|(own, _)| usize::from(*own) != *at));
        let fakes = fakes.map(|(at, record)| (at, Hash::of(record))).collect();
        build_record::conceal(&mut records, &keys);
        let body = BuildRecords::new(records).map_err(|_| CryptoError)?.to_bytes();
        let expiration = self.now.unix_ms + EXPIRY_MS;
        let mut message = Message { kind: Kind::SHORT_TUNNEL_BUILD, id: rng.nonzero_u32(), expiration, body };
        if let (true, Some(gateway)) = (plan.wrap, plan.hops.first()) {
            message = wrap_for_router(&gateway.static_key, message, self.now, rng)?;
        }
        Ok((message, Pending { keys, fakes, count }))
    }

    fn request(&self, place: usize, rng: &mut Rng) -> Result<Request, CryptoError> {
        let plan = &self.plan;
        let last = place + 1 == plan.hops.len();
        let next = plan.hops.get(place + 1).map(|hop| hop.hash).zip(plan.ids.get(place + 1).copied());
        let (next_hop, next_tunnel) = next.unwrap_or(plan.end);
        let role = match plan.direction {
            Direction::Inbound if place == 0 => Role::InboundGateway,
            Direction::Outbound if last => Role::OutboundEndpoint,
            _ => Role::Participant,
        };
        Ok(Request {
            receive_tunnel: plan.ids.get(place).copied().ok_or(CryptoError)?,
            next_tunnel,
            next_hop,
            role,
            minutes: u32::try_from(self.now.unix_ms / 60_000).unwrap_or(u32::MAX),
            send_message_id: if last { plan.reply_message_id } else { rng.nonzero_u32() },
            bandwidth: BandwidthRequest { requested: plan.bandwidth, ..BandwidthRequest::NONE },
        })
    }
}

impl Pending {
    /// Reads the replies of all hops, in order, and checks that nobody changed what is not theirs.
    pub(super) fn replies(&self, body: &[u8]) -> Result<Vec<Reply>, ReplyError> {
        use ramson_wire::codec::Decode;
        let mut records = BuildRecords::from_bytes(body).map_err(|_| ReplyError::Tampered)?;
        if records.records().len() != self.count {
            return Err(ReplyError::Tampered);
        }
        let replies = build_record::reveal(records.records_mut(), &self.keys).map_err(|_| ReplyError::Tampered)?;
        let whole = |(at, hash): &(usize, Hash)| records.records().get(*at).is_some_and(|r| Hash::of(r) == *hash);
        if self.fakes.iter().all(whole) { Ok(replies) } else { Err(ReplyError::Tampered) }
    }

    /// Key and tag of the garlic around the reply to an outbound build.
    pub(super) fn garlic(&self) -> Option<&GarlicReply> {
        self.keys.last().and_then(|(_, keys)| keys.garlic.as_ref())
    }

    /// The layers of the tunnel, in the order of the hops.
    pub(super) fn layers(&self) -> Vec<TunnelLayer> {
        self.keys.iter().map(|(_, keys)| TunnelLayer::new(&keys.layer, &keys.iv)).collect()
    }
}

/// A message in garlic for a router, which takes it for itself.
pub(super) fn wrap_for_router(
    key: &PublicKey,
    message: Message,
    now: Now,
    rng: &mut Rng,
) -> Result<Message, CryptoError> {
    let expiration = message.expiration;
    let clove = Block::Clove(Clove { delivery: Delivery::Local, message });
    let payload = Block::encode_all(&[Block::DateTime(now.unix_secs()), clove]);
    let body = garlic::router::seal(rng, key, &payload)?;
    Ok(Message { kind: Kind::GARLIC, id: rng.nonzero_u32(), expiration, body })
}

/// A message in garlic under a key and tag that are used once.
pub(super) fn wrap_once(key: &[u8; 32], tag: &[u8; 8], message: Message, rng: &mut Rng) -> Message {
    let expiration = message.expiration;
    let clove = Block::Clove(Clove { delivery: Delivery::Local, message });
    let padding = u16::try_from(rng.below(16)).unwrap_or(0);
    let payload = Block::encode_all(&[clove, Block::Padding(padding)]);
    Message { kind: Kind::GARLIC, id: rng.nonzero_u32(), expiration, body: garlic::one_time::seal(key, tag, &payload) }
}

/// The first local message inside a garlic message under this key.
pub(super) fn unwrap_once(key: &[u8; 32], body: &[u8]) -> Option<Message> {
    let payload = garlic::one_time::open(key, body).ok()?;
    Block::decode_all(&payload).ok()?.into_iter().find_map(|block| match block {
        Block::Clove(Clove { delivery: Delivery::Local, message }) => Some(message),
        _ => None,
    })
}

fn set(records: &mut [Record], index: u8, record: Record) {
    if let Some(place) = records.get_mut(usize::from(index)) {
        *place = record;
    }
}

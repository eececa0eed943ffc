//! What an adversary does. None of it is in a router.

use ramson_core::rng::Rng;
use ramson_wire::codec::Encode;
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::i2np::tunnel_build::BuildRecords;
use ramson_wire::i2np::{Kind, Message};
use ramson_wire::tunnel::bandwidth::BandwidthRequest;
use ramson_wire::tunnel::build_record::{self, Record, Request};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Records of a build, as most tunnels have them.
const RECORDS: usize = 4;
/// Build messages are good for so long.
const LIFETIME_MS: u64 = 10_000;
/// Routers that a lying answer names.
const NAMED: usize = 16;

/// What a peer on strings plays.
#[derive(Clone, Debug, Default)]
pub enum Role {
    /// Serves as a floodfill and a hop, as a test tells it; says that it is one.
    #[default]
    Floodfill,
    /// Takes connections, and answers nothing.
    Silent,
    /// Agrees to tunnels, and drops what comes through them.
    Dropping,
    /// A floodfill that confirms what it is given and keeps none of it, and whose answers name its own people only.
    Lying(Arc<Vec<Arc<RouterInfo>>>),
    /// Sends so many build requests a second to the routers that it knows: valid ones, for tunnels that nobody uses.
    Flooding(u32),
    /// Does its part, and writes down who its neighbours are.
    Observing,
    /// Drops this share of the build requests that do not come from one of its own people, 0 to 1.
    Failing(f64, Arc<BTreeSet<Hash>>),
}

impl Role {
    /// Whether it says of itself that it is a floodfill.
    pub(crate) const fn is_floodfill(&self) -> bool {
        matches!(self, Self::Floodfill | Self::Lying(_))
    }

    /// Whether it drops this message unread.
    pub(crate) fn drops(&self, from: Option<Hash>, kind: Kind, rng: &mut Rng) -> bool {
        match self {
            Self::Silent => true,
            Self::Dropping => matches!(kind, Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY),
            Self::Failing(share, own) => {
                let build = kind == Kind::SHORT_TUNNEL_BUILD && from.is_none_or(|from| !own.contains(&from));
                build && rng.unit() < *share
            }
            Self::Floodfill | Self::Lying(_) | Self::Flooding(_) | Self::Observing => false,
        }
    }

    /// What it tells of its own people when it is asked for one.
    pub(crate) fn own(&self, hash: &Hash) -> Option<&Arc<RouterInfo>> {
        let Self::Lying(own) = self else { return None };
        own.iter().find(|info| info.hash() == *hash)
    }

    /// Whom an answer names, where that is not for the netDb to say.
    pub(crate) fn names(&self, rng: &mut Rng) -> Option<Vec<Arc<RouterInfo>>> {
        let Self::Lying(own) = self else { return None };
        let mut named: Vec<_> = own.iter().cloned().collect();
        rng.shuffle(&mut named);
        named.truncate(NAMED);
        Some(named)
    }
}

/// A request to be a hop of a tunnel that leads from nowhere to `next`.
pub(crate) fn build_request(to: &RouterInfo, next: Hash, unix_ms: u64, rng: &mut Rng) -> Option<Message> {
    let request = Request {
        receive_tunnel: rng.nonzero_u32(),
        next_tunnel: rng.nonzero_u32(),
        next_hop: next,
        role: build_record::Role::Participant,
        minutes: u32::try_from(unix_ms / 60_000).unwrap_or(u32::MAX),
        send_message_id: rng.nonzero_u32(),
        bandwidth: BandwidthRequest::NONE,
    };
    let (record, _) = build_record::seal_request(&request, &to.hash(), &to.identity().static_key(), rng).ok()?;
    let mut records: Vec<Record> = (1..RECORDS).map(|_| ramson_wire::crypto::random(rng)).collect();
    records.insert(rng.below(RECORDS), record);
    let body = BuildRecords::new(records).ok()?.to_bytes();
    Some(Message { kind: Kind::SHORT_TUNNEL_BUILD, id: rng.nonzero_u32(), expiration: unix_ms + LIFETIME_MS, body })
}

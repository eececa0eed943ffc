//! Tunnels through the routers under test, built and used by the crowd: every hop in them is a participant, and the
//! crowd is the creator, the router before the first hop and the one behind the last.

use crate::plane::Plane;
use ramson_core::time::Now;
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::crypto::aes::TunnelLayer;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::i2np::tunnel_build::BuildRecords;
use ramson_wire::i2np::tunnel_data::{BODY_LEN, set_tunnel};
use ramson_wire::i2np::{Kind, Message};
use ramson_wire::tunnel::bandwidth::BandwidthRequest;
use ramson_wire::tunnel::build_record::{self, ACCEPT, HopKeys, Record, Request, Role};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Records of a build, as most tunnels have them.
const RECORDS: usize = 4;
/// Build and tunnel messages are good for so long.
const LIFETIME_MS: u64 = 10_000;
/// A build without an answer after this is tried again.
const PATIENCE: u64 = 4_000_000;
/// Behind IV, number and time: what a message that came through unharmed holds.
const FILL: u8 = 0x5a;

/// A router under test.
pub(crate) struct Hop {
    pub(crate) name: String,
    pub(crate) info: Arc<RouterInfo>,
    /// Its process, for what it costs.
    pub(crate) pid: u32,
}

impl Hop {
    /// `NAME,FILE,PID`, the file being its RouterInfo.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let (Some(name), Some(file), Some(pid), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(format!("`{text}` is not NAME,FILE,PID"));
        };
        let info = crate::people::read_info(&PathBuf::from(file))?;
        let pid = pid.parse().map_err(|_| format!("`{pid}` is no process"))?;
        Ok(Self { name: name.to_owned(), info: Arc::new(info), pid })
    }

    fn key(&self) -> PublicKey {
        self.info.identity().static_key()
    }
}

/// Where a route stands.
enum State {
    Unbuilt,
    Building { since: u64, keys: Vec<(u8, HopKeys)> },
    Up { layers: Vec<TunnelLayer> },
}

/// One tunnel.
pub(crate) struct Route {
    pub(crate) sender: u32,
    pub(crate) receiver: u32,
    /// Places in the list of hops, in order.
    pub(crate) hops: Vec<usize>,
    first: Hash,
    first_id: u32,
    state: State,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) broken: u64,
    /// Microseconds on the way, one entry a message, while they are asked for.
    pub(crate) times: Option<Vec<u32>>,
}

impl Route {
    pub(crate) fn new(sender: u32, receiver: u32, hops: Vec<usize>) -> Self {
        let (first, state) = (Hash([0; 32]), State::Unbuilt);
        Self { sender, receiver, hops, first, first_id: 0, state, sent: 0, received: 0, broken: 0, times: None }
    }

    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    const fn is_waiting(&self, micros: u64) -> bool {
        match &self.state {
            State::Building { since, .. } => micros.saturating_sub(*since) < PATIENCE,
            State::Unbuilt => false,
            State::Up { .. } => true,
        }
    }
}

/// All tunnels of a measurement.
pub(crate) struct Routes {
    pub(crate) hops: Vec<Hop>,
    pub(crate) routes: Vec<Route>,
    /// Builds that a hop has declined, or that were not answered.
    pub(crate) declined: u64,
    pub(crate) unanswered: u64,
}

impl Routes {
    pub(crate) const fn new(hops: Vec<Hop>) -> Self {
        Self { hops, routes: Vec::new(), declined: 0, unanswered: 0 }
    }

    /// Has routers of the crowd connect with every hop, `per_second` of them; until all sessions stand.
    pub(crate) fn connect(
        &self,
        plane: &mut Plane,
        members: std::ops::Range<u32>,
        per_second: u64,
        limit: Duration,
    ) -> Result<(), String> {
        let begin = plane.micros();
        let mut missing: Vec<(u32, usize)> = Vec::new();
        let mut asked = 0;
        loop {
            let age = plane.micros() - begin;
            let wanted = u32::try_from(age * per_second / 1_000_000 + 1).unwrap_or(u32::MAX).min(members.len() as u32);
            while asked < wanted {
                missing.extend((0..self.hops.len()).map(|hop| (members.start + asked, hop)));
                asked += 1;
            }
            missing.retain(|(member, hop)| !plane.is_connected(*member, &self.hops[*hop].info.hash()));
            if asked == members.len() as u32 && missing.is_empty() {
                return Ok(());
            }
            if age > limit.as_micros() as u64 {
                return Err(format!("{} sessions do not come up", missing.len()));
            }
            for (member, hop) in &missing {
                plane.dial(*member, &self.hops[*hop].info)?;
            }
            for _ in 0..20 {
                plane.turn(Duration::from_millis(5))?;
            }
        }
    }

    /// Builds all routes, at most `per_second`; those that fail are tried again.
    pub(crate) fn build(&mut self, plane: &mut Plane, per_second: u64, limit: Duration) -> Result<(), String> {
        let begin = plane.micros();
        let mut built = 0;
        let mut at = 0;
        loop {
            let age = plane.micros() - begin;
            if self.routes.iter().all(Route::is_up) {
                return Ok(());
            }
            if age > limit.as_micros() as u64 {
                let up = self.routes.iter().filter(|route| route.is_up()).count();
                return Err(format!(
                    "{up} of {} tunnels stand; {} builds declined, {} unanswered",
                    self.routes.len(),
                    self.declined,
                    self.unanswered
                ));
            }
            let mut looked = 0;
            while built < age * per_second / 1_000_000 + 1 && looked < self.routes.len() {
                at = (at + 1) % self.routes.len();
                looked += 1;
                if !self.routes[at].is_waiting(plane.micros()) {
                    self.begin(plane, at)?;
                    built += 1;
                }
            }
            plane.turn(Duration::from_millis(5))?;
            self.take(plane);
        }
    }

    /// Asks for the tunnel once.
    pub(crate) fn begin(&mut self, plane: &mut Plane, at: usize) -> Result<(), String> {
        let now = plane.now();
        let route = &mut self.routes[at];
        if matches!(route.state, State::Building { .. }) {
            self.unanswered += 1;
        }
        let ids: Vec<u32> = (0..=route.hops.len()).map(|_| plane.rng.nonzero_u32()).collect();
        let reply = plane.rng.nonzero_u32();
        let end = plane.hash(route.receiver)?;
        let mut places: Vec<u8> = (0..RECORDS as u8).collect();
        plane.rng.shuffle(&mut places);
        let mut records: Vec<Record> = (0..RECORDS).map(|_| plane.rng.bytes()).collect();
        let mut keys = Vec::new();
        for (place, hop) in route.hops.iter().enumerate() {
            let last = place + 1 == route.hops.len();
            let request = Request {
                receive_tunnel: ids[place],
                next_tunnel: ids[place + 1],
                next_hop: route.hops.get(place + 1).map_or(end, |next| self.hops[*next].info.hash()),
                role: Role::Participant,
                minutes: u32::try_from(now.unix_ms / 60_000).unwrap_or(u32::MAX),
                send_message_id: if last { reply } else { plane.rng.nonzero_u32() },
                bandwidth: BandwidthRequest::NONE,
            };
            let hop = &self.hops[*hop];
            let sealed = build_record::seal_request(&request, &hop.info.hash(), &hop.key(), &mut plane.rng);
            let (record, secrets) = sealed.map_err(|why| format!("{}: {why}", hop.name))?;
            records[usize::from(places[place])] = record;
            keys.push((places[place], secrets));
        }
        build_record::conceal(&mut records, &keys);
        let body = BuildRecords::new(records).map_err(|why| why.to_string())?.to_bytes();
        let (id, expiration) = (plane.rng.nonzero_u32(), now.unix_ms + LIFETIME_MS);
        route.first = self.hops[route.hops[0]].info.hash();
        route.first_id = ids[0];
        route.state = State::Building { since: plane.micros(), keys };
        plane.replies.insert(reply, at);
        plane.ends.insert(ids[route.hops.len()], at);
        plane.put(now, route.sender, &route.first, Message { kind: Kind::SHORT_TUNNEL_BUILD, id, expiration, body });
        plane.drain(route.sender);
        Ok(())
    }

    /// Takes what has arrived: replies to builds, and tunnel messages.
    pub(crate) fn take(&mut self, plane: &mut Plane) {
        while let Some(arrived) = plane.arrived.pop_front() {
            match arrived.message.kind {
                Kind::TUNNEL_DATA => {
                    let id = arrived.message.body.first_chunk().map_or(0, |id| u32::from_be_bytes(*id));
                    let route = plane.ends.get(&id).and_then(|at| self.routes.get_mut(*at));
                    if let Some(route) = route.filter(|route| route.receiver == arrived.member) {
                        route.receive(plane.micros(), arrived.message.body);
                    }
                }
                _ => {
                    if let Some(at) = plane.replies.remove(&arrived.message.id) {
                        self.built(at, &arrived.message.body);
                    }
                }
            }
        }
    }

    fn built(&mut self, at: usize, body: &[u8]) {
        let route = &mut self.routes[at];
        let State::Building { keys, .. } = &route.state else { return };
        let replies = BuildRecords::from_bytes(body)
            .ok()
            .and_then(|mut records| build_record::reveal(records.records_mut(), keys).ok());
        route.state = match replies {
            Some(replies) if replies.iter().all(|reply| reply.code == ACCEPT) => {
                State::Up { layers: keys.iter().map(|(_, keys)| TunnelLayer::new(&keys.layer, &keys.iv)).collect() }
            }
            _ => {
                self.declined += 1;
                State::Unbuilt
            }
        };
    }

    /// Gives a message to the first hop; it goes out when the sender is drained.
    pub(crate) fn send(&mut self, plane: &mut Plane, now: Now, at: usize) -> bool {
        let route = &mut self.routes[at];
        let mut body = vec![FILL; BODY_LEN];
        set_tunnel(&mut body, route.first_id);
        let iv: [u8; 16] = plane.rng.bytes();
        body[4..20].copy_from_slice(&iv);
        body[20..28].copy_from_slice(&route.sent.to_be_bytes());
        body[28..36].copy_from_slice(&plane.micros().to_be_bytes());
        let (id, expiration) = (plane.rng.nonzero_u32(), now.unix_ms + LIFETIME_MS);
        route.sent += 1;
        plane.put(now, route.sender, &route.first, Message { kind: Kind::TUNNEL_DATA, id, expiration, body })
    }
}

impl Route {
    fn receive(&mut self, micros: u64, mut body: Vec<u8>) {
        let State::Up { layers } = &self.state else { return };
        for layer in layers.iter().rev() {
            if let Some(data) = body.get_mut(4..) {
                layer.decrypt(data);
            }
        }
        let whole = body.len() == BODY_LEN && body[36..].iter().all(|byte| *byte == FILL);
        if !whole {
            self.broken += 1;
            return;
        }
        self.received += 1;
        if let (Some(times), Some(sent)) = (&mut self.times, body[28..].first_chunk()) {
            times.push(u32::try_from(micros.saturating_sub(u64::from_be_bytes(*sent))).unwrap_or(u32::MAX));
        }
    }
}

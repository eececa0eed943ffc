//! An own tunnel that stands: its layers, its gateway or endpoint, and its health.

use super::build::Direction;
use super::endpoint::{Delivered, Endpoint};
use super::gateway::{Gateway, TooLarge};
use super::transit::for_gateway;
use super::{Passed, PoolId};
use crate::limits::tunnel as limits;
use crate::rng::Rng;
use crate::seen::SeenIvs;
use crate::time::{Duration, Instant, Now};
use ramson_wire::crypto::aes::TunnelLayer;
use ramson_wire::data::Hash;
use ramson_wire::i2np::{Kind, Message, tunnel_data};
use ramson_wire::tunnel::TunnelId;
use ramson_wire::tunnel::delivery::Target;

const EXPIRY_MS: u64 = 10_000;
/// A tunnel is replaced this long before its end, drawn for each.
const REPLACE: (Duration, Duration) = (Duration::from_secs(90), Duration::from_secs(120));
/// The pause between two tests of a tunnel, drawn each time.
const TEST: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(60));
/// A new tunnel is tested soon: a hop may have agreed and yet carry nothing.
const FIRST_TEST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(800));
/// After a failure it is tested again sooner.
const RETEST: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1_500));
/// A suspicion causes no test within this time of the last one.
const SUSPECT_PAUSE: Duration = Duration::from_secs(3);
/// The least time for a test.
const MIN_PATIENCE: Duration = Duration::from_millis(1_500);
/// A tunnel that is this old tells how much its pool carries.
const MEASURED: Duration = Duration::from_secs(60);
/// What a failed test says against a tunnel, where its partner is known to work and where not.
const PROVEN: u8 = 3;
const SHARED: u8 = 1;

/// An own inbound tunnel, as a lease names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inbound {
    pub gateway: Hash,
    /// The id at the gateway.
    pub tunnel: TunnelId,
    pub expires_unix_ms: u64,
}

/// An own tunnel.
pub(super) struct Own {
    pub(super) pool: PoolId,
    pub(super) direction: Direction,
    /// In the order of the messages; empty for a tunnel of no hops.
    pub(super) hops: Vec<Hash>,
    /// Where messages enter: the first hop and its id; ourselves and our id in a tunnel of no hops.
    pub(super) entry: (Hash, TunnelId),
    layers: Vec<TunnelLayer>,
    work: Work,
    pub(super) health: Health,
    /// Only for the replies of our first builds; in no list.
    pub(super) hidden: bool,
    /// Tunnel messages since the last test that came back, or the beginning.
    messages: u32,
    counted_at: Instant,
    /// Bytes of tunnel messages that it has carried.
    pub(super) bytes: u64,
    /// Kilobytes a second that every hop which was asked has promised at least.
    pub(super) granted: Option<u32>,
}

enum Work {
    Gateway(Gateway),
    Endpoint(Box<(Endpoint, SeenIvs)>),
}

/// How long a tunnel lives, and how it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    pub(super) expires: Instant,
    pub(super) expires_unix_ms: u64,
    /// When another shall be built in its place.
    pub(super) replace_at: Instant,
    pub(super) test_at: Instant,
    tested_at: Instant,
    /// What failures in a row say against it.
    pub(super) failures: u8,
    /// When the last test that came back was sent.
    works_at: Option<Instant>,
    /// Smoothed time of a test's way out and in.
    pub(super) rtt: Option<Duration>,
    /// Given up or over: an inbound one still receives until its grace ends.
    pub(super) lost: bool,
    /// It seems to lead nowhere for somebody: another one with another far end takes its place, and it is used to its end.
    pub(super) is_aside: bool,
}

impl Health {
    /// The life begins when the build does: the hops count from no earlier.
    pub(super) fn new(started: Now, rng: &mut Rng) -> Self {
        let expires = started.mono + limits::LIFETIME;
        let life_ms = u64::try_from(limits::LIFETIME.as_millis()).unwrap_or(u64::MAX);
        Self {
            expires,
            expires_unix_ms: started.unix_ms.saturating_add(life_ms),
            replace_at: expires - rng.between(REPLACE.0, REPLACE.1),
            test_at: started.mono + rng.between(FIRST_TEST.0, FIRST_TEST.1),
            tested_at: started.mono,
            failures: 0,
            works_at: None,
            rtt: None,
            lost: false,
            is_aside: false,
        }
    }

    pub(super) fn is_usable(&self, now: Instant) -> bool {
        !self.lost && now < self.expires
    }

    pub(super) fn tested(&mut self, now: Instant, rng: &mut Rng) {
        self.test_at = now + rng.between(TEST.0, TEST.1);
        self.tested_at = now;
    }

    /// Something that should have come by this tunnel did not: it is tested at once, unless it was just now.
    pub(super) fn suspect(&mut self, now: Instant) {
        if now.since(self.tested_at) >= SUSPECT_PAUSE {
            self.test_at = self.test_at.min(now);
        }
    }

    /// How long a test may take: four times what the last ones took.
    pub(super) fn patience(&self) -> Duration {
        self.rtt.map_or(limits::TEST_TIMEOUT, |rtt| (rtt * 4).clamp(MIN_PATIENCE, limits::TEST_TIMEOUT))
    }

    /// Notes a test that came back; it was sent at `sent`.
    fn passed(&mut self, sent: Instant, rtt: Duration) {
        self.failures = 0;
        self.note_works(sent);
        self.rtt = Some(self.rtt.map_or(rtt, |old| (old * 3 + rtt) / 4));
    }

    /// Something that was sent at this time by the tunnel was answered.
    pub(super) fn note_works(&mut self, sent: Instant) {
        self.works_at = self.works_at.max(Some(sent));
    }

    /// Whether a test came back that was sent at this time or later.
    pub(super) fn works_since(&self, at: Instant) -> bool {
        self.works_at.is_some_and(|works| works >= at)
    }

    /// Whether nothing speaks against it.
    pub(super) const fn is_sound(&self) -> bool {
        self.failures == 0
    }

    /// Notes a failed test, with a partner that is known to work or with another; true when the tunnel is to be given
    /// up.
    pub(super) fn failed(&mut self, now: Instant, partner_works: bool, rng: &mut Rng) -> bool {
        self.failures = self.failures.saturating_add(if partner_works { PROVEN } else { SHARED });
        self.test_at = now + rng.between(RETEST.0, RETEST.1);
        self.failures >= limits::TEST_FAILURES
    }
}

impl Own {
    pub(super) fn new(
        pool: PoolId,
        direction: Direction,
        entry: (Hash, TunnelId),
        path: (Vec<Hash>, Vec<TunnelLayer>),
        health: Health,
        rng: &mut Rng,
    ) -> Self {
        let work = match direction {
            Direction::Outbound => Work::Gateway(Gateway::default()),
            Direction::Inbound => {
                let seen = SeenIvs::new(limits::SEEN_IVS, limits::LIFETIME + limits::GRACE, rng);
                Work::Endpoint(Box::new((Endpoint::default(), seen)))
            }
        };
        let (hops, layers) = path;
        let counted_at = health.tested_at;
        let (hidden, messages, bytes, granted) = (false, 0, 0, None);
        Self { pool, direction, hops, entry, layers, work, health, hidden, messages, counted_at, bytes, granted }
    }

    /// The router at the other end: where others send to, or where what we send comes out. A tunnel of no hops has none.
    pub(super) fn far_end(&self) -> Option<Hash> {
        let end = if self.direction == Direction::Inbound { self.hops.first() } else { self.hops.last() };
        end.copied()
    }

    /// As a lease names it.
    pub(super) const fn as_inbound(&self) -> Inbound {
        let (gateway, tunnel) = self.entry;
        Inbound { gateway, tunnel, expires_unix_ms: self.health.expires_unix_ms }
    }

    /// What it carries on average: kilobytes a second; nothing while it is too young to tell.
    pub(super) fn kilobytes_per_second(&self, now: Instant) -> u64 {
        let left = self.health.expires.since(now);
        let age = limits::LIFETIME.saturating_sub(left);
        if age < MEASURED { 0 } else { self.bytes / 1_024 / age.as_secs().max(1) }
    }

    /// Takes a message for the far end of an outbound tunnel; tunnel messages that are full go out.
    pub(super) fn send(
        &mut self,
        now: Now,
        target: Target,
        message: Message,
        rng: &mut Rng,
        out: &mut Vec<(Hash, Message)>,
    ) -> Result<(), TooLarge> {
        let mut bodies = Vec::new();
        if self.hops.is_empty() {
            match target {
                Target::Local => {}
                Target::Router(to) => out.push((to, message)),
                Target::Tunnel { gateway, tunnel } => out.push((gateway, for_gateway(tunnel, message, rng))),
            }
            return Ok(());
        }
        let Work::Gateway(gateway) = &mut self.work else { return Ok(()) };
        let result = gateway.put(self.entry.1, target, &message, rng, &mut bodies);
        self.emit(now, bodies, rng, out);
        result
    }

    /// Sends what waits, at the end of a turn.
    pub(super) fn flush(&mut self, now: Now, rng: &mut Rng, out: &mut Vec<(Hash, Message)>) {
        let mut bodies = Vec::new();
        if let Work::Gateway(gateway) = &mut self.work {
            gateway.flush(self.entry.1, rng, &mut bodies);
        }
        self.emit(now, bodies, rng, out);
    }

    /// Takes a tunnel message off an inbound tunnel. Messages for us go to `out`; false when it was dropped.
    pub(super) fn receive(&mut self, now: Now, from: Hash, mut message: Message, out: &mut Vec<Message>) -> bool {
        let Work::Endpoint(work) = &mut self.work else { return false };
        let (endpoint, seen) = &mut **work;
        let Ok((_, data)) = tunnel_data::split_mut(&mut message.body) else { return false };
        self.bytes += data.len() as u64;
        if self.hops.last() != Some(&from) || !seen.insert(now.mono, &data[..32]) {
            return false;
        }
        self.messages = self.messages.saturating_add(1);
        self.layers.iter().rev().for_each(|layer| layer.decrypt(data));
        let mut delivered: Vec<Delivered> = Vec::new();
        let result = endpoint.handle(now.mono, &message.body, &mut delivered);
        // Nothing but our own messages has business in our tunnel.
        out.extend(delivered.into_iter().filter(|d| d.target == Target::Local).map(|d| d.message));
        result.is_ok()
    }

    /// Notes a test that came back; it was sent at `sent`.
    pub(super) fn passed(&mut self, now: Instant, sent: Instant, rtt: Duration) -> Passed {
        let first = self.health.works_at.is_none();
        self.health.passed(sent, rtt);
        let ms = now.since(self.counted_at).as_millis().max(1);
        let rate = u128::from(std::mem::take(&mut self.messages)) * 1_024 * 1_000 / ms;
        self.counted_at = now;
        Passed { first, rtt, rate: u32::try_from(rate).unwrap_or(u32::MAX) }
    }

    fn emit(&mut self, now: Now, bodies: Vec<Vec<u8>>, rng: &mut Rng, out: &mut Vec<(Hash, Message)>) {
        for mut body in bodies {
            self.messages = self.messages.saturating_add(1);
            if let Some(data) = body.get_mut(4..) {
                self.bytes += data.len() as u64;
                self.layers.iter().rev().for_each(|layer| layer.decrypt(data));
            }
            let expiration = now.unix_ms + EXPIRY_MS;
            let message = Message { kind: Kind::TUNNEL_DATA, id: rng.nonzero_u32(), expiration, body };
            out.push((self.entry.0, message));
        }
    }
}

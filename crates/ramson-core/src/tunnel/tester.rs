//! Tests of own tunnels: a small message leaves by an outbound tunnel and must come back by an inbound one. It
//! travels as garlic under a key that is used once, so that no hop can tell it from other traffic.

use super::build::{unwrap_once, wrap_once};
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::crypto::Secret;
use ramson_wire::garlic;
use ramson_wire::i2np::delivery_status::DeliveryStatus;
use ramson_wire::i2np::{Kind, Message};
use ramson_wire::tunnel::TunnelId;
use std::collections::BTreeMap;

const EXPIRY_MS: u64 = 20_000;

/// A test on its way.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) outbound: TunnelId,
    pub(super) inbound: TunnelId,
    token: u32,
    key: Secret,
    pub(super) sent: Instant,
    until: Instant,
}

/// The tests on their way, by the tag of their garlic. There is at most one for every two tunnels and timeout.
#[derive(Debug, Default)]
pub(super) struct Tester {
    tests: BTreeMap<[u8; 8], Test>,
}

impl Tester {
    /// The message of a new test, which fails after `patience`.
    pub(super) fn start(
        &mut self,
        now: Now,
        outbound: TunnelId,
        inbound: TunnelId,
        patience: Duration,
        rng: &mut Rng,
    ) -> Message {
        let (token, key, tag) = (rng.nonzero_u32(), Secret::from(rng.bytes()), rng.bytes());
        let body = DeliveryStatus { message_id: token, timestamp: now.unix_ms }.to_bytes();
        let expiration = now.unix_ms + EXPIRY_MS;
        let message = Message { kind: Kind::DELIVERY_STATUS, id: rng.nonzero_u32(), expiration, body };
        let sealed = wrap_once(&key, &tag, message, rng);
        self.tests.insert(tag, Test { outbound, inbound, token, key, sent: now.mono, until: now.mono + patience });
        sealed
    }

    /// Whether a garlic message is the test that shall come by this tunnel; its time of travel.
    pub(super) fn receive(&mut self, now: Now, inbound: TunnelId, body: &[u8]) -> Option<(Test, Duration)> {
        let tag = garlic::one_time::tag(body)?;
        let test = self.tests.get(&tag).filter(|test| test.inbound == inbound)?;
        let message = unwrap_once(&test.key, body)?;
        let status = DeliveryStatus::from_bytes(&message.body).ok()?;
        if message.kind != Kind::DELIVERY_STATUS || status.message_id != test.token {
            return None;
        }
        let test = self.tests.remove(&tag)?;
        let rtt = now.mono.since(test.sent);
        Some((test, rtt))
    }

    /// When the next one will be too late.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.tests.values().map(|test| test.until).min()
    }

    /// Tests that are too late.
    pub(super) fn take_failed(&mut self, now: Instant) -> Vec<Test> {
        let late = |test: &Test| test.until <= now;
        let tags: Vec<_> = self.tests.iter().filter(|(_, test)| late(test)).map(|(tag, _)| *tag).collect();
        tags.into_iter().filter_map(|tag| self.tests.remove(&tag)).collect()
    }

    /// Whether a test of this tunnel is on its way.
    pub(super) fn is_testing(&self, tunnel: TunnelId) -> bool {
        self.tests.values().any(|test| test.outbound == tunnel || test.inbound == tunnel)
    }
}

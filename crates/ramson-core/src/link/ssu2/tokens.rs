//! Tokens: who shows one has received what we sent to its address. <https://geti2p.net/spec/ssu2#tokens>
//!
//! Ours are not kept: a token is a random half and a keyed hash of it, of the address it was sent to, and of when. So a
//! flood of requests from addresses that are not their senders' costs no memory. The specification asks for tokens that
//! are stored because others could not be held to one use; only those that were used are noted here, which nobody can
//! make happen who has not received them.

use super::limits;
use crate::link::aged::Aged;
use crate::rng::Rng;
use crate::seen::Seen;
use crate::time::{Duration, Instant, Now};
use ramson_wire::crypto::Secret;
use ramson_wire::data::Hash;
use ramson_wire::ssu2::NewToken;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use std::net::SocketAddr;

/// A token of a Retry is good until the end of the next such span: 9 to 18 s.
const RETRY_SPAN: Duration = Duration::from_secs(9);
/// A token for the next session is good until the end of the second span after: 60 to 90 minutes.
const NEXT_SPAN: Duration = Duration::from_secs(30 * 60);
const NEXT_SPANS: u64 = 2;
/// A token that others gave us is not used in its last seconds.
const MARGIN_SECS: u32 = 10;
/// Others may give us a token for so long at most; more is not believed.
const LONGEST_SECS: u32 = 24 * 3600;

/// The tokens that we hand out and take.
pub(super) struct Tokens {
    key: Secret<16>,
    rng: Rng,
    /// Used ones, until they are over in any case.
    used: Seen,
}

impl Tokens {
    pub(super) fn new(mut rng: Rng) -> Self {
        let key = rng.bytes().into();
        let used = Seen::new(limits::USED_TOKENS, NEXT_SPAN * 3, &mut rng);
        Self { key, rng, used }
    }

    /// A token for a Retry to `to`.
    pub(super) fn retry(&mut self, now: Instant, to: &SocketAddr) -> u64 {
        self.make(Kind::Retry, span(now, RETRY_SPAN), to)
    }

    /// A token for the next session of a peer that is proven to be at `to`.
    pub(super) fn next(&mut self, now: Now, to: &SocketAddr) -> NewToken {
        let at = span(now.mono, NEXT_SPAN);
        let end = Instant::ZERO + NEXT_SPAN * u32::try_from(at + NEXT_SPANS + 1).unwrap_or(u32::MAX);
        let left = u32::try_from(end.since(now.mono).as_secs()).unwrap_or(0);
        NewToken { expires: now.unix_secs().saturating_add(left), token: self.make(Kind::Next, at, to) }
    }

    /// Takes a token from `from`: true once for each that is good.
    pub(super) fn take(&mut self, now: Instant, from: &SocketAddr, token: u64) -> bool {
        if !self.is_good(now, from, token) {
            return false;
        }
        let mut entry = [0; 26];
        let (first, rest) = entry.split_at_mut(8);
        first.copy_from_slice(&token.to_be_bytes());
        rest.copy_from_slice(&address(from));
        self.used.insert(now, &entry)
    }

    fn is_good(&self, now: Instant, from: &SocketAddr, token: u64) -> bool {
        let random = u16::try_from(token >> 48).unwrap_or(0);
        let (retry, next) = (span(now, RETRY_SPAN), span(now, NEXT_SPAN));
        let retries = (retry.saturating_sub(1)..=retry).map(|at| (Kind::Retry, at));
        let nexts = (next.saturating_sub(NEXT_SPANS)..=next).map(|at| (Kind::Next, at));
        token != 0 && retries.chain(nexts).any(|(kind, at)| self.token(kind, at, from, random) == token)
    }

    fn make(&mut self, kind: Kind, at: u64, to: &SocketAddr) -> u64 {
        for _ in 0..64 {
            let random = u16::from_be_bytes(self.rng.bytes());
            let token = self.token(kind, at, to, random);
            if token != 0 {
                return token;
            }
        }
        1 // 64 zeros in a row do not happen; and this one is not taken
    }

    fn token(&self, kind: Kind, at: u64, addr: &SocketAddr, random: u16) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u8(kind as u8);
        hasher.write(&at.to_be_bytes());
        hasher.write(&address(addr));
        hasher.write(&random.to_be_bytes());
        u64::from(random) << 48 | hasher.finish() >> 16
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Retry,
    Next,
}

fn span(now: Instant, length: Duration) -> u64 {
    let length = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
    now.as_micros() / length
}

/// Address and port in 18 bytes.
fn address(addr: &SocketAddr) -> [u8; 18] {
    let ip = match addr.ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(ip) => ip.octets(),
    };
    let mut out = [0; 18];
    let (first, rest) = out.split_at_mut(16);
    first.copy_from_slice(&ip);
    rest.copy_from_slice(&addr.port().to_be_bytes());
    out
}

/// The tokens that others gave us for our next session with them: one each, the latest.
pub(super) struct NextTokens(Aged<(SocketAddr, NewToken)>);

impl NextTokens {
    pub(super) fn new() -> Self {
        Self(Aged::new(limits::NEXT_TOKENS))
    }

    /// A peer at `addr` has given us a token. One that is over, or good for longer than any router gives, is not kept.
    pub(super) fn insert(&mut self, now: Now, peer: Hash, addr: SocketAddr, token: NewToken) {
        let left = token.expires.saturating_sub(now.unix_secs());
        if token.token != 0 && left > MARGIN_SECS && left <= LONGEST_SECS {
            self.0.insert(peer, (addr, token));
        }
    }

    /// Takes the token for a session with the peer at `addr`, if there is one: it is used once.
    pub(super) fn take(&mut self, now: Now, peer: &Hash, addr: &SocketAddr) -> Option<u64> {
        let (of, token) = *self.0.get(peer)?;
        self.0.remove(peer);
        let good = of == *addr && token.expires.saturating_sub(now.unix_secs()) > MARGIN_SECS;
        good.then_some(token.token)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    fn now(secs: u64) -> Now {
        Now::new(at(secs), (1_700_000_000 + secs) * 1000)
    }

    fn addr(n: u8) -> SocketAddr {
        ([10, 0, 0, n], 1000).into()
    }

    /// Threats T51: expired, of another address, used before.
    #[test]
    fn t51_a_token_is_good_once_for_its_address_and_in_its_time() {
        let mut tokens = Tokens::new(Rng::from_seed([1; 32]));
        for start in [0, 5, 8, 9, 1_000_003] {
            let retry = tokens.retry(at(start), &addr(1));
            assert!(!tokens.take(at(start), &addr(2), retry), "another address");
            assert!(!tokens.take(at(start), &([10, 0, 0, 1], 1001).into(), retry), "another port");
            assert!(!tokens.take(at(start + 18), &addr(1), retry), "over");
            assert!(tokens.take(at(start + 8), &addr(1), retry));
            assert!(!tokens.take(at(start + 8), &addr(1), retry), "used");
            let next = tokens.next(now(start), &addr(1));
            let life = u64::from(next.expires) - 1_700_000_000 - start;
            assert!((3_600..=5_400).contains(&life), "{life}");
            assert!(!tokens.take(at(start + life + 1), &addr(1), next.token));
            assert!(tokens.take(at(start + life - 1), &addr(1), next.token));
            assert!(!tokens.take(at(start + life - 1), &addr(1), next.token));
        }
    }

    #[test]
    fn guesses_and_neighbours_of_good_tokens_are_refused() {
        let mut tokens = Tokens::new(Rng::from_seed([2; 32]));
        let good = tokens.retry(at(0), &addr(1));
        assert!((0..64).all(|bit| !tokens.take(at(0), &addr(1), good ^ 1 << bit)));
        let mut rng = Rng::from_seed([3; 32]);
        assert!((0..10_000).all(|_| !tokens.take(at(0), &addr(1), rng.next_u64())));
        assert!(!tokens.take(at(0), &addr(1), 0));
        assert!(tokens.take(at(0), &addr(1), good));
        let many: std::collections::BTreeSet<u64> = (0..1_000).map(|_| tokens.retry(at(0), &addr(1))).collect();
        assert!(many.len() > 950, "one address may ask often: {}", many.len());
    }

    /// Threats T64: ten thousand tokens of a peer, and times that are none.
    #[test]
    fn t64_one_token_is_kept_for_each_peer() {
        let mut next = NextTokens::new();
        let (peer, start) = (Hash([1; 32]), now(0).unix_secs());
        let token = |expires, token| NewToken { expires, token };
        for n in 1..=10_000 {
            next.insert(now(0), peer, addr(1), token(start + 3600, n));
        }
        assert_eq!(next.len(), 1);
        assert_eq!(next.take(now(1), &peer, &addr(1)), Some(10_000), "the last");
        assert_eq!(next.take(now(1), &peer, &addr(1)), None, "once");
        for bad in [token(0, 1), token(start, 1), token(start + 10, 1), token(u32::MAX, 1), token(start + 3600, 0)] {
            next.insert(now(0), peer, addr(1), bad);
            assert_eq!(next.take(now(0), &peer, &addr(1)), None, "{bad:?}");
        }
        next.insert(now(0), peer, addr(1), token(start + 3600, 7));
        assert_eq!(next.take(now(0), &peer, &addr(2)), None, "another address");
        next.insert(now(0), peer, addr(1), token(start + 3600, 7));
        assert_eq!(next.take(now(3595), &peer, &addr(1)), None, "nearly over");
        for n in 0..10_000u32 {
            next.insert(now(0), Hash::of(&n.to_be_bytes()), addr(1), token(start + 3600, 7));
        }
        assert_eq!(next.len(), limits::NEXT_TOKENS);
    }
}

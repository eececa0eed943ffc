//! The endpoint of a tunnel: takes fragments out of tunnel messages and puts messages together, in any order of
//! arrival, within bounds of number, bytes and age.

use crate::limits::tunnel as limits;
use crate::time::Instant;
use ramson_wire::DecodeError;
use ramson_wire::i2np::Message;
use ramson_wire::tunnel::delivery::{Instructions, MAX_FRAGMENTS, Target};
use ramson_wire::tunnel::message;
use std::collections::{BTreeMap, VecDeque};

/// A message that came out of a tunnel, and where its instructions send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) target: Target,
    pub(super) message: Message,
}

/// Messages under reassembly.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    partial: BTreeMap<u32, Partial>,
    /// In the order of arrival of their first sign; ids that are done stay until their turn.
    order: VecDeque<(Instant, u32)>,
    bytes: usize,
}

#[derive(Debug)]
struct Partial {
    since: Instant,
    target: Option<Target>,
    fragments: BTreeMap<u8, Vec<u8>>,
    /// The number of the last fragment, once it is known.
    last: Option<u8>,
}

impl Endpoint {
    /// Takes a tunnel message whose layers are removed. Whole messages go to `out`, also those before an error; a
    /// message whose header does not fit is dropped.
    pub(super) fn handle(&mut self, now: Instant, body: &[u8], out: &mut Vec<Delivered>) -> Result<(), DecodeError> {
        self.expire(now);
        for fragment in message::open(body)? {
            let fragment = fragment?;
            match fragment.instructions {
                Instructions::First { target, fragmented: None } => deliver(target, fragment.data, out),
                Instructions::First { target, fragmented: Some(id) } => {
                    self.add(now, id, 0, Some(target), false, fragment.data, out);
                }
                Instructions::FollowOn { message_id, number, last } => {
                    self.add(now, message_id, number, None, last, fragment.data, out);
                }
            }
        }
        Ok(())
    }

    /// Bytes held, with what holding them costs.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets every message that is not complete.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    #[allow(clippy::too_many_arguments)] // the fields of one fragment
    fn add(
        &mut self,
        now: Instant,
        id: u32,
        number: u8,
        target: Option<Target>,
        last: bool,
        data: &[u8],
        out: &mut Vec<Delivered>,
    ) {
        if !self.partial.contains_key(&id) {
            self.make_room();
            self.order.push_back((now, id));
            let new = Partial { since: now, target: None, fragments: BTreeMap::new(), last: None };
            self.partial.insert(id, new);
        }
        let Some(partial) = self.partial.get_mut(&id) else { return };
        // The first of two fragments with one number wins.
        if partial.fragments.contains_key(&number) || partial.last.is_some_and(|end| last || number > end) {
            return;
        }
        partial.fragments.insert(number, data.to_vec());
        partial.target = partial.target.or(target);
        partial.last = partial.last.or(last.then_some(number));
        self.bytes += data.len() + limits::FRAGMENT_OVERHEAD;
        if partial.is_complete()
            && let (Some(target), Some(bytes)) = (partial.target, self.remove(id))
        {
            deliver(target, &bytes, out);
        }
        while self.bytes > limits::PARTIAL_BYTES && self.drop_oldest() {}
    }

    fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(since, _)| now.since(*since) > limits::PARTIAL_AGE) {
            self.drop_oldest();
        }
    }

    fn make_room(&mut self) {
        while self.order.len() >= limits::PARTIAL_MESSAGES && self.drop_oldest() {}
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((since, id)) = self.order.pop_front() else { return false };
        if self.partial.get(&id).is_some_and(|partial| partial.since == since) {
            self.remove(id);
        }
        true
    }

    /// Takes a message out; its fragments joined in order. Some beyond the last, of a confused sender, are left out.
    fn remove(&mut self, id: u32) -> Option<Vec<u8>> {
        let partial = self.partial.remove(&id)?;
        let held: usize = partial.fragments.values().map(|data| data.len() + limits::FRAGMENT_OVERHEAD).sum();
        self.bytes = self.bytes.saturating_sub(held);
        let end = partial.last.unwrap_or(u8::MAX);
        let mut joined = Vec::with_capacity(held);
        for (_, data) in partial.fragments.into_iter().take_while(|(number, _)| *number <= end) {
            joined.extend_from_slice(&data);
        }
        Some(joined)
    }
}

impl Partial {
    fn is_complete(&self) -> bool {
        debug_assert!(self.fragments.len() <= MAX_FRAGMENTS, "numbers have six bits");
        self.last.is_some_and(|last| self.fragments.range(..=last).count() == usize::from(last) + 1)
    }
}

fn deliver(target: Target, bytes: &[u8], out: &mut Vec<Delivered>) {
    if let Ok(message) = Message::decode_standard(bytes) {
        out.push(Delivered { target, message });
    }
}

#[cfg(test)]
mod tests {
    use super::super::gateway::{Gateway, MAX_MESSAGE, TooLarge};
    use super::*;
    use crate::rng::Rng;
    use crate::time::Duration;
    use ramson_wire::data::Hash;
    use ramson_wire::i2np::Kind;

    fn message(len: usize, id: u32) -> Message {
        let body = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        Message { kind: Kind::DATA, id, expiration: 1_000, body }
    }

    fn targets() -> [Target; 3] {
        let hash = Hash([7; 32]);
        [Target::Local, Target::Router(hash), Target::Tunnel { gateway: hash, tunnel: 9 }]
    }

    fn bodies(messages: &[(Target, Message)], rng: &mut Rng) -> Vec<Vec<u8>> {
        let (mut gateway, mut out) = (Gateway::default(), Vec::new());
        for (target, message) in messages {
            gateway.put(5, *target, message, rng, &mut out).unwrap();
        }
        gateway.flush(5, rng, &mut out);
        out
    }

    fn receive(endpoint: &mut Endpoint, bodies: &[Vec<u8>]) -> Vec<Delivered> {
        let mut out = Vec::new();
        bodies.iter().for_each(|body| endpoint.handle(Instant::ZERO, body, &mut out).unwrap());
        out
    }

    #[test]
    fn every_size_and_target_passes() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut endpoint = Endpoint::default();
        let sizes = (0..2100).chain((2100..MAX_MESSAGE - 16).step_by(997)).chain([MAX_MESSAGE - 16]);
        for (i, len) in sizes.enumerate() {
            let (target, message) = (targets()[i % 3], message(len, 3));
            let bodies = bodies(&[(target, message.clone())], &mut rng);
            assert_eq!(receive(&mut endpoint, &bodies), [Delivered { target, message }], "{len}");
            assert_eq!(endpoint.bytes(), 0);
        }
        let too_large = message(MAX_MESSAGE - 15, 3);
        let put = Gateway::default().put(5, Target::Local, &too_large, &mut rng, &mut Vec::new());
        assert_eq!(put, Err(TooLarge));
    }

    #[test]
    fn messages_share_tunnel_messages() {
        let mut rng = Rng::from_seed([2; 32]);
        let small: Vec<_> = (0..10).map(|id| (Target::Local, message(40, id))).collect();
        assert_eq!(bodies(&small, &mut rng).len(), 1);
        // 500 + 1,400 bytes begin the second message in the room that the first leaves.
        let mixed = [(Target::Local, message(500, 1)), (Target::Local, message(1_400, 2))];
        let two = bodies(&mixed, &mut rng);
        assert_eq!(two.len(), 2);
        assert_eq!(receive(&mut Endpoint::default(), &two).len(), 2);
        for seed in 0..200u8 {
            let mut rng = Rng::from_seed([seed; 32]);
            let many: Vec<_> = (0..20).map(|id| (targets()[rng.below(3)], message(rng.below(4_000), id))).collect();
            let bodies = bodies(&many, &mut rng);
            let got = receive(&mut Endpoint::default(), &bodies);
            let want: Vec<_> = many.into_iter().map(|(target, message)| Delivered { target, message }).collect();
            assert_eq!(got, want);
        }
    }

    #[test]
    fn fragments_come_in_any_order_and_twice() {
        for seed in 0..50 {
            let mut rng = Rng::from_seed([seed; 32]);
            let want = message(20_000, 1);
            let mut bodies = bodies(&[(Target::Local, want.clone())], &mut rng);
            bodies.extend_from_within(..5);
            rng.shuffle(&mut bodies);
            let got = receive(&mut Endpoint::default(), &bodies);
            assert_eq!(got, [Delivered { target: Target::Local, message: want }]);
        }
    }

    fn fragment(id: u32, number: u8, last: bool, data: &[u8], rng: &mut Rng) -> Vec<u8> {
        let instructions = match number {
            0 => Instructions::First { target: Target::Local, fragmented: Some(id) },
            _ => Instructions::FollowOn { message_id: id, number, last },
        };
        let mut payload = Vec::new();
        instructions.encode(u16::try_from(data.len()).unwrap(), &mut payload);
        payload.extend_from_slice(data);
        message::build(5, &payload, rng).unwrap()
    }

    /// Threats T78: number 63, other content under the same number, a last one that never comes, colliding ids.
    #[test]
    fn t78_reassembly_is_bounded_and_the_first_wins() {
        let mut rng = Rng::from_seed([3; 32]);
        let mut endpoint = Endpoint::default();
        let want = message(100, 1);
        let mut bytes = Vec::new();
        want.encode_standard(&mut bytes);
        let parts = [
            fragment(9, 0, false, &bytes[..50], &mut rng),
            fragment(9, 0, false, &[0; 50], &mut rng),
            fragment(9, 63, false, &[1; 9], &mut rng),
            fragment(9, 1, true, &bytes[50..], &mut rng),
        ];
        assert_eq!(receive(&mut endpoint, &parts), [Delivered { target: Target::Local, message: want }]);
        assert_eq!(endpoint.bytes(), 0);
        for id in 0..10_000 {
            let body = fragment(id, 1 + u8::try_from(id % 63).unwrap(), false, &[7; 900], &mut rng);
            assert!(receive(&mut endpoint, &[body]).is_empty());
            assert!(endpoint.bytes() <= limits::PARTIAL_BYTES && endpoint.partial.len() <= limits::PARTIAL_MESSAGES);
            assert!(endpoint.order.len() <= limits::PARTIAL_MESSAGES);
        }
        let body = fragment(77_777, 1, false, &[7; 900], &mut rng);
        let later = Instant::ZERO + limits::PARTIAL_AGE + Duration::from_secs(1);
        endpoint.handle(later, &body, &mut Vec::new()).unwrap();
        let held = 900 + limits::FRAGMENT_OVERHEAD;
        assert_eq!((endpoint.partial.len(), endpoint.bytes()), (1, held), "old ones are gone");
    }

    /// Fragments of one byte cost memory too: many of them are as bounded as large ones.
    #[test]
    fn t78_fragments_of_one_byte_count() {
        let mut rng = Rng::from_seed([5; 32]);
        let mut endpoint = Endpoint::default();
        let mut most = 0;
        for id in 0..200 {
            for number in 1..64 {
                let body = fragment(id, number, false, &[1], &mut rng);
                assert!(receive(&mut endpoint, &[body]).is_empty());
            }
            let fragments: usize = endpoint.partial.values().map(|partial| partial.fragments.len()).sum();
            assert_eq!(endpoint.bytes(), fragments * (1 + limits::FRAGMENT_OVERHEAD));
            most = most.max(endpoint.bytes());
        }
        assert!((limits::PARTIAL_BYTES / 2..=limits::PARTIAL_BYTES).contains(&most), "{most}");
        endpoint.clear();
        assert_eq!(endpoint.bytes(), 0);
    }

    #[test]
    fn one_id_again_after_completion_is_a_new_message() {
        let mut rng = Rng::from_seed([4; 32]);
        let mut endpoint = Endpoint::default();
        for round in 0..300 {
            let want = message(100, round);
            let mut bytes = Vec::new();
            want.encode_standard(&mut bytes);
            let parts = [fragment(9, 1, true, &bytes[50..], &mut rng), fragment(9, 0, false, &bytes[..50], &mut rng)];
            assert_eq!(receive(&mut endpoint, &parts), [Delivered { target: Target::Local, message: want }]);
        }
    }
}

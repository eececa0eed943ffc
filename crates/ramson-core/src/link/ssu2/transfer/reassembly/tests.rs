//! Fragments in every order, and those that nobody finishes.

use super::*;
use crate::rng::Rng;
use crate::time::Duration;
use proptest::prelude::*;

const T: Instant = Instant::from_micros(1_000_000);

struct Bench {
    reassembly: Reassembly,
    total: usize,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { reassembly: Reassembly::new(&mut Rng::from_seed([1; 32])), total: 0, now: T }
    }

    fn add(&mut self, id: u32, number: u8, last: bool, data: &[u8]) -> Option<Message> {
        let message = if number == 0 {
            let first = FirstFragment { kind: Kind::GARLIC, id, expiration: 7, data };
            self.reassembly.first(self.now, &first, &mut self.total)
        } else {
            let follow_on = FollowOnFragment { number, last, id, data };
            self.reassembly.follow_on(self.now, &follow_on, &mut self.total)
        };
        assert_eq!(self.total, self.reassembly.bytes);
        assert!(self.total <= limits::REASSEMBLY_BYTES);
        message
    }

    fn given_up(&self) -> u64 {
        self.reassembly.given_up()
    }
}

#[test]
fn a_message_comes_whole_from_its_fragments_and_once() {
    let mut bench = Bench::new();
    assert!(bench.add(5, 2, true, b"c").is_none());
    assert!(bench.add(5, 0, false, b"a").is_none());
    assert!(bench.add(5, 0, false, b"x").is_none(), "again");
    let message = bench.add(5, 1, false, b"b").unwrap();
    assert_eq!(message, Message { kind: Kind::GARLIC, id: 5, expiration: 7_000, body: b"abc".to_vec() });
    assert!(bench.add(5, 1, false, b"b").is_none());
    assert!(bench.add(5, 0, false, b"b").is_none());
    assert!(!bench.reassembly.whole(T, 5));
    assert!(bench.reassembly.whole(T, 6) && !bench.reassembly.whole(T, 6));
    assert_eq!((bench.total, bench.reassembly.duplicates(), bench.given_up()), (0, 5, 0));
}

/// Threats T55: two ends, fragments behind the end, and messages that are too long.
#[test]
fn t55_what_cannot_be_a_message_is_given_up() {
    let mut bench = Bench::new();
    bench.add(1, 3, true, b"x");
    bench.add(1, 5, true, b"x");
    bench.add(2, 3, true, b"x");
    bench.add(2, 4, false, b"x");
    bench.add(3, 4, false, b"x");
    bench.add(3, 3, true, b"x");
    assert_eq!((bench.given_up(), bench.total), (3, 0));
    let part = vec![0; MAX_BODY / 50];
    for number in 0..=50 {
        assert!(bench.add(4, number, false, &part).is_none());
    }
    assert!(bench.add(4, 51, false, &part).is_none());
    assert!(bench.given_up() >= 4);
}

/// Threats T55: messages that are never finished are bounded in number, bytes and time.
#[test]
fn t55_what_is_never_finished_is_bounded() {
    let mut bench = Bench::new();
    for id in 0..10_000 {
        bench.add(id, 1, false, &[0; 10]);
        assert!(bench.reassembly.partial.len() <= limits::REASSEMBLIES);
        bench.now = bench.now + Duration::from_micros(1);
    }
    assert!(bench.reassembly.partial.contains_key(&9_999) && !bench.reassembly.partial.contains_key(&0));
    for id in 20_000..20_200u32 {
        (1..10).for_each(|number| drop(bench.add(id, number, false, &[0; 1_200])));
        bench.now = bench.now + Duration::from_micros(1);
    }
    assert!(bench.total > limits::REASSEMBLY_BYTES - 12_000);
    let due = bench.reassembly.next_timeout().unwrap();
    assert!(due <= bench.now + limits::REASSEMBLY_AGE);
    bench.reassembly.handle_timeout(bench.now + limits::REASSEMBLY_AGE, &mut bench.total);
    assert_eq!((bench.total, bench.reassembly.next_timeout()), (0, None));
}

#[test]
fn all_sessions_together_are_bounded() {
    let mut bench = Bench::new();
    bench.add(1, 1, false, &[0; 1_000]);
    let others = limits::REASSEMBLY_BYTES_TOTAL;
    let mut total = bench.total + others;
    let follow_on = FollowOnFragment { number: 1, last: false, id: 2, data: &[0; 100] };
    bench.reassembly.follow_on(T, &follow_on, &mut total);
    assert_eq!((total, bench.reassembly.bytes), (others, 0), "this session gives back what it holds");
    bench.total = 0;
    bench.add(3, 1, false, &[0; 1_000]);
    bench.reassembly.clear(&mut bench.total);
    assert_eq!(bench.total, 0);
}

#[test]
fn message_ids_are_remembered_in_number_and_time() {
    let mut bench = Bench::new();
    let many = u32::try_from(limits::MESSAGE_IDS).unwrap();
    (0..5 * many).for_each(|id| assert!(bench.reassembly.whole(T, id)));
    assert!(bench.reassembly.done.len() <= 2 * limits::MESSAGE_IDS);
    assert!(!bench.reassembly.whole(T, 5 * many - 1));
    let later = T + limits::MESSAGE_IDS_GENERATION * 3;
    assert!(!bench.reassembly.age(later));
    assert_eq!(bench.reassembly.done.len(), 0);
}

proptest! {
    /// Several messages, cut anywhere, in any order and with repetitions: each comes out once and as it was.
    #[test]
    fn every_message_comes_out_once(
        sizes in prop::collection::vec((1usize..40, 1usize..30), 1..6),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..400),
    ) {
        let mut bench = Bench::new();
        let mut fragments = Vec::new();
        let mut bodies = BTreeMap::new();
        for (id, (parts, len)) in sizes.iter().enumerate() {
            let id = u32::try_from(id).unwrap();
            let body: Vec<u8> = (0..parts * len).map(|n| n as u8 ^ id as u8).collect();
            for (number, data) in body.chunks(*len).enumerate() {
                fragments.push((id, number as u8, number + 1 == *parts, data.to_vec()));
            }
            if *parts > 1 {
                bodies.insert(id, body);
            }
        }
        let all: Vec<usize> = (0..fragments.len()).collect();
        let drawn = order.iter().map(|index| index.index(fragments.len())).chain(all);
        for at in drawn {
            let (id, number, last, data) = &fragments[at];
            if let Some(message) = bench.add(*id, *number, *last, data) {
                prop_assert_eq!(bodies.remove(&message.id), Some(message.body));
            }
        }
        prop_assert!(bodies.is_empty());
    }

    #[test]
    fn no_sequence_of_fragments_harms(
        fragments in prop::collection::vec((0u32..5, 0u8..128, any::<bool>(), 1usize..1_400, 0u64..2_000), 0..300),
    ) {
        let mut bench = Bench::new();
        for (id, number, last, len, wait) in fragments {
            bench.now = bench.now + Duration::from_millis(wait);
            bench.reassembly.handle_timeout(bench.now, &mut bench.total);
            bench.add(id, number, last, &vec![0; len]);
        }
        bench.reassembly.clear(&mut bench.total);
        prop_assert_eq!(bench.total, 0);
    }
}

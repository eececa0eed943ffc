//! A router among hostile ones, and driven to its limits.

use super::*;
use crate::link::Event as LinkEvent;

fn message_for(solo: &Solo, kind: Kind, id: u32, body: Vec<u8>) -> Message {
    Message { kind, id, expiration: solo.now.unix_ms + 60_000, body }
}

/// Threats T69: next hops that nobody knows. Few are looked up, and few messages wait for that.
#[test]
fn t69_unknown_next_hops_are_looked_up_within_bounds() {
    let mut solo = Solo::new();
    let floodfill = crate::netdb::store::testing::Wish { caps: "XfR", ..wish(2) };
    solo.input(Input::RouterInfo(Box::new(info(&floodfill).as_ref().clone())));
    for n in 0..1_000u32 {
        for _ in 0..6 {
            let message = message_for(&solo, Kind::SHORT_TUNNEL_BUILD, n, vec![1; 2_000]);
            let to = Hash::of(&n.to_be_bytes());
            solo.router.handle_tunnels(tunnel::Event::Send { to, message, class: link::Class::Transit });
        }
    }
    assert_eq!(solo.router.waiting.len(), limits::WAITING_ROUTERS);
    assert!(solo.router.waiting.values().all(|waiting| waiting.messages.len() == limits::WAITING_MESSAGES));
    assert!(solo.router.lookups.len() <= limits::WAITING_ROUTERS, "one for each that is waited for");
    let opened = solo.router.outputs.iter().any(|output| matches!(output, Output::TcpOpen { .. }));
    assert!(!opened, "nobody is dialled");
    solo.drain();
    solo.now = solo.now.later(Duration::from_secs(26));
    solo.input(Input::Timeout);
    assert!(solo.router.waiting.is_empty() && solo.router.lookups.is_empty(), "and all of it ends");
}

#[test]
fn messages_of_links_are_known_again_up_to_the_limit() {
    let mut solo = Solo::new();
    let peers = [Hash([7; 32]), Hash([8; 32])];
    let opened = |solo: &mut Solo, from: Hash, id: u32| {
        let message = message_for(solo, Kind::GARLIC, id, vec![0; 100]);
        solo.router.is_new(&from, &message)
    };
    let mut most = 0;
    for id in 0..3 * limits::MESSAGES as u32 {
        assert!(opened(&mut solo, peers[0], id));
        most = most.max(solo.router.seen.len());
        assert!(!opened(&mut solo, peers[0], id));
    }
    assert_eq!(most, 2 * limits::MESSAGES);
    assert!(opened(&mut solo, peers[1], 0), "the same of another peer is another message");
    assert!(solo.router.seen.len() <= 2 * limits::MESSAGES);
    // Messages of tunnels are not among them: tunnels know their own.
    let before = solo.router.seen.len();
    for kind in [Kind::TUNNEL_DATA, Kind::TUNNEL_GATEWAY, Kind::SHORT_TUNNEL_BUILD] {
        let message = message_for(&solo, kind, 1, vec![0; 1028]);
        solo.router.handle_link(LinkEvent::Received { from: peers[0], message });
    }
    assert_eq!(solo.router.seen.len(), before);
}

#[test]
fn one_time_keys_of_the_router_are_bounded_and_the_oldest_goes() {
    let mut solo = Solo::new();
    let mut tags = Vec::new();
    for _ in 0..3 * limits::ONE_TIME_KEYS {
        solo.now = solo.now.later(Duration::from_millis(10));
        solo.router.now = solo.now;
        tags.push(solo.router.expect_answer().1);
    }
    assert_eq!(solo.router.one_time.len(), limits::ONE_TIME_KEYS);
    let kept = &tags[tags.len() - limits::ONE_TIME_KEYS..];
    assert!(kept.iter().all(|tag| solo.router.one_time.contains_key(tag)));
}

/// Threats T83: garlic in the garlic that was sealed to us is not opened, and no clove for others goes on.
#[test]
fn t83_garlic_in_garlic_to_the_router_is_dropped() {
    let mut solo = Solo::new();
    let inner = message_for(&solo, Kind::GARLIC, 1, vec![0; 200]);
    let other = Hash([9; 32]);
    let mut nested = vec![Block::DateTime(1)];
    for delivery in [
        Delivery::Local,
        Delivery::Router(other),
        Delivery::Destination(other),
        Delivery::Tunnel { gateway: other, id: 7 },
    ] {
        nested.push(Block::Clove(Clove { delivery, message: inner.clone() }));
    }
    for from in [None, Some(Hash([7; 32]))] {
        solo.router.opened_at_router(from, Ok(Block::encode_all(&nested)));
        assert!(solo.router.outputs.is_empty() && solo.router.waiting.is_empty());
    }
    // What is asked for down a tunnel of ours has no sender, and gets no answer that would tell whose tunnel it is.
    let body = [&solo.router.hash.0[..], &[7; 32], &[0x08, 0, 0]].concat();
    let message = message_for(&solo, Kind::DATABASE_LOOKUP, 1, body);
    let clove = Block::Clove(Clove { delivery: Delivery::Local, message });
    solo.router.opened_at_router(None, Ok(Block::encode_all(&[Block::DateTime(1), clove])));
    assert!(solo.router.outputs.is_empty());
}

#[test]
fn pools_of_long_or_many_tunnels_are_refused() {
    use crate::limits::tunnel::{HOPS, QUANTITY};
    let mut solo = Solo::new();
    let good = Wanted { length: HOPS, quantity: QUANTITY };
    let (long, many) = (Wanted { length: HOPS + 1, ..good }, Wanted { quantity: QUANTITY + 1, ..good });
    for bad in [long, many] {
        for pool in [PoolConfig { inbound: bad, outbound: good }, PoolConfig { inbound: good, outbound: bad }] {
            let refused = solo.router.tunnels.create_pool(solo.now, PoolId(7), pool);
            assert_eq!(refused, Err(PoolError::TooLarge));
        }
    }
    let pool = PoolConfig { inbound: good, outbound: good };
    assert_eq!(solo.router.tunnels.create_pool(solo.now, PoolId(7), pool), Ok(()));
}

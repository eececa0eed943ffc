//! Datagrams between nodes, by hand.

use super::*;
use crate::net::{Net, Settings};
use ramson_core::router::Output;

/// Two routers with a UDP socket each.
fn two(link: Link) -> (Net, NodeId, NodeId) {
    let mut net = Net::new(Settings { seed: 5, link, ..Settings::default() });
    let [a, b] = [0, 1].map(|_| net.add_router_with(0, |config| config.udp.push(config.listen[0])));
    (net, a, b)
}

fn send(net: &mut Net, from: NodeId, to: SocketAddr, bytes: &[u8]) {
    let datagrams = Datagrams { socket: UdpId(0), to, from: None, segment: bytes.len(), bytes: bytes.to_vec() };
    net.carry_out(from, Output::Udp(datagrams));
}

fn got(net: &mut Net, id: NodeId) -> Vec<(SocketAddr, Vec<u8>)> {
    net.run_for(Duration::from_secs(1));
    net.nodes[id.0].datagrams.drain(..).map(|(_, from, bytes)| (from, bytes)).collect()
}

#[test]
fn batches_come_as_single_datagrams_in_order() {
    let (mut net, a, b) = two(Link { jitter: Duration::from_millis(20), ..Link::default() });
    let to = net.address_of(b);
    let bytes: Vec<u8> = (0..250).collect();
    let datagrams = Datagrams { socket: UdpId(0), to, from: None, segment: 10, bytes: bytes.clone() };
    net.carry_out(a, Output::Udp(datagrams));
    let from = net.address_of(a);
    let expected: Vec<_> = bytes.chunks(10).map(|chunk| (from, chunk.to_vec())).collect();
    assert_eq!(got(&mut net, b), expected);
    assert_eq!((net.udp(a).sent, net.udp(b).received), (25, 25));
}

#[test]
fn losses_doubles_and_disorder_come_as_often_as_they_are_to() {
    let link = Link { rate: 0, loss: 0.1, duplicated: 0.05, reordered: 0.2, ..Link::default() };
    let (mut net, a, b) = two(link);
    let to = net.address_of(b);
    for n in 0..4_000u32 {
        send(&mut net, a, to, &n.to_be_bytes());
        net.run_for(Duration::from_micros(500));
    }
    let numbers: Vec<u32> =
        got(&mut net, b).into_iter().map(|(_, bytes)| u32::from_be_bytes(bytes.try_into().unwrap())).collect();
    let arrived = numbers.len() as f64 / 4_000.0;
    assert!((0.9 * 1.05 - arrived).abs() < 0.03, "{arrived}");
    let late = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(late > 100, "{late}");
    let distinct: std::collections::BTreeSet<_> = numbers.iter().collect();
    assert!(numbers.len() - distinct.len() > 50);
}

#[test]
fn the_mtu_counts_and_a_full_queue_drops() {
    let (mut net, a, b) = two(Link { mtu: 1_400, rate: 100_000, ..Link::default() });
    let to = net.address_of(b);
    send(&mut net, a, to, &[0; 1_372]);
    send(&mut net, a, to, &[0; 1_373]);
    assert_eq!(got(&mut net, b).len(), 1);
    assert_eq!(net.udp(a).too_long, 1);
    (0..100).for_each(|_| send(&mut net, a, to, &[0; 972]));
    let arrived = got(&mut net, b).len();
    // 200 ms hold 20 of them, and one leaves.
    assert!((20..=22).contains(&arrived), "{arrived}");
    assert_eq!(net.udp(a).lost, 100 - arrived as u64);
}

#[test]
fn a_partition_and_nobody_swallow_datagrams() {
    let (mut net, a, b) = two(Link::default());
    let to = net.address_of(b);
    net.partition(a, b);
    send(&mut net, a, to, b"x");
    assert!(got(&mut net, b).is_empty());
    net.heal(a, b);
    assert!(got(&mut net, b).is_empty(), "nothing is kept for later");
    send(&mut net, a, "9.9.9.9:9".parse().unwrap(), b"x");
    net.kill(b);
    send(&mut net, a, to, b"x");
    assert!(got(&mut net, b).is_empty());
    assert_eq!(net.udp(a).refused, 2);
}

/// A behind a translator, B in the open: B is answered through it, and a third one by its kind.
#[test]
fn translators_stand_in_the_way_of_datagrams() {
    for (kind, third) in [
        (NatKind::FULL_CONE, true),
        (NatKind::RESTRICTED, false),
        (NatKind::PORT_RESTRICTED, false),
        (NatKind::SYMMETRIC, false),
    ] {
        let (mut net, a, b) = two(Link::default());
        let c = net.add_router_with(0, |config| config.udp.push(config.listen[0]));
        net.set_nat(a, Some(kind));
        let (inside, to_b) = (net.address_of(a), net.address_of(b));
        send(&mut net, b, inside, b"too soon");
        assert!(got(&mut net, a).is_empty(), "the address inside leads nowhere");
        send(&mut net, a, to_b, b"hello");
        let seen = got(&mut net, b);
        let outside = seen[0].0;
        assert_eq!((outside.ip(), seen[0].1.as_slice()), (net.nat(a).unwrap().outer(), &b"hello"[..]));
        send(&mut net, b, outside, b"answer");
        assert_eq!(got(&mut net, a), [(to_b, b"answer".to_vec())]);
        send(&mut net, c, outside, b"third");
        assert_eq!(!got(&mut net, a).is_empty(), third, "{kind:?}");
        net.rebind_nat(a);
        send(&mut net, b, outside, b"late");
        assert!(got(&mut net, a).is_empty());
        send(&mut net, a, to_b, b"again");
        assert_ne!(got(&mut net, b)[0].0, outside);
        net.move_nat(a, 9);
        send(&mut net, a, to_b, b"from elsewhere");
        assert_ne!(got(&mut net, b)[0].0.ip(), outside.ip());
    }
}

/// Both behind translators that know no stranger: each opens its own for the other, but a symmetric one at each end never.
#[test]
fn holes_are_punched_where_ports_stay() {
    for (left, right, meet) in [
        (NatKind::PORT_RESTRICTED, NatKind::PORT_RESTRICTED, true),
        (NatKind::RESTRICTED, NatKind::SYMMETRIC, true),
        (NatKind::PORT_RESTRICTED, NatKind::SYMMETRIC, false),
        (NatKind::SYMMETRIC, NatKind::SYMMETRIC, false),
    ] {
        let (mut net, a, b) = two(Link::default());
        let c = net.add_router_with(0, |config| config.udp.push(config.listen[0]));
        net.set_nat(a, Some(left));
        net.set_nat(b, Some(right));
        let open = net.address_of(c);
        send(&mut net, a, open, b"who am I");
        send(&mut net, b, open, b"who am I");
        let seen = got(&mut net, c);
        let (a_seen, b_seen) = (seen[0].0, seen[1].0);
        for _ in 0..2 {
            send(&mut net, a, b_seen, b"punch");
            send(&mut net, b, a_seen, b"punch");
            net.run_for(Duration::from_secs(1));
        }
        let reached = !net.nodes[a.0].datagrams.is_empty();
        assert_eq!(reached, meet, "{left:?} {right:?}");
    }
}

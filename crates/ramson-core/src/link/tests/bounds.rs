//! Links, driven to their limits.

use super::*;

fn accept(links: &mut Links, now: Now, n: usize) -> ConnId {
    let id = ConnId(ConnId::INBOUND | n as u64);
    links.handle_accepted(now, id, format!("10.{}.{}.7:1000", n / 250, n % 250).parse().unwrap(), 1000);
    id
}

#[test]
fn connections_of_all_kinds_are_limited() {
    let mut pair = Pair::new(0);
    let now = pair.now(1);
    let other = Arc::clone(&pair.machines[0].info);
    let links = &mut pair.machines[1].links;
    for n in 0..limits::CONNECTIONS + 50 {
        accept(links, now, n);
        // As if each had gone on with its handshake: the limit of those that have not is another one.
        links.inbound_handshakes = 0;
    }
    assert_eq!(links.conns.len(), limits::CONNECTIONS);
    let refused = std::iter::from_fn(|| links.poll_event(now)).filter(|event| matches!(event, Event::Close { .. }));
    assert_eq!(refused.count(), 50);
    assert!(!links.dial(now, &other), "no dial either");
    assert!(links.poll_event(now).is_none());
    links.handle_closed(now, ConnId(ConnId::INBOUND));
    assert!(links.dial(now, &other), "what ends makes room");
}

/// While a job is out a connection goes on to send.
#[test]
fn bytes_during_a_handshake_are_limited() {
    let mut pair = Pair::new(0);
    let now = pair.now(1);
    let links = &mut pair.machines[1].links;
    let id = accept(links, now, 1);
    links.handle_data(now, id, &[7; 64]);
    let mut most = 0;
    for _ in 0..1_000 {
        links.handle_data(now, id, &[7; 1_000]);
        most = most.max(links.conns[&id].received.len());
    }
    assert!((limits::HANDSHAKE_BUFFER - 1_000..=limits::HANDSHAKE_BUFFER).contains(&most), "{most}");
    let conn = &links.conns[&id];
    assert!(matches!(conn.state, connection::State::Silent) && conn.received.capacity() == 0);
    let written = std::iter::from_fn(|| links.poll_event(now)).any(|event| matches!(event, Event::Write { .. }));
    assert!(!written);
}

/// What waits for peers that read nothing is bounded for all of them together, and is given back when they go.
#[test]
fn what_waits_for_slow_peers_is_given_back() {
    let mut pair = Pair::new(0);
    pair.send(0, 10);
    pair.run();
    let [(_, id), _] = pair.wires[0];
    let conn = pair.machines[0].links.conns.get_mut(&id).unwrap();
    conn.ahead = conn.room;
    while pair.send(0, 10_000) {}
    let waiting = pair.machines[0].links.totals.waiting;
    assert!((limits::OUTBOX_BYTES - 11_000..=limits::OUTBOX_BYTES).contains(&waiting), "{waiting}");
    pair.machines[0].links.totals.waiting = limits::OUTBOX_BYTES_TOTAL;
    let now = pair.now(0);
    pair.machines[0].links.handle_closed(now, id);
    assert_eq!(pair.machines[0].links.totals.waiting, limits::OUTBOX_BYTES_TOTAL - waiting);
    pair.machines[0].links.totals.waiting = limits::OUTBOX_BYTES_TOTAL;
    assert!(!pair.send(0, 10), "others have taken all there is");
    pair.machines[0].links.totals.waiting = 0;
    pair.run();
    assert!(pair.send(0, 10));
    pair.run();
    assert_eq!(pair.machines[0].links.totals.waiting, 0, "what is sent waits no longer");
}

//! Programs that hold the keys of their destinations, at a router whose tunnels have no hops.

use super::*;
use crate::dest::keyless::{LeaseSetError, MessageError, Outgoing};
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
use ramson_wire::data::{Lease2, LeaseSet2, Mapping};

struct Program {
    keys: PrivateKeys,
    secret: SecretKey,
}

fn tunnels(quantity: usize) -> PoolConfig {
    let wanted = Wanted { length: 0, quantity };
    PoolConfig { inbound: wanted, outbound: wanted }
}

fn create(solo: &mut Solo, id: u64, outbound: usize) -> Program {
    create_beside(solo, id, outbound, None)
}

fn create_beside(solo: &mut Solo, id: u64, outbound: usize, beside: Option<u64>) -> Program {
    let beside = beside.map(DestinationId);
    let keys = PrivateKeys::random(&mut solo.rng);
    let tunnels = PoolConfig { outbound: Wanted { length: 0, quantity: outbound }, ..tunnels(1) };
    let destination = keys.destination().clone();
    let options = Box::new(KeylessOptions { destination, publish: true, tunnels, extra_hops: (0, 0), beside });
    solo.input(Input::Command(Command::CreateKeyless { id: DestinationId(id), options }));
    pass(solo);
    Program { keys, secret: SecretKey::from_bytes([id as u8; 32]) }
}

fn pass(solo: &mut Solo) {
    solo.now = solo.now.later(Duration::from_secs(2));
    solo.input(Input::Timeout);
}

fn offered(solo: &Solo, id: u64) -> Option<Vec<Lease2>> {
    let all = solo.events.iter().rev();
    let mut offers = all.filter_map(|event| match event {
        Event::LeasesOffered { destination, leases } if destination.0 == id => Some(leases.clone()),
        _ => None,
    });
    offers.next()
}

fn sign(solo: &mut Solo, id: u64, program: &Program, flags: Flags) -> (LeaseSet2, Result<(), KeylessRefused>) {
    let unsigned = Unsigned {
        destination: program.keys.destination().clone(),
        times: Times { published: solo.now.unix_secs(), expires: 600, flags, offline: None },
        options: Mapping::new(),
        keys: vec![EncryptionKey::x25519(program.secret.public_key())],
        leases: offered(solo, id).unwrap(),
    };
    let set = unsigned.sign(program.keys.signing_key()).unwrap();
    let (destination, keys) = (DestinationId(id), vec![program.secret.clone()]);
    solo.input(Input::Command(Command::SetLeaseSet { destination, token: 40, set: Box::new(set.clone()), keys }));
    match solo.events.pop() {
        Some(Event::LeaseSetTaken { token: 40, result }) => (set, result),
        other => panic!("{other:?}"),
    }
}

fn send(solo: &mut Solo, from: u64, to: Hash, id: u32) -> Result<(), KeylessRefused> {
    let message = Box::new(Outgoing { id, to, payload: b"payload".to_vec(), expires: None, report: true });
    solo.input(Input::Command(Command::SendMessage { destination: DestinationId(from), token: 50, message }));
    let taken = solo.events.iter().rev().find_map(|event| match event {
        Event::MessageTaken { token: 50, result } => Some(*result),
        _ => None,
    });
    taken.unwrap()
}

#[test]
fn messages_pass_between_programs_that_hold_their_keys() {
    let mut solo = Solo::new();
    let (a, b) = (create(&mut solo, 1, 1), create(&mut solo, 2, 1));
    let to = b.keys.destination().hash();
    let early = Err(KeylessRefused::Message(MessageError::NoLeaseSet));
    assert_eq!(send(&mut solo, 1, to, 1), early);
    assert_eq!(sign(&mut solo, 1, &a, Flags::default()).1, Ok(()));
    let (set, taken) = sign(&mut solo, 2, &b, Flags::default());
    assert_eq!(taken, Ok(()));
    let (now, id) = (solo.now, DestinationId(1));
    solo.router.local_job(id, |local, _| local.destination.handle_lease_set(now, set));
    solo.events.clear();
    assert_eq!(send(&mut solo, 1, to, 7), Ok(()));
    pass(&mut solo);
    let mut came = solo.events.iter().filter_map(|event| match event {
        Event::Message { destination: DestinationId(2), payload } => Some(payload.as_slice()),
        _ => None,
    });
    assert_eq!(came.next(), Some(&b"payload"[..]));
    let sent = |event: &Event| {
        matches!(event, Event::MessageSent { destination: DestinationId(1), message: 7, result: Ok(()) })
    };
    assert_eq!(solo.events.iter().filter(|event| sent(event)).count(), 1);
}

#[test]
fn a_program_is_asked_to_sign_when_there_are_tunnels_in_both_directions() {
    let mut solo = Solo::new();
    create(&mut solo, 1, 0);
    assert_eq!(offered(&solo, 1), None);
    let set =
        |token, tunnels| Command::SetTunnels { destination: DestinationId(1), token, tunnels, extra_hops: (0, 0) };
    solo.input(Input::Command(set(8, tunnels(1))));
    assert!(solo.events.iter().any(|event| matches!(event, Event::TunnelsSet { token: 8, result: Ok(()) })));
    pass(&mut solo);
    assert_eq!(offered(&solo, 1).unwrap().len(), 1);
    solo.input(Input::Command(set(9, tunnels(99))));
    assert!(matches!(solo.events.last(), Some(Event::TunnelsSet { token: 9, result: Err(PoolError::TooLarge) })));
}

#[test]
fn what_is_not_of_a_keyless_destination_is_refused_there() {
    let mut solo = Solo::new();
    let program = create(&mut solo, 1, 1);
    let destination = DestinationId(1);
    solo.input(Input::Command(Command::Connect { destination, token: 1, to: Hash([1; 32]), ports: (0, 0) }));
    assert!(matches!(solo.events.last(), Some(Event::ConnectFailed { token: 1, .. })));
    let bound = (crate::dest::datagram::Format::RAW, None);
    solo.input(Input::Command(Command::BindDatagrams { destination, token: 2, bound }));
    assert!(matches!(solo.events.last(), Some(Event::DatagramsBound { token: 2, result: Err(_) })));
    // And what is of one is refused elsewhere.
    solo.create(2);
    let refused = Err(KeylessRefused::Message(MessageError::NotKeyless));
    assert!([refused, Err(KeylessRefused::TunnelsNotReady)].contains(&send(&mut solo, 2, Hash([1; 32]), 1)));
    let none = Err(KeylessRefused::NoSuchDestination);
    assert_eq!(send(&mut solo, 3, Hash([1; 32]), 1), none);
    let (set, taken) = sign(&mut solo, 1, &program, Flags::default());
    assert_eq!(taken, Ok(()));
    let set = Command::SetLeaseSet { destination: DestinationId(2), token: 3, set: Box::new(set), keys: Vec::new() };
    solo.input(Input::Command(set));
    let refused = KeylessRefused::LeaseSet(LeaseSetError::NotKeyless);
    assert!(matches!(solo.events.last(), Some(Event::LeaseSetTaken { token: 3, result: Err(why) }) if *why == refused));
}

/// A LeaseSet that says so is for the program's own peers only.
#[test]
fn an_unpublished_lease_set_of_a_program_is_not_published() {
    for (flags, waits) in [(Flags::default(), true), (Flags::UNPUBLISHED, false)] {
        let mut solo = Solo::new();
        let program = create(&mut solo, 1, 1);
        assert_eq!(sign(&mut solo, 1, &program, flags).1, Ok(()));
        let local = &solo.router.locals[&DestinationId(1)];
        assert_eq!(local.next_publication().is_some(), waits, "{flags:?}");
    }
}

/// What has come to this destination since the last call.
fn came(solo: &mut Solo, id: u64) -> usize {
    pass(solo);
    let is_it = |event: &Event| matches!(event, Event::Message { destination, .. } if destination.0 == id);
    let count = solo.events.iter().filter(|event| is_it(event)).count();
    solo.events.retain(|event| !is_it(event));
    count
}

/// Two destinations of one program with one static key: whoever writes to both has sessions with that key, and what he
/// sends comes to the one that it is for, in whichever session.
#[test]
fn destinations_that_share_tunnels_get_what_is_for_them() {
    let mut solo = Solo::new();
    let first = create(&mut solo, 1, 1);
    assert_eq!(sign(&mut solo, 1, &first, Flags::default()).1, Ok(()));
    let pools = solo.router.pools.len();
    let mut second = create_beside(&mut solo, 2, 1, Some(1));
    assert_eq!(solo.router.pools.len(), pools, "no tunnels of its own");
    assert_eq!(offered(&solo, 2), offered(&solo, 1));
    let other = Err(KeylessRefused::LeaseSet(LeaseSetError::OtherKey));
    assert_eq!(sign(&mut solo, 2, &second, Flags::default()).1, other);
    second.secret = first.secret.clone();
    assert_eq!(sign(&mut solo, 2, &second, Flags::default()).1, Ok(()));
    let peer = create(&mut solo, 3, 1);
    let (set, taken) = sign(&mut solo, 3, &peer, Flags::default());
    assert_eq!(taken, Ok(()));
    let now = solo.now;
    for id in [1, 2] {
        let set = set.clone();
        solo.router.local_job(DestinationId(id), |local, _| local.destination.handle_lease_set(now, set));
    }
    let [to_first, to_second, to_peer] = [&first, &second, &peer].map(|it| it.keys.destination().hash());
    for round in 0..4 {
        for (from, to, at) in [(1, to_peer, 3), (3, to_first, 1), (2, to_peer, 3), (3, to_second, 2), (3, to_first, 1)]
        {
            let id = round * 10 + at as u32 + from as u32 * 100 + solo.events.len() as u32 * 1_000;
            assert_eq!(send(&mut solo, from, to, id), Ok(()));
            assert_eq!(came(&mut solo, at), 1, "{from} to {at}, round {round}");
        }
        assert_eq!([came(&mut solo, 1), came(&mut solo, 2)], [0, 0], "and to no other one");
        solo.router.check();
    }
    // One that is no longer there gets nothing, and those that are left are none the worse.
    solo.input(Input::Command(Command::CloseDestination(DestinationId(2))));
    let _ = send(&mut solo, 3, to_second, 77_001);
    assert_eq!([came(&mut solo, 1), came(&mut solo, 2)], [0, 0]);
    assert_eq!(send(&mut solo, 3, to_first, 77_002), Ok(()));
    assert_eq!(came(&mut solo, 1), 1);
    // All end with the first.
    create_beside(&mut solo, 4, 1, Some(1));
    assert_eq!(solo.router.locals.len(), 3);
    solo.input(Input::Command(Command::CloseDestination(DestinationId(1))));
    assert_eq!(solo.router.locals.keys().map(|id| id.0).collect::<Vec<_>>(), [3]);
    solo.router.check();
}

#[test]
fn destinations_beside_another_one_are_bounded() {
    use crate::limits::keyless::BESIDE;
    let mut solo = Solo::new();
    create(&mut solo, 1, 1);
    for id in 0..BESIDE as u64 {
        create_beside(&mut solo, 10 + id, 1, Some(1));
    }
    let failed = |solo: &Solo, id: u64, why: PoolError| {
        let is_it = |event: &Event| matches!(event, Event::DestinationFailed { id: of, why: said } if of.0 == id && *said == why);
        solo.events.iter().any(is_it)
    };
    create_beside(&mut solo, 90, 1, Some(1));
    assert!(failed(&solo, 90, PoolError::TooMany));
    // Beside one that is itself beside another, of the other kind, or not there.
    solo.create(5);
    for (id, first) in [(91, 10), (92, 5), (93, 99)] {
        create_beside(&mut solo, id, 1, Some(first));
        assert!(failed(&solo, id, PoolError::Missing), "{first}");
    }
    assert_eq!(solo.router.locals.len(), 2 + BESIDE);
}

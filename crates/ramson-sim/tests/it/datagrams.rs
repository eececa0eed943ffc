//! Datagrams of programs between destinations, through tunnels of three hops.

use crate::world::World;
use ramson_core::dest::datagram::{DatagramError, Format, Incoming, Origin, Outgoing};
use ramson_core::router::{Command, DatagramRefused, Event};
use ramson_core::time::Duration;
use ramson_sim::End;
use ramson_wire::data::{Hash, Mapping};

const FORMATS: [Format; 5] = [Format::Datagram1, Format::Datagram2, Format::Datagram3, Format::RAW, Format::Raw(99)];

fn bind(world: &mut World, end: End, token: u64, format: Format, port: Option<u16>) {
    let destination = end.destination;
    world.net.command(end.node, Command::BindDatagrams { destination, token, bound: (format, port) });
}

fn send(world: &mut World, from: End, token: u64, (format, to): (Format, Hash), payload: &[u8]) {
    let datagram =
        Outgoing { format, to, from_port: 3, to_port: 7, options: Mapping::new(), payload: payload.to_vec() };
    let (destination, datagram) = (from.destination, Box::new(datagram));
    world.net.command(from.node, Command::SendDatagram { destination, token, datagram });
}

/// Of a request with this token.
type Answer = (u64, Result<(), DatagramRefused>);

/// What a router has told since the last call: datagrams, and how requests went.
fn told(world: &mut World, end: End) -> (Vec<Incoming>, Vec<Answer>) {
    let (mut came, mut went) = (Vec::new(), Vec::new());
    for (_, event) in world.net.take_events(end.node) {
        match event {
            Event::Datagram { destination, datagram } if destination == end.destination => came.push(*datagram),
            Event::DatagramsBound { token, result } | Event::DatagramTaken { token, result } => {
                went.push((token, result));
            }
            _ => {}
        }
    }
    (came, went)
}

#[test]
fn every_format_arrives_once_with_its_sender_and_can_be_answered() {
    let mut world = World::new(5);
    let (a, from) = world.destination(world.routers[0]);
    let (b, to) = world.destination(world.routers[1]);
    world.wait_for(&[a, b]);
    for (token, format) in FORMATS.into_iter().enumerate() {
        bind(&mut world, b, token as u64, format, Some(7));
        bind(&mut world, a, token as u64, format, None);
    }
    assert!([a, b].iter().all(|end| told(&mut world, *end).1.iter().all(|(_, result)| result.is_ok())));
    // The first ones look each other up, and wait for it.
    for (token, format) in FORMATS.into_iter().enumerate() {
        send(&mut world, a, token as u64, (format, to), b"there");
    }
    world.net.run_for(Duration::from_secs(30));
    assert_eq!(told(&mut world, a).1, (0..5).map(|token| (token, Ok(()))).collect::<Vec<_>>());
    let (mut came, _) = told(&mut world, b);
    came.sort_by_key(|datagram| datagram.format);
    assert_eq!(came.iter().map(|it| it.format).collect::<Vec<_>>(), {
        let mut all = FORMATS;
        all.sort();
        all
    });
    for datagram in &came {
        assert_eq!((datagram.from_port, datagram.to_port, datagram.payload.as_slice()), (3, 7, &b"there"[..]));
        let sender = match &datagram.from {
            Origin::Signed(destination) => Some(destination.hash()),
            Origin::Session(hash) => Some(*hash),
            Origin::Claimed(_) | Origin::Unknown => None,
        };
        assert_eq!(sender, (!matches!(datagram.format, Format::Raw(_))).then_some(from), "{:?}", datagram.format);
    }
    for (token, format) in FORMATS.into_iter().enumerate() {
        send(&mut world, b, token as u64, (format, from), b"back");
    }
    world.net.run_for(Duration::from_secs(10));
    let (came, _) = told(&mut world, a);
    assert_eq!(came.len(), FORMATS.len());
    assert!(came.iter().all(|datagram| datagram.payload == b"back" && datagram.bound.1.is_none()));
}

#[test]
fn what_cannot_be_sent_or_bound_is_said() {
    let mut world = World::new(6);
    let (a, own) = world.destination(world.routers[0]);
    send(&mut world, a, 1, (Format::RAW, Hash([9; 32])), b"too early");
    world.wait_for(&[a]);
    bind(&mut world, a, 2, Format::RAW, Some(7));
    bind(&mut world, a, 3, Format::RAW, Some(7));
    send(&mut world, a, 4, (Format::Raw(6), own), b"as a stream");
    send(&mut world, a, 5, (Format::Datagram2, own), &[0; 70_000]);
    // To nobody: it is taken, and lost.
    send(&mut world, a, 6, (Format::RAW, Hash([9; 32])), b"x");
    let unbind = Command::UnbindDatagrams { destination: a.destination, bound: (Format::RAW, Some(7)) };
    world.net.command(a.node, unbind);
    bind(&mut world, a, 7, Format::RAW, Some(7));
    world.net.run_for(Duration::from_secs(60));
    let refused = |why| Err(DatagramRefused::Datagram(why));
    let wanted = [
        (1, Err(DatagramRefused::TunnelsNotReady)),
        (2, Ok(())),
        (3, refused(DatagramError::Port)),
        (4, refused(DatagramError::Protocol)),
        (5, refused(DatagramError::TooLarge)),
        (6, Ok(())),
        (7, Ok(())),
    ];
    let (came, went) = told(&mut world, a);
    assert_eq!((came, went), (Vec::new(), wanted.to_vec()));
}

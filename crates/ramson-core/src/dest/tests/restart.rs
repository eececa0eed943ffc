//! What somebody has recorded of a destination, sent to it again after its router has started anew.

use super::super::datagram::{Format, Outgoing};
use super::*;
use ramson_wire::data::Mapping;

/// Threats P-24: a start forgets all filters of replays. New Sessions, replies, messages of sessions and datagrams of
/// before open nothing all the same, since the key that they were sealed to is no more: none of them is taken.
#[test]
fn p24_after_a_restart_nothing_recorded_reaches_a_destination() {
    let keys = PrivateKeys::random(&mut Rng::from_seed([24; 32]));
    let mut pair = Pair::with_keys(|side, new| if side == 1 { keys.clone() } else { new });
    let formats = [Format::Datagram1, Format::RAW, Format::Datagram2, Format::Datagram3];
    let bind = |pair: &mut Pair| {
        for format in formats {
            pair.sides[1].destination.bind_datagrams(format, Some(7)).unwrap();
        }
    };
    bind(&mut pair);
    for round in 0..20 {
        pair.send(0, &format!("question {round}"));
        pair.drive();
        pair.send(1, "answer");
        pair.drive();
        let to = pair.sides[1].destination.hash();
        let format = formats[round % 4];
        let options = Mapping::new();
        let datagram = Outgoing { format, to, from_port: 3, to_port: 7, options, payload: b"datagram".to_vec() };
        pair.sides[0].destination.send_datagram(pair.now, datagram).unwrap();
        pair.drive();
        pair.wait(Duration::from_secs(2));
    }
    let tape: Vec<Vec<u8>> = pair.delivered.iter().filter(|(to, _)| *to == 1).map(|(_, body)| body.clone()).collect();
    assert!(tape.len() >= 40 && pair.sides[1].got.len() == 20, "{} messages", tape.len());
    assert!(pair.sides[1].datagrams.len() >= 18, "{} datagrams", pair.sides[1].datagrams.len());

    // The same keys, as the disk has them, and all else new.
    let mut rng = Rng::from_seed([25; 32]);
    let config = DestinationConfig { publish: true, compress: true };
    let encryption = SecretKey::random(&mut rng);
    pair.sides[1].destination = Destination::new(keys.clone(), encryption, config, rng.child("destination"));
    pair.sides[1].got.clear();
    pair.sides[1].datagrams.clear();
    let controls = pair.sides[1].control;
    bind(&mut pair);
    pair.renew_leases();
    let reverse = tape.iter().rev();
    for body in tape.iter().chain(reverse) {
        let _ = pair.sides[1].destination.handle_garlic(pair.now, body);
        pair.drive();
        pair.wait(Duration::from_millis(100));
    }
    assert!(pair.sides[1].got.is_empty() && pair.sides[1].datagrams.is_empty(), "accepted replays");
    assert_eq!(pair.sides[1].control, controls);
    // Who has its new LeaseSet is heard.
    pair.wait(Duration::from_secs(2));
    let newest = pair.sides[1].published.clone().unwrap();
    pair.sides[0].destination.handle_lease_set(pair.now, newest);
    pair.send(0, "and now");
    pair.drive();
    assert_eq!(pair.texts(1), [b"and now"]);
}

//! Destinations whose keys a program holds.

use super::*;
use crate::dest::keyless::{MessageError, Outgoing};
use crate::limits::keyless as limits;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::data::Mapping;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};

/// The program of side 0, which holds its keys.
struct Program {
    keys: PrivateKeys,
    secret: SecretKey,
    next: u64,
}

/// A pair whose side 0 has a program that holds its keys, asked to sign for the first time.
fn pair() -> (Pair, Program) {
    let mut pair = Pair::new();
    let keys = PrivateKeys::random(&mut pair.rng);
    pair.sides[0].destination = Destination::keyless(keys.destination().clone(), true, pair.rng.child("keyless"));
    pair.sides[0].published = None;
    pair.now = pair.now.later(Duration::from_secs(5));
    pair.renew_leases();
    assert_eq!(pair.sides[0].offers.len(), 1);
    (pair, Program { keys, secret: SecretKey::from_bytes([77; 32]), next: 0 })
}

impl Program {
    fn unsigned(&self, pair: &Pair) -> Unsigned {
        let leases = pair.sides[0].offers.last().unwrap().clone();
        Unsigned {
            destination: self.keys.destination().clone(),
            times: Times { published: pair.now.unix_secs(), expires: 600, flags: Flags::default(), offline: None },
            options: Mapping::new(),
            keys: vec![EncryptionKey::x25519(self.secret.public_key())],
            leases,
        }
    }

    /// Signs what `change` makes of the LeaseSet that was asked for; says what came of it.
    fn sign(&mut self, pair: &mut Pair, change: impl FnOnce(&mut Unsigned)) -> Result<(), LeaseSetError> {
        let mut unsigned = self.unsigned(pair);
        change(&mut unsigned);
        let set = unsigned.sign(self.keys.signing_key()).unwrap();
        self.give(pair, set, vec![self.secret.clone()])
    }

    fn give(&mut self, pair: &mut Pair, set: LeaseSet2, keys: Vec<SecretKey>) -> Result<(), LeaseSetError> {
        self.next += 1;
        pair.sides[0].destination.adopt(pair.now, self.next, set, keys)?;
        pair.drive();
        pair.sides[0].taken.pop().expect("each is answered")
    }
}

fn message(pair: &Pair, id: u32, text: &str) -> Outgoing {
    let payload = ClientPayload { protocol: protocol::STREAMING, from_port: 1, to_port: 2, data: text.into() };
    let to = pair.sides[1].destination.hash();
    Outgoing { id, to, payload: payload.to_gzip(false), expires: None, report: true }
}

#[test]
fn a_program_signs_and_its_messages_pass_as_they_are() {
    let (mut pair, mut program) = pair();
    let early = message(&pair, 1, "early");
    assert_eq!(pair.sides[0].destination.send_message(pair.now, early), Err(MessageError::NoLeaseSet));
    program.sign(&mut pair, |_| {}).unwrap();
    assert_eq!(pair.sides[0].published.as_ref().unwrap().leases(), &pair.sides[0].offers[0][..]);
    let sent = message(&pair, 2, "question");
    pair.sides[0].destination.send_message(pair.now, sent).unwrap();
    pair.drive();
    assert_eq!(pair.sides[0].sent, [(2, Ok(()))], "it has left");
    assert_eq!(pair.texts(1), [b"question"]);
    let asker = pair.sides[0].destination.hash();
    assert_eq!(pair.sides[1].got[0].0, Some(asker), "the LeaseSet that the program has signed goes with it");
    // Streams and whatever else comes is the program's, unread.
    pair.send(1, "answer");
    pair.drive();
    let came = ClientPayload::from_gzip(&pair.sides[0].messages[0]).unwrap();
    assert_eq!((came.protocol, came.data.as_slice()), (protocol::RAW, &b"answer"[..]));
    assert!(pair.sides[0].got.is_empty() && pair.sides[0].datagrams.is_empty());
    pair.sides[0].destination.check();
}

/// The program asks for word of every message: of one whose receiver is not found it hears that, too.
#[test]
fn each_message_that_is_reported_is_reported_once() {
    let (mut pair, mut program) = pair();
    program.sign(&mut pair, |_| {}).unwrap();
    let lost = Outgoing { to: Hash([9; 32]), ..message(&pair, 5, "lost") };
    pair.sides[0].destination.send_message(pair.now, lost.clone()).unwrap();
    let silent = Outgoing { id: 6, report: false, ..lost };
    pair.sides[0].destination.send_message(pair.now, silent).unwrap();
    pair.drive();
    assert_eq!(pair.sides[0].sent, [(5, Err(SendError::LeaseSetNotFound))]);
    assert!(pair.sides[0].failed.is_empty());
    // What waits in sessions is lost when those are dropped after a fault, and that is said, too.
    pair.directory = false;
    let waits = message(&pair, 7, "waits");
    pair.sides[0].destination.send_message(pair.now, waits).unwrap();
    pair.sides[0].destination.forget_sessions();
    pair.wait(Duration::from_secs(40));
    assert_eq!(pair.sides[0].sent.len(), 2);
    assert_eq!(pair.sides[0].sent[1].0, 7);
    pair.sides[0].destination.check();
}

#[test]
fn messages_that_cannot_be_sent_are_refused() {
    let (mut pair, mut program) = pair();
    program.sign(&mut pair, |_| {}).unwrap();
    let (now, whole) = (pair.now, message(&pair, 1, "x"));
    let mut send = |change: &dyn Fn(&mut Outgoing)| {
        let mut message = whole.clone();
        change(&mut message);
        pair.sides[0].destination.send_message(now, message)
    };
    let own = program.keys.destination().hash();
    assert_eq!(send(&|m| m.to = own), Err(MessageError::Loopback));
    assert_eq!(send(&|m| m.payload.clear()), Err(MessageError::Size));
    assert_eq!(send(&|m| m.payload = vec![0; crate::limits::dest::CLIENT_PAYLOAD]), Err(MessageError::Size));
    assert_eq!(send(&|m| m.payload = vec![0; crate::limits::dest::CLIENT_PAYLOAD - 4]), Ok(()));
    assert_eq!(send(&|m| m.expires = Some(now.unix_ms)), Err(MessageError::Expired));
    assert_eq!(pair.sides[1].destination.send_message(now, whole), Err(MessageError::NotKeyless));
    // One that waits longer than it is good for is not sent.
    let (mut pair, mut program) = self::pair();
    program.sign(&mut pair, |_| {}).unwrap();
    let short = Outgoing { expires: Some(pair.now.unix_ms + 1_000), ..message(&pair, 3, "short") };
    pair.sides[0].destination.send_message(pair.now, short).unwrap();
    pair.now = pair.now.later(Duration::from_secs(2));
    pair.drive();
    assert_eq!(pair.sides[0].sent, [(3, Err(SendError::Expired))]);
    assert!(pair.texts(1).is_empty());
}

/// A program that wants word of more messages than there can be is refused at the limit, and never beyond it.
#[test]
fn reports_that_are_awaited_are_bounded() {
    let (mut pair, mut program) = pair();
    program.sign(&mut pair, |_| {}).unwrap();
    pair.directory = false;
    let mut refused = 0;
    for id in 0..limits::REPORTED as u32 + 100 {
        let mut to = [1; 32];
        to[..4].copy_from_slice(&(id / 60).to_be_bytes());
        let message = Outgoing { to: Hash(to), ..message(&pair, id, "x") };
        refused += u32::from(pair.sides[0].destination.send_message(pair.now, message).is_err());
        pair.sides[0].destination.check();
    }
    assert_eq!(refused, 100);
    let twice = message(&pair, 1, "x");
    assert_eq!(pair.sides[0].destination.send_message(pair.now, twice), Err(MessageError::QueueFull));
    pair.drive();
    assert_eq!(pair.sides[0].sent.len(), limits::REPORTED, "each has its word");
    let again = message(&pair, 1, "x");
    pair.sides[0].destination.send_message(pair.now, again).unwrap();
}

type Change<'a> = &'a dyn Fn(&mut Unsigned);

/// Threats T104: a LeaseSet for another session, a bad signature, one that is old, and leases of other routers.
#[test]
fn t104_lease_sets_that_are_not_what_was_asked_for_are_refused() {
    let (mut pair, mut program) = pair();
    let lease = Lease2 { gateway: Hash([66; 32]), tunnel_id: 1, end: pair.now.unix_secs() + 300 };
    let refused: [(Change<'_>, LeaseSetError); 8] = [
        (&|set| set.leases.push(lease), LeaseSetError::Lease),
        (&|set| set.leases[0].tunnel_id ^= 1, LeaseSetError::Lease),
        (&|set| set.leases[0].end += 2, LeaseSetError::Lease),
        (&|set| set.times.published += 1_000, LeaseSetError::Time),
        (&|set| set.times.published = 0, LeaseSetError::Time),
        (&|set| set.keys[0].bytes = Box::new([5; 32]), LeaseSetError::NoKey),
        (&|set| set.keys[0] = EncryptionKey { kind: 0, bytes: Box::new([5; 256]) }, LeaseSetError::NoKey),
        (&|set| set.keys.push(EncryptionKey { kind: 6, bytes: Box::new([5; 32]) }), LeaseSetError::Hybrid),
    ];
    for (change, why) in refused {
        assert_eq!(program.sign(&mut pair, change), Err(why));
    }
    let foreign = PrivateKeys::random(&mut pair.rng);
    let mut unsigned = program.unsigned(&pair);
    let mut bytes = unsigned.sign(program.keys.signing_key()).unwrap().as_bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let damaged = ramson_wire::codec::Decode::from_bytes(&bytes).unwrap();
    let secret = program.secret.clone();
    assert_eq!(program.give(&mut pair, damaged, vec![secret.clone()]), Err(LeaseSetError::Signature));
    let whole = unsigned.sign(program.keys.signing_key()).unwrap();
    assert_eq!(program.give(&mut pair, whole.clone(), vec![]), Err(LeaseSetError::NoKey));
    unsigned.destination = foreign.destination().clone();
    let others = unsigned.sign(foreign.signing_key()).unwrap();
    assert_eq!(program.give(&mut pair, others, vec![secret.clone()]), Err(LeaseSetError::OtherDestination));
    assert!(pair.sides[0].published.is_none(), "none of those");
    let secret_of = || vec![secret.clone()];
    pair.sides[0].destination.adopt(pair.now, 90, whole.clone(), secret_of()).unwrap();
    pair.drive();
    assert_eq!(pair.sides[0].taken, [Ok(())]);
    pair.sides[0].taken.clear();
    assert_eq!(program.give(&mut pair, whole, vec![secret]), Err(LeaseSetError::Time), "the same again");
}

/// Of those that come while one is verified, the newest is verified next, and the others are overtaken.
#[test]
fn lease_sets_that_come_at_once_are_verified_one_by_one() {
    let (mut pair, program) = pair();
    let sets: Vec<_> = (0..4)
        .map(|later| {
            let mut unsigned = program.unsigned(&pair);
            unsigned.times.published += later;
            unsigned.sign(program.keys.signing_key()).unwrap()
        })
        .collect();
    let adopt = |pair: &mut Pair, at: usize| {
        let now = pair.now;
        pair.sides[0].destination.adopt(now, at as u64, sets[at].clone(), vec![program.secret.clone()])
    };
    let taken = [adopt(&mut pair, 0), adopt(&mut pair, 1), adopt(&mut pair, 3), adopt(&mut pair, 2)];
    assert_eq!(taken, [Ok(()), Ok(()), Ok(()), Err(LeaseSetError::Time)]);
    pair.sides[0].destination.check();
    pair.drive();
    assert_eq!(pair.sides[0].taken, [Err(LeaseSetError::Overtaken), Ok(()), Ok(())]);
    assert_eq!(pair.sides[0].published.as_ref().unwrap().as_bytes(), sets[3].as_bytes());
}

#[test]
fn late_answers_are_taken_and_those_to_old_requests_are_not() {
    let (mut pair, mut program) = pair();
    let first = program.unsigned(&pair);
    for _ in 0..limits::OFFERS - 1 {
        pair.now = pair.now.later(Duration::from_secs(5));
        pair.renew_leases();
        pair.sides[0].destination.check();
    }
    assert_eq!(pair.sides[0].offers.len(), limits::OFFERS);
    let set = first.sign(program.keys.signing_key()).unwrap();
    let secret = program.secret.clone();
    program.give(&mut pair, set, vec![secret.clone()]).unwrap();
    pair.now = pair.now.later(Duration::from_secs(5));
    pair.renew_leases();
    let late = Unsigned { times: Times { published: first.times.published + 1, ..first.times.clone() }, ..first };
    let set = late.sign(program.keys.signing_key()).unwrap();
    assert_eq!(program.give(&mut pair, set, vec![secret]), Err(LeaseSetError::Lease));
    program.sign(&mut pair, |_| {}).unwrap();
}

#[test]
fn another_static_key_ends_sessions_and_the_same_one_does_not() {
    let (mut pair, mut program) = pair();
    program.sign(&mut pair, |_| {}).unwrap();
    let talk = |pair: &mut Pair, id: u32| {
        let sent = message(pair, id, "x");
        pair.sides[0].destination.send_message(pair.now, sent).unwrap();
        pair.drive();
        pair.send(1, "y");
        pair.drive();
        (pair.texts(1).len(), pair.sides[0].messages.len())
    };
    assert_eq!(talk(&mut pair, 1), (1, 1));
    for (round, key) in [(2, [77; 32]), (3, [78; 32])] {
        pair.now = pair.now.later(Duration::from_secs(5));
        pair.renew_leases();
        program.secret = SecretKey::from_bytes(key);
        program.sign(&mut pair, |_| {}).unwrap();
        assert_eq!(talk(&mut pair, round), (round as usize, round as usize), "it goes on");
    }
}

/// A LeaseSet of a key that stays offline, signed by a transient one.
#[test]
fn offline_signatures_are_taken_while_their_permit_lasts() {
    let (mut pair, mut program) = pair();
    let now = pair.now.unix_secs();
    let transient = SigningKey::from_seed([3; 32]);
    for (expires, result) in [(now, Err(LeaseSetError::Time)), (now + 60, Ok(()))] {
        let keys = program.keys.delegate(transient.clone(), expires).unwrap();
        let mut unsigned = program.unsigned(&pair);
        unsigned.times.offline = keys.offline().cloned();
        let set = unsigned.sign(keys.signing_key()).unwrap();
        let secret = program.secret.clone();
        assert_eq!(program.give(&mut pair, set, vec![secret]), result);
    }
}

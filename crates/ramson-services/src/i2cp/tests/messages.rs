//! What is sent and what comes.

use super::*;
use ramson_wire::i2cp::{Delivery, Expiry, MessagePayload, MessageStatus};

async fn status(program: &mut Program) -> (u8, u32, u32) {
    match program.hear().await {
        Some(Message::MessageStatus(MessageStatus { status, nonce, id, .. })) => (status.0, nonce, id),
        other => panic!("{other:?}"),
    }
}

async fn came(program: &mut Program) -> (SessionId, String) {
    match program.hear().await {
        Some(Message::MessagePayload(MessagePayload { session, payload, .. })) => {
            (session, String::from_utf8(payload).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_pass_between_programs_and_their_senders_hear_of_them() {
    let door = Door::new();
    let ((mut a, from), (mut b, to)) = (door.session(&[]).await, door.session(&[]).await);
    // A message that comes shows that the LeaseSet was taken.
    a.send(from, &b.destination(), "one", 77).await;
    let (accepted, nonce, id) = status(&mut a).await;
    assert_eq!((accepted, nonce), (Delivery::ACCEPTED.0, 77));
    assert_eq!(status(&mut a).await, (Delivery::BEST_EFFORT_SUCCESS.0, 77, id));
    assert_eq!(came(&mut b).await, (to, "one".to_owned()));
    // Nothing is said of one without a nonce: what is heard next is of the one behind it.
    a.send(from, &b.destination(), "two", 0).await;
    a.send(from, &b.destination(), "three", 78).await;
    assert_eq!(status(&mut a).await.1, 78);
    assert_eq!(status(&mut a).await.1, 78);
    assert_eq!((came(&mut b).await.1, came(&mut b).await.1), ("two".to_owned(), "three".to_owned()));
    b.send(to, &a.destination(), "back", 0).await;
    assert_eq!(came(&mut a).await, (from, "back".to_owned()));
}

#[tokio::test]
async fn a_session_without_reliability_hears_the_end_only() {
    let door = Door::new();
    let (mut a, from) = door.session(&[("i2cp.messageReliability", "none")]).await;
    let (b, _) = door.session(&[]).await;
    a.send(from, &b.destination(), "one", 5).await;
    let (said, nonce, _) = status(&mut a).await;
    assert_eq!((said, nonce), (Delivery::BEST_EFFORT_SUCCESS.0, 5));
}

#[tokio::test]
async fn messages_that_cannot_be_sent_are_told_why() {
    let door = Door::new();
    let (mut a, from) = door.session(&[]).await;
    let stranger = PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng)).destination().clone();
    let own = a.destination();
    a.send(from, &stranger, "x", 1).await;
    assert_eq!(status(&mut a).await.0, Delivery::ACCEPTED.0);
    assert_eq!(status(&mut a).await.0, Delivery::NO_LEASE_SET.0);
    a.send(from, &own, "x", 2).await;
    assert_eq!(status(&mut a).await.0, Delivery::LOOPBACK_DENIED.0);
    a.send(SessionId(from.0 + 1), &stranger, "x", 3).await;
    assert_eq!(status(&mut a).await.0, Delivery::BAD_SESSION.0);
    a.send(from, &stranger, "", 4).await;
    assert_eq!(status(&mut a).await.0, Delivery::BAD_MESSAGE.0);
    let late = SendMessage {
        session: from,
        to: stranger.clone(),
        payload: b"x".to_vec(),
        nonce: 5,
        expires: Some(Expiry { flags: 0, at: now() - 1_000 }),
    };
    a.say(Message::SendMessage(late.clone())).await;
    assert_eq!(status(&mut a).await.0, Delivery::EXPIRED.0);
    // No date at all is none that has passed.
    let undated = SendMessage { nonce: 6, expires: Some(Expiry { flags: 0x1ff, at: 0 }), ..late };
    a.say(Message::SendMessage(undated)).await;
    assert_eq!(status(&mut a).await.0, Delivery::ACCEPTED.0);
    // Before its LeaseSet is signed a session sends nothing.
    let mut early = door.hello().await;
    let id = early.create(&[]).await.unwrap();
    early.asked(id).await;
    early.send(id, &stranger, "x", 7).await;
    assert_eq!(status(&mut early).await.0, Delivery::BAD_LOCAL_LEASE_SET.0);
}

/// Sessions of one connection have no messages for each other, as in Java since 2.5.0.
#[tokio::test]
async fn t104_a_message_to_another_session_of_the_same_connection_is_denied() {
    let door = Door::new();
    let (mut program, first) = door.session(&[]).await;
    let other = std::mem::replace(&mut program.keys, PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng)));
    let second = program.create(&[]).await.unwrap();
    program.sign(second).await;
    for (from, to) in [(second, other.destination().clone()), (first, program.destination())] {
        program.send(from, &to, "x", 9).await;
        assert_eq!(status(&mut program).await.0, Delivery::LOOPBACK_DENIED.0);
    }
}

/// Thousands of messages in both directions at once, none lost and none out of order.
#[tokio::test]
async fn many_messages_pass_both_ways_at_once() {
    const MANY: u32 = 3_000;
    let door = Door::new();
    let ((a, from), (b, to)) = (door.session(&[]).await, door.session(&[]).await);
    let (first, second) = (a.destination(), b.destination());
    let run = |program: Program, id: SessionId, peer: Destination| {
        let Program { socket, rest, keys, secret } = program;
        let (reader, mut writer) = tokio::io::split(socket);
        let write = tokio::spawn(async move {
            for n in 0..MANY {
                let payload = n.to_be_bytes().repeat(300);
                let message = SendMessage { session: id, to: peer.clone(), payload, nonce: 0, expires: None };
                writer.write_all(&Message::SendMessage(message).to_bytes()).await.unwrap();
            }
            writer
        });
        let read = tokio::spawn(async move {
            let mut reader = tokio::io::BufReader::new(reader);
            for n in 0..MANY {
                let mut head = [0; HEADER];
                reader.read_exact(&mut head).await.unwrap();
                let Header { len, kind } = Header::new(head).unwrap();
                let mut body = vec![0; len];
                reader.read_exact(&mut body).await.unwrap();
                let Ok(Message::MessagePayload(came)) = Message::decode(kind, &body) else { panic!("{kind}") };
                assert_eq!(came.payload, n.to_be_bytes().repeat(300));
            }
            (reader, rest, keys, secret)
        });
        async move { tokio::join!(write, read) }
    };
    let ((_a, read_a), (_b, read_b)) = tokio::join!(run(a, from, second), run(b, to, first));
    assert!(read_a.is_ok() && read_b.is_ok());
}

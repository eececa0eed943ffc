//! Threats T102, T104 and T105: whatever a program sends, and however it ends.

use super::*;
use crate::limits::{I2CP_BEGIN_TIME, I2CP_IDLE_TIME, I2CP_PASSWORD_DELAY, I2CP_SIGN_TIME, I2CP_WRITE_TIME};
use ramson_wire::data::Hash;
use ramson_wire::i2cp::{HostReply, LookupResult, MessagePayload, SetDate};
use tokio::time::Instant;

/// A browser that somebody has sent here gets nothing, at its first byte.
#[tokio::test]
async fn t102_requests_of_browsers_are_not_answered() {
    let door = Door::new();
    for request in ["GET / HTTP/1.1\r\n\r\n", "POST /", "\x16\x03\x01", "HELLO VERSION\n", "\0"] {
        let mut program = door.dial();
        program.socket.write_all(request.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        program.socket.read_to_end(&mut said).await.unwrap();
        assert!(said.is_empty(), "{request}");
    }
}

#[tokio::test]
async fn t104_messages_without_sense_end_the_connection_with_the_reason() {
    let door = Door::new();
    for bytes in [&[0xff, 0xff, 0xff, 0xff, 5][..], &[0, 0, 0, 0, 255], &[0, 0, 0, 1, 1, 9], &[0, 0, 0, 0, 38]] {
        let (mut program, _) = door.session(&[]).await;
        program.socket.write_all(bytes).await.unwrap();
        assert!(!program.reason().await.is_empty());
    }
    for message in [
        Message::SetDate(SetDate { date: 1, version: String::new() }),
        Message::DestReply(Err(Hash([1; 32]))),
        Message::MessagePayload(MessagePayload { session: SessionId(1), id: 1, payload: vec![1] }),
        Message::HostReply(HostReply {
            session: SessionId(1),
            request: 1,
            result: LookupResult::SUCCESS,
            destination: None,
            options: None,
        }),
        Message::CreateLeaseSet(SessionId(1)),
    ] {
        let (mut program, _) = door.session(&[]).await;
        program.say(message).await;
        assert!(!program.reason().await.is_empty());
    }
    door.is_empty().await;
}

/// A LeaseSet for another session, of another destination, and before there is a session.
#[tokio::test]
async fn t104_lease_sets_of_others_end_the_connection() {
    let door = Door::new();
    let (other, id) = door.session(&[]).await;
    let lease = Lease { gateway: Hash([1; 32]), tunnel_id: 1, end: now() + 60_000 };
    let secs = u32::try_from(now() / 1_000).unwrap();
    let mut early = door.hello().await;
    let created = early.lease_set(id, &[lease], secs);
    early.say(Message::CreateLeaseSet2(created)).await;
    assert!(early.reason().await.contains("no session"));
    let (mut program, own) = door.session(&[]).await;
    let created = program.lease_set(id, &[lease], secs);
    program.say(Message::CreateLeaseSet2(created)).await;
    assert!(program.reason().await.contains("no session"), "another connection's session is none of this one");
    let (mut program, own_id) = door.session(&[]).await;
    let created = CreateLeaseSet2 { session: own_id, ..other.lease_set(own, &[lease], secs) };
    program.say(Message::CreateLeaseSet2(created)).await;
    assert!(program.reason().await.contains("not taken"));
    // Without the private part nothing that comes could be read.
    let (mut program, id) = door.session(&[]).await;
    let created = CreateLeaseSet2 { keys: Vec::new(), ..program.lease_set(id, &[lease], secs + 5) };
    program.say(Message::CreateLeaseSet2(created)).await;
    assert!(program.reason().await.contains("not taken"));
}

/// What is obsolete is passed over.
#[tokio::test]
async fn what_is_obsolete_changes_nothing() {
    use ramson_wire::i2cp::{BlindingInfo, Endpoint};
    let door = Door::new();
    let (mut program, session) = door.session(&[]).await;
    for message in [
        Message::ReceiveMessageBegin,
        Message::ReceiveMessageEnd,
        Message::ReportAbuse,
        Message::BlindingInfo(BlindingInfo {
            session,
            flags: 0,
            blinded_type: 11,
            expires: 0,
            endpoint: Endpoint::Name("x.i2p".into()),
            decryption_key: None,
            lookup_password: None,
        }),
    ] {
        program.say(message).await;
    }
    program.say(Message::GetBandwidthLimits).await;
    assert!(matches!(program.hear().await, Some(Message::BandwidthLimits(_))));
    program.say(Message::Disconnect("bye".into())).await;
    assert!(program.hear().await.is_none());
    door.is_empty().await;
}

/// Peers would write to the key that they find.
#[tokio::test]
async fn t104_lease_sets_with_an_elgamal_key_only_are_refused_with_what_to_set() {
    let door = Door::new();
    let elgamal = EncryptionKey { kind: 0, bytes: vec![7; 256].into() };
    for with_another in [false, true] {
        let mut program = door.hello().await;
        let id = program.create(&[]).await.unwrap();
        let leases = program.asked(id).await;
        let own = EncryptionKey::x25519(program.secret.public_key());
        let keys = [with_another.then_some(own), Some(elgamal.clone())].into_iter().flatten().collect();
        let set = program.lease_set_of(id, &leases, u32::try_from(now() / 1_000).unwrap(), keys);
        program.say(Message::CreateLeaseSet2(set)).await;
        if with_another {
            program.say(Message::GetBandwidthLimits).await;
            assert!(matches!(program.hear().await, Some(Message::BandwidthLimits(_))), "as Java's 4,0");
        } else {
            assert!(program.reason().await.contains("i2cp.leaseSetEncType=4"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t105_wrong_passwords_are_refused_and_wait() {
    let door = Door::with(|config| config.users = vec![("me".into(), "word".into())]);
    let get_date = |pairs: Option<&[(&str, &str)]>| {
        Message::GetDate(GetDate { version: "0.9.66".into(), authentication: pairs.map(mapping) })
    };
    let right = [("i2cp.password", "word"), ("i2cp.username", "me")];
    let wrong = [("i2cp.password", "wordy"), ("i2cp.username", "me")];
    for first in
        [get_date(None), get_date(Some(&wrong)), Message::GetBandwidthLimits, Message::DestLookup(Hash([1; 32]))]
    {
        let begun = Instant::now();
        let mut program = door.dial();
        program.socket.write_all(&[PROTOCOL_BYTE]).await.unwrap();
        program.say(first).await;
        assert!(program.reason().await.contains("i2cp.username"));
        assert!(begun.elapsed() >= I2CP_PASSWORD_DELAY);
    }
    let mut program = door.dial();
    program.socket.write_all(&[PROTOCOL_BYTE]).await.unwrap();
    program.say(get_date(Some(&right))).await;
    assert!(matches!(program.hear().await, Some(Message::SetDate(_))));
    assert!(program.create(&[]).await.is_ok());
}

#[tokio::test]
async fn programs_that_are_too_old_are_told() {
    let door = Door::new();
    for (version, served) in [("0.9.6", false), ("0.8", false), ("0.9.7", true), ("1.0", true), ("", true), ("x", true)]
    {
        let mut program = door.dial();
        program.socket.write_all(&[PROTOCOL_BYTE]).await.unwrap();
        program.say(Message::GetDate(GetDate { version: version.into(), authentication: None })).await;
        let said = program.hear().await;
        assert_eq!(matches!(said, Some(Message::SetDate(_))), served, "{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn t104_silence_ends_in_time_but_not_that_of_sessions() {
    let door = Door::new();
    let begun = Instant::now();
    let mut silent = door.dial();
    assert!(silent.hear().await.is_none());
    assert!((I2CP_BEGIN_TIME..I2CP_IDLE_TIME).contains(&begun.elapsed()));
    let begun = Instant::now();
    let mut idle = door.hello().await;
    assert!(idle.reason().await.contains("in time"));
    assert!(begun.elapsed() >= I2CP_IDLE_TIME);
    // A session of which the LeaseSet is never signed.
    let begun = Instant::now();
    let mut unsigned = door.hello().await;
    let id = unsigned.create(&[]).await.unwrap();
    unsigned.asked(id).await;
    assert!(unsigned.reason().await.contains("LeaseSet"));
    assert!((I2CP_SIGN_TIME..I2CP_IDLE_TIME).contains(&begun.elapsed()));
    let (mut session, _) = door.session(&[]).await;
    tokio::time::sleep(I2CP_IDLE_TIME * 50).await;
    session.say(Message::GetBandwidthLimits).await;
    assert!(matches!(session.hear().await, Some(Message::BandwidthLimits(_))));
}

#[tokio::test(start_paused = true)]
async fn t104_a_program_that_does_not_read_is_let_go() {
    let door = Door::new();
    let (deaf, _) = door.session(&[]).await;
    let (mut sender, id) = door.session(&[]).await;
    let begun = Instant::now();
    while door.network.destinations() > 1 {
        let text = "x".repeat(30_000);
        sender.send(id, &deaf.destination(), &text, 0).await;
        tokio::task::yield_now().await;
        assert!(begun.elapsed() < I2CP_WRITE_TIME * 3, "it is still there");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    sender.say(Message::GetBandwidthLimits).await;
    assert!(matches!(sender.hear().await, Some(Message::BandwidthLimits(_))), "the other one is none the worse");
}

/// A connection that ends after each byte of a session that is made leaves nothing.
#[tokio::test]
async fn t104_a_connection_that_ends_at_any_point_leaves_nothing() {
    let door = Door::new();
    let program = door.dial();
    let mut said = vec![PROTOCOL_BYTE];
    Message::GetDate(GetDate { version: "0.9.66".into(), authentication: None }).encode(&mut said);
    Message::CreateSession(program.config(&[], now())).encode(&mut said);
    let lease = Lease { gateway: Hash([1; 32]), tunnel_id: 1, end: now() + 60_000 };
    let set = program.lease_set(SessionId(1), &[lease], u32::try_from(now() / 1_000).unwrap());
    Message::CreateLeaseSet2(set).encode(&mut said);
    drop(program);
    for end in (0..said.len()).step_by(13).chain([said.len()]) {
        let mut program = door.dial();
        program.socket.write_all(&said[..end]).await.unwrap();
        drop(program);
        door.is_empty().await;
    }
}

/// What a fuzzer may send, in short.
#[test]
fn any_bytes_are_answered_or_not_and_leave_nothing() {
    let mut seed = 7u32;
    for len in 0..60usize {
        let mut bytes = Vec::new();
        for _ in 0..len {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push((seed >> 24) as u8);
        }
        for begin in [0x00, 0x02, 0x40, 0xc0] {
            super::super::fuzzing::i2cp_session(&[&[begin], &bytes[..]].concat());
            super::super::fuzzing::i2cp_session(
                &[&[begin, 0, 0, 0, len as u8, (seed >> 8) as u8 % 43], &bytes[..]].concat(),
            );
        }
    }
}

//! Names, hashes and what LeaseSets say.

use super::*;
use ramson_wire::data::{Hash, base32};
use ramson_wire::i2cp::{HostLookup, HostReply, LookupKey, LookupResult};

async fn ask(program: &mut Program, session: SessionId, key: LookupKey, options: bool) -> HostReply {
    let request = 4711;
    program.say(Message::HostLookup(HostLookup { session, request, timeout: 10_000, key, options })).await;
    match program.hear().await {
        Some(Message::HostReply(reply)) => {
            assert_eq!((reply.session, reply.request), (session, request));
            reply
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn destinations_are_found_by_hash_and_name_with_and_without_a_session() {
    let door = Door::new();
    let (target, _) = door.session(&[]).await;
    let (found, hash) = (target.destination(), target.destination().hash());
    let file = door.folder.path().join("hosts.txt");
    std::fs::write(&file, format!("known.i2p={}\n", found.to_base64())).unwrap();
    let door = Door {
        shared: Arc::new(Shared::new(
            door.shared.config.clone(),
            door.network.router(),
            Arc::new(Names::open(file).unwrap()),
        )),
        ..door
    };
    let (session, id) = door.session(&[]).await;
    let simple = door.hello().await;
    let said = mapping(&[("_smtp._tcp", "1 999 0 0 25")]);
    door.network.set_lease_set_options(hash, said.clone());
    for (mut program, session) in [(session, id), (simple, SessionId::NONE)] {
        for key in [
            LookupKey::Hash(hash),
            LookupKey::Name("known.i2p".into()),
            LookupKey::Name(base32::host_name(&hash)),
            LookupKey::Destination(found.clone()),
        ] {
            let with_options = matches!(key, LookupKey::Destination(_));
            let reply = ask(&mut program, session, key.clone(), with_options).await;
            assert_eq!((reply.result, reply.destination.as_ref()), (LookupResult::SUCCESS, Some(&found)), "{key:?}");
            assert_eq!(reply.options, with_options.then(|| said.clone()));
            let reply = ask(&mut program, session, key, true).await;
            assert_eq!((reply.result, reply.options), (LookupResult::SUCCESS, Some(said.clone())));
        }
        program.say(Message::DestLookup(hash)).await;
        assert_eq!(program.hear().await, Some(Message::DestReply(Ok(found.clone()))));
        program.say(Message::DestLookup(Hash([9; 32]))).await;
        assert_eq!(program.hear().await, Some(Message::DestReply(Err(Hash([9; 32])))));
    }
}

#[tokio::test]
async fn what_is_not_found_fails_in_the_words_of_the_protocol() {
    let door = Door::new();
    let mut program = door.hello().await;
    let offline = PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng)).destination().clone();
    for (key, options, result) in [
        (LookupKey::Hash(Hash([9; 32])), false, LookupResult::FAILURE),
        (LookupKey::Hash(Hash([9; 32])), true, LookupResult::LEASE_SET_NOT_FOUND),
        (LookupKey::Name("nobody.i2p".into()), false, LookupResult::FAILURE),
        (LookupKey::Name("nobody.i2p".into()), true, LookupResult::FAILURE),
        (LookupKey::Name("example.com".into()), false, LookupResult::FAILURE),
        (LookupKey::Name("<script>".into()), false, LookupResult::FAILURE),
        (LookupKey::Destination(offline.clone()), true, LookupResult::LEASE_SET_NOT_FOUND),
        (LookupKey::Unknown(9, Box::new([1, 2])), false, LookupResult::UNSUPPORTED),
    ] {
        let is_destination = matches!(key, LookupKey::Destination(_));
        let reply = ask(&mut program, SessionId::NONE, key, options).await;
        assert_eq!((reply.result, reply.options), (result, None));
        assert_eq!(reply.destination.is_some(), is_destination, "what is known is said all the same");
    }
}

/// Look-ups that are not answered: so many wait, and one beyond has failed at once.
#[tokio::test(start_paused = true)]
async fn look_ups_of_one_connection_are_bounded() {
    use crate::limits::I2CP_LOOKUPS;
    let door = Door::new();
    door.network.start_unready();
    let mut program = door.hello().await;
    let key = LookupKey::Hash(Hash([9; 32]));
    for n in 0..=u32::try_from(I2CP_LOOKUPS).unwrap() {
        let (session, timeout, key) = (SessionId::NONE, 30_000, key.clone());
        program.say(Message::HostLookup(HostLookup { session, request: n, timeout, key, options: false })).await;
    }
    let begun = tokio::time::Instant::now();
    let Some(Message::HostReply(first)) = program.hear().await else { panic!() };
    assert_eq!((first.request as usize, first.result), (I2CP_LOOKUPS, LookupResult::FAILURE));
    assert!(begun.elapsed() < Duration::from_secs(1));
    // The others fail when the program's own patience is over.
    for _ in 0..I2CP_LOOKUPS {
        assert!(matches!(program.hear().await, Some(Message::HostReply(_))));
    }
    assert!(begun.elapsed() < Duration::from_secs(40));
}

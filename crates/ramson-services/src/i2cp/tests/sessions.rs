//! How sessions begin, change and end.

use super::*;
use ramson::TunnelOptions;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::i2cp::BandwidthLimits;

fn new_keys() -> PrivateKeys {
    PrivateKeys::random(&mut rand_core::UnwrapErr(getrandom::SysRng))
}

#[tokio::test]
async fn a_session_is_what_its_options_say_and_ends_with_its_connection() {
    let door = Door::new();
    let options = [
        ("i2cp.dontPublishLeaseSet", "true"),
        ("i2cp.leaseSetEncType", "4,0"),
        ("inbound.length", "2"),
        ("inbound.nickname", "my program"),
        ("inbound.quantity", "5"),
        ("outbound.length", "1"),
        ("outbound.lengthVariance", "1"),
    ];
    let (program, _) = door.session(&options).await;
    let hash = program.destination().hash();
    let made = door.network.options(hash).unwrap();
    assert_eq!((made.name.as_str(), made.publish, made.transient), ("my program", false, true));
    assert_eq!(made.inbound, TunnelOptions { hops: 2, quantity: 5, extra_hops: 0, dangerously_short: false });
    assert_eq!(made.outbound, TunnelOptions { hops: 1, quantity: 3, extra_hops: 1, dangerously_short: true });
    while door.network.lease_set(hash).is_none() {
        tokio::task::yield_now().await;
    }
    drop(program);
    door.is_empty().await;
}

#[tokio::test]
async fn new_leases_are_signed_again_and_again() {
    let door = Door::new();
    let (mut program, id) = door.session(&[]).await;
    let hash = program.destination().hash();
    for later in 1..4 {
        door.network.offer(hash);
        let leases = program.asked(id).await;
        let published = u32::try_from(now() / 1_000).unwrap() + later;
        let created = program.lease_set(id, &leases, published);
        program.say(Message::CreateLeaseSet2(created)).await;
        while door.network.lease_set(hash).is_none_or(|set| set.times().published != published) {
            tokio::task::yield_now().await;
        }
    }
}

/// Threats T104: a signature that is wrong, a date of ten minutes ago, a second session of the same destination.
#[tokio::test]
async fn t104_sessions_that_are_not_in_order_are_refused_with_the_reason() {
    let door = Door::new();
    let (first, _) = door.session(&[]).await;
    type Make = fn(&Program, &PrivateKeys) -> SessionConfig;
    let refused: [(Make, SessionState, &str); 9] = [
        (|it, _| it.config(&[], now() - 600_000), SessionState::INVALID, "30 seconds"),
        (|it, _| it.config(&[], now() + 600_000), SessionState::INVALID, "30 seconds"),
        (
            |it, _| SessionConfig::sign(it.destination(), Mapping::new(), now(), &SigningKey::from_seed([1; 32])),
            SessionState::INVALID,
            "signature",
        ),
        (
            |_, keys| SessionConfig::sign(keys.destination().clone(), Mapping::new(), now(), keys.signing_key()),
            SessionState::REFUSED,
            "has a session already",
        ),
        (|it, _| it.config(&[("inbound.length", "8")], now()), SessionState::INVALID, "inbound.length"),
        (|it, _| it.config(&[("i2cp.leaseSetType", "5")], now()), SessionState::INVALID, "leaseSetType"),
        (|it, _| it.config(&[("i2cp.leaseSetType", "7")], now()), SessionState::INVALID, "leaseSetType"),
        (|it, _| it.config(&[("i2cp.leaseSetEncType", "0")], now()), SessionState::INVALID, "only 4"),
        (|it, _| it.config(&[("i2cp.leaseSetEncType", "6,4")], now()), SessionState::INVALID, "ML-KEM"),
    ];
    for (make, state, why) in refused {
        let mut program = door.hello().await;
        let config = make(&program, &first.keys);
        program.say(Message::CreateSession(config)).await;
        let said = SessionStatus { session: SessionId::NONE, state };
        assert_eq!(program.hear().await, Some(Message::SessionStatus(said)), "{why}");
        let reason = program.reason().await;
        assert!(reason.contains(why), "{reason}");
    }
    assert_eq!(door.network.destinations(), 1);
}

/// The transient key of a destination whose own key stays offline.
#[tokio::test]
async fn offline_keys_sign_sessions_while_their_permit_lasts() {
    use ramson_wire::data::base64;
    let door = Door::new();
    for (lasts, state) in [(600_i64, SessionState::CREATED), (-5, SessionState::INVALID)] {
        let mut program = door.hello().await;
        let expires = u32::try_from(i64::try_from(now() / 1_000).unwrap() + lasts).unwrap();
        let keys = program.keys.delegate(SigningKey::from_seed([4; 32]), expires).unwrap();
        let permit = keys.offline().unwrap();
        let mut bytes = Vec::new();
        permit.encode(&mut bytes);
        let (public, signature) = (base64::encode(permit.transient.bytes()), base64::encode(&bytes[38..]));
        let options = [
            ("i2cp.leaseSetOfflineExpiration", expires.to_string()),
            ("i2cp.leaseSetOfflineSignature", signature),
            ("i2cp.leaseSetTransientPublicKey", format!("7:{public}")),
        ];
        let options = Mapping::from_pairs(options.iter().map(|(key, value)| (*key, &**value))).unwrap();
        let config = SessionConfig::sign(keys.destination().clone(), options, now(), keys.signing_key());
        program.say(Message::CreateSession(config)).await;
        let Some(Message::SessionStatus(said)) = program.hear().await else { panic!() };
        assert_eq!(said.state, state);
    }
}

#[tokio::test]
async fn sessions_are_changed_while_they_live() {
    let door = Door::new();
    let (mut program, id) = door.session(&[("inbound.length", "2"), ("inbound.quantity", "2")]).await;
    let hash = program.destination().hash();
    for (options, date, state, inbound) in [
        (&[("inbound.quantity", "4")][..], now(), SessionState::UPDATED, (2, 4)),
        (&[("inbound.quantity", "99")], now(), SessionState::INVALID, (2, 4)),
        (&[("inbound.quantity", "6")], now() - 60_000, SessionState::INVALID, (2, 4)),
        (&[("inbound.length", "1")], now(), SessionState::UPDATED, (1, 4)),
    ] {
        let config = program.config(options, date);
        program.say(Message::ReconfigureSession { session: id, config }).await;
        assert_eq!(program.hear().await, Some(Message::SessionStatus(SessionStatus { session: id, state })));
        let made = door.network.options(hash).unwrap().inbound;
        assert_eq!((made.hops, made.quantity), inbound, "{options:?}");
    }
    let other = new_keys();
    let config = SessionConfig::sign(other.destination().clone(), Mapping::new(), now(), other.signing_key());
    program.say(Message::ReconfigureSession { session: id, config }).await;
    let state = SessionState::INVALID;
    assert_eq!(program.hear().await, Some(Message::SessionStatus(SessionStatus { session: id, state })), "another's");
    let config = program.config(&[], now());
    let session = SessionId(id.0 + 100);
    program.say(Message::ReconfigureSession { session, config }).await;
    assert_eq!(program.hear().await, Some(Message::SessionStatus(SessionStatus { session, state })));
}

#[tokio::test]
async fn sessions_of_one_connection_end_by_themselves_and_all_with_the_first() {
    let door = Door::new();
    let (mut program, first) = door.session(&[]).await;
    let mut others = Vec::new();
    for _ in 0..2 {
        program.keys = new_keys();
        let id = program.create(&[]).await.unwrap();
        program.sign(id).await;
        others.push(id);
    }
    assert_eq!(door.network.destinations(), 3);
    // One that is refused ends nothing while there are others.
    assert_eq!(program.create(&[]).await, Err(SessionState::REFUSED));
    program.say(Message::DestroySession(others[0])).await;
    while door.network.destinations() > 2 {
        tokio::task::yield_now().await;
    }
    // It goes on, and the number of the one that has ended means nothing.
    program.say(Message::GetBandwidthLimits).await;
    assert!(matches!(program.hear().await, Some(Message::BandwidthLimits(_))));
    program.say(Message::DestroySession(first)).await;
    assert!(program.reason().await.contains("destroyed"));
    door.is_empty().await;
}

#[tokio::test]
async fn sessions_of_one_connection_are_bounded() {
    use crate::limits::I2CP_SESSIONS_PER_CONNECTION;
    let door = Door::new();
    let (mut program, _) = door.session(&[]).await;
    for _ in 1..I2CP_SESSIONS_PER_CONNECTION {
        program.keys = new_keys();
        let id = program.create(&[]).await.unwrap();
        program.sign(id).await;
    }
    program.keys = new_keys();
    assert_eq!(program.create(&[]).await, Err(SessionState::REFUSED));
    drop(program);
    door.is_empty().await;
}

#[tokio::test]
async fn the_limits_of_bandwidth_are_the_routers() {
    for (limits, said) in [((None, None), (1_000_000, 1_000_000)), ((Some(250_000), Some(64_900)), (250, 64))] {
        let door = Door::with(|config| config.limits = limits);
        let mut program = door.hello().await;
        program.say(Message::GetBandwidthLimits).await;
        let Some(Message::BandwidthLimits(BandwidthLimits { client_inbound, client_outbound, .. })) =
            program.hear().await
        else {
            panic!("no limits")
        };
        assert_eq!((client_inbound, client_outbound), said);
    }
}

#[tokio::test]
async fn a_router_that_stops_says_so() {
    let door = Door::new();
    let (mut program, id) = door.session(&[]).await;
    program.send(id, &new_keys().destination().clone(), "x", 0).await;
    door.network.close_all();
    assert!(program.reason().await.contains("shutting down"));
}

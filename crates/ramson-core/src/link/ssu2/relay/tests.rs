//! Three machines by hand, and what others may do to each of them.

use super::*;
use crate::keys::RouterKeys;
use crate::link::ssu2::outside::IntroKey;
use crate::own_info::OwnInfo;
use crate::rng::Rng;
use crate::tunnel::Congestion;
use proptest::prelude::*;
use ramson_wire::data::ssu2_address::Introducer;
use ramson_wire::ssu2::{Block, Blocks, MessageType, RelayAgreement, RelayIntro, RelayRequest};

const START_MS: u64 = 1_790_000_000_000;

struct Machine {
    relay: Relay,
    keys: RouterKeys,
    info: Arc<RouterInfo>,
    intro: IntroKey,
}

fn addr(n: u8) -> SocketAddr {
    ([20, 30, n, 1], 9_000).into()
}

fn machine(n: u8) -> Machine {
    let mut rng = Rng::from_seed([n; 32]);
    let keys = RouterKeys::generate(&mut rng);
    let own = OwnInfo {
        network_id: 99,
        bandwidth: 'L',
        published: vec![],
        udp: vec![addr(n)],
        udp_published: vec![],
        hidden: false,
        introducers: vec![],
        ipv4: true,
        ipv6: false,
        floodfill: false,
        congestion: Congestion::None,
    };
    let info = Arc::new(own.sign(&keys, START_MS).unwrap());
    let config = RelayConfig {
        network_id: 99,
        router: info.hash(),
        addresses: AddressRules { allow_reserved: false, ipv4: true, ipv6: true },
        signing: Arc::new(keys.signing.clone()),
    };
    let intro = IntroKey::new(keys.ssu2_intro());
    let mut relay = Relay::new(config, rng.child("relay"));
    relay.set_own_address(true, Some(addr(n)));
    Machine { relay, keys, info, intro }
}

fn at(secs: u64) -> Now {
    Now::new(Instant::ZERO + Duration::from_secs(1_000 + secs), START_MS + secs * 1_000)
}

impl Machine {
    /// As others have it in a session. `conn` is the session's name at the other end.
    fn peer(&self, conn: u64, n: u8) -> Peer {
        Peer { conn: ConnId(conn), router: self.info.hash(), addr: addr(n) }
    }

    /// What it has to say, with all jobs done. RouterInfos that it wants it gets.
    fn events(&mut self, now: Now, known: &[&Arc<RouterInfo>]) -> Vec<Event> {
        let mut out = vec![];
        while let Some(event) = self.relay.poll_event() {
            match event {
                Event::Job(_, job) => {
                    let done = job.run(&|_| None);
                    self.relay.handle_job(now, done);
                }
                Event::Info { router } => {
                    let info = known.iter().find(|info| info.hash() == router).copied();
                    self.relay.handle_info(now, &router, info);
                }
                other => out.push(other),
            }
            self.relay.check();
        }
        out
    }

    fn sign_request(&self, bob: &Machine, charlie: &Machine, agreement: &RelayAgreement) -> (Vec<u8>, Vec<u8>) {
        let bytes = agreement.to_bytes();
        let message = RelayAgreement::signed_message(&bytes, &bob.info.hash(), &charlie.info.hash());
        let signature = self.keys.signing.sign(&message).to_vec();
        (bytes, signature)
    }
}

fn agreement(nonce: u32, tag: u32, alice: SocketAddr, now: Now) -> RelayAgreement {
    RelayAgreement { nonce, tag, timestamp: now.unix_secs(), version: 2, alice }
}

/// The blocks that go out in sessions.
fn blocks(events: &[Event]) -> Vec<(ConnId, Vec<u8>)> {
    let of = |event: &Event| match event {
        Event::Blocks { conn, blocks } => Some((*conn, blocks.clone())),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

/// The code of the only RelayResponse in the only packet; `None` for silence.
fn code_of(events: &[Event]) -> Option<u8> {
    let all = blocks(events);
    assert!(all.len() <= 1);
    let found = Blocks::new(&all.first()?.1).find_map(|block| match block.unwrap() {
        Block::RelayResponse(response) => Some(response.code),
        _ => None,
    });
    assert!(found.is_some());
    found
}

/// Bob with a tag for Charlie, and that tag. Sessions at Bob: 1 with Alice, 2 with Charlie.
fn bob_and_charlie() -> (Machine, Machine, u32) {
    let (mut bob, mut charlie) = (machine(2), machine(3));
    bob.relay.handle_tag_request(&charlie.peer(2, 3));
    let given = blocks(&bob.events(at(0), &[]));
    let tag = match Blocks::new(&given[0].1).next() {
        Some(Ok(Block::RelayTag(tag))) => tag,
        other => panic!("{other:?}"),
    };
    charlie.relay.set_firewalled(at(0), true, false);
    let session = bob.peer(7, 2);
    // What was not asked for means nothing.
    charlie.relay.handle_tag(at(0), &session, tag);
    assert!(charlie.relay.introducers().is_empty());
    assert!(charlie.relay.ask_for_tag(&session) && !charlie.relay.ask_for_tag(&session));
    charlie.relay.handle_tag(at(0), &session, tag);
    assert_eq!(charlie.relay.introducers().len(), 1);
    charlie.events(at(0), &[]);
    (bob, charlie, tag)
}

fn request(bob: &mut Machine, alice: &Machine, charlie: &Machine, agreement: &RelayAgreement, now: Now) -> Vec<Event> {
    let (bytes, signature) = alice.sign_request(bob, charlie, agreement);
    let signed = Signed { bytes: &bytes, signature: &signature };
    let request = RelayRequest { agreement: *agreement, signed };
    bob.relay.handle_request(now, &alice.peer(1, 1), &request);
    bob.events(now, &[&alice.info])
}

fn intro(charlie: &mut Machine, bob: &Machine, alice: &Machine, agreement: &RelayAgreement, now: Now) -> Vec<Event> {
    let (bytes, signature) = alice.sign_request(bob, charlie, agreement);
    let signed = Signed { bytes: &bytes, signature: &signature };
    let intro = RelayIntro { alice: alice.info.hash(), agreement: *agreement, signed };
    charlie.relay.handle_intro(now, &bob.peer(7, 2), &intro, 77);
    charlie.events(now, &[&alice.info])
}

/// Threats T61: what Bob does not pass on, and what he says.
#[test]
fn t61_bob_rejects_what_is_not_signed_not_his_too_old_or_somewhere_else() {
    let (mut bob, charlie, tag) = bob_and_charlie();
    let alice = machine(1);
    let good = agreement(5, tag, addr(1), at(0));
    let passed = request(&mut bob, &alice, &charlie, &good, at(0));
    let passed = blocks(&passed);
    assert_eq!((passed.len(), passed[0].0), (1, ConnId(2)), "to Charlie");
    let kinds: Vec<_> = Blocks::new(&passed[0].1).map(Result::unwrap).collect();
    assert!(matches!(kinds[..], [Block::RouterInfo(_), Block::RelayIntro(_)]), "her RouterInfo comes first");
    assert!(request(&mut bob, &alice, &charlie, &good, at(0)).is_empty(), "again: it is under way");
    let mut clock = 10;
    let mut code = |bob: &mut Machine, alice: &Machine, bad: RelayAgreement| {
        clock += 10;
        code_of(&request(bob, alice, &charlie, &RelayAgreement { nonce: clock as u32, ..bad }, at(0)))
    };
    let other = machine(9);
    assert_eq!(code(&mut bob, &alice, RelayAgreement { tag: tag ^ 1, ..good }), Some(code::BOB_NO_TAG));
    for old in [START_MS / 1_000 - 100, START_MS / 1_000 + 100, 0, u64::from(u32::MAX)] {
        let bad = RelayAgreement { timestamp: old as u32, ..good };
        assert_eq!(code(&mut bob, &alice, bad), Some(code::BOB_UNSPECIFIED), "{old}");
    }
    bob.relay.requests_of = Buckets::new((100, 1_000), 10);
    for host in ["10.0.0.1:9000", "127.0.0.1:9000", "224.0.0.1:9000", "20.30.1.1:53", "20.30.9.9:9000", "[2a00::1]:9"] {
        let bad = RelayAgreement { alice: host.parse().unwrap(), ..good };
        assert_eq!(code(&mut bob, &alice, bad), Some(code::BOB_UNSPECIFIED), "{host}");
    }
    assert_eq!(code(&mut bob, &alice, RelayAgreement { version: 1, ..good }), Some(code::BOB_UNSPECIFIED));
    // Signed for another Charlie.
    let forged = agreement(6, tag, addr(1), at(0));
    let events = request(&mut bob, &alice, &other, &forged, at(0));
    assert_eq!(code_of(&events), Some(code::BOB_SIGNATURE));
    // Nobody knows Alice.
    let (bytes, signature) = alice.sign_request(&bob, &charlie, &RelayAgreement { nonce: 8, ..good });
    let signed = Signed { bytes: &bytes, signature: &signature };
    let unknown = RelayRequest { agreement: RelayAgreement { nonce: 8, ..good }, signed };
    bob.relay.handle_request(at(0), &alice.peer(1, 1), &unknown);
    assert_eq!(code_of(&bob.events(at(0), &[])), Some(code::BOB_NO_ALICE));
    // Charlie has gone.
    bob.relay.handle_gone(at(1), ConnId(2));
    assert_eq!(code(&mut bob, &alice, good), Some(code::BOB_NO_TAG));
    assert!(bob.relay.forwards.is_empty());
}

/// Threats T61: to whom Charlie punches no hole.
#[test]
fn t61_charlie_answers_only_what_alice_has_signed_by_his_introducer_for_where_she_is() {
    let (bob, mut charlie, tag) = bob_and_charlie();
    let alice = machine(1);
    let good = agreement(5, tag, addr(1), at(0));
    let punches = |events: &[Event]| events.iter().filter(|event| matches!(event, Event::Punch { .. })).count();
    let events = intro(&mut charlie, &bob, &alice, &good, at(0));
    assert_eq!((code_of(&events), punches(&events)), (Some(code::ACCEPT), 1), "one HolePunch for each request");
    assert!(intro(&mut charlie, &bob, &alice, &good, at(0)).is_empty(), "it is answered once");
    assert!(intro(&mut charlie, &bob, &alice, &good, at(100)).is_empty(), "and not later either");
    let cases = [
        (RelayAgreement { tag: tag ^ 1, ..good }, None, "another tag"),
        (RelayAgreement { timestamp: 0, ..good }, Some(code::CHARLIE_UNSPECIFIED), "too old"),
        (RelayAgreement { version: 1, ..good }, Some(code::CHARLIE_UNSPECIFIED), "SSU 1"),
        (RelayAgreement { alice: "192.168.1.1:9000".parse().unwrap(), ..good }, Some(code::CHARLIE_ADDRESS), "private"),
        (RelayAgreement { alice: "20.30.1.1:25".parse().unwrap(), ..good }, Some(code::CHARLIE_ADDRESS), "mail"),
        (RelayAgreement { alice: "[2a00::1]:9000".parse().unwrap(), ..good }, Some(code::CHARLIE_ADDRESS), "family"),
    ];
    for (nonce, (bad, code, why)) in (50..).zip(cases) {
        let events = intro(&mut charlie, &bob, &alice, &RelayAgreement { nonce, ..bad }, at(0));
        assert_eq!((code_of(&events), punches(&events)), (code, 0), "{why}");
    }
    // Signed by somebody else in her name.
    let forger = machine(8);
    let forged = agreement(60, tag, addr(1), at(1));
    let (bytes, signature) = forger.sign_request(&bob, &charlie, &forged);
    let signed = Signed { bytes: &bytes, signature: &signature };
    let lie = RelayIntro { alice: alice.info.hash(), agreement: forged, signed };
    charlie.relay.handle_intro(at(1), &bob.peer(7, 2), &lie, 77);
    let events = charlie.events(at(1), &[&alice.info]);
    assert_eq!((code_of(&events), punches(&events)), (Some(code::CHARLIE_SIGNATURE), 0));
    // Her RouterInfo does not come; or it comes from Bob, before and after.
    let now = at(2);
    let wait = |charlie: &mut Machine, nonce| {
        let unknown = agreement(nonce, tag, addr(1), now);
        let (bytes, signature) = alice.sign_request(&bob, charlie, &unknown);
        let signed = Signed { bytes: &bytes, signature: &signature };
        let intro = RelayIntro { alice: alice.info.hash(), agreement: unknown, signed };
        charlie.relay.handle_intro(now, &bob.peer(7, 2), &intro, 77);
        charlie.events(now, &[])
    };
    assert!(wait(&mut charlie, 70).is_empty());
    charlie.relay.handle_timeout(at(6));
    assert_eq!(code_of(&charlie.events(at(6), &[])), Some(code::CHARLIE_NO_ALICE));
    assert!(wait(&mut charlie, 71).is_empty());
    charlie.relay.handle_router_info(now, ConnId(7), Arc::clone(&alice.info));
    assert_eq!(code_of(&charlie.events(now, &[])), Some(code::ACCEPT));
    assert_eq!(code_of(&wait(&mut charlie, 72)), Some(code::ACCEPT), "it is remembered for a while");
    // A session that introduces us no longer has nothing to say.
    charlie.relay.handle_gone(at(3), ConnId(7));
    charlie.events(at(3), &[]);
    assert!(intro(&mut charlie, &bob, &alice, &agreement(80, tag, addr(1), at(3)), at(3)).is_empty());
    assert!(charlie.relay.intros.is_empty());
}

/// Threats T61, P-41: an Alice who publishes that she is somewhere has no hole punched elsewhere.
#[test]
fn t61_p41_a_published_alice_is_where_she_publishes() {
    let (bob, mut charlie, tag) = bob_and_charlie();
    let mut alice = machine(1);
    let own = OwnInfo {
        network_id: 99,
        bandwidth: 'L',
        published: vec![addr(1)],
        udp: vec![addr(1)],
        udp_published: vec![addr(1)],
        hidden: false,
        introducers: vec![],
        ipv4: true,
        ipv6: false,
        floodfill: false,
        congestion: Congestion::None,
    };
    alice.info = Arc::new(own.sign(&alice.keys, START_MS).unwrap());
    let events = intro(&mut charlie, &bob, &alice, &agreement(1, tag, addr(66), at(0)), at(0));
    assert_eq!((code_of(&events), events.len()), (Some(code::CHARLIE_ADDRESS), 1));
    let events = intro(&mut charlie, &bob, &alice, &agreement(2, tag, addr(1), at(0)), at(0));
    assert_eq!((code_of(&events), events.len()), (Some(code::ACCEPT), 2));
}

/// Threats T61, P-41: ten thousand requests cost little at Bob and at Charlie, and a victim's network gets few packets.
#[test]
fn t61_p40_p41_floods_of_requests_are_bounded() {
    let (mut bob, mut charlie, tag) = bob_and_charlie();
    let alice = machine(1);
    let (mut forwarded, mut said) = (0, 0);
    for nonce in 0..10_000 {
        let events = request(&mut bob, &alice, &charlie, &agreement(nonce, tag, addr(1), at(0)), at(0));
        for (conn, _) in blocks(&events) {
            *(if conn == ConnId(2) { &mut forwarded } else { &mut said }) += 1;
        }
    }
    assert!(forwarded <= limits::FORWARDS_PER_PEER.min(limits::REQUESTS_PER_PEER.1 as usize), "{forwarded}");
    assert_eq!(said, limits::REJECTIONS.1 as usize, "then silence");
    // Bob, who is the attacker now, has signatures of Alice for a victim's network.
    bob.relay.handle_timeout(at(20));
    let (mut punched, mut bytes) = (0, 0);
    for nonce in 0..10_000 {
        let victim = SocketAddr::from(([99, 9, 9, nonce as u8], 9_000));
        for event in intro(&mut charlie, &bob, &alice, &agreement(nonce, tag, victim, at(0)), at(0)) {
            if let Event::Punch { to, bytes: packet, .. } = event {
                assert_eq!(to, victim);
                punched += 1;
                bytes += packet.len();
            }
        }
    }
    assert_eq!(punched, limits::PUNCHES_PER_PREFIX.1, "of one /24");
    assert!(bytes < 250 * punched as usize, "{bytes}");
    assert!(charlie.relay.intros.is_empty() && bob.relay.forwards.is_empty() && charlie.relay.jobs.is_empty());
    let answered: usize = (0..10_000)
        .map(|nonce| {
            let to = SocketAddr::from(([(nonce % 97) as u8 + 20, 9, 9, 9], 9_000));
            blocks(&intro(&mut charlie, &bob, &alice, &agreement(nonce + 20_000, tag, to, at(60)), at(60))).len()
        })
        .sum();
    assert_eq!(answered, limits::INTROS_PER_PEER.1 as usize, "of one introducer");
}

/// Threats T61, P-40: many routers at once, in one network and in many, and answers that nobody gives.
#[test]
fn t61_p40_many_routers_share_what_is_allowed() {
    let (bob, charlie, tag) = bob_and_charlie();
    let alice = machine(1);
    let ask = |relay: &mut Relay, n: u32, ip: [u8; 4], now: Now| {
        let addr = SocketAddr::from((ip, 9_000));
        let said = agreement(n, tag, addr, now);
        let (bytes, signature) = (said.to_bytes(), [1; 64]);
        let signed = Signed { bytes: &bytes, signature: &signature };
        let peer = Peer { conn: ConnId(1_000 + u64::from(n)), router: Hash::of(&n.to_be_bytes()), addr };
        relay.handle_request(now, &peer, &RelayRequest { agreement: said, signed });
        relay.forwards.len()
    };
    let (mut one, _, _) = bob_and_charlie();
    let kept = (0..1_000).map(|n| ask(&mut one.relay, n, [20, 30, 1, n as u8], at(0))).max();
    assert_eq!(kept, Some(limits::REQUESTS_PER_PREFIX.1 as usize), "of one /24");
    let (mut many, _, _) = bob_and_charlie();
    let ip = |n: u32| [20 + (n >> 16) as u8, (n >> 8) as u8, n as u8, 1];
    let kept = (0..1_000).map(|n| ask(&mut many.relay, n, ip(n), at(0))).max();
    assert_eq!(kept, Some(limits::REQUESTS.1 as usize), "of all");
    let kept = (1..9).flat_map(|secs| (0..100).map(move |n| (secs, n)));
    let kept = kept.map(|(secs, n)| ask(&mut many.relay, 1_000 * secs + n, ip(n), at(secs.into()))).max();
    assert_eq!(kept, Some(limits::FORWARDS), "while nobody answers");
    many.relay.check();
    many.relay.handle_timeout(at(30));
    assert!(many.relay.forwards.is_empty());
    // Charlie has three introducers, all of which lie, and nobody has Alice's RouterInfo.
    let mut charlie = charlie;
    for conn in [8, 9] {
        let peer = Peer { router: Hash([conn as u8; 32]), ..bob.peer(conn, 2) };
        assert!(charlie.relay.ask_for_tag(&peer));
        charlie.relay.handle_tag(at(0), &peer, tag);
    }
    let mut intros = |now: Now, round: u32| {
        for n in 0..300 {
            let said = agreement(round * 1_000 + n, tag, SocketAddr::from((ip(n), 9_000)), now);
            let (bytes, signature) = (said.to_bytes(), [1; 64]);
            let signed = Signed { bytes: &bytes, signature: &signature };
            let conn = u64::from(7 + n % 3);
            let router = if conn == 7 { bob.info.hash() } else { Hash([conn as u8; 32]) };
            let peer = Peer { router, ..bob.peer(conn, 2) };
            let intro = RelayIntro { alice: alice.info.hash(), agreement: said, signed };
            charlie.relay.handle_intro(now, &peer, &intro, 1);
        }
        charlie.relay.intros.len()
    };
    assert_eq!(intros(at(0), 1), limits::INTROS.1 as usize, "of all introducers");
    assert_eq!(intros(at(1), 2), limits::INTROS_HELD, "while nobody knows her");
    // Jobs that are never done.
    for n in 0..1_000 {
        many.relay.work(at(40), Work::Intro((ConnId(n), 0)), None, Signature::default());
    }
    assert_eq!(many.relay.jobs.len(), limits::JOBS);
    assert!(many.relay.work(at(60), Work::Intro((ConnId(1), 0)), None, Signature::default()), "they are lost");
}

/// Sessions without end that ask for tags.
#[test]
fn t61_tags_and_introducers_are_bounded() {
    let (mut bob, charlie, _) = bob_and_charlie();
    for conn in 10..3_000 {
        bob.relay.handle_tag_request(&charlie.peer(conn, 3));
        bob.relay.handle_tag_request(&charlie.peer(conn, 3));
    }
    assert_eq!(bob.relay.tags.len(), limits::TAGS);
    let said = blocks(&bob.events(at(0), &[]));
    assert_eq!(said.len(), 2 * (limits::TAGS - 1), "asked twice it says the same twice");
    assert_eq!(said[0].1, said[1].1);
    // Bob is behind a translator, too: he introduces nobody.
    bob.relay.set_firewalled(at(0), true, false);
    assert!(bob.relay.tags.is_empty());
    bob.relay.handle_tag_request(&charlie.peer(1, 3));
    assert!(blocks(&bob.events(at(0), &[])).is_empty());
    // Charlie takes few.
    let mut charlie = machine(3);
    charlie.relay.set_firewalled(at(0), true, false);
    for n in 0..1_000 {
        let peer = Peer { router: Hash([(n % 250) as u8 + 1; 32]), ..machine(2).peer(n, 2) };
        charlie.relay.ask_for_tag(&peer);
        charlie.relay.handle_tag(at(0), &peer, n as u32 + 1);
    }
    assert_eq!(charlie.relay.mine.len(), limits::INTRODUCERS_PER_FAMILY);
    const { assert!(limits::INTRODUCERS == 2 * limits::INTRODUCERS_PER_FAMILY) };
    assert!(charlie.relay.asked.len() <= limits::ASKED);
    let introducer = *charlie.relay.mine.keys().next().unwrap();
    for n in 0..100 {
        charlie.relay.handle_router_info(at(1), introducer, Arc::clone(&machine(n).info));
    }
    assert_eq!(charlie.relay.held.len(), limits::INFOS);
    for n in 2_000..2_400 {
        charlie.relay.handle_gone(at(1), ConnId(n - 2_000));
        charlie.relay.note_asked(ConnId(n));
    }
    assert_eq!(charlie.relay.asked.len(), limits::ASKED);
    assert!(charlie.relay.mine.is_empty());
    charlie.relay.check();
}

/// Alice, who asks Bob for Charlie: the attempt is 100, her session with Bob 4.
fn asking(bob: &Machine, charlie: &Machine, tag: u32) -> (Machine, u32) {
    let mut alice = machine(1);
    let introducer = Introducer { router: bob.info.hash(), tag, expires: None };
    let way = vec![introducer];
    assert!(alice.relay.begin(at(0), ConnId(100), Arc::clone(&charlie.info), true, way));
    assert!(matches!(alice.events(at(0), &[])[..], [Event::Reach { .. }]));
    alice.relay.handle_session(at(0), &bob.peer(4, 2));
    let sent = blocks(&alice.events(at(0), &[]));
    let Some(Ok(Block::RelayRequest(request))) = Blocks::new(&sent[0].1).next() else { panic!("no request") };
    assert_eq!((sent[0].0, request.agreement.tag, request.agreement.alice), (ConnId(4), tag, addr(1)));
    (alice, request.agreement.nonce)
}

/// Charlie's answer as Alice gets it: his RelayResponse with this address.
fn response(bob: &Machine, charlie: &Machine, nonce: u32, at_addr: SocketAddr, now: Now) -> Vec<u8> {
    let bytes = RelayResponse::to_be_signed(nonce, now.unix_secs(), Some(&at_addr));
    let message = RelayResponse::signed_message(&bytes, &bob.info.hash());
    let signature = charlie.keys.signing.sign(&message);
    let mut block = Vec::new();
    RelayResponse::encode(&mut block, 0, &Signed { bytes: &bytes, signature: &signature }, Some(77));
    block
}

fn hear(alice: &mut Machine, block: &[u8], from: u64, now: Now) -> Vec<Event> {
    let Some(Ok(Block::RelayResponse(response))) = Blocks::new(block).next() else { panic!("no response") };
    alice.relay.handle_response(now, ConnId(from), &response);
    alice.events(now, &[])
}

/// Threats T62: HolePunches that nobody waits for, and those that lie.
#[test]
fn t62_hole_punches_count_only_with_charlies_signature() {
    let (bob, charlie, tag) = bob_and_charlie();
    let (mut alice, nonce) = asking(&bob, &charlie, tag);
    for guess in 0..1_000u32 {
        assert!(!alice.relay.expects_punch(nonce.wrapping_add(guess + 1)), "not even opened");
    }
    // Who knows the nonce, and our introduction key as everybody does.
    let forger = machine(8);
    let lie = response(&bob, &forger, nonce, addr(66), at(0));
    for _ in 0..2 {
        alice.relay.handle_punch(at(0), addr(66), nonce, &lie);
        assert!(alice.events(at(0), &[]).is_empty());
    }
    alice.relay.handle_punch(at(0), "127.0.0.1:9000".parse().unwrap(), nonce, &lie);
    assert!(alice.relay.jobs.is_empty() && alice.events(at(0), &[]).is_empty());
    // The true one, from another port than Charlie knows of.
    let truth = response(&bob, &charlie, nonce, addr(3), at(0));
    let from = SocketAddr::new(addr(3).ip(), 4_444);
    alice.relay.handle_punch(at(0), from, nonce, &truth);
    let events = alice.events(at(0), &[]);
    let is_dial = |event: &Event| matches!(event, Event::Dial { addr, token: 77, .. } if *addr == from);
    assert!(events.len() == 1 && is_dial(&events[0]));
    assert!(hear(&mut alice, &truth, 4, at(0)).is_empty(), "the same by Bob");
    // From another host: where Charlie has signed that he is, he is.
    alice.relay.handle_punch(at(0), addr(66), nonce, &truth);
    let moved = alice.events(at(0), &[]);
    assert!(moved.iter().all(|event| matches!(event, Event::Redirect { addr: to, .. } if to.ip() == addr(3).ip())));
    // A thousand lies end the attempt at most, and cost a few checks.
    let (mut alice, nonce) = asking(&bob, &charlie, tag);
    for _ in 0..1_000 {
        alice.relay.handle_punch(at(0), addr(66), nonce, &lie);
    }
    let lie = response(&bob, &forger, nonce, addr(66), at(0));
    let mut jobs = 0;
    for _ in 0..1_000 {
        alice.relay.handle_punch(at(0), addr(66), nonce, &lie);
        jobs += alice.relay.jobs.len();
        alice.events(at(0), &[]);
    }
    assert_eq!(jobs, usize::from(limits::FALSE_ANSWERS));
}

/// What Bob may say that is not true, and what he does not say.
#[test]
fn t61_alice_dials_only_where_charlie_says_that_he_is() {
    let (bob, charlie, tag) = bob_and_charlie();
    let is_over = |events: &[Event]| matches!(events, [Event::Failed { id: ConnId(100) }]);
    for lie in ["10.0.0.1:9000", "20.30.3.1:25", "[2a00::1]:9000", "127.0.0.1:1"] {
        let (mut alice, nonce) = asking(&bob, &charlie, tag);
        let block = response(&bob, &charlie, nonce, lie.parse().unwrap(), at(0));
        assert!(is_over(&hear(&mut alice, &block, 4, at(0))), "{lie}");
    }
    // Of another session; of another time; for another request.
    let (mut alice, nonce) = asking(&bob, &charlie, tag);
    let good = response(&bob, &charlie, nonce, addr(3), at(0));
    assert!(hear(&mut alice, &good, 5, at(0)).is_empty());
    let other = response(&bob, &charlie, nonce ^ 1, addr(3), at(0));
    assert!(hear(&mut alice, &other, 4, at(0)).is_empty());
    assert!(matches!(hear(&mut alice, &good, 4, at(0))[..], [Event::Dial { .. }]));
    let (mut alice, nonce) = asking(&bob, &charlie, tag);
    let old = response(&bob, &charlie, nonce, addr(3), at(0));
    assert!(is_over(&hear(&mut alice, &old, 4, at(100))));
    // Rejected, in either form.
    for code in [1, 5, 64, 70, 128, 255] {
        let (mut alice, nonce) = asking(&bob, &charlie, tag);
        let mut block = Vec::new();
        let bytes = match code {
            64 => nonce.to_be_bytes().to_vec(),
            _ => RelayResponse::to_be_signed(nonce, 0, None),
        };
        RelayResponse::encode(&mut block, code, &Signed { bytes: &bytes, signature: &[] }, None);
        assert!(is_over(&hear(&mut alice, &block, 4, at(0))), "{code}");
        assert!(alice.relay.nonces.is_empty() && alice.relay.attempts.is_empty());
    }
    // Silence, and a session that goes.
    let (mut alice, _) = asking(&bob, &charlie, tag);
    alice.relay.handle_timeout(at(3));
    alice.relay.handle_timeout(at(20));
    assert!(is_over(&alice.events(at(20), &[])));
    let (mut alice, _) = asking(&bob, &charlie, tag);
    alice.relay.handle_gone(at(0), ConnId(4));
    assert!(is_over(&alice.events(at(0), &[])));
    // Too many at once.
    for n in 0..200 {
        let way = vec![Introducer { router: bob.info.hash(), tag, expires: None }];
        let begun = alice.relay.begin(at(0), ConnId(1_000 + n), Arc::clone(&charlie.info), true, way);
        assert_eq!(begun, n < limits::ATTEMPTS as u64);
    }
}

/// Threats T66: what is named as ours in an introduction, and what Charlie's hole or Alice's dial then goes to, is where peers
/// have agreed that we are. Without that, and for addresses that cannot be ours, nothing is named.
#[test]
fn t66_introductions_name_only_an_address_that_peers_agree_on() {
    let (bob, mut charlie, tag) = bob_and_charlie();
    let mut alice = machine(1);
    let ask = |alice: &mut Machine, id: u64| {
        let way = vec![Introducer { router: bob.info.hash(), tag, expires: None }];
        assert!(alice.relay.begin(at(0), ConnId(id), Arc::clone(&charlie.info), true, way));
        alice.events(at(0), &[]);
        alice.relay.handle_session(at(0), &bob.peer(4, 2));
        alice.events(at(0), &[])
    };
    for nowhere in [None, Some("[2a00::1]:9000"), Some("10.0.0.1:9000"), Some("20.30.1.1:25")] {
        alice.relay.set_own_address(true, nowhere.map(|text| text.parse().unwrap()));
        assert!(matches!(ask(&mut alice, 200)[..], [Event::Failed { id: ConnId(200) }]), "{nowhere:?}");
    }
    alice.relay.set_own_address(true, Some(addr(77)));
    let asked = blocks(&ask(&mut alice, 201));
    let Some(Ok(Block::RelayRequest(request))) = Blocks::new(&asked[0].1).next() else { panic!("no request") };
    assert_eq!(request.agreement.alice, addr(77));
    // Charlie, who does not know where he is, says so.
    charlie.relay.set_own_address(true, None);
    let events = intro(&mut charlie, &bob, &alice, &agreement(5, tag, addr(1), at(0)), at(0));
    assert_eq!((code_of(&events), events.len()), (Some(code::CHARLIE_UNSPECIFIED), 1));
}

/// The three together: what Charlie sends opens at Alice, and both ways carry the same.
#[test]
fn three_machines_agree() {
    let (mut bob, mut charlie, tag) = bob_and_charlie();
    let (mut alice, nonce) = asking(&bob, &charlie, tag);
    let good = agreement(nonce, tag, addr(1), at(0));
    let passed = blocks(&request(&mut bob, &alice, &charlie, &good, at(0)));
    let mut all = Blocks::new(&passed[0].1).map(Result::unwrap);
    let (Some(Block::RouterInfo(info)), Some(Block::RelayIntro(intro))) = (all.next(), all.next()) else { panic!() };
    assert_eq!(&*info.router_info().unwrap(), alice.info.as_bytes());
    charlie.relay.handle_router_info(at(0), ConnId(7), Arc::clone(&alice.info));
    charlie.relay.handle_intro(at(0), &bob.peer(7, 2), &intro, 77);
    let events = charlie.events(at(0), &[]);
    let Some(Event::Punch { to, bytes, .. }) = events.first() else { panic!("no HolePunch") };
    assert!(*to == addr(1) && bytes.len() <= 250);
    let mut packet = bytes.clone();
    let (header, punch) = alice.intro.open(&mut packet, MessageType::HolePunch).unwrap();
    assert_eq!((header.destination.0 as u32, header.network_id), (nonce, 99));
    assert_eq!(header.source, header.destination.inverse());
    let answer = blocks(&events);
    let Some(Ok(Block::RelayResponse(said))) = Blocks::new(&answer[0].1).next() else { panic!() };
    assert!(punch.windows(said.signed.bytes.len()).any(|part| part == said.signed.bytes));
    // By Bob first: she dials where he says; the HolePunch tells nothing new.
    bob.relay.handle_response(at(0), ConnId(2), &said);
    let by_bob = blocks(&bob.events(at(0), &[]));
    assert_eq!((by_bob[0].0, &by_bob[0].1), (ConnId(1), &answer[0].1), "as it is");
    let dial = hear(&mut alice, &by_bob[0].1, 4, at(0));
    assert!(matches!(dial[..], [Event::Dial { addr: to, token: 77, .. }] if to == addr(3)));
    let punch = punch.to_vec();
    alice.relay.handle_punch(at(0), addr(3), nonce, &punch);
    assert!(alice.events(at(0), &[]).is_empty());
    alice.relay.handle_punch(at(0), SocketAddr::new(addr(3).ip(), 5), nonce, &punch);
    assert!(matches!(alice.events(at(0), &[])[..], [Event::Redirect { .. }]));
    alice.relay.forget(ConnId(100));
    alice.relay.check();
    assert!(alice.relay.nonces.is_empty());
}

proptest! {
    /// Whatever a peer says in these blocks, nothing breaks, and nothing grows.
    #[test]
    fn any_blocks_are_taken(parts in prop::collection::vec((0u8..6, 0u64..4, any::<u32>(), any::<[u8; 4]>(), 0u64..40), 1..60)) {
        let (mut bob, _, tag) = bob_and_charlie();
        let other = machine(5);
        bob.relay.set_firewalled(at(0), false, true);
        let mut secs = 0;
        for (kind, conn, n, ip, pause) in parts {
            secs += pause / 10;
            let now = at(secs);
            let n = if n % 3 == 0 { tag } else { n % 8 };
            let said = agreement(n, tag, SocketAddr::from((ip, 9_000)), now);
            let bytes = said.to_bytes();
            let signed = Signed { bytes: &bytes, signature: &[1; 64] };
            let peer = other.peer(conn, 5);
            match kind {
                0 => bob.relay.handle_tag_request(&peer),
                1 => bob.relay.handle_tag(now, &peer, n),
                2 => bob.relay.handle_request(now, &peer, &RelayRequest { agreement: said, signed }),
                3 => {
                    let answer = response(&other, &other, n, addr(5), now);
                    if let Some(Ok(Block::RelayResponse(response))) = Blocks::new(&answer).next() {
                        bob.relay.handle_response(now, ConnId(conn), &response);
                    }
                }
                4 => {
                    let alice = other.info.hash();
                    bob.relay.handle_intro(now, &peer, &RelayIntro { alice, agreement: said, signed }, 1);
                }
                _ => bob.relay.handle_gone(now, ConnId(conn)),
            }
            bob.relay.handle_timeout(now);
            bob.events(now, &[&other.info]);
        }
        bob.relay.handle_timeout(at(secs + 100));
        bob.events(at(secs + 100), &[]);
        prop_assert!(bob.relay.forwards.is_empty() && bob.relay.intros.is_empty());
    }
}

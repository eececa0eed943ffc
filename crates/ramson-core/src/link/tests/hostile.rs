//! Peers that keep the handshake and break the rest, peers that pretend, and peers that only wait.

use super::*;

/// A RouterInfo with an identity of its own and everything else of `victim`: host, port, static key and IV.
fn copycat_of(victim: &RouterInfo) -> Arc<RouterInfo> {
    let mut rng = Rng::from_seed([66; 32]);
    let signing = SigningKey::random(&mut rng);
    let unsigned = Unsigned {
        identity: RouterIdentity::new(SecretKey::random(&mut rng).public_key(), *signing.public(), &mut rng),
        published: START,
        addresses: victim.addresses().to_vec(),
        options: victim.options().clone(),
    };
    Arc::new(unsigned.sign(&signing).unwrap())
}

impl Pair {
    /// Two machines with one session, over which a message has gone each way.
    fn established() -> Self {
        let mut pair = Self::new(0);
        assert!(pair.send(0, 10));
        pair.run();
        assert!(pair.send(1, 10));
        pair.run();
        assert_eq!((pair.lengths(0), pair.lengths(1)), (vec![10], vec![10]));
        pair
    }

    /// What the session of machine 0 makes of these blocks.
    fn frame(&mut self, blocks: &[u8]) -> Vec<u8> {
        let [(_, id), _] = self.wires[0];
        let session = self.machines[0].links.conns.get_mut(&id).unwrap().session().unwrap();
        let mut out = Vec::new();
        let start = ntcp2::session::Sealer::begin(&mut out);
        out.extend_from_slice(blocks);
        session.sealer.finish(&mut out, start);
        out
    }

    /// Hands a frame of these blocks to machine 1.
    fn inject(&mut self, blocks: &[u8]) {
        let frame = self.frame(blocks);
        let [_, (_, id)] = self.wires[0];
        let now = self.now(1);
        self.machines[1].links.handle_data(now, id, &frame);
    }

    /// The bytes that machine 1 writes for messages of these lengths.
    fn written(&mut self, lengths: &[usize]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for len in lengths {
            assert!(self.send(1, *len));
            let now = self.now(1);
            while let Some(event) = self.machines[1].links.poll_event(now) {
                match event {
                    Event::Write { conn, bytes } => {
                        self.machines[1].links.handle_writable(conn, bytes.len());
                        all.push(bytes);
                    }
                    Event::Close { .. } | Event::Terminated { .. } => panic!("the session ends"),
                    _ => {}
                }
            }
        }
        all
    }
}

fn block(kind: u8, data: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(data.len()).unwrap().to_be_bytes(), data].concat()
}

/// A router that copies another's address and key cannot be reached, and the other one does not pay for it.
#[test]
fn t14_a_copied_address_costs_the_router_that_is_copied_nothing() {
    let mut pair = Pair::new(0);
    let (victim, copy) = (Arc::clone(&pair.machines[1].info), copycat_of(&pair.machines[1].info));
    assert_eq!(victim.ntcp2_addresses(), copy.ntcp2_addresses());
    for _ in 0..5 {
        let now = pair.now(0);
        assert!(pair.machines[0].links.dial(now, &copy));
        pair.run();
        pair.advance(Duration::from_mins(10));
        let now = pair.now(0);
        assert!(!pair.machines[0].links.is_connected(&copy.hash()));
        assert!(!pair.machines[0].links.is_failed(now, &victim.hash()), "no mark on the one that is copied");
    }
    assert!(pair.machines[0].links.failed.get(&copy.hash()).is_some_and(|failed| failed.times == 5));
    assert!(!pair.machines[0].links.families.is_tcp_suspect(true), "nor on its family");
    // The same moment: the copy cannot be dialled again, the victim can.
    let now = pair.now(0);
    assert!(pair.machines[0].links.dial(now, &copy));
    pair.run();
    pair.advance(Duration::from_secs(11));
    let now = pair.now(0);
    assert!(pair.machines[0].links.is_failed(now, &copy.hash()));
    assert!(pair.send(0, 10));
    pair.run();
    assert_eq!(pair.lengths(1), [10], "{:?}", pair.machines[0].log);
    // And a session with the victim is none with the copy.
    assert!(!pair.machines[0].links.is_connected(&copy.hash()));
}

/// Fewer bytes than message 1 has, and then an end, or nothing for a minute.
#[test]
fn t35_a_beginning_of_message_1_is_never_answered_and_ends_in_time() {
    let mut pair = Pair::new(0);
    for stalls in [false, true] {
        for len in 0..64usize {
            let id = ConnId(ConnId::INBOUND | (len as u64 + if stalls { 1_000 } else { 0 }));
            let now = pair.now(1);
            let links = &mut pair.machines[1].links;
            links.handle_accepted(now, id, format!("10.0.9.{len}:4000").parse().unwrap(), 1 << 20);
            links.handle_data(now, id, &vec![7; len]);
            assert!(links.poll_event(now).is_none(), "{len} bytes make no work");
            if !stalls {
                links.handle_closed(now, id);
                assert!(links.poll_event(now).is_none());
                assert!(links.conns.is_empty() && links.inbound_of.is_empty(), "{len} bytes and an end");
            }
        }
    }
    let opened = pair.now;
    assert_eq!(pair.machines[1].links.conns.len(), 64);
    let mut ends = Vec::new();
    while pair.now.since(opened) < Duration::from_mins(1) {
        pair.advance(Duration::from_millis(500));
        ends.push(pair.machines[1].links.conns.len());
    }
    // After 6.5 seconds all wait, after ten none does.
    assert_eq!((ends[12], ends[20]), (64, 0), "{ends:?}");
    assert_eq!(pair.machines[1].links.stats().sent_bytes, 0);
    assert!(pair.machines[1].log.iter().all(|line| line == "close Reset") && pair.machines[1].log.len() == 64);
    assert_eq!(pair.machines[1].links.inbound_handshakes, 0);
    assert!(pair.machines[1].links.inbound_of.is_empty() && pair.machines[1].offsets.is_empty());
}

/// Options that ask for sixteen times the padding, and ones of every length: what we send stays as it is.
#[test]
fn t44_options_of_a_peer_change_nothing_that_we_send() {
    let greedy = block(1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let lengths = [0, 1, 500, 5_000, 30_000];
    let plain = Pair::established().written(&lengths);
    for options in [greedy, block(1, &[]), block(1, &[0xff; 11]), block(1, &[0xff; 3_000])] {
        let mut pair = Pair::established();
        pair.inject(&options);
        assert_eq!(pair.written(&lengths), plain, "the same bytes as without");
        assert!(pair.send(0, 11));
        pair.run();
        assert_eq!(pair.lengths(1), [10, 11], "the session stands");
    }
}

/// A clock that jumps in the middle of a session: one peer's word in a session moves nothing.
#[test]
fn t45_a_clock_that_jumps_in_a_session_moves_nothing() {
    let now = u32::try_from(START / 1000).unwrap();
    let plain = Pair::established().written(&[700]);
    for claimed in [now + 3_600, now - 3_600, 0, u32::MAX] {
        let mut pair = Pair::established();
        let known = pair.machines[1].offsets.clone();
        for _ in 0..20 {
            pair.inject(&block(0, &claimed.to_be_bytes()));
        }
        assert_eq!(pair.written(&[700]), plain);
        pair.run();
        assert_eq!(pair.machines[1].offsets, known, "{claimed}");
        assert_eq!(pair.machines[1].links.stats().sessions, 1);
    }
}

/// Long before a nonce could come twice the session ends, and another one takes what follows.
#[test]
fn t46_a_session_ends_before_its_nonces_do() {
    let mut pair = Pair::established();
    let [(_, from), (_, to)] = pair.wires[0];
    let last = ntcp2::session::testing::LAST_SENT;
    pair.machines[0].links.conns.get_mut(&from).unwrap().session().unwrap().sealer.skip_to(last);
    pair.machines[1].links.conns.get_mut(&to).unwrap().session().unwrap().opener.skip_to(last);
    assert!(pair.send(0, 11));
    pair.run();
    assert_eq!(pair.lengths(1), [10, 11], "the last message arrives");
    assert!(
        pair.machines[1].log.iter().any(|line| line == "terminated normal close (0)"),
        "{:?}",
        pair.machines[1].log
    );
    assert_eq!(pair.machines[0].links.stats().sessions, 0);
    assert!(pair.send(0, 12) && pair.send(1, 13));
    pair.run();
    assert_eq!((pair.lengths(1), pair.lengths(0)), (vec![10, 11, 12], vec![10, 13]), "by a session of its own");
}

/// Addresses that lead over others, as many as a RouterInfo has room for: without SSU2 no introducer is asked, whoever it is and whatever its tag.
#[test]
fn t12_introducers_are_never_asked() {
    let mut pair = Pair::new(0);
    let (own, victim) = (pair.machines[0].info.hash(), pair.machines[1].info.hash());
    let (own, victim) = (base64::encode(&own.0), base64::encode(&victim.0));
    let s = base64::encode(&[7; 32]);
    let mut all: Vec<Vec<(String, String)>> = Vec::new();
    for (hash, tag, expires) in [
        (&victim, "0", "1790000600"),
        (&victim, "4294967296", "1790000600"),
        (&victim, "-1", "1790000600"),
        (&victim, "7", "1"),
        (&own, "7", "1790000600"),
        (&victim, "7", "1790000600"),
    ] {
        let introducer = [("iexp0", expires), ("ih0", hash.as_str()), ("itag0", tag)];
        all.push(introducer.map(|(key, value)| (key.into(), value.into())).into());
    }
    all.push((0..16).map(|n| (format!("ih{n}"), victim.clone())).collect());
    for (n, introducers) in all.into_iter().enumerate() {
        let mut options: Vec<(&str, &str)> = introducers.iter().map(|(key, value)| (&**key, &**value)).collect();
        options.extend([("caps", "4"), ("i", &s), ("s", &s), ("v", "2")]);
        let address = RouterAddress::new(10, "SSU2", Mapping::from_pairs(options).unwrap()).unwrap();
        let mut rng = Rng::from_seed([50 + n as u8; 32]);
        let signing = SigningKey::random(&mut rng);
        let identity = RouterIdentity::new(SecretKey::random(&mut rng).public_key(), *signing.public(), &mut rng);
        let options = pair.machines[1].info.options().clone();
        let addresses = vec![address; if n == 6 { 2 } else { 1 }];
        let unsigned = Unsigned { identity, published: START, addresses, options };
        let info = Arc::new(unsigned.sign(&signing).unwrap());
        let now = pair.now(0);
        let links = &mut pair.machines[0].links;
        assert!(links.dial_target(&info).is_none() && !links.dial(now, &info), "{n}");
        let message = Message { kind: Kind::DATA, id: 1, expiration: now.unix_ms + 9_000, body: vec![1] };
        assert!(!links.send(now, &info.hash(), message, Class::Own, Some(&info)), "{n}");
        assert!(links.poll_event(now).is_none() && links.conns.is_empty() && links.peers.is_empty(), "{n}");
        assert!(!crate::peers::Reach::of(&info).is_published(), "{n}: nobody is thought to reach it");
    }
}

/// Frames whose length, once unmasked, cannot be, and frames that do not open: none of it ends the session at once,
/// and what ends it is the same.
#[test]
fn t42_when_a_session_ends_says_nothing_of_the_frame() {
    let mut ends = Vec::new();
    for wanted in [0u16, 1, 15, 16, 17, u16::MAX] {
        let mut pair = Pair::established();
        // What a length of 16 looks like at this place of the stream.
        let frame = pair.frame(&[]);
        let mask = u16::from_be_bytes([frame[0], frame[1]]) ^ 16;
        let mut bytes = (mask ^ wanted).to_be_bytes().to_vec();
        bytes.resize(2 + usize::from(wanted), 7);
        let [_, (_, id)] = pair.wires[0];
        let now = pair.now(1);
        pair.machines[1].links.handle_data(now, id, &bytes);
        pair.run();
        assert!(pair.machines[1].links.is_connected(&pair.machines[0].info.hash()), "{wanted}: not at once");
        let started = pair.now;
        while pair.machines[1].links.conns.contains_key(&id) {
            pair.advance(Duration::from_millis(500));
            assert!(pair.now.since(started) < Duration::from_secs(9), "{wanted}");
        }
        ends.push((pair.now.since(started), pair.machines[1].log.clone(), pair.machines[0].log.clone()));
    }
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    // With bytes behind it, the end comes before a frame more has been read.
    let mut pair = Pair::established();
    let mut frame = pair.frame(&[]);
    frame[5] ^= 1;
    let [_, (_, id)] = pair.wires[0];
    let now = pair.now(1);
    pair.machines[1].links.handle_data(now, id, &frame);
    let read = (0..).step_by(100).take_while(|_| {
        pair.machines[1].links.handle_data(now, id, &[7; 100]);
        pair.machines[1].links.conns.contains_key(&id)
    });
    assert!(read.count() * 100 <= limits::FRAME_PAYLOAD);
    pair.run();
    assert!(pair.machines[0].log.iter().any(|line| line.starts_with("terminated data phase AEAD")));
}

/// Many empty blocks are read; blocks out of order end the session.
#[test]
fn t43_empty_blocks_are_read_and_order_is_kept() {
    let mut pair = Pair::established();
    pair.inject(&block(200, &[]).repeat(10_000));
    pair.run();
    assert!(pair.send(0, 11));
    pair.run();
    assert_eq!(pair.lengths(1), [10, 11]);
    let (padding, clock, end) = (block(254, &[0; 3]), block(0, &[0; 4]), block(4, &[0, 0, 0, 0, 0, 0, 0, 0, 0]));
    for bad in [[&padding[..], &clock].concat(), [&padding[..], &padding].concat(), [&end[..], &clock].concat()] {
        let mut pair = Pair::established();
        pair.inject(&bad);
        pair.run();
        assert!(!pair.machines[1].links.is_connected(&pair.machines[0].info.hash()));
        assert!(pair.machines[0].log.iter().any(|line| line.starts_with("terminated ")), "{:?}", pair.machines[0].log);
    }
}

//! A session that somebody has recorded, sent again: at once, in parts, and after a restart.

use super::*;

/// A session of ten minutes and what machine 0 has written in it: messages 1 and 3, and frames.
fn recorded() -> (Pair, Vec<Vec<u8>>) {
    let mut pair = Pair::new(0);
    for minute in 0..10 {
        assert!(pair.send(0, 100 * minute) && pair.send(1, 50));
        pair.run();
        if minute == 5 {
            let info = pair.machines[0].info.as_bytes().to_vec();
            pair.machines[0].links.set_router_info(info);
        }
        pair.advance(Duration::from_mins(1));
    }
    let now = pair.now(0);
    pair.machines[0].links.shutdown(now);
    pair.run();
    assert_eq!(pair.machines[1].received.len(), 10);
    assert_eq!(pair.machines[1].links.stats().sessions, 0);
    let tape: Vec<Vec<u8>> = pair.tape.iter().filter(|(by, _)| *by == 0).map(|(_, bytes)| bytes.clone()).collect();
    assert!(tape.len() >= 13, "{}", tape.len());
    (pair, tape)
}

/// Sends these bytes to machine 1 on a connection of their own, from the address of machine 0; what it writes.
fn replay(pair: &mut Pair, number: u64, parts: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let id = ConnId(ConnId::INBOUND | number);
    let now = pair.now(1);
    pair.machines[1].links.handle_accepted(now, id, "10.0.0.1:6000".parse().unwrap(), 1 << 20);
    let before = pair.tape.len();
    for part in parts {
        let now = pair.now(1);
        pair.machines[1].links.handle_data(now, id, part);
        pair.run();
    }
    pair.tape[before..].iter().filter(|(by, _)| *by == 1).map(|(_, bytes)| bytes.clone()).collect()
}

fn started(published: u64) -> Duration {
    Duration::from_millis(published - START)
}

/// Threats P-23: the whole, each part alone, the parts without message 1, in another order.
#[test]
fn p23_a_recorded_session_is_no_session() {
    let (mut pair, tape) = recorded();
    let reverse: Vec<Vec<u8>> = tape.iter().rev().cloned().collect();
    let mut plays = vec![tape.clone(), tape[1..].to_vec(), reverse, vec![tape.concat()]];
    plays.extend(tape.iter().map(|part| vec![part.clone()]));
    let count = plays.len() as u64;
    let (received, offsets) = (pair.machines[1].received.len(), pair.machines[1].offsets.len());
    let log = pair.machines[1].log.len();
    for (number, play) in (100..).zip(&plays) {
        assert_eq!(replay(&mut pair, number, play), Vec::<Vec<u8>>::new(), "play {number} is answered");
        let id = ConnId(ConnId::INBOUND | number);
        assert!(pair.machines[1].links.conns.contains_key(&id), "it waits in silence, as for any probe");
        // Every one has the address to itself.
        pair.advance(Duration::from_secs(11));
        assert!(!pair.machines[1].links.conns.contains_key(&id));
    }
    assert_eq!(pair.machines[1].received.len(), received);
    assert_eq!(pair.machines[1].offsets.len(), offsets, "nor is a clock learnt");
    let closed = &pair.machines[1].log[log..];
    assert!(closed.len() as u64 == count && closed.iter().all(|line| line == "close Reset"), "{closed:?}");
}

/// Threats P-23: frames again in the session that they belong to.
#[test]
fn p23_a_frame_again_is_not_taken_again() {
    for again in [1, 2, 3] {
        let mut pair = Pair::new(0);
        for len in [10, 20, 30] {
            assert!(pair.send(0, len));
            pair.run();
        }
        let sent: Vec<Vec<u8>> = pair.tape.iter().filter(|(by, _)| *by == 0).map(|(_, bytes)| bytes.clone()).collect();
        let [_, (_, id)] = pair.wires[0];
        let now = pair.now(1);
        pair.machines[1].links.handle_data(now, id, &sent[sent.len() - again]);
        pair.run();
        // Its length may be read as a long one, of a frame that never ends.
        pair.advance(Duration::from_secs(70));
        assert_eq!(pair.lengths(1), [10, 20, 30], "{again}");
        assert!(!pair.machines[1].links.conns.contains_key(&id), "the session ends");
    }
}

/// Threats P-24: a restart forgets which messages 1 it has seen. Within the allowed skew one is answered once more, and
/// nothing comes of it; later it is answered as from a wrong clock, a few times.
#[test]
fn p24_after_a_restart_a_recorded_session_is_no_session() {
    let (mut pair, tape) = recorded();
    for (minutes, answers) in [(0, 1), (2, limits::SKEW_ANSWERS as usize)] {
        let mut restarted = machine(2, 0);
        restarted.links.rng = Rng::from_seed([99; 32]);
        restarted.links.replays = Seen::new(limits::REPLAY_KEYS, limits::REPLAY_GENERATION, &mut restarted.rng);
        restarted.rng = Rng::from_seed([98; 32]);
        pair.machines[1] = restarted;
        // The moment of message 1, and a little later.
        pair.now = Instant::ZERO + started(START) + Duration::from_secs(20) + Duration::from_mins(minutes);
        let mut written = Vec::new();
        for number in 0..6 {
            written.extend(replay(&mut pair, 1_000 * (minutes + 1) + number, &tape));
            if minutes > 0 {
                // Another start, but with the same count of answers: as if each came to another cache.
                let rng = &mut pair.machines[1].rng;
                pair.machines[1].links.replays = Seen::new(limits::REPLAY_KEYS, limits::REPLAY_GENERATION, rng);
            }
        }
        assert_eq!(written.len(), answers, "after {minutes} minutes");
        assert!(written.iter().all(|message| message.len() < 400), "message 2 each");
        pair.advance(Duration::from_secs(11));
        let restarted = &pair.machines[1];
        assert!(restarted.received.is_empty() && restarted.offsets.is_empty());
        assert!(restarted.links.conns.is_empty() && restarted.links.peers.is_empty());
        assert!(restarted.log.iter().all(|line| line == "close Reset"), "{:?}", restarted.log);
    }
}

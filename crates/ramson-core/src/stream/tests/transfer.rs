//! Every byte once and in order, in both directions, over all kinds of links.

use super::pair::{Link, Pair, pattern};
use super::*;
use ramson_wire::streaming::Packet;

/// Sends `there` and gets `back`, with both ends closing, and checks all of it.
fn exchange(seed: u64, link: Link, configs: [Config; 2], there: usize, back: usize) -> Pair {
    let (there, back) = (pattern(seed, there), pattern(seed + 1, back));
    let mut pair = Pair::new(seed, link, configs);
    pair.ends[1].answer.clone_from(&back);
    let stream = pair.open(there.clone(), true);
    let done = pair.run(3600, Pair::all_closed);
    assert!(done, "seed {seed}, {link:?}: {}", pair.describe());
    assert_eq!(pair.ends[1].accepted.len(), 1, "seed {seed}: one stream");
    let accepted = pair.ends[1].accepted[0];
    assert!(pair.program(1, accepted).read == there, "seed {seed}: there");
    assert!(pair.program(0, stream).read == back, "seed {seed}: back");
    pair
}

fn defaults() -> [Config; 2] {
    [Config::default(), Config::default()]
}

#[test]
fn all_sizes_over_a_plain_link() {
    for (n, size) in [0, 1, 511, 1729, 1730, 1731, 1812, 4000, 60_000, 1_000_000].into_iter().enumerate() {
        exchange(n as u64, Link::plain(50), defaults(), size, 0);
        exchange(n as u64, Link::plain(50), defaults(), 0, size);
        exchange(n as u64, Link::plain(0), defaults(), size, size / 2);
    }
}

#[test]
fn a_small_exchange_takes_few_packets() {
    let pair = exchange(1, Link::plain(100), defaults(), 300, 3000);
    assert!(pair.ends[0].sent <= 5 && pair.ends[1].sent <= 6, "{} and {}", pair.ends[0].sent, pair.ends[1].sent);
}

#[test]
fn thousands_of_bad_links() {
    let mut rng = Rng::from_seed([9; 32]);
    for seed in 0..1500 {
        let delay = Duration::from_millis(rng.below(400) as u64);
        let jitter = Duration::from_millis([0, 5, 50, 300][rng.below(4)]);
        let loss = [0.0, 0.01, 0.1, 0.3][rng.below(4)];
        let duplicate = [0.0, 0.0, 0.05, 0.5][rng.below(4)];
        let link = Link { delay, jitter, loss, duplicate, ..Link::plain(0) };
        let (there, back) = (rng.below(30_000), rng.below(30_000));
        let (there, back) = if rng.below(4) == 0 { (there, 0) } else { (there / 10, back) };
        let receive_buffer = [6_000, 50_000, 1 << 20][rng.below(3)];
        let config = Config { receive_buffer, mtu: [512, 1812][rng.below(2)], ..Config::default() };
        exchange(seed, link, [config.clone(), config], there, back);
    }
}

#[test]
fn twenty_megabytes_with_loss_and_reordering() {
    let link = Link { loss: 0.01, jitter: Duration::from_millis(10), duplicate: 0.01, ..Link::plain(20) };
    exchange(5, link, defaults(), 20 << 20, 1 << 20);
}

#[test]
fn a_narrow_link_is_filled_and_not_flooded() {
    let link = Link { rate: 200, queue: Duration::from_millis(500), ..Link::plain(100) };
    let start = at(0).mono;
    let pair = exchange(6, link, defaults(), 2 << 20, 0);
    let packets = (2u64 << 20) / 1812 + 1;
    assert!(pair.ends[0].sent < packets * 12 / 10, "{} sent for {packets}", pair.ends[0].sent);
    let secs = pair.now.mono.since(start).as_secs_f64();
    assert!(secs < packets as f64 / 200.0 * 1.5 + 3.0, "{secs} s of virtual time");
}

#[test]
fn a_path_with_room_for_one_packet_is_still_used() {
    let link = Link { rate: 400, queue: Duration::from_millis(2), ..Link::plain(50) };
    let pair = exchange(21, link, defaults(), 1 << 20, 0);
    let secs = pair.now.mono.since(at(0).mono).as_secs_f64();
    assert!(secs < 10.0, "{secs} s for what fits into 1.5 s");
}

#[test]
fn random_loss_does_not_starve_a_stream() {
    let link = Link { loss: 0.02, ..Link::plain(150) };
    let pair = exchange(7, link, defaults(), 4 << 20, 0);
    let secs = pair.now.mono.since(at(0).mono).as_secs_f64();
    let ideal = (4u64 << 20) as f64 / (128.0 * 1812.0) * 0.3;
    assert!(secs < ideal * 3.0 + 3.0, "{secs} s against {ideal} s with a full window throughout");
}

#[test]
fn a_slow_reader_chokes_and_loses_nothing() {
    let config = Config { receive_buffer: 100_000, ..Config::default() };
    let data = pattern(8, 1_000_000);
    let mut pair = Pair::new(8, Link::plain(30), [Config::default(), config]);
    pair.ends[1].read_by_hand = true;
    pair.open(data.clone(), true);
    let mut rounds = 0;
    while !pair.ends[1].programs.values().any(|program| program.finished) {
        rounds += 1;
        assert!(rounds < 5000);
        pair.run(1, |_| false);
        let end = &mut pair.ends[1];
        for (stream, program) in &mut end.programs {
            assert!(program.uncredited <= 100_000);
            let n = program.uncredited.min(30_000);
            program.uncredited -= n;
            end.streams.credit(pair.now, *stream, n);
        }
        pair.drain();
    }
    let stream = pair.ends[1].accepted[0];
    assert!(pair.program(1, stream).read == data);
    assert!(pair.ends[0].sent < 1000, "{} packets for 552", pair.ends[0].sent);
}

#[test]
fn the_writer_is_held_back_by_the_send_buffer() {
    let config = Config { send_buffer: 10_000, ..Config::default() };
    let mut pair = Pair::new(9, Link::plain(50), [config, Config::default()]);
    let stream = pair.open(pattern(9, 100_000), false);
    let left: usize = pair.program(0, stream).to_write.iter().map(Vec::len).sum();
    assert_eq!(left, 90_000);
    let all = |pair: &Pair| pair.ends[1].programs.values().any(|program| program.read.len() == 100_000);
    assert!(pair.run(60, all));
}

#[test]
fn many_streams_share_a_link() {
    let link = Link { rate: 500, loss: 0.005, ..Link::plain(40) };
    let mut pair = Pair::new(10, link, defaults());
    let data: Vec<_> = (0..20).map(|n| pattern(100 + n, 150_000)).collect();
    for data in &data {
        pair.open(data.clone(), true);
    }
    assert!(pair.run(600, |pair| pair.ends[1].programs.len() == 20 && pair.all_closed()));
    let mut got: Vec<_> = pair.ends[1].programs.values().map(|program| program.read.clone()).collect();
    let mut want = data;
    got.sort();
    want.sort();
    assert!(got == want);
    pair.run(120, |_| false);
    assert!(pair.ends.iter().all(|end| end.streams.is_empty() && end.streams.next_timeout().is_none()));
}

#[test]
fn a_lost_syn_is_repeated_on_another_path_and_opens_one_stream() {
    let mut pair = Pair::new(11, Link::plain(100), defaults());
    let mut drops = 0;
    pair.drop = Box::new(move |_, packet| {
        drops += u32::from(Packet::parse(packet).unwrap().is_syn());
        drops <= 2
    });
    let stream = pair.open(b"x".to_vec(), true);
    assert!(pair.run(60, Pair::all_closed));
    assert!(pair.program(0, stream).opened);
    assert_eq!(pair.ends[0].suspects[..2], [1, 2]);
    assert_eq!(pair.ends[1].accepted.len(), 1);
}

/// Of three leases two lead nowhere: the third is tried two pauses after the first, not three.
#[test]
fn a_syn_tries_three_paths_before_its_pauses_grow() {
    let mut pair = Pair::new(13, Link::plain(20), defaults());
    pair.drop = Box::new(|_, _| true);
    pair.open(b"x".to_vec(), true);
    let counts: Vec<usize> = (0..12)
        .map(|_| {
            pair.run(1, |_| false);
            pair.ends[0].suspects.len()
        })
        .collect();
    // Where no round trip is known a pause is 1.5 s.
    assert_eq!(counts, [0, 1, 1, 2, 3, 3, 3, 4, 4, 4, 4, 4]);
}

#[test]
fn a_dead_path_is_reported_and_survived() {
    let mut pair = Pair::new(12, Link::plain(100), defaults());
    let data = pattern(12, 5_000_000);
    pair.open(data.clone(), true);
    pair.run(1, |_| false);
    pair.link.loss = 1.0;
    assert!(!pair.run(30, Pair::all_closed));
    assert!(pair.ends[0].suspects.len() >= 3);
    pair.link.loss = 0.0;
    let peer = pair.ends[1].hash;
    pair.ends[0].streams.path_changed(pair.now, peer);
    pair.drain();
    assert!(pair.run(30, Pair::all_closed), "{}", pair.describe());
    let stream = pair.ends[1].accepted[0];
    assert!(pair.program(1, stream).read == data);
}

/// The patience with a path does not begin anew with every packet that is sent by it in vain.
#[test]
fn a_dead_path_is_reported_again_however_long_it_was() {
    let mut pair = Pair::new(15, Link::plain(1_500), defaults());
    pair.open(pattern(15, 5_000_000), true);
    pair.run(10, |_| false);
    pair.link.loss = 1.0;
    pair.run(20, |_| false);
    let before = pair.ends[0].suspects.len();
    pair.run(35, |_| false);
    let reported = pair.ends[0].suspects.len() - before;
    assert!((2..20).contains(&reported), "{reported} times in 35 s, and {before} before");
}

#[test]
fn a_peer_that_is_gone_fails_the_stream() {
    let mut pair = Pair::new(13, Link::plain(100), defaults());
    let stream = pair.open(pattern(13, 5_000_000), true);
    pair.run(1, |_| false);
    pair.link.loss = 1.0;
    pair.run(400, |pair| pair.program(0, stream).failed.is_some());
    assert_eq!(pair.program(0, stream).failed, Some(Error::TimedOut));
    let nobody = pair.open(b"x".to_vec(), false);
    assert!(pair.run(61, |pair| pair.program(0, nobody).failed == Some(Error::TimedOut)));
}

#[test]
fn idle_streams_are_kept_alive_and_dead_ones_found() {
    let mut pair = Pair::new(14, Link::plain(100), defaults());
    pair.ends[1].close_answer = false;
    let stream = pair.open(b"hello".to_vec(), false);
    pair.run(3600, |_| false);
    assert_eq!(pair.program(0, stream).failed, None);
    assert!(pair.ends[0].sent > 20 && pair.ends[0].sent < 200, "{}", pair.ends[0].sent);
    pair.link.loss = 1.0;
    pair.run(900, |_| false);
    assert_eq!(pair.program(0, stream).failed, Some(Error::TimedOut));
    assert!(pair.ends.iter().all(|end| end.streams.is_empty()));
}

#[test]
fn a_reset_ends_both_sides() {
    let mut pair = Pair::new(15, Link::plain(50), defaults());
    pair.ends[1].close_answer = false;
    let stream = pair.open(pattern(15, 1000), false);
    pair.run(2, |_| false);
    let accepted = pair.ends[1].accepted[0];
    pair.ends[1].streams.reset(pair.now, accepted);
    pair.drain();
    pair.run(2, |_| false);
    assert_eq!(pair.program(0, stream).failed, Some(Error::Reset));
    assert!(pair.ends.iter().all(|end| end.streams.is_empty()));
    assert_eq!(pair.ends[0].streams.send(pair.now, stream, vec![1]), 0);
}

#[test]
fn a_refused_stream_fails_at_once() {
    let mut pair = Pair::new(16, Link::plain(50), defaults());
    pair.ends[1].streams.unlisten(None);
    let stream = pair.open(b"x".to_vec(), false);
    assert!(pair.run(1, |pair| pair.program(0, stream).failed == Some(Error::Reset)));
    assert!(pair.ends[1].accepted.is_empty());
}

#[test]
fn reading_goes_on_after_our_close() {
    let mut pair = Pair::new(17, Link::plain(50), defaults());
    pair.ends[1].answer = pattern(18, 300_000);
    let stream = pair.open(b"GET".to_vec(), true);
    assert!(pair.run(60, Pair::all_closed));
    assert!(pair.program(0, stream).read == pattern(18, 300_000));
}

#[test]
fn a_program_that_reads_no_more_does_not_hold_the_peer() {
    let mut pair =
        Pair::new(19, Link::plain(50), [Config { receive_buffer: 50_000, ..Config::default() }, Config::default()]);
    pair.ends[0].read_by_hand = true;
    pair.ends[1].answer = pattern(19, 500_000);
    let stream = pair.open(b"GET".to_vec(), true);
    pair.run(2, |_| false);
    pair.ends[0].streams.discard(pair.now, stream);
    pair.drain();
    let peer = pair.ends[1].accepted[0];
    assert!(pair.run(120, |pair| pair.program(1, peer).closed));
    pair.run(70, |_| false);
    assert!(pair.ends.iter().all(|end| end.streams.is_empty()));
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || {
        let link = Link { loss: 0.05, jitter: Duration::from_millis(30), duplicate: 0.05, ..Link::plain(60) };
        let pair = exchange(20, link, defaults(), 200_000, 100_000);
        (pair.now.mono, pair.ends[0].sent, pair.ends[1].sent)
    };
    assert_eq!(run(), run());
}

/// Streams to one peer share the path: each gets its part, and together they flood it no more than one.
#[test]
fn eight_streams_are_fair_and_flood_no_more_than_one() {
    let link = Link { rate: 1000, queue: Duration::from_millis(300), ..Link::plain(50) };
    let mut pair = Pair::new(31, link, defaults());
    let data = pattern(31, 1 << 20);
    let streams: Vec<_> = (0..8).map(|_| pair.open(data.clone(), true)).collect();
    let start = pair.now.mono;
    let mut ends = Vec::new();
    while ends.len() < streams.len() {
        assert!(pair.run(60, |pair| pair.ends[1].programs.values().filter(|p| p.finished).count() > ends.len()));
        ends.push(pair.now.mono.since(start).as_secs_f64());
    }
    assert!(ends[7] / ends[0] < 1.2, "{ends:?}");
    let packets = 8 * ((1u64 << 20) / 1812 + 2);
    assert!(pair.ends[0].sent < packets * 11 / 10, "{} sent for {packets}", pair.ends[0].sent);
    assert!(ends[7] < packets as f64 / 1000.0 * 1.3 + 1.0, "{ends:?}");
}

/// A receiver like Java: what does not fit its buffer of 128 packets is dropped in silence.
#[test]
fn a_receiver_that_drops_in_silence_gets_no_more_than_it_holds() {
    let java = Config { receive_buffer: 2 * 128 * (1812 + 96), ..Config::default() };
    let link = Link { loss: 0.01, ..Link::plain(100) };
    let mut pair = exchange(32, link, [Config::default(), java], 8 << 20, 0);
    let packets = (8u64 << 20) / 1812 + 1;
    let first = pair.ends[0].sent;
    assert!(first < packets * 13 / 10, "{first} sent for {packets}");
    // The next stream to it knows.
    let next = pair.open(pattern(33, 8 << 20), true);
    assert!(pair.run(3600, |pair| pair.ends[1].programs.values().filter(|program| program.finished).count() == 2));
    let second = pair.ends[0].sent - first;
    assert!(second < packets * 103 / 100 && second < first, "{second} sent for {packets}, and {first} at first");
    assert!(pair.program(0, next).failed.is_none());
}

/// Windows grow past what Java and i2pd use where nothing speaks against it.
#[test]
fn a_long_fat_path_is_filled() {
    let pair = exchange(33, Link::plain(150), defaults(), 24 << 20, 0);
    let secs = pair.now.mono.since(at(0).mono).as_secs_f64();
    let java = (24u64 << 20) as f64 / (128.0 * 1812.0) * 0.3;
    assert!(secs < java / 3.0, "{secs} s, and {java} s with a window of 128");
}

/// Acknowledgements that are lost for good on their way are no timeout of their sender: it learns it from what comes
/// again.
#[test]
fn a_receiver_whose_acknowledgements_get_lost_takes_another_path() {
    let link = Link { rate: 500, ..Link::plain(20) };
    let mut pair = Pair::new(34, link, defaults());
    let data = pattern(34, 4 << 20);
    pair.open(data.clone(), true);
    pair.run(1, |_| false);
    assert!(pair.ends[1].suspects.is_empty());
    pair.drop = Box::new(|from, _| from == 1);
    assert!(pair.run(3, |pair| !pair.ends[1].suspects.is_empty()), "{}", pair.describe());
}

/// Who only reads has no timeout that tells him that the peer did not hear where he is.
#[test]
fn a_busy_peer_is_told_by_other_paths_until_it_is_heard_of() {
    let link = Link { rate: 500, ..Link::plain(20) };
    let mut pair = Pair::new(36, link, defaults());
    pair.open(pattern(36, 4 << 20), true);
    pair.run(1, |_| false);
    pair.drop = Box::new(|_, _| true);
    pair.ends[1].streams.tell_peers(pair.now);
    pair.drain();
    pair.run(5, |_| false);
    let told = pair.ends[1].suspects.len();
    assert!((2..=4).contains(&told), "{told}");
    pair.run(120, |pair| pair.now.mono >= at(100_000).mono);
    assert!(pair.ends[1].suspects.len() <= 26, "it ends: {:?}", pair.ends[1].suspects);
    let mut pair = Pair::new(37, Link { rate: 500, ..Link::plain(20) }, defaults());
    pair.open(pattern(37, 4 << 20), true);
    pair.run(1, |_| false);
    pair.ends[1].streams.tell_peers(pair.now);
    pair.drain();
    pair.run(5, |_| false);
    assert!(pair.ends[1].suspects.is_empty(), "it is heard of at once");
}

/// It can take seconds until there are tunnels again, and longer than a busy peer is silent.
#[test]
fn a_peer_that_was_busy_when_tunnels_were_lost_is_told_until_it_is_heard_of() {
    let told = |noted: bool| {
        let mut pair = Pair::new(38, Link { rate: 500, ..Link::plain(20) }, defaults());
        pair.open(pattern(38, 4 << 20), true);
        pair.run(1, |_| false);
        pair.drop = Box::new(|_, _| true);
        if noted {
            pair.ends[1].streams.note_unreached(pair.now);
        }
        pair.run(5, |_| false);
        pair.ends[1].streams.tell_peers(pair.now);
        pair.drain();
        pair.run(5, |_| false);
        pair.ends[1].suspects.len()
    };
    assert!((2..=4).contains(&told(true)), "{}", told(true));
    assert_eq!(told(false), 0, "a peer that had nothing to send is not told again and again");
}

/// Who says where he is after a change of his LeaseSet tells each peer once, however many streams there are.
#[test]
fn each_peer_is_told_once_where_we_are() {
    let mut pair = Pair::new(35, Link::plain(5), defaults());
    pair.ends[1].close_answer = false;
    for _ in 0..4 {
        pair.open(pattern(35, 100), false);
    }
    pair.run(5, |_| false);
    assert_eq!(pair.ends[1].accepted.len(), 4);
    let before = [0, 1].map(|end| pair.ends[end].sent);
    pair.ends[1].streams.tell_peers(pair.now);
    pair.drain();
    pair.run(2, |_| false);
    assert_eq!([0, 1].map(|end| pair.ends[end].sent - before[end]), [0, 1], "and it needs no answer");
}

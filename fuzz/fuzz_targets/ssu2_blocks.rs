//! SSU2: the blocks of a payload, and what is written of them again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::ssu2::{Block, Blocks, encode_ack};

fuzz_target!(|data: &[u8]| {
    // Every block takes at least its header, so this ends.
    assert!(Blocks::of_confirmed(data).count() <= data.len() / 3 + 1);
    let mut count = 0;
    for block in Blocks::new(data) {
        count += 1;
        let mut again = Vec::new();
        match block {
            Ok(Block::Ack(ack)) => acks(ack),
            Ok(Block::RouterInfo(info)) => assert!(info.router_info().map_or(0, |info| info.len()) <= 3072),
            Ok(Block::FirstFragment(fragment)) => fragment.encode(&mut again),
            Ok(Block::FollowOnFragment(fragment)) => fragment.encode(&mut again),
            Ok(Block::NewToken(token)) => token.encode(&mut again),
            Ok(Block::Address(address)) => Block::encode_address(&mut again, &address),
            Ok(Block::RelayRequest(request)) => assert_eq!(request.signed.bytes, request.agreement.to_bytes()),
            Ok(Block::RelayIntro(intro)) => assert_eq!(intro.signed.bytes, intro.agreement.to_bytes()),
            _ => {}
        }
        if !again.is_empty() {
            assert_eq!(Blocks::new(&again).next(), Some(block));
        }
    }
    assert!(count <= data.len() / 3 + 1);
});

/// What an ACK says comes out again when it is said anew, as far as it touches nothing twice.
fn acks(ack: ramson_wire::ssu2::Ack<'_>) {
    let mut ranges: Vec<std::ops::RangeInclusive<u32>> = Vec::new();
    for range in ack.ranges() {
        assert!(range.start() <= range.end());
        match ranges.last_mut() {
            Some(last) if *range.end() + 1 == *last.start() => *last = *range.start()..=*last.end(),
            Some(last) => {
                assert!(range.end() < last.start());
                ranges.push(range);
            }
            None => ranges.push(range),
        }
    }
    let mut out = Vec::new();
    assert!(encode_ack(&mut out, ranges.iter().cloned(), 60_000) <= 60_000);
    let again: Vec<u32> = Blocks::new(&out)
        .filter_map(|block| match block {
            Ok(Block::Ack(ack)) => Some(ack.ranges().map(|range| range.end() - range.start() + 1).sum()),
            _ => None,
        })
        .collect();
    let before: u32 = ranges.iter().map(|range| range.end() - range.start() + 1).sum();
    assert_eq!(again, if ranges.is_empty() { vec![] } else { vec![before] });
}

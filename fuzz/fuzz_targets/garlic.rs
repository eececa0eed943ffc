//! Garlic blocks, and the frames of encrypted garlic messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::garlic;
use ramson_wire::garlic::block::{self, Block};

fuzz_target!(|data: &[u8]| {
    if let Ok(blocks) = Block::decode_all(data) {
        let again = Block::encode_all(&blocks);
        assert_eq!(Block::decode_all(&again).unwrap(), blocks);
        let _ = block::leading_date_time(&blocks);
    }
    let _ = garlic::unframe(data);
    let _ = garlic::one_time::open(&[3; 32], data);
});

//! NTCP2: blocks of a frame, and the options of the first two messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::ntcp2::{Blocks, CreatedOptions, RequestOptions};

fuzz_target!(|data: &[u8]| {
    // Every block takes at least its header, so this ends.
    assert!(Blocks::new(data).count() <= data.len() / 3 + 1);
    if let Ok(options) = RequestOptions::decode(data) {
        let mut again = Vec::new();
        options.encode(&mut again);
        assert_eq!(RequestOptions::decode(&again).unwrap(), options);
    }
    if let Ok(options) = CreatedOptions::decode(data) {
        let mut again = Vec::new();
        options.encode(&mut again);
        assert_eq!(CreatedOptions::decode(&again).unwrap(), options);
    }
});

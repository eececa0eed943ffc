//! Three routers' peer tests, and who carries what they say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_core::fuzzing::peer_test;

fuzz_target!(|data: &[u8]| {
    peer_test(data);
});

//! Three routers, what introductions say between them, and who carries it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_core::fuzzing::relay;

fuzz_target!(|data: &[u8]| {
    relay(data);
});

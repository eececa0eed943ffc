//! A router with two destinations, driven through its door.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_core::fuzzing::garlic;

fuzz_target!(|data: &[u8]| {
    garlic(data);
});

//! The sessions of two destinations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_core::fuzzing::ratchet;

fuzz_target!(|data: &[u8]| {
    ratchet(data);
});

//! Two destinations with streams between them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_core::fuzzing::stream;

fuzz_target!(|data: &[u8]| {
    stream(data);
});

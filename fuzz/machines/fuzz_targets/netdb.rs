//! Known routers, look-ups and publications, whose floodfills are the fuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_core::fuzzing::netdb;

fuzz_target!(|data: &[u8]| {
    netdb(data);
});

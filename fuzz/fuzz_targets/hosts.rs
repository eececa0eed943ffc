//! The list of names: reading it, and setting an entry in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_services::fuzzing::hosts;

fuzz_target!(|data: &[u8]| hosts(data));

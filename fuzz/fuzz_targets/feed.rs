//! Feeds of names with signed commands, and the file of what was taken of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_services::fuzzing::feed;

fuzz_target!(|data: &[u8]| feed(data));

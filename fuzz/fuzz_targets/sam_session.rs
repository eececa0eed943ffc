//! A program at the SAM bridge of a router in a network in memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_services::fuzzing::sam_session;

fuzz_target!(|data: &[u8]| sam_session(data));

//! Lines of IRC programs, servers and clients through the filters of tunnels.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_services::fuzzing::irc;

fuzz_target!(|data: &[u8]| irc(data));

//! What programs send to the SOCKS proxy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_services::fuzzing::socks;

fuzz_target!(|data: &[u8]| socks(data));

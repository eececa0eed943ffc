//! Bodies in chunks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_services::fuzzing::http_body;

fuzz_target!(|data: &[u8]| http_body(data));

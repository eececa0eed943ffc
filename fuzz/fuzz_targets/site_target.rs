//! The target of a request for a file of a site.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_services::fuzzing::site_target;

fuzz_target!(|data: &[u8]| site_target(data));

//! Lines of programs to the SAM bridge, and the options in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_services::fuzzing::sam_line;

fuzz_target!(|data: &[u8]| sam_line(data));

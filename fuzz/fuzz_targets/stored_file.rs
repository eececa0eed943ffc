//! Files of the data folder: the netDb and the router's keys.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson::fuzzing::stored_file;

fuzz_target!(|data: &[u8]| stored_file(data));

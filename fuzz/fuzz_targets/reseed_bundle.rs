//! Zips of RouterInfos, with and without the signed frame around them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson::fuzzing::reseed_bundle;

fuzz_target!(|data: &[u8]| reseed_bundle(data));

//! Answers of reseed servers, their URLs, and the saved schedule of reseeds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson::fuzzing::reseed_answer;

fuzz_target!(|data: &[u8]| reseed_answer(data));

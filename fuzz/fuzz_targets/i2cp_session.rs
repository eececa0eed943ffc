//! A program that speaks I2CP to a router in a network in memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_services::fuzzing::i2cp_session;

fuzz_target!(|data: &[u8]| i2cp_session(data));

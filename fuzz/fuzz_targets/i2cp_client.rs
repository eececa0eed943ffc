//! A router that sends anything to our side of I2CP, to which programs give commands meanwhile.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson::fuzzing::i2cp_client;

fuzz_target!(|data: &[u8]| i2cp_client(data));

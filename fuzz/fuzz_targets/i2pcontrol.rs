//! What programs send to I2PControl.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_services::fuzzing::i2pcontrol;

fuzz_target!(|data: &[u8]| i2pcontrol(data));

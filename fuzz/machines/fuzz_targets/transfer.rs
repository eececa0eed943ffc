//! Two ends of an SSU2 session, and who carries their packets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_core::fuzzing::transfer;

fuzz_target!(|data: &[u8]| {
    transfer(data);
});

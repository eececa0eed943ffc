//! The tunnels of four routers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_core::fuzzing::tunnel_build;

fuzz_target!(|data: &[u8]| {
    tunnel_build(data);
});

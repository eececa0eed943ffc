//! Two routers' links, and strangers who connect to them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_core::fuzzing::link;

fuzz_target!(|data: &[u8]| {
    link(data);
});

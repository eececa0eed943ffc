//! Heads of requests and responses: addresses, framing, and what is left of them when they are cleaned.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_services::fuzzing::{http_request, http_response};

fuzz_target!(|data: &[u8]| {
    http_request(data);
    http_response(data);
});

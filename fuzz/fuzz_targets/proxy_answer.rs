//! Answers of SOCKS5 and HTTP proxies on the way to peers and reseed servers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson::fuzzing::proxy_answer;

fuzz_target!(|data: &[u8]| proxy_answer(data));

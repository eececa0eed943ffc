//! Private key files, and offline signatures in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::data::PrivateKeys;

fuzz_target!(|data: &[u8]| {
    if let Ok(keys) = PrivateKeys::from_bytes(data) {
        let again = PrivateKeys::from_bytes(&keys.to_bytes()).expect("what we write, we read");
        assert_eq!(again.to_bytes(), keys.to_bytes());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = PrivateKeys::from_base64(text);
    }
});

//! Identities, destinations and what they are made of, chosen by the first byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::data::certificate::Certificate;
use ramson_wire::data::{Destination, Mapping, RouterAddress, RouterIdentity, base32, base64};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 7 {
        0 => same::<RouterIdentity>(data),
        1 => same::<Destination>(data),
        2 => same::<Certificate>(data),
        3 => same::<Mapping>(data),
        4 => same::<RouterAddress>(data),
        5 => {
            let Ok(text) = std::str::from_utf8(data) else { return };
            if let Ok(bytes) = base64::decode(text) {
                assert_eq!(base64::encode(&bytes), text);
            }
            let _ = Destination::from_base64(text);
        }
        _ => {
            let Ok(text) = std::str::from_utf8(data) else { return };
            if let Ok(bytes) = base32::decode(text) {
                assert_eq!(base32::decode(&base32::encode(&bytes)).unwrap(), bytes);
            }
        }
    }
});

/// What is read is written as it was read.
fn same<T: Decode + Encode>(data: &[u8]) {
    if let Ok(value) = T::from_bytes(data) {
        assert_eq!(value.to_bytes(), data);
    }
}

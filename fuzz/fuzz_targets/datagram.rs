//! Datagrams of every format, and the gzip frame that all payloads of clients travel in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::data::Hash;
use ramson_wire::datagram::{ClientPayload, Datagram1, Datagram2, Datagram3};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 5 {
        0 => {
            if let Ok(payload) = ClientPayload::from_gzip(data) {
                assert_eq!(ClientPayload::from_gzip(&payload.to_gzip(false)).unwrap(), payload);
            }
        }
        1 => {
            if let Ok(payload) = ClientPayload::from_data_message(data) {
                assert_eq!(ClientPayload::from_data_message(&payload.to_data_message(true)).unwrap(), payload);
            }
        }
        2 => drop(Datagram1::open(data)),
        3 => drop(Datagram2::open(data, &Hash([0; 32]), 1_700_000_000)),
        _ => {
            if let Ok(datagram) = Datagram3::from_bytes(data) {
                assert_eq!(Datagram3::from_bytes(&datagram.to_bytes()).unwrap(), datagram);
            }
        }
    }
});

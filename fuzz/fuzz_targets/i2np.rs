//! I2NP: both headers, and the bodies, chosen by the first byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::i2np::database_lookup::DatabaseLookup;
use ramson_wire::i2np::database_search_reply::DatabaseSearchReply;
use ramson_wire::i2np::database_store::DatabaseStore;
use ramson_wire::i2np::delivery_status::DeliveryStatus;
use ramson_wire::i2np::tunnel_build::{BuildRecords, LongBuildRecords};
use ramson_wire::i2np::tunnel_data::TunnelData;
use ramson_wire::i2np::tunnel_gateway::TunnelGateway;
use ramson_wire::i2np::{Message, database_store};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 10 {
        0 => {
            if let Ok(message) = Message::decode_standard(data) {
                let mut again = Vec::new();
                message.encode_standard(&mut again);
                assert_eq!(Message::decode_standard(&again).unwrap(), message);
            }
        }
        1 => {
            if let Ok(message) = Message::decode_short(data) {
                let mut again = Vec::new();
                message.encode_short(&mut again);
                assert_eq!(again, data);
            }
        }
        2 => {
            if let Ok(store) = DatabaseStore::from_bytes(data) {
                // The gzip of a RouterInfo may differ, what is in it may not.
                let again = DatabaseStore::from_bytes(&store.to_bytes()).unwrap();
                assert_eq!(again.to_bytes(), store.to_bytes());
                let _ = (store.entry.verify(), store.entry.key());
            }
        }
        3 => stable::<DatabaseLookup>(data),
        4 => stable::<DatabaseSearchReply>(data),
        5 => stable::<DeliveryStatus>(data),
        6 => stable::<TunnelData>(data),
        7 => stable::<TunnelGateway>(data),
        8 => {
            stable::<BuildRecords>(data);
            stable::<LongBuildRecords>(data);
            if let Ok(records) = LongBuildRecords::from_fixed(data) {
                assert_eq!(records.to_fixed(), data);
            }
        }
        _ => {
            if let Ok(bytes) = database_store::gunzip(data, 4096) {
                assert!(bytes.len() <= 4096);
            }
        }
    }
});

/// What was read once is read again from its own writing.
fn stable<T: Decode + Encode + PartialEq + std::fmt::Debug>(data: &[u8]) {
    if let Ok(value) = T::from_bytes(data) {
        assert_eq!(T::from_bytes(&value.to_bytes()).unwrap(), value);
    }
}
